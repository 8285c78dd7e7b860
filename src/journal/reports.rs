//! The reports of weeks, and how far each was posted to the webhook. One row for each week.

use jiff::Timestamp;

use super::{Journal, Result, Row, Sql, Value, number, pins::pins, text, time};
use crate::domain::{Label, Language, Week, labels};

const READ: &str = "read the reports";
const NOTE: &str = "note how a report was posted";

labels! {
    /// How far a report was posted to the webhook.
    pub PostState {
        /// The report is not to be posted.
        None = "none",
        /// The webhook has not taken the report yet.
        Waiting = "waiting",
        /// The webhook has taken the report.
        Delivered = "delivered",
        /// The webhook has refused the report for good.
        Refused = "refused",
    }
}

/// The report of a week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReport {
    /// The week.
    pub week: Week,
    /// mana-auth's time when the report was written.
    pub written_at: Timestamp,
    /// How far the report was posted.
    pub post: PostState,
    /// The page.
    pub html: String,
    /// The same in Markdown.
    pub markdown: String,
    /// `report/v1`.
    pub json: String,
}

/// A report in a list, without its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedReport {
    /// The week.
    pub week: Week,
    /// The language of the texts.
    pub language: Language,
    /// mana-auth's time when the report was written.
    pub written_at: Timestamp,
    /// How far the report was posted.
    pub post: PostState,
}

/// A report that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewReport<'a> {
    /// The week.
    pub week: Week,
    /// The language of the texts.
    pub language: Language,
    /// mana-auth's time.
    pub written_at: Timestamp,
    /// The page.
    pub html: &'a str,
    /// The same in Markdown.
    pub markdown: &'a str,
    /// `report/v1`.
    pub json: &'a str,
    /// Whether the report is to be posted.
    pub is_posted: bool,
    /// The runs that it quotes. They are pinned ([`Journal::pin`]).
    pub runs: &'a [&'a str],
}

/// A report that the webhook has not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPost {
    /// The week of the report.
    pub week: Week,
    /// The number of failed attempts. [`Journal::retry_reports`] sets it to 0.
    pub attempts: u32,
    /// When the next attempt is due, by the daemon's clock.
    pub next_try_at: Timestamp,
    /// Whether the webhook has refused the report for good.
    pub is_refused: bool,
    /// Why the last attempt failed; `None` before the first attempt.
    pub reason: Option<String>,
}

