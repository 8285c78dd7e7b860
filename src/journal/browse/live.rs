//! Calls as they end, in the order in which their steps were committed.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::MOST;
use crate::{
    agent::CallRecord,
    domain::{Cause, RunId},
    journal::{
        Journal, Result, Row, Value,
        backend::{CALLED_BETWEEN, NEWEST_CALLED, NEWEST_STEP, STEP},
        number, text,
    },
};

const TASK: &str = "read the latest calls";

/// A place in the order in which steps were committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(i64);

/// A call that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveCall {
    /// The place of its step.
    pub position: Position,
    /// The id of the run.
    pub run: RunId,
    /// The number of its step in the run, from 0.
    pub step: u32,
    /// When the call ended, by the daemon's clock.
    pub at: Timestamp,
    /// The id of the persona.
    pub persona_id: String,
    /// The local part of the persona's e-mail.
    pub label: Option<String>,
    /// The number of the call in the run, from 1.
    pub number: u32,
    /// The name of the tool, or the name that the model invented.
    pub tool: String,
    /// Whether the call succeeded.
    pub ok: bool,
    /// Why the call failed; `None` if it succeeded, or an earlier version of this program made it.
    pub cause: Option<Cause>,
    /// How long the last try took.
    pub latency: Duration,
}

/// Calls after a place.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveCalls {
    /// The calls, in order.
    pub calls: Vec<LiveCall>,
    /// Where the next search begins.
    pub reached: Position,
}

/// A step that is the result of a call, without the result itself.
#[derive(Deserialize)]
struct Step {
    called: Called,
}

#[derive(Deserialize)]
struct Called {
    record: CallRecord,
}

impl Journal {
    /// The next calls after a place, at most `limit`, and how far the search came. A place after the newest step counts
    /// as the newest: when all newer steps were deleted as too old, their places are given to others.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn calls_after(&self, after: Position, limit: u32) -> Result<LiveCalls> {
        let newest = self.newest_position().await?;
        if after >= newest {
            return Ok(LiveCalls { calls: Vec::new(), reached: newest });
        }
        let limit = limit.clamp(1, MOST);
        let values = vec![Value::Number(Some(after.0)), Value::Number(Some(newest.0))];
        let values = values.into_iter().chain([number(limit)]).collect();
        let rows = self.rows(TASK, CALLED_BETWEEN, values).await?;
        let reached = match rows.last() {
            Some(last) if rows.len() >= limit as usize => position(last).unwrap_or(newest),
            _ => newest,
        };
        Ok(LiveCalls { calls: self.readable("a call", &rows, read), reached })
    }

    /// The place of a step; `None` if there is no such step.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn position_of(&self, run: RunId, step: u32) -> Result<Option<Position>> {
        let rows = self.rows(TASK, STEP, vec![text(run), number(step)]).await?;
        Ok(rows.first().and_then(position))
    }

    /// The place of the newest step.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn newest_position(&self) -> Result<Position> {
        let rows = self.rows(TASK, NEWEST_STEP, vec![]).await?;
        Ok(rows.first().and_then(position).unwrap_or_default())
    }

    /// The latest calls, at most `limit`, newest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn latest_calls(&self, limit: u32) -> Result<Vec<LiveCall>> {
        let rows = self.rows(TASK, NEWEST_CALLED, vec![number(limit.clamp(1, MOST))]).await?;
        Ok(self.readable("a call", &rows, read))
    }
}

fn position(row: &Row) -> Option<Position> {
    row.number("position").map(Position)
}

fn read(row: &Row) -> std::result::Result<LiveCall, String> {
    let called: Step =
        serde_json::from_str(&row.text("called")?).map_err(|error| error.to_string())?;
    let record = called.called.record;
    // An earlier version did not store the time of the last try.
    let last_try = Some(record.detail.last_try).filter(|_| record.detail.tries > 0);
    Ok(LiveCall {
        position: position(row).ok_or("there is no position")?,
        run: row.run("run_id")?,
        step: row.row_number().ok_or("there is no number")?,
        at: row.time("at").unwrap_or_default(),
        persona_id: row.text("persona_id")?,
        label: row.text("label").ok(),
        number: record.number,
        tool: record.tool_name().to_owned(),
        ok: record.error.is_none(),
        cause: record.detail.cause,
        latency: last_try.unwrap_or(record.latency),
    })
}
