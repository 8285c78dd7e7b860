//! What runs say about a module.

use jiff::{Timestamp, civil::Date};

use super::{Conditions, Page, Part, page};
use crate::{
    facts::line,
    journal::{Journal, Result, Row, facts, number, text},
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

/// Which ratings a list has. A condition that is `None` holds for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatingFilter {
    /// The name of the module.
    pub module: String,
    /// The first and the last day.
    pub days: (Date, Date),
    /// The id of the persona.
    pub persona: Option<String>,
    /// The rating.
    pub rating: Option<Rated>,
}

/// Which ratings are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rated {
    /// This number, whether it is grounded or not.
    As(u8),
    /// Those that name no call of the module in the run.
    Ungrounded,
    /// Uses of the module without a rating.
    Missing,
}

impl Journal {
    /// What the runs that used or rated a module say about it, a part of at most `limit` runs.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn ratings_of(
        &self,
        filter: &RatingFilter,
        part: Part,
        limit: u32,
    ) -> Result<Page<StoredRating>> {
        let mut conditions = Conditions::default();
        conditions.and("fact.module = $1", [text(&filter.module)]);
        conditions.and_of_days(filter.days, &self.time_zone().await?);
        if let Some(persona) = &filter.persona {
            conditions.and("runs.persona_id = $1", [text(persona)]);
        }
        match filter.rating {
            None => {}
            Some(Rated::As(rating)) => conditions.and("fact.rating = $1", [number(rating)]),
            Some(Rated::Ungrounded) => {
                conditions.and("fact.rating IS NOT NULL AND fact.grounded = 0", []);
            }
            Some(Rated::Missing) => conditions.and("fact.rating IS NULL", []),
        }
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