impl Journal {
    /// Stores a report and pins its runs, in one transaction. A report of the same week that is stored already stays as
    /// it is. `now` is the time of the daemon's clock. Returns whether the report is stored.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn store_report(&self, report: &NewReport<'_>, now: Timestamp) -> Result<bool> {
        const STORE: &str = "INSERT INTO reports (week, language, written_at, post_state, attempts, tried_at, \
             next_try_at, html, markdown, json) VALUES ($1, $2, $3, $4, 0, $5, $5, $6, $7, $8) \
             ON CONFLICT DO NOTHING RETURNING week";
        let NewReport { week, language, written_at, html, markdown, json, is_posted, runs } =
            *report;
        let state = if is_posted { PostState::Waiting } else { PostState::None };
        let mut values = vec![text(week), text(language.as_str()), time(written_at)];
        values.extend([text(state.as_str()), time(now)]);
        values.extend([html, markdown, json].map(text));
        let mut statements = vec![(STORE.into(), values)];
        statements.extend(pins(runs, now));
        Ok(!self.write_facts_alone("store a report", statements).await?.is_empty())
    }

    /// The report of a week.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn report(&self, week: Week) -> Result<Option<StoredReport>> {
        let sql = "SELECT * FROM reports WHERE week = $1";
        let rows = self.rows(READ, sql, vec![text(week)]).await?;
        Ok(self.readable("a report", &rows, stored).pop())
    }

    /// The weeks that have a report, the latest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn weeks_with_reports(&self) -> Result<Vec<Week>> {
        self.weeks("SELECT week FROM reports ORDER BY week DESC", vec![]).await
    }

    /// The reports, at most `limit` of them, the latest week first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn list_reports(&self, limit: u32) -> Result<Vec<ListedReport>> {
        let sql = "SELECT week, language, written_at, post_state FROM reports ORDER BY week DESC LIMIT $1";
        Ok(self.readable("a report", &self.rows(READ, sql, vec![number(limit)]).await?, listed))
    }

    /// Whether there are facts from before mana-auth's time `at`: a tick, or a run.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn has_facts_before(&self, at: Timestamp) -> Result<bool> {
        let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM ticks WHERE at < $1) \
             OR EXISTS (SELECT 1 FROM runs WHERE facts > 0 AND server_at < $1)";
        Ok(!self.rows(READ, sql, vec![time(at)]).await?.is_empty())
    }

    /// Whether a run has not ended, or owes its rating, whose facts will be of this time from `from` to before `to`, by
    /// mana-auth's clock.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn has_unfinished_runs(&self, from: Timestamp, to: Timestamp) -> Result<bool> {
        let sql = "SELECT 1 FROM runs WHERE state IN ('running', 'rating_owed') \
             AND COALESCE(server_time, server_at) >= $1 AND COALESCE(server_time, server_at) < $2 LIMIT 1";
        Ok(!self.rows(READ, sql, vec![time(from), time(to)]).await?.is_empty())
    }

    /// The earliest week whose report waits for the webhook and is due at `now`, or was tried in the future, because the
    /// clock was ahead then.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn due_report_post(&self, now: Timestamp) -> Result<Option<ReportPost>> {
        let sql = "SELECT week, post_state, attempts, next_try_at, reason FROM reports \
             WHERE post_state = 'waiting' AND (next_try_at <= $1 OR tried_at > $1) \
             ORDER BY week";
        Ok(self.report_posts(sql, vec![time(now)]).await?.into_iter().next())
    }

    /// The reports that the webhook has not taken, refused ones first, then by week.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn kept_report_posts(&self) -> Result<Vec<ReportPost>> {
        let sql = "SELECT week, post_state, attempts, next_try_at, reason FROM reports \
             WHERE post_state IN ('waiting', 'refused') ORDER BY post_state, week";
        self.report_posts(sql, vec![]).await
    }

    /// Takes the post of a report that is due at `now`, until `until`: it is due again then, if nobody notes what became
    /// of it. Returns false if another daemon was faster, or the report need not be posted any more.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn claim_report_post(
        &self,
        week: Week,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        let sql = "UPDATE reports SET tried_at = $2, next_try_at = $3 WHERE week = $1 \
             AND post_state = 'waiting' AND (next_try_at <= $2 OR tried_at > $2) RETURNING week";
        let values = vec![text(week), time(now), time(until)];
        Ok(!self.write(NOTE, vec![(sql.into(), values)]).await?.is_empty())
    }

    async fn report_posts(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<ReportPost>> {
        Ok(self.readable("a report", &self.rows(READ, sql, values).await?, post))
    }

    /// Notes that the webhook has taken the report of a week.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn confirm_report(&self, week: Week, now: Timestamp) -> Result<()> {
        let sql = "UPDATE reports SET post_state = 'delivered', attempts = attempts + 1, \
             tried_at = $2, reason = NULL WHERE week = $1 AND post_state = 'waiting'";
        self.change(NOTE, sql, vec![text(week), time(now)]).await
    }

    /// Notes that an attempt to post a report failed for this reason and that the next one is due at `next`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn postpone_report(
        &self,
        week: Week,
        reason: &str,
        now: Timestamp,
        next: Timestamp,
    ) -> Result<()> {
        let sql = "UPDATE reports SET attempts = attempts + 1, reason = $2, tried_at = $3, \
             next_try_at = $4 WHERE week = $1 AND post_state = 'waiting'";
        self.change(NOTE, sql, vec![text(week), text(reason), time(now), time(next)]).await
    }

    /// Notes that the webhook has refused a report for good. Only a command makes the daemon post it again.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn refuse_report(
        &self,
        week: Week,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        let sql = "UPDATE reports SET post_state = 'refused', attempts = attempts + 1, \
             reason = $2, tried_at = $3 WHERE week = $1 AND post_state = 'waiting'";
        self.change(NOTE, sql, vec![text(week), text(reason), time(now)]).await
    }

    /// Makes all reports that the webhook has not taken due at `now`, refused ones included. Returns their number.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn retry_reports(&self, now: Timestamp) -> Result<usize> {
        let sql = "UPDATE reports SET post_state = 'waiting', attempts = 0, tried_at = $1, \
             next_try_at = $1 WHERE post_state IN ('waiting', 'refused') RETURNING week";
        Ok(self.write(NOTE, vec![(sql.into(), vec![time(now)])]).await?.len())
    }

    /// Gives up posting: no report that the webhook has not taken will be posted later. Returns their number.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn give_up_report_posts(&self) -> Result<usize> {
        let sql = "UPDATE reports SET post_state = 'none' WHERE post_state IN ('waiting', 'refused') \
             RETURNING week";
        Ok(self.write(NOTE, vec![(sql.into(), vec![])]).await?.len())
    }

    /// Gives up posting the report of this week, if the webhook has refused it. Returns whether it has.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn discard_report_post(&self, week: Week) -> Result<bool> {
        let sql = "UPDATE reports SET post_state = 'none' WHERE week = $1 AND post_state = 'refused' \
             RETURNING week";
        Ok(!self.write(NOTE, vec![(sql.into(), vec![text(week)])]).await?.is_empty())
    }

    /// The weeks whose reports were written before mana-auth's time `before`, except the report that was written last:
    /// without it, the same week would be written again.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn old_reports(&self, before: Timestamp) -> Result<Vec<Week>> {
        let sql = "SELECT week FROM reports WHERE written_at < $1 \
             AND week <> (SELECT week FROM reports ORDER BY written_at DESC, week DESC LIMIT 1)";
        self.weeks(sql, vec![time(before)]).await
    }

    /// Deletes the report of a week.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn delete_report(&self, week: Week) -> Result<()> {
        let sql = "DELETE FROM reports WHERE week = $1";
        self.change("delete an old report", sql, vec![text(week)]).await
    }

    async fn weeks(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Week>> {
        Ok(self.readable("a report", &self.rows(READ, sql, values).await?, week))
    }
}

