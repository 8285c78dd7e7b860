//! Runs: who, for which slot, how far, how it ended.

use jiff::Timestamp;
use sqlx::{
    Any, AssertSqlSafe, Row,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::{Journal, JournalError, Result, bigint, count, int, millis, outbox, timestamp};
use crate::domain::{Label, Persona, RunId, RunState, Slot, Usd, UserId};

/// Why a run ended that was cancelled; until it has ended, that it is to.
pub const CANCELLED: &str = "cancelled on request";

/// Most runs that one list holds.
const MAX_LIST: u32 = 10_000;

/// A run that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'a> {
    /// Its id, not used before.
    pub id: RunId,
    /// Who.
    pub persona: &'a Persona,
    /// What it stands for.
    pub slot: &'a Slot,
    /// From 1; counts the failed runs in a row before it.
    pub attempt: u32,
    /// The model asked.
    pub model: &'a str,
}

/// How a run, or its main turn, ended.
#[derive(Clone, Debug)]
pub struct EndedRun {
    /// Where it stands now.
    pub state: RunState,
    /// The stage it got to.
    pub stage: &'static str,
    /// Model replies.
    pub replies: u32,
    /// Tool calls.
    pub calls: usize,
    /// Those that failed.
    pub call_errors: usize,
    /// Ratings.
    pub ratings: usize,
    /// Why it ended, in words.
    pub reason: Option<String>,
    /// From when on the persona may run again, if it is held back.
    pub next_eligible_at: Option<Timestamp>,
}

/// A run as stored.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Who; `None` once its steps were deleted, or where the row does not say.
    pub persona: Option<Persona>,
    /// Who, by id.
    pub persona_id: String,
    /// What it stands for.
    pub slot: Slot,
    /// From 1.
    pub attempt: u32,
    /// The model asked.
    pub model: String,
    /// Where it stands.
    pub state: RunState,
    /// The stage it got to.
    pub stage: String,
    /// What it cost, requests without an answer included.
    pub spent: Usd,
    /// Model replies.
    pub replies: u32,
    /// Tool calls.
    pub calls: usize,
    /// Those that failed.
    pub call_errors: usize,
    /// Ratings.
    pub ratings: usize,
    /// Why it ended.
    pub end_reason: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last got on.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A persona that is held back after failed runs.
#[derive(Clone, Debug)]
pub struct HeldBack {
    /// Who.
    pub persona: UserId,
    /// Failed runs in a row.
    pub failures: u32,
    /// When the last of them ended.
    pub since: Timestamp,
    /// From when on it may run again.
    pub until: Timestamp,
}

impl RunRow {
    /// Whether it was cancelled, and is to be closed if it has not ended.
    pub fn is_cancelled(&self) -> bool {
        self.end_reason.as_deref() == Some(CANCELLED)
    }
}

