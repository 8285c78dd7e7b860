//! The batches that a runner posts: their form, what is refused, and how they are stored.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use sqlx::Connection;

use super::{
    refusal::Refusal,
    store::{Store, iso},
};

const MAX_ACTIONS: usize = 500;
const MAX_RATINGS: usize = 100;
/// Longest row id, in UTF-16 code units.
const MAX_ID: usize = 255;

#[derive(Deserialize)]
pub(super) struct Actions {
    actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    tick_id: String,
    tool_name: String,
    #[serde(default, deserialize_with = "not_null")]
    input_hash: Option<String>,
    result: Outcome,
    #[serde(default, deserialize_with = "not_null")]
    error_message: Option<String>,
    /// The endpoint accepts any number; the column then refuses a value that is not a 32-bit integer.
    #[serde(default, deserialize_with = "not_null")]
    latency_ms: Option<f64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Error,
}

#[derive(Deserialize)]
pub(super) struct Feedback {
    feedback: Vec<Rating>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rating {
    tick_id: String,
    module: String,
    /// The endpoint accepts any number from 1 to 5; the column then refuses fractions.
    rating: f64,
    #[serde(default, deserialize_with = "not_null")]
    notes: Option<String>,
}

/// Deserializes a field that may be absent but not null.
fn not_null<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl Actions {
    /// Parses a request body; one invalid row makes the whole batch invalid.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let batch: Self = serde_json::from_slice(body).map_err(|_| INVALID)?;
        let named = |row: &Action| !row.tick_id.is_empty() && !row.tool_name.is_empty();
        let size = 1..=MAX_ACTIONS;
        let good = size.contains(&batch.actions.len()) && batch.actions.iter().all(named);
        if good { Ok(batch) } else { Err(INVALID) }
    }

    /// The tick id of the batch's first row.
    pub(super) fn tick_id(&self) -> &str {
        self.actions.first().map_or("", |row| &row.tick_id)
    }

    /// Stores the whole batch or nothing, and updates last_active_at. Returns the number of rows sent.
    pub(super) async fn write(
        &self,
        store: &Store,
        persona: &str,
        now: Timestamp,
    ) -> Result<usize, sqlx::Error> {
        let mut connection = store.connection().await;
        let mut transaction = connection.begin().await?;
        for (index, row) in self.actions.iter().enumerate() {
            sqlx::query(
                "INSERT INTO auth.persona_actions
                 (id, persona_id, tick_id, tool_name, input_hash, result, error_message,
                  latency_ms, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            )
            .bind(row_id(format!("{}-{index}-{}", row.tick_id, row.tool_name)))
            .bind(persona)
            .bind(&row.tick_id)
            .bind(&row.tool_name)
            .bind(&row.input_hash)
            .bind(match row.result {
                Outcome::Ok => "ok",
                Outcome::Error => "error",
            })
            .bind(&row.error_message)
            .bind(row.latency_ms)
            .bind(iso(now))
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("UPDATE auth.personas SET last_active_at = $2 WHERE user_id = $1")
            .bind(persona)
            .bind(iso(now))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(self.actions.len())
    }
}

impl Feedback {
    /// Parses a request body; one invalid row makes the whole batch invalid.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let batch: Self = serde_json::from_slice(body).map_err(|_| INVALID)?;
        let sound = |row: &Rating| {
            !row.tick_id.is_empty() && !row.module.is_empty() && (1.0..=5.0).contains(&row.rating)
        };
        let size = 1..=MAX_RATINGS;
        let good = size.contains(&batch.feedback.len()) && batch.feedback.iter().all(sound);
        if good { Ok(batch) } else { Err(INVALID) }
    }

    /// Stores the whole batch or nothing. Returns the number of rows sent.
    pub(super) async fn write(
        &self,
        store: &Store,
        persona: &str,
        now: Timestamp,
    ) -> Result<usize, sqlx::Error> {
        let mut connection = store.connection().await;
        let mut transaction = connection.begin().await?;
        for row in &self.feedback {
            sqlx::query(
                "INSERT INTO auth.persona_feedback
                 (id, persona_id, tick_id, module, rating, notes, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(row_id(format!("{}-{}", row.tick_id, row.module)))
            .bind(persona)
            .bind(&row.tick_id)
            .bind(&row.module)
            .bind(row.rating)
            .bind(&row.notes)
            .bind(iso(now))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(self.feedback.len())
    }
}

const INVALID: Refusal = Refusal::BadRequest("Invalid request body");

/// The id, cut to `MAX_ID` UTF-16 code units, as JavaScript counts them.
fn row_id(mut id: String) -> String {
    let mut units = 0;
    let end = id.char_indices().find(|(_, letter)| {
        units += letter.len_utf16();
        units > MAX_ID
    });
    if let Some((end, _)) = end {
        id.truncate(end);
    }
    id
}
