//! Whether the facts have changed.

use crate::journal::{Journal, Result, Row, Statement, TIME_ZONE, text};

/// The name of the count of changes in the table `control`.
const CHANGES: &str = "facts_changes";

/// A value that differs whenever the facts of the journal have changed: the facts of runs, issues, mutes, deployments,
/// personas, absences, ticks, halts, and the time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision(Vec<(String, String)>);

impl Journal {
    /// The revision of the facts now.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn revision(&self) -> Result<Revision> {
        let sql = "SELECT name, value FROM control WHERE name IN ($1, $2) ORDER BY name";
        let values = vec![text(CHANGES), text(TIME_ZONE.name())];
        let rows = self.rows("look for new facts", sql, values).await?;
        let read = |row: &Row| Ok((row.text("name")?, row.text("value")?));
        Ok(Revision(self.readable("a control value", &rows, read)))
    }
}

/// The statement that notes a change of the facts. It belongs into each transaction that may change them.
pub(in crate::journal) fn change() -> Statement {
    const COUNT: &str = "INSERT INTO control (name, value, at) VALUES ($1, '1', 0) ON CONFLICT (name) \
         DO UPDATE SET value = CAST(CAST(control.value AS BIGINT) + 1 AS TEXT)";
    (COUNT.into(), vec![text(CHANGES)])
}
