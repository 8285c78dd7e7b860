//! Calls that show what a friction is about.

use jiff::civil::Date;

use super::{MOST, OF_DAYS, days};
use crate::{
    domain::RunId,
    facts::line,
    journal::{Journal, Result, Row, facts, number, text},
};

const TASK: &str = "look for calls";

/// Samples of a tool come from so many runs that used it, the latest ones: the calls of all runs would be too many.
const RUNS: u32 = 500;

/// A call, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The call.
    pub call: line::Call,
    /// The id of the persona.
    pub persona_id: String,
    /// The local part of the persona's e-mail.
    pub label: Option<String>,
}

/// Which calls of a tool are samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolSample {
    /// Those that succeeded, the slowest first.
    Slowest,
    /// Those that succeeded, the largest results first.
    Largest,
    /// Those that failed, the latest first.
    Failed,
}

macro_rules! samples {
    ($runs:expr, $condition:expr, $order:expr) => {
        format!(
            "SELECT fact.run_id, {}, runs.persona_id, \
             (SELECT label FROM personas WHERE id = runs.persona_id) AS label FROM ({}) AS found \
             JOIN runs ON runs.id = found.run JOIN calls AS fact ON fact.run_id = found.run \
             WHERE {} ORDER BY {}found.run DESC, fact.number DESC",
            facts::CALL_COLUMNS,
            $runs,
            $condition,
            $order
        )
    };
}

impl Journal {
    /// Calls that failed with an issue in runs of these days (first and last), at most `limit` of them, the latest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn samples_of_issue(
        &self,
        issue: &str,
        of: (Date, Date),
        limit: u32,
    ) -> Result<Vec<Sample>> {
        let hit = "SELECT run_id AS run FROM issue_hits WHERE issue = $3";
        let sql = samples!(hit, format!("{OF_DAYS} AND fact.issue = $3"), "") + " LIMIT $4";
        let mut values = days(of, &self.time_zone().await?);
        values.extend([text(issue), number(limit.clamp(1, MOST))]);
        let rows = self.rows(TASK, sql, values).await?;
        Ok(self.readable("a call", &rows, read))
    }

    /// Calls of a tool in runs of these days (first and last), at most `limit` of them. Only the latest 500 of the runs
    /// that used the tool are looked at.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn samples_of_tool(
        &self,
        tool: &str,
        which: ToolSample,
        of: (Date, Date),
        limit: u32,
    ) -> Result<Vec<Sample>> {
        let used = format!(
            "SELECT used.run_id AS run FROM run_tools AS used JOIN runs ON runs.id = used.run_id \
             WHERE {OF_DAYS} AND used.tool = $3 ORDER BY used.run_id DESC LIMIT {RUNS}"
        );
        let (condition, order) = match which {
            ToolSample::Slowest => ("fact.tool = $3 AND fact.ok = 1", "fact.latency_ms DESC, "),
            ToolSample::Largest => ("fact.tool = $3 AND fact.ok = 1", "fact.chars DESC, "),
            ToolSample::Failed => ("fact.tool = $3 AND fact.ok = 0", ""),
        };
        let sql = samples!(used, condition, order) + " LIMIT $4";
        let mut values = days(of, &self.time_zone().await?);
        values.extend([text(tool), number(limit.clamp(1, MOST))]);
        let rows = self.rows(TASK, sql, values).await?;
        Ok(self.readable("a call", &rows, read))
    }

    /// The calls of a run by number, as the facts have them: with the ids of their issues. Empty if there are no facts
    /// yet, or if the calls are deleted as too old.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn stored_calls(&self, run: RunId) -> Result<Vec<line::Call>> {
        let columns = facts::CALL_COLUMNS;
        let sql = format!(
            "SELECT run_id, {columns} FROM calls AS fact WHERE run_id = $1 ORDER BY fact.number"
        );
        let rows = self.rows(TASK, sql, vec![text(run)]).await?;
        Ok(self.readable("a call", &rows, facts::read_call))
    }
}

fn read(row: &Row) -> std::result::Result<Sample, String> {
    Ok(Sample {
        call: facts::read_call(row)?,
        persona_id: row.text("persona_id")?,
        label: row.text("label").ok(),
    })
}
