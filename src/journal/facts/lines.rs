//! Reading the facts in the order of an export.

mod derived;
mod of_one;
mod rows;

use std::{collections::HashSet, ops::Range};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

pub(in crate::journal) use rows::{call as read_call, issue as read_issue, module as read_module};

use super::{TIME_ZONE, catalogs, deployments, mutes, personas, presence};
use crate::{
    facts::{Line, line},
    journal::{Journal, LIMIT, Read, Result, Row, Snapshot, Sql, Value, failed, text, time},
};

/// What is attempted, for messages.
const TASK: &str = "read the facts";

/// Which calls are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The calls of all runs.
    All,
    /// The calls of runs of these days, first and last, without the hits and tools of these runs, which follow from their
    /// calls.
    CallsIn((Date, Date)),
    /// No calls, but the hits and tools of all runs.
    NoCalls,
}

/// A query for rows of a table that belong to runs of certain days, in the order of the runs' begin. Each column costs
/// time, so numbers and words of the many rows are read as one text, at the end of which one other text may stand
/// (`rows::Packed`).
macro_rules! of_runs {
    ($columns:expr, $table:literal, $kept:expr, $last:literal) => {
        concat!(
            "SELECT run_id, ",
            $columns,
            " FROM runs JOIN ",
            $table,
            " AS fact ON fact.run_id = runs.id WHERE runs.",
            $kept,
            " AND COALESCE(server_time, server_at) >= $1 AND COALESCE(server_time, server_at) < $2 \
             ORDER BY runs.server_at, runs.id, fact.",
            $last
        )
    };
}

macro_rules! call_columns {
    () => {
        "tool, module, template, fact.number || ',' || fact.at || ',' || ok || ',' || COALESCE(cause, '') || ',' || \
         COALESCE(issue, '') || ',' || COALESCE(input_hash, '') || ',' || latency_ms || ',' || tries || ',' || \
         chars || ',' || cut || ',' || limit_offered || ',' || COALESCE(next, '') || ',' || \
         COALESCE('=' || quote, '') AS packed"
    };
}

macro_rules! module_columns {
    () => {
        "module, COALESCE(CAST(rating AS TEXT), '') || ',' || grounded || ',' || COALESCE(unrated_why, '') || ',' || \
         reads || ',' || writes || ',' || failed || ',' || dead_end || ',' || fact.calls || ';' || \
         COALESCE('=' || notes, '') AS packed"
    };
}

macro_rules! tool_columns {
    () => {
        "fact.calls || ',' || failed || ',' || dead_end || ',' || recovered || ',' || tool AS packed"
    };
}

macro_rules! hit_columns {
    () => {
        "issue, fact.calls || ',' || recovered || ',' || tools AS packed"
    };
}

macro_rules! without_calls {
    () => {
        "facts > 0 AND NOT (runs.has_calls = 1 AND COALESCE(server_time, server_at) >= $3 \
         AND COALESCE(server_time, server_at) < $4)"
    };
}
use {call_columns, hit_columns, module_columns, tool_columns};

/// The columns of a call and of a module's use, from a table that the query calls `fact`.
pub(in crate::journal) const CALL_COLUMNS: &str = call_columns!();
pub(in crate::journal) const MODULE_COLUMNS: &str = module_columns!();

const CATALOGS: &str = "SELECT * FROM catalog_facts ORDER BY first_at, id";
const DEPLOYMENTS: &str =
    "SELECT * FROM deployments WHERE first_at IS NOT NULL ORDER BY first_at, number";
const PERSONAS: &str = "SELECT * FROM personas ORDER BY first_at, id";
pub(super) const RUNS: &str = "SELECT id, persona_id, slot, model, effort, policy, runner, prompt, catalog, server_at || ',' || \
     started_at || ',' || COALESCE(CAST(ended_at AS TEXT), '') || ',' || COALESCE(CAST(server_time AS TEXT), '') || ',' || \
     COALESCE(CAST(deployment AS TEXT), '') || ',' || COALESCE(CAST(deployment_end AS TEXT), '') || ',' || spent || ',' || \
     COALESCE(outcome, '') AS packed FROM runs WHERE facts > 0 AND COALESCE(server_time, server_at) >= $1 \
     AND COALESCE(server_time, server_at) < $2 ORDER BY server_at, id";