impl Journal {
    /// Writes down a run that is about to begin.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin_run(&self, run: NewRun<'_>, now: Timestamp) -> Result<()> {
        // Strings and numbers always encode.
        let persona = serde_json::to_string(run.persona).unwrap_or_default();
        self.write("begin a run", async {
            sqlx::query(
                "INSERT INTO runs (id, persona_id, persona, slot, attempt, model, state, stage, spent, \
                 replies, calls, call_errors, ratings, started_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 'login', 0, 0, 0, 0, 0, $8, $8)",
            )
            .bind(run.id.to_string())
            .bind(run.persona.user_id.as_str())
            .bind(persona)
            .bind(run.slot.as_str())
            .bind(bigint(run.attempt))
            .bind(run.model)
            .bind(RunState::Running.as_str())
            .bind(millis(now))
            .execute(&self.pool)
            .await
        })
        .await?;
        Ok(())
    }

    /// Writes down how a run ended, and what is to be handed in for it, in one transaction. A run ends
    /// once: one that has ended stays as it is.
    ///
    /// # Errors
    /// When it cannot be written; nothing is, then.
    pub async fn end_run(
        &self,
        id: RunId,
        ended: &EndedRun,
        posts: &[outbox::NewPost<'_>],
        now: Timestamp,
    ) -> Result<()> {
        self.write("end a run", async {
            let mut tx = self.pool.begin().await?;
            let end = sqlx::query(
                "UPDATE runs SET state = $2, stage = $3, replies = $4, calls = $5, \
                 call_errors = $6, ratings = $7, end_reason = COALESCE($8, end_reason), updated_at = $9, ended_at = $10, \
                 held_since = $9, next_eligible_at = $11 \
                 WHERE id = $1 AND state IN ($12, $13) RETURNING id",
            )
            .bind(id.to_string())
            .bind(ended.state.as_str())
            .bind(ended.stage)
            .bind(bigint(ended.replies))
            .bind(bigint(ended.calls))
            .bind(bigint(ended.call_errors))
            .bind(bigint(ended.ratings))
            .bind(ended.reason.as_deref())
            .bind(millis(now))
            .bind((ended.state != RunState::Running).then(|| millis(now)))
            .bind(ended.next_eligible_at.map(millis))
            .bind(RunState::Running.as_str())
            .bind(RunState::RatingOwed.as_str());
            if end.fetch_optional(&mut *tx).await?.is_some() {
                outbox::insert(&mut tx, id, posts, now).await?;
            }
            tx.commit().await
        })
        .await
    }

    /// The personas that need no run for this slot: they have one, finished or under way.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn personas_done_for(&self, slot: &Slot) -> Result<Vec<String>> {
        self.read("look up a slot", async {
            let rows = sqlx::query("SELECT persona_id FROM runs WHERE slot = $1 AND state <> $2")
                .bind(slot.as_str())
                .bind(RunState::Failed.as_str())
                .fetch_all(&self.pool)
                .await?;
            Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
        })
        .await
    }

    /// The runs in this state, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn runs_in(&self, state: RunState) -> Result<Vec<RunRow>> {
        let rows = self
            .read("list runs", async {
                select("WHERE state = $1 ORDER BY id")
                    .bind(state.as_str())
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        Ok(rows.iter().filter_map(|row| self.readable(row, read)).collect())
    }

    /// When the latest run that went well to its end did so.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn last_finished_run(&self) -> Result<Option<Timestamp>> {
        let at: Option<i64> = self
            .read("look up the last finished run", async {
                let row = sqlx::query(
                    "SELECT ended_at FROM runs WHERE state = $1 AND stage = 'done' \
                     ORDER BY started_at DESC LIMIT 1",
                )
                .bind(RunState::Finished.as_str())
                .fetch_optional(&self.pool)
                .await?;
                Ok(row.and_then(|row| int(&row, "ended_at")))
            })
            .await?;
        Ok(at.map(timestamp))
    }

    /// Marks an unfinished run to be closed, whatever becomes of this process; false if there is no such.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn cancel_run(&self, id: RunId) -> Result<bool> {
        let done = self
            .write("cancel a run", async {
                sqlx::query("UPDATE runs SET end_reason = $2 WHERE id = $1 AND state IN ($3, $4)")
                    .bind(id.to_string())
                    .bind(CANCELLED)
                    .bind(RunState::Running.as_str())
                    .bind(RunState::RatingOwed.as_str())
                    .execute(&self.pool)
                    .await
            })
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The latest runs, newest first, at most 10,000.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn latest_runs(&self, most: u32) -> Result<Vec<RunRow>> {
        let rows = self
            .read("list runs", async {
                select("ORDER BY started_at DESC, id DESC LIMIT $1")
                    .bind(i64::from(most.min(MAX_LIST)))
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        Ok(rows.iter().filter_map(|row| self.readable(row, read)).collect())
    }

    /// This run, if there is one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>> {
        let row = self
            .read("look up a run", async {
                select("WHERE id = $1").bind(id.to_string()).fetch_optional(&self.pool).await
            })
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The runs whose ids begin with `prefix` (hex digits and hyphens), oldest first, at most so many.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn runs_beginning_with(&self, prefix: &str, most: u32) -> Result<Vec<RunRow>> {
        let rows = self
            .read("look up a run", async {
                select("WHERE id LIKE $1 ORDER BY id LIMIT $2")
                    .bind(format!("{prefix}%"))
                    .bind(i64::from(most))
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        Ok(rows.iter().filter_map(|row| self.readable(row, read)).collect())
    }

    /// Ends a run of which nothing more can be made, not even a list of what happened.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn give_up(&self, id: RunId, why: &str, now: Timestamp) -> Result<()> {
        self.write("give a run up", async {
            sqlx::query(
                "UPDATE runs SET state = $2, end_reason = $6, updated_at = $3, ended_at = $3 \
                 WHERE id = $1 AND state IN ($4, $5)",
            )
            .bind(id.to_string())
            .bind(RunState::Finished.as_str())
            .bind(millis(now))
            .bind(RunState::Running.as_str())
            .bind(RunState::RatingOwed.as_str())
            .bind(why)
            .execute(&self.pool)
            .await
        })
        .await?;
        Ok(())
    }

    /// Writes down the stage a run has got to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_stage(&self, id: RunId, stage: &str) -> Result<()> {
        self.write("note a stage", async {
            sqlx::query("UPDATE runs SET stage = $2 WHERE id = $1")
                .bind(id.to_string())
                .bind(stage)
                .execute(&self.pool)
                .await
        })
        .await?;
        Ok(())
    }

    /// Holds the persona of a run back that ended without saying so itself: it panicked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn hold_back(&self, id: RunId, since: Timestamp, until: Timestamp) -> Result<()> {
        self.write("hold a persona back", async {
            sqlx::query("UPDATE runs SET held_since = $2, next_eligible_at = $3 WHERE id = $1")
                .bind(id.to_string())
                .bind(millis(since))
                .bind(millis(until))
                .execute(&self.pool)
                .await
        })
        .await?;
        Ok(())
    }

    /// Every persona whose last run asked for it to be held back. A run that was stopped before it
    /// left a mark says nothing about that.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn held_back(&self) -> Result<Vec<HeldBack>> {
        let rows = self
            .read("look up who is held back", async {
                sqlx::query(
                    "SELECT persona_id, stage, attempt, held_since, next_eligible_at FROM runs \
                     WHERE next_eligible_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs AS later \
                     WHERE later.persona_id = runs.persona_id AND later.started_at > runs.started_at \
                     AND (later.state <> $1 OR later.next_eligible_at IS NOT NULL))",
                )
                .bind(RunState::Failed.as_str())
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        let read = |row: &AnyRow| {
            // Held back for its money alone: no run of it has failed.
            let is_broke = row.try_get::<String, _>("stage").ok()? == "done";
            Some(HeldBack {
                persona: UserId::parse(row.try_get("persona_id").ok()?).ok()?,
                failures: if is_broke { 0 } else { count(int(row, "attempt")?) },
                since: timestamp(int(row, "held_since")?),
                until: timestamp(int(row, "next_eligible_at")?),
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}

/// The runs that `which` says, each with the time of its last step: a step does not touch its run.
fn select<'q>(which: &str) -> Query<'q, Any, AnyArguments> {
    sqlx::query(AssertSqlSafe(format!(
        "SELECT runs.*, (SELECT at FROM steps WHERE run_id = runs.id ORDER BY number DESC LIMIT 1) \
         AS stepped_at FROM runs {which}"
    )))
}

fn read(row: &AnyRow) -> Result<RunRow> {
    let wrong = |detail: String| JournalError::Row { what: "a run", detail };
    let fields = || -> sqlx::Result<_> {
        let id: String = row.try_get("id")?;
        let persona: String = row.try_get("persona")?;
        let state: String = row.try_get("state")?;
        Ok((id, persona, state))
    };
    let (id, persona, state) = fields().map_err(|error| unreadable(&error))?;
    let id = RunId::parse(&id).map_err(|error| wrong(error.to_string()))?;
    let state = RunState::parse(&state).ok_or_else(|| wrong(format!("state {state:?}")))?;
    let number = |column| int(row, column).unwrap_or_default();
    let rest = || -> sqlx::Result<RunRow> {
        let (changed_at, stepped_at) = (number("updated_at"), number("stepped_at"));
        Ok(RunRow {
            id,
            persona: serde_json::from_str(&persona).ok(),
            persona_id: row.try_get("persona_id")?,
            slot: Slot::stored(row.try_get::<String, _>("slot")?),
            attempt: count(number("attempt")),
            model: row.try_get("model")?,
            state,
            stage: row.try_get("stage")?,
            spent: Usd::from_picodollars(count(number("spent"))),
            replies: count(number("replies")),
            calls: count(number("calls")),
            call_errors: count(number("call_errors")),
            ratings: count(number("ratings")),
            end_reason: row.try_get("end_reason")?,
            started_at: timestamp(number("started_at")),
            updated_at: timestamp(changed_at.max(stepped_at)),
            ended_at: int(row, "ended_at").map(timestamp),
        })
    };
    rest().map_err(|error| unreadable(&error))
}

fn unreadable(error: &sqlx::Error) -> JournalError {
    JournalError::Row { what: "a run", detail: error.to_string() }
}
