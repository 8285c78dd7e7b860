//! Whom an issue has hit, and when.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};

use super::{MOST, OF_DAYS, days};
use crate::{
    domain::RunId,
    facts::line,
    journal::{Journal, Result, Row, facts, number, text},
};

const TASK: &str = "read an issue";

/// Milliseconds of a quarter of an hour. In every time zone a day begins with one.
const QUARTER: i64 = 900_000;

/// How an issue has hit a persona.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonaHits {
    /// The id of the persona.
    pub persona_id: String,
    /// The local part of the persona's e-mail.
    pub label: Option<String>,
    /// The number of runs that had the issue.
    pub runs: u32,
    /// In how many of these runs each tool that failed with the issue succeeded later.
    pub recovered: u32,
    /// The number of calls that failed with the issue.
    pub calls: u32,
    /// The latest of the runs.
    pub last_run: RunId,
}

/// How an issue has hit the fleet on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayHits {
    /// The day.
    pub day: Date,
    /// The number of runs that had the issue.
    pub runs: u32,
    /// In how many of these runs each tool that failed with the issue succeeded later.
    pub recovered: u32,
    /// The number of calls that failed with the issue.
    pub calls: u32,
}

impl Journal {
    /// The issue with this id.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn issue(&self, id: &str) -> Result<Option<line::Issue>> {
        let rows = self.rows(TASK, "SELECT * FROM issues WHERE id = $1", vec![text(id)]).await?;
        Ok(self.readable("an issue", &rows, facts::read_issue).pop())
    }

    /// The personas that an issue has hit on these days (first and last), at most `limit` of them, those with the most
    /// runs first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn personas_of_issue(
        &self,
        issue: &str,
        of: (Date, Date),
        limit: u32,
    ) -> Result<Vec<PersonaHits>> {
        let sql = format!(
            "SELECT persona_id, (SELECT label FROM personas WHERE id = persona_id) AS label, COUNT(*) AS hit, \
             CAST(SUM(fact.recovered) AS BIGINT) AS recovered, CAST(SUM(fact.calls) AS BIGINT) AS calls, \
             MAX(fact.run_id) AS last_run FROM issue_hits AS fact JOIN runs ON runs.id = fact.run_id \
             WHERE {OF_DAYS} AND fact.issue = $3 GROUP BY persona_id ORDER BY hit DESC, persona_id LIMIT $4"
        );
        let mut values = days(of, &self.time_zone().await?);
        values.extend([text(issue), number(limit.clamp(1, MOST))]);
        let rows = self.rows(TASK, sql, values).await?;
        Ok(self.readable("an issue", &rows, persona_hits))
    }

    /// The days of these (first and last) on which an issue has hit runs, in order.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn hits_by_day(&self, issue: &str, of: (Date, Date)) -> Result<Vec<DayHits>> {
        // The database does not know the time zone.
        let sql = format!(
            "SELECT COALESCE(runs.server_time, runs.server_at) / {QUARTER} AS quarter, COUNT(*) AS hit, \
             CAST(SUM(fact.recovered) AS BIGINT) AS recovered, CAST(SUM(fact.calls) AS BIGINT) AS calls \
             FROM issue_hits AS fact JOIN runs ON runs.id = fact.run_id \
             WHERE {OF_DAYS} AND fact.issue = $3 GROUP BY quarter ORDER BY quarter"
        );
        let zone = self.time_zone().await?;
        let mut values = days(of, &zone);
        values.push(text(issue));
        let mut all = BTreeMap::<Date, DayHits>::new();
        for row in self.rows(TASK, sql, values).await? {
            let begin = row.number("quarter").and_then(|quarter| quarter.checked_mul(QUARTER));
            let begin = begin.and_then(|begin| Timestamp::from_millisecond(begin).ok());
            let day = zone.to_datetime(begin.unwrap_or_default()).date();
            let hits = all.entry(day).or_insert(DayHits { day, runs: 0, recovered: 0, calls: 0 });
            hits.runs += row.count::<u32>("hit");
            hits.recovered += row.count::<u32>("recovered");
            hits.calls += row.count::<u32>("calls");
        }
        Ok(all.into_values().collect())
    }

    /// The issues that a person has muted, the latest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn mutes(&self) -> Result<Vec<line::Mute>> {
        let sql = "SELECT * FROM mutes ORDER BY muted_at DESC, issue LIMIT $1";
        let rows = self.rows("list the mutes", sql, vec![number(MOST)]).await?;
        Ok(self.readable("a mute", &rows, facts::read_mute))
    }
}

fn persona_hits(row: &Row) -> std::result::Result<PersonaHits, String> {
    Ok(PersonaHits {
        persona_id: row.text("persona_id")?,
        label: row.text("label").ok(),
        runs: row.count("hit"),
        recovered: row.count("recovered"),
        calls: row.count("calls"),
        last_run: row.run("last_run")?,
    })
}
