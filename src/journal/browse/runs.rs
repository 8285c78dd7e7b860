//! Lists of runs.

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{Conditions, Page, Part, page};
use crate::{
    domain::{Label, Outcome, RunId, RunState, Usd},
    journal::{Journal, Result, Row, Value, text},
};

/// The columns of a [`FoundRun`].
const COLUMNS: &str = "SELECT runs.id, runs.persona_id, \
     (SELECT label FROM personas WHERE id = runs.persona_id) AS label, runs.state, runs.stage, runs.outcome, \
     runs.end_reason, runs.server_at, runs.server_time, runs.started_at, runs.ended_at, runs.spent, runs.replies, runs.calls, \
     runs.call_errors, runs.ratings, runs.deployment, runs.model FROM ";

/// Which runs a list has. A condition that is `None` holds for all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// The id of the persona.
    pub persona: Option<String>,
    /// What the run came to: a word of [`Outcome`].
    pub outcome: Option<String>,
    /// The state: a word of [`RunState`].
    pub state: Option<String>,
    /// The first and the last day.
    pub days: Option<(Date, Date)>,
    /// The number of the deployment that was current when the run began.
    pub deployment: Option<i64>,
    /// A module that the run used or rated.
    pub module: Option<String>,
    /// A tool that the run called. Calls that failed because of infrastructure, model or runner do not count.
    pub tool: Option<String>,
    /// An issue that the run hit.
    pub issue: Option<String>,
    /// The model that played the persona.
    pub model: Option<String>,
}

/// A run of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRun {
    /// The id of the run.
    pub id: RunId,
    /// The id of the persona.
    pub persona_id: String,
    /// The local part of the persona's e-mail.
    pub label: Option<String>,
    /// The state of the run.
    pub state: RunState,
    /// The last stage that the run has reached.
    pub stage: String,
    /// What the run came to; `None` if it has not ended, or ended in an earlier version of this program.
    pub outcome: Option<Outcome>,
    /// Why the run ended.
    pub end_reason: Option<String>,
    /// When the run began, by mana-auth's time.
    pub server_at: Timestamp,
    /// The time whose day is the day of the run: that of the list of due personas, or else the begin.
    pub day_at: Timestamp,
    /// How long the run took; `None` if it has not ended.
    pub took: Option<SignedDuration>,
    /// What the run has cost, with the reservations of requests without an answer.
    pub spent: Usd,
    /// The number of model replies in the main turn; 0 until the main turn has ended.
    pub replies: u32,
    /// The number of tool calls; 0 until the main turn has ended.
    pub calls: usize,
    /// The number of tool calls that failed.
    pub call_errors: usize,
    /// The number of modules that the persona has rated.
    pub ratings: usize,
    /// The number of the deployment that was current when the run began.
    pub deployment: Option<i64>,
    /// The id of the model that requests name.
    pub model: String,
}

impl Journal {
    /// A part of the runs that the filter lets through, at most `limit` runs.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn find_runs(
        &self,
        filter: &RunFilter,
        part: Part,
        limit: u32,
    ) -> Result<Page<FoundRun>> {
        let mut conditions = Conditions::default();
        let (from, column) = filter.source(&mut conditions);
        filter.of_facts(&mut conditions);
        if let Some(days) = filter.days {
            conditions.and_of_days(days, &self.time_zone().await?);
        }
        let (sql, values) = conditions.part(&format!("{COLUMNS}{from}"), column, part, limit);
        let rows = self.rows("find runs", sql, values).await?;
        Ok(page(self.readable("a run", &rows, read), part, limit))
    }
}

impl RunFilter {
    /// The tables that the runs are read from, and the column of their ids. Where only the runs with some fact are
    /// wanted, the table of that fact is read in the order of its key, which begins with the run.
    fn source(&self, conditions: &mut Conditions) -> (&'static str, &'static str) {
        if let Some(issue) = &self.issue {
            conditions.and("fact.issue = $1", [text(issue)]);
            return ("issue_hits AS fact JOIN runs ON runs.id = fact.run_id", "fact.run_id");
        }
        if let Some(tool) = &self.tool {
            conditions.and("fact.tool = $1", [text(tool)]);
            return ("run_tools AS fact JOIN runs ON runs.id = fact.run_id", "fact.run_id");
        }
        if let Some(module) = &self.module {
            conditions.and("fact.module = $1", [text(module)]);
            return ("run_modules AS fact JOIN runs ON runs.id = fact.run_id", "fact.run_id");
        }
        ("runs", "runs.id")
    }

    /// The conditions on columns of the run, and on facts that [`RunFilter::source`] has not read already.
    fn of_facts(&self, conditions: &mut Conditions) {
        let of_run = [
            ("runs.persona_id = $1", self.persona.as_ref()),
            ("runs.outcome = $1", self.outcome.as_ref()),
            ("runs.state = $1", self.state.as_ref()),
            ("runs.model = $1", self.model.as_ref()),
        ];
        for (condition, value) in of_run {
            if let Some(value) = value {
                conditions.and(condition, [text(value)]);
            }
        }
        if let Some(deployment) = self.deployment {
            conditions.and("runs.deployment = $1", [Value::Number(Some(deployment))]);
        }
        if let (Some(_), Some(tool)) = (&self.issue, &self.tool) {
            let used = "EXISTS (SELECT 1 FROM run_tools WHERE run_id = runs.id AND tool = $1)";
            conditions.and(used, [text(tool)]);
        }
        if let (true, Some(module)) = (self.issue.is_some() || self.tool.is_some(), &self.module) {
            let used = "EXISTS (SELECT 1 FROM run_modules WHERE run_id = runs.id AND module = $1)";
            conditions.and(used, [text(module)]);
        }
    }
}

pub(super) fn read(row: &Row) -> std::result::Result<FoundRun, String> {
    let state = row.text("state")?;
    let server_at = row.time("server_at").ok_or("there is no server_at")?;
    let took = row.time("started_at").zip(row.time("ended_at"));
    Ok(FoundRun {
        id: row.run("id")?,
        persona_id: row.text("persona_id")?,
        label: row.text("label").ok(),
        state: RunState::parse(&state).ok_or_else(|| format!("state {state:?}"))?,
        stage: row.text("stage")?,
        outcome: row.text("outcome").ok().and_then(|word| Outcome::parse(&word)),
        end_reason: row.text("end_reason").ok(),
        server_at,
        day_at: row.time("server_time").unwrap_or(server_at),
        took: took.map(|(started, ended)| ended.duration_since(started)),
        spent: row.money("spent"),
        replies: row.count("replies"),
        calls: row.count("calls"),
        call_errors: row.count("call_errors"),
        ratings: row.count("ratings"),
        deployment: row.number("deployment"),
        model: row.text("model")?,
    })
}
