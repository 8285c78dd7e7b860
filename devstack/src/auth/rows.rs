//! Reads persona, audit and rating rows, and decides which personas are due.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::Value;

use super::store::{Store, iso};

/// A row of `auth.personas`.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonaRow {
    /// Id of the user that the persona is.
    pub user_id: String,
    /// The kind of person that the persona represents.
    pub archetype: String,
    /// The system prompt that Claude plays the persona with.
    pub system_prompt: String,
    /// Weight of each module.
    pub module_mix: Value,
    /// `hourly`, `daily` or `weekdays`.
    pub tick_cadence: String,
    /// When actions were last posted.
    pub last_active_at: Option<Timestamp>,
    /// When the persona was created.
    pub created_at: Timestamp,
}

/// A row of `auth.persona_actions`.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionRow {
    /// `{tickId}-{index in its batch}-{toolName}`.
    pub id: String,
    /// User id of the persona.
    pub persona_id: String,
    /// Id of the run that the action belongs to.
    pub tick_id: String,
    /// The tool's MCP name, for example `habits.create`.
    pub tool_name: String,
    /// Hash of the tool's input.
    pub input_hash: Option<String>,
    /// The outcome of the call: `ok` or `error`.
    pub result: String,
    /// The error message of a failed call.
    pub error_message: Option<String>,
    /// How long the call took, in milliseconds.
    pub latency_ms: Option<i64>,
    /// When the row was written.
    pub created_at: Timestamp,
}

/// A row of `auth.persona_feedback`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackRow {
    /// Row id of the form `{tickId}-{module}`.
    pub id: String,
    /// User id of the persona.
    pub persona_id: String,
    /// Id of the run that is rated.
    pub tick_id: String,
    /// Name of the module that is rated.
    pub module: String,
    /// The rating, from 1 to 5.
    pub rating: i64,
    /// The persona's reason for the rating.
    pub notes: Option<String>,
    /// When the row was written.
    pub created_at: Timestamp,
}

/// A persona that is due, with the e-mail it logs in with.
pub(super) struct Due {
    pub email: String,
    pub persona: PersonaRow,
}

type PersonaColumns = (String, String, String, String, String, Option<String>, String);

fn persona(columns: PersonaColumns) -> Result<PersonaRow, sqlx::Error> {
    let (user_id, archetype, system_prompt, mix, tick_cadence, last_active_at, created_at) =
        columns;
    Ok(PersonaRow {
        user_id,
        archetype,
        system_prompt,
        module_mix: serde_json::from_str(&mix).map_err(|e| sqlx::Error::Decode(e.into()))?,
        tick_cadence,
        last_active_at: last_active_at.as_deref().map(timestamp).transpose()?,
        created_at: timestamp(&created_at)?,
    })
}

fn timestamp(text: &str) -> Result<Timestamp, sqlx::Error> {
    text.parse().map_err(|error: jiff::Error| sqlx::Error::Decode(error.into()))
}

impl Store {
    pub(super) async fn personas(&self) -> Result<Vec<PersonaRow>, sqlx::Error> {
        let rows: Vec<PersonaColumns> = sqlx::query_as(
            "SELECT user_id, archetype, system_prompt, module_mix, tick_cadence, last_active_at,
                    created_at
             FROM auth.personas ORDER BY rowid",
        )
        .fetch_all(&mut *self.connection().await)
        .await?;
        rows.into_iter().map(persona).collect()
    }

    /// Whether this user is a persona.
    pub(super) async fn has_persona(&self, user_id: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM auth.personas WHERE user_id = $1)")
            .bind(user_id)
            .fetch_one(&mut *self.connection().await)
            .await
    }

    /// The personas that are due at `now` according to their cadence; a persona that was never active counts
    /// as active long ago. `deleted` includes the personas whose user was deleted.
    pub(super) async fn due(&self, now: Timestamp, deleted: bool) -> Result<Vec<Due>, sqlx::Error> {
        type Row = (String, String, String, String, String, String, Option<String>, String);
        let weekday = now.to_zoned(TimeZone::UTC).weekday().to_monday_one_offset() <= 5;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT u.email, p.user_id, p.archetype, p.system_prompt, p.module_mix,
                    p.tick_cadence, p.last_active_at, p.created_at
             FROM auth.personas p JOIN (
                 SELECT id, email FROM auth.users
                 UNION ALL SELECT id, email FROM auth.deleted_users WHERE $4
             ) u ON u.id = p.user_id
             WHERE CASE p.tick_cadence
                 WHEN 'hourly' THEN p.last_active_at IS NULL OR p.last_active_at < $1
                 WHEN 'daily' THEN p.last_active_at IS NULL OR p.last_active_at < $2
                 WHEN 'weekdays' THEN $3 AND (p.last_active_at IS NULL OR p.last_active_at < $2)
             END
             ORDER BY p.last_active_at ASC NULLS FIRST, p.rowid",
        )
        .bind(iso(now - SignedDuration::from_hours(1)))
        .bind(iso(now - SignedDuration::from_hours(24)))
        .bind(weekday)
        .bind(deleted)
        .fetch_all(&mut *self.connection().await)
        .await?;
        rows.into_iter()
            .map(|(email, id, archetype, prompt, mix, cadence, active, created)| {
                let persona = persona((id, archetype, prompt, mix, cadence, active, created))?;
                Ok(Due { email, persona })
            })
            .collect()
    }

    pub(super) async fn set_last_active_at(
        &self,
        user_id: &str,
        at: Option<Timestamp>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE auth.personas SET last_active_at = $2 WHERE user_id = $1")
            .bind(user_id)
            .bind(at.map(iso))
            .execute(&mut *self.connection().await)
            .await?;
        Ok(())
    }

    pub(super) async fn actions(&self) -> Result<Vec<ActionRow>, sqlx::Error> {
        type Row = (
            String,
            String,
            String,
            String,
            Option<String>,
            String,
            Option<String>,
            Option<i64>,
            String,
        );
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, persona_id, tick_id, tool_name, input_hash, result, error_message,
                    latency_ms, created_at
             FROM auth.persona_actions ORDER BY rowid",
        )
        .fetch_all(&mut *self.connection().await)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ActionRow {
                    id: row.0,
                    persona_id: row.1,
                    tick_id: row.2,
                    tool_name: row.3,
                    input_hash: row.4,
                    result: row.5,
                    error_message: row.6,
                    latency_ms: row.7,
                    created_at: timestamp(&row.8)?,
                })
            })
            .collect()
    }

    pub(super) async fn feedback(&self) -> Result<Vec<FeedbackRow>, sqlx::Error> {
        type Row = (String, String, String, String, i64, Option<String>, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, persona_id, tick_id, module, rating, notes, created_at
             FROM auth.persona_feedback ORDER BY rowid",
        )
        .fetch_all(&mut *self.connection().await)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(FeedbackRow {
                    id: row.0,
                    persona_id: row.1,
                    tick_id: row.2,
                    module: row.3,
                    rating: row.4,
                    notes: row.5,
                    created_at: timestamp(&row.6)?,
                })
            })
            .collect()
    }
}