pub(super) const CALLS: &str = of_runs!(call_columns!(), "calls", "has_calls = 1", "number");
const MODULES: &str = of_runs!(module_columns!(), "run_modules", "facts > 0", "module");
const HITS: &str = of_runs!(hit_columns!(), "issue_hits", "facts > 0", "issue");
const TOOLS: &str = of_runs!(tool_columns!(), "run_tools", "facts > 0", "tool");
/// The hits and tools of the runs whose calls are not read ($3, $4): those of the others follow from the calls.
const OTHER_HITS: &str = of_runs!(hit_columns!(), "issue_hits", without_calls!(), "issue");
const OTHER_TOOLS: &str = of_runs!(tool_columns!(), "run_tools", without_calls!(), "tool");
const ISSUES: &str = "SELECT * FROM issues WHERE EXISTS (SELECT 1 FROM issue_hits \
     JOIN runs ON runs.id = issue_hits.run_id WHERE issue_hits.issue = issues.id \
     AND COALESCE(server_time, server_at) >= $1 AND COALESCE(server_time, server_at) < $2) \
     ORDER BY first_at, id";
const MUTES: &str = "SELECT * FROM mutes WHERE EXISTS (SELECT 1 FROM issue_hits \
     JOIN runs ON runs.id = issue_hits.run_id WHERE issue_hits.issue = mutes.issue \
     AND COALESCE(server_time, server_at) >= $1 AND COALESCE(server_time, server_at) < $2) \
     ORDER BY muted_at, issue";
const ABSENCES: &str = "SELECT slot, persona_id, why FROM absences WHERE slot >= $1 AND slot < $2 \
     ORDER BY slot, persona_id";
const TICKS: &str = "SELECT at FROM ticks WHERE at >= $1 AND at < $2 ORDER BY at";
/// The newest of all times that a line has, but for the slots of absences. No call is newer than the end of its run.
const NEWEST: &str = "SELECT MAX(at) AS at FROM (SELECT MAX(server_at) AS at FROM runs WHERE facts > 0 \
     UNION ALL SELECT MAX(server_time) FROM runs WHERE facts > 0 \
     UNION ALL SELECT MAX(server_at + ended_at - started_at) FROM runs WHERE facts > 0 \
     UNION ALL SELECT MAX(first_at) FROM deployments UNION ALL SELECT MAX(at) FROM ticks) AS newest";
/// As [`NEWEST`], but of the runs only the latest ones are looked at.
const NEWEST_OF_LATEST: &str = "WITH latest AS (SELECT server_at, server_time, started_at, ended_at FROM runs \
     WHERE facts > 0 ORDER BY server_at DESC, id DESC LIMIT 1000) SELECT MAX(at) AS at FROM (SELECT MAX(server_at) AS at FROM latest \
     UNION ALL SELECT MAX(server_time) FROM latest \
     UNION ALL SELECT MAX(server_at + ended_at - started_at) FROM latest \
     UNION ALL SELECT MAX(first_at) FROM deployments UNION ALL SELECT MAX(at) FROM ticks) AS newest";
/// The newest absence from a day, and the newest one from an hour.
const NEWEST_SLOTS: &str = "SELECT MAX(slot) AS slot FROM absences WHERE length(slot) = 10 \
     UNION ALL SELECT MAX(slot) FROM absences WHERE length(slot) > 10";

impl Journal {
    /// The time zone whose dates are the days of the facts.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn time_zone(&self) -> Result<TimeZone> {
        let name = self.kept(TIME_ZONE).await?.unwrap_or_default();
        Ok(TimeZone::get(&name).unwrap_or(TimeZone::UTC))
    }

    /// The newest time of the facts: of the begin or end of a run, a deployment or a tick, or the begin of an
    /// absence's slot.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn newest_fact(&self) -> Result<Option<Timestamp>> {
        self.newest_by(NEWEST).await
    }

    /// As [`Journal::newest_fact`], but of the runs only the thousand that began last are looked at, so that the time does
    /// not grow with their number.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(in crate::journal) async fn newest_of_latest(&self) -> Result<Option<Timestamp>> {
        self.newest_by(NEWEST_OF_LATEST).await
    }

    async fn newest_by(&self, sql: Sql) -> Result<Option<Timestamp>> {
        let rows = self.rows(TASK, sql, vec![]).await?;
        let newest = rows.first().and_then(|row| row.time("at"));
        let slots = self.rows(TASK, NEWEST_SLOTS, vec![]).await?;
        let zone = self.time_zone().await?;
        let slots = slots.iter().filter_map(|row| slot_begin(&row.text("slot").ok()?, &zone));
        Ok(slots.chain(newest).max())
    }

    /// Hands the facts over line by line, in the order of an export. `range` limits the lines to those of the days
    /// from the first to the last, in the journal's time zone: runs of these days, what belongs to these runs, their
    /// issues with the mutes, absences and ticks. Catalogs, deployments and personas are not limited.
    ///
    /// The lines are those of one moment. Nobody who writes waits for this. A row that cannot be read is logged and
    /// left out, with what belongs to it.
    ///
    /// # Errors
    /// If the journal cannot be read. Some lines may have been handed over then.
    pub async fn facts_lines(
        &self,
        range: Option<(Date, Date)>,
        history: History,
        mut each: impl FnMut(Line),
    ) -> Result<()> {
        let zone = self.time_zone().await?;
        let tz = zone.iana_name().unwrap_or("UTC").to_owned();
        each(Line::Meta(line::Meta { schema: line::SCHEMA.into(), tz }));
        let snapshot = self.snapshot(TASK).await?;
        let mut lines = Lines { journal: self, snapshot, each, left_out: HashSet::new() };
        let (days, slots) = (days(range, &zone), slots(range));
        let calls = match history {
            History::CallsIn(days) => self::days(Some(days), &zone),
            History::All | History::NoCalls => days.clone(),
        };
        let (hits, tools, derived) = match history {
            History::CallsIn(_) => (OTHER_HITS, OTHER_TOOLS, [&*days, &*calls].concat()),
            History::All | History::NoCalls => (HITS, TOOLS, days.clone()),
        };
        lines.read(CATALOGS, &[], catalogs::read, Line::Catalog).await?;
        lines.read(DEPLOYMENTS, &[], deployments::line, Line::Deployment).await?;
        lines.read(PERSONAS, &[], personas::read, Line::Persona).await?;
        lines.read(RUNS, &days, rows::run, Line::Run).await?;
        if history != History::NoCalls {
            lines.read(CALLS, &calls, rows::call, Line::Call).await?;
        }
        lines.read(MODULES, &days, rows::module, Line::Module).await?;
        lines.read(ISSUES, &days, rows::issue, Line::Issue).await?;
        lines.read(hits, &derived, rows::hit, Line::Hit).await?;
        lines.read(tools, &derived, rows::tool, Line::Tool).await?;
        // Slots are days and hours of UTC.
        lines.read_absences(&slots, times(range, &TimeZone::UTC)).await?;
        lines.read(TICKS, &days, rows::tick, Line::Tick).await?;
        lines.read(MUTES, &days, mutes::read, Line::Mute).await
    }
}