fn week(row: &Row) -> std::result::Result<Week, String> {
    let week = row.text("week")?;
    week.parse().map_err(|_| format!("the week {week:?}"))
}

fn state(row: &Row) -> std::result::Result<PostState, String> {
    let state = row.text("post_state")?;
    PostState::parse(&state).ok_or_else(|| format!("the state {state:?}"))
}

fn post(row: &Row) -> std::result::Result<ReportPost, String> {
    Ok(ReportPost {
        week: week(row)?,
        attempts: row.count("attempts"),
        next_try_at: row.time("next_try_at").unwrap_or_default(),
        is_refused: state(row)? == PostState::Refused,
        reason: row.text("reason").ok(),
    })
}

fn listed(row: &Row) -> std::result::Result<ListedReport, String> {
    let language = row.text("language")?;
    Ok(ListedReport {
        week: week(row)?,
        language: Language::parse(&language).ok_or_else(|| format!("the language {language:?}"))?,
        written_at: row.time("written_at").ok_or("there is no written_at")?,
        post: state(row)?,
    })
}

fn stored(row: &Row) -> std::result::Result<StoredReport, String> {
    Ok(StoredReport {
        week: week(row)?,
        written_at: row.time("written_at").ok_or("there is no written_at")?,
        post: state(row)?,
        html: row.text("html")?,
        markdown: row.text("markdown")?,
        json: row.text("json")?,
    })
}

#[cfg(test)]
mod tests;
