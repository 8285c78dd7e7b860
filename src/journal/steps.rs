//! Steps: what happened in a run, append-only, and the money that goes with them.

use jiff::{SignedDuration, Timestamp};

use super::{
    Connection, Done, Failure, Journal, JournalError, Kind, Result, change, number, rows, text,
    time,
};
use crate::domain::RunId;

/// How long a tool list counts as just kept: nothing beside the days of its retention.
const A_MOMENT: SignedDuration = SignedDuration::from_hours(1);

/// A step as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStep {
    /// Its number within the run, from 0.
    pub number: u32,
    /// When it was written.
    pub at: Timestamp,
    /// What it says, as JSON; nothing if its row is not as this program writes it.
    pub body: String,
}

impl Journal {
    /// Appends a step. One that is there already stays as it is: an attempt that seemed to fail may
    /// have succeeded.
    ///
    /// # Errors
    /// When it cannot be written, or another step has its number.
    pub async fn append_step(
        &self,
        run: RunId,
        number: u32,
        body: &str,
        now: Timestamp,
    ) -> Result<()> {
        let body = body.to_owned();
        self.write("write a step", |mut session| async move {
            append(&mut session, (run, number, &body), now).await.map(drop)
        })
        .await
    }

    /// The steps of a run, in order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn steps(&self, run: RunId) -> Result<Vec<StoredStep>> {
        let sql = "SELECT number, at, body FROM steps WHERE run_id = $1 ORDER BY number";
        let rows = self.rows("read a run's steps", sql, vec![text(run)]).await?;
        let steps = rows.iter().map(|row| {
            let step_number = row.row_number();
            let body = step_number.and_then(|_| row.text("body").ok());
            StoredStep {
                number: step_number.unwrap_or(u32::MAX),
                at: row.time("at").unwrap_or_default(),
                body: body.unwrap_or_default(),
            }
        });
        Ok(steps.collect())
    }

    /// Keeps a list of tools that a run begins with, under its hash. One that was kept a moment ago is not
    /// written again: lists are long, and all runs have the same.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep_catalog(&self, hash: &str, tools: &str, now: Timestamp) -> Result<()> {
        let kept = "SELECT used_at FROM catalogs WHERE hash = $1";
        let kept = self.rows("look up a tool list", kept, vec![text(hash)]).await?;
        let used_at = kept.first().and_then(|row| row.time("used_at"));
        if used_at.is_some_and(|at| at <= now && now.duration_since(at) < A_MOMENT) {
            return Ok(());
        }
        let keep = "INSERT INTO catalogs (hash, tools, used_at) VALUES ($1, $2, $3) \
             ON CONFLICT (hash) DO UPDATE SET used_at = excluded.used_at";
        let list = vec![text(hash), text(tools), time(now)];
        self.change("keep a tool list", keep, list).await.map(drop)
    }

    /// The list of tools kept under this hash.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn catalog(&self, hash: &str) -> Result<Option<String>> {
        let sql = "SELECT tools FROM catalogs WHERE hash = $1";
        let rows = self.rows("look up a tool list", sql, vec![text(hash)]).await?;
        let tools = rows.first().map(|row| row.text("tools")).transpose();
        tools.map_err(|detail| JournalError::Row("a tool list", detail))
    }
}

/// Appends a step; false if the very same is there already.
pub(super) async fn append(
    on: &mut Connection,
    (run, step_number, body): (RunId, u32, &str),
    now: Timestamp,
) -> Done<bool> {
    let add = "INSERT INTO steps (run_id, number, body, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING";
    if change(on, add, vec![text(run), number(step_number), text(body), time(now)]).await? > 0 {
        return Ok(true);
    }
    let same = "SELECT at FROM steps WHERE run_id = $1 AND number = $2 AND body = $3";
    if rows(on, same, vec![text(run), number(step_number), text(body)]).await?.is_empty() {
        // It would mean that two write the same run.
        let detail = "another step has this number".into();
        return Err(Failure { kind: Kind::Conflict, detail });
    }
    Ok(false)
}