/// The lines of one moment, and where they go.
struct Lines<'a, F> {
    journal: &'a Journal,
    snapshot: Snapshot,
    each: F,
    /// Ids of runs and issues that cannot be read. No line may name them, because no line describes them.
    left_out: HashSet<String>,
}

impl<F: FnMut(Line)> Lines<'_, F> {
    async fn read<T>(
        &mut self,
        sql: Sql,
        values: &[Value],
        read: Read<T>,
        line: fn(T) -> Line,
    ) -> Result<()> {
        let Self { journal, snapshot, each, left_out } = self;
        let row = |row: Row| match journal.readable_row("the facts", &row, read).map(line) {
            Some(line) if owners(&line).into_iter().flatten().any(|id| left_out.contains(id)) => {}
            Some(line) => each(line),
            None => left_out.extend(row.text("id").ok()),
        };
        let read = snapshot.each(sql, values.to_vec(), LIMIT, row).await;
        read.map_err(|error| failed(TASK, &error))
    }
}

/// The run and the issue that a line belongs to.
fn owners(line: &Line) -> [Option<&String>; 2] {
    match line {
        Line::Call(call) => [Some(&call.run), None],
        Line::Module(module) => [Some(&module.run), None],
        Line::Tool(tool) => [Some(&tool.run), None],
        Line::Hit(hit) => [Some(&hit.run), Some(&hit.issue)],
        _ => [None, None],
    }
}

/// When the slot begins: a day in `zone`, or an hour of UTC; `None` if the text is no slot.
fn slot_begin(slot: &str, zone: &TimeZone) -> Option<Timestamp> {
    match slot.split_once('T') {
        Some(_) => format!("{slot}:00:00Z").parse().ok(),
        None => zone.to_timestamp(slot.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok(),
    }
}

/// When these days begin and end in `zone`.
fn times(range: Option<(Date, Date)>, zone: &TimeZone) -> Range<Timestamp> {
    // Midnight of the first and last days of all is no time.
    let edge = |date: Date| if date.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let midnight = |date: Date| zone.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(edge(date));
    let from = range.map_or(Timestamp::MIN, |(from, _)| midnight(from));
    let after = |to: Date| to.tomorrow().map_or(Timestamp::MAX, midnight);
    let end = range.map_or(Timestamp::MAX, |(_, to)| after(to));
    from..end
}

/// [`times`], for a query.
pub(in crate::journal) fn days(range: Option<(Date, Date)>, zone: &TimeZone) -> Vec<Value> {
    let Range { start, end } = times(range, zone);
    vec![time(start), time(end)]
}

/// The first slot of these days, and the first slot after them.
pub(in crate::journal) fn slots(range: Option<(Date, Date)>) -> Vec<Value> {
    let end =
        |date: Date| date.tomorrow().map_or_else(|_| "9999-99".into(), |date| date.to_string());
    match range {
        Some((from, to)) => vec![text(from), text(end(to))],
        None => vec![text(""), text("9999-99")],
    }
}
