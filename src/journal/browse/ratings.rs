//! What runs say about a module.

use jiff::{Timestamp, civil::Date};

use super::{Conditions, Page, Part, page};
use crate::{
    facts::line,
    journal::{Journal, Result, Row, facts, text},
};

/// What a run says about a module: its rating, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRating {
    /// How the run used and rated the module.
    pub module: line::Module,
    /// The id of the persona.
    pub persona_id: String,
    /// The local part of the persona's e-mail.
    pub label: Option<String>,
    /// When the run began, by mana-auth's time.
    pub server_at: Timestamp,
    /// The time whose day is the day of the run: that of the list of due personas, or else the begin.
    pub day_at: Timestamp,
}

impl Journal {
    /// What the runs of these days (first and last) say that used or rated a module, a part of at most `limit` runs.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn ratings_of(
        &self,
        module: &str,
        of: (Date, Date),
        part: Part,
        limit: u32,
    ) -> Result<Page<StoredRating>> {
        let mut conditions = Conditions::default();
        conditions.and("fact.module = $1", [text(module)]);
        conditions.and_of_days(of, &self.time_zone().await?);
        let head = format!(
            "SELECT fact.run_id, {}, runs.persona_id, \
             (SELECT label FROM personas WHERE id = runs.persona_id) AS label, runs.server_at, runs.server_time \
             FROM run_modules AS fact JOIN runs ON runs.id = fact.run_id",
            facts::MODULE_COLUMNS
        );
        let (sql, values) = conditions.part(&head, "fact.run_id", part, limit);
        let rows = self.rows("read ratings", sql, values).await?;
        Ok(page(self.readable("a rating", &rows, read), part, limit))
    }
}

fn read(row: &Row) -> std::result::Result<StoredRating, String> {
    let server_at = row.time("server_at").ok_or("there is no server_at")?;
    Ok(StoredRating {
        module: facts::read_module(row)?,
        persona_id: row.text("persona_id")?,
        label: row.text("label").ok(),
        server_at,
        day_at: row.time("server_time").unwrap_or(server_at),
    })
}
