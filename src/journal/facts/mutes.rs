//! Issues that a person has muted.

use jiff::Timestamp;

use super::words;
use crate::{
    facts::line,
    journal::{Journal, Result, Row, text, time},
};

impl Journal {
    /// Mutes an issue; replaces an earlier mute of the issue. Returns false if there is no such issue.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn mute(
        &self,
        issue: &str,
        from: Timestamp,
        until: Timestamp,
        reason: &str,
    ) -> Result<bool> {
        let sql = "INSERT INTO mutes (issue, muted_at, muted_until, reason) \
             SELECT id, $2, $3, $4 FROM issues WHERE id = $1 ON CONFLICT (issue) DO UPDATE \
             SET muted_at = excluded.muted_at, muted_until = excluded.muted_until, \
             reason = excluded.reason RETURNING issue";
        let values = vec![text(issue), time(from), time(until), words(reason)];
        Ok(!self.write_facts_alone("mute an issue", vec![(sql.into(), values)]).await?.is_empty())
    }

    /// Ends the mute of an issue, if there is one. Returns false if there is no such issue.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn unmute(&self, issue: &str) -> Result<bool> {
        let issues =
            self.rows("look up an issue", "SELECT 1 FROM issues WHERE id = $1", vec![text(issue)]);
        if issues.await?.is_empty() {
            return Ok(false);
        }
        let statement = ("DELETE FROM mutes WHERE issue = $1".into(), vec![text(issue)]);
        self.write_facts_alone("unmute an issue", vec![statement]).await?;
        Ok(true)
    }
}

pub(in crate::journal) fn read(row: &Row) -> std::result::Result<line::Mute, String> {
    let time = |column: &str| row.time(column).ok_or_else(|| format!("there is no {column}"));
    Ok(line::Mute {
        issue: row.text("issue")?,
        from: time("muted_at")?,
        until: time("muted_until")?,
        reason: row.text("reason")?,
    })
}
