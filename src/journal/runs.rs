//! Runs: who, for which slot, how far, how it ended.

use jiff::Timestamp;

use super::{Journal, JournalError, Result, Row, Sql, Value, number, outbox, text, time};
use crate::{
    clients::personas::Batch,
    domain::{Label, Persona, RunId, RunState, Slot, Usd, UserId},
};

/// Why a run ended that was cancelled; until it has ended, that it is to.
pub(crate) const CANCELLED: &str = "cancelled on request";

/// Most runs that one list holds.
const MAX_LIST: u32 = 10_000;

/// Whose row it is.
const A_RUN: &str = "a run";

/// Asks for the runs that `$which` says, each with the time of its last step: a step does not touch its run.
macro_rules! runs {
    ($which:literal) => {
        concat!(
            "SELECT runs.*, (SELECT at FROM steps WHERE run_id = runs.id ORDER BY number DESC LIMIT 1) ",
            "AS stepped_at FROM runs ",
            $which
        )
    };
}

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
    pub(crate) fn is_cancelled(&self) -> bool {
        self.end_reason.as_deref() == Some(CANCELLED)
    }
}

impl Journal {
    /// Writes down a run that is about to begin.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin_run(&self, run: NewRun<'_>, now: Timestamp) -> Result<()> {
        let sql = "INSERT INTO runs (id, persona_id, persona, slot, attempt, model, state, stage, spent, \
             replies, calls, call_errors, ratings, started_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, 'running', 'login', 0, 0, 0, 0, 0, $7, $7)";
        let NewRun { id, persona, slot, attempt, model } = run;
        // Strings and numbers always encode.
        let json = serde_json::to_string(persona).unwrap_or_default();
        let mut values = vec![text(id), text(&persona.user_id), text(json), text(slot)];
        values.extend([number(attempt), text(model), time(now)]);
        self.change("begin a run", sql, values).await.map(drop)
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
        posts: &[(u32, Batch)],
        now: Timestamp,
    ) -> Result<()> {
        const END: &str = "UPDATE runs SET state = $2, stage = $3, replies = $4, calls = $5, \
             call_errors = $6, ratings = $7, end_reason = COALESCE($8, end_reason), updated_at = $9, \
             ended_at = $10, held_since = $9, next_eligible_at = $11 \
             WHERE id = $1 AND state IN ('running', 'rating_owed')";
        let mut end = vec![text(id), text(ended.state.as_str()), text(ended.stage)];
        let counts = [ended.replies as usize, ended.calls, ended.call_errors, ended.ratings];
        end.extend(counts.map(number));
        let ended_at = (ended.state != RunState::Running).then_some(now);
        end.extend([Value::Text(ended.reason.clone()), time(now), time(ended_at)]);
        end.push(time(ended.next_eligible_at));
        let posts = posts.iter().map(|(number, batch)| outbox::addition(id, *number, batch, now));
        // A post is added to a run that has not ended, so the end comes last.
        self.all("end a run", posts.chain([(END, end)]).collect()).await
    }

    /// The personas that need no run for this slot: they have one, finished or under way.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn personas_done_for(&self, slot: &Slot) -> Result<Vec<String>> {
        let sql = "SELECT persona_id FROM runs WHERE slot = $1 AND state <> 'failed'";
        let rows = self.rows("look up a slot", sql, vec![text(slot)]).await?;
        Ok(rows.iter().filter_map(|row| row.text("persona_id").ok()).collect())
    }

    /// The runs in this state, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn runs_in(&self, wanted: RunState) -> Result<Vec<RunRow>> {
        self.runs("list runs", runs!("WHERE state = $1 ORDER BY id"), vec![text(wanted.as_str())])
            .await
    }

    /// When the latest run that went well to its end did so.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn last_finished_run(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT ended_at FROM runs WHERE state = 'finished' AND stage = 'done' \
             ORDER BY started_at DESC LIMIT 1";
        let rows = self.rows("look up the last finished run", sql, vec![]).await?;
        Ok(rows.first().and_then(|row| row.time("ended_at")))
    }

    /// Marks an unfinished run to be closed, whatever becomes of this process; false if there is no such.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn cancel_run(&self, id: RunId) -> Result<bool> {
        let sql =
            "UPDATE runs SET end_reason = $2 WHERE id = $1 AND state IN ('running', 'rating_owed')";
        Ok(self.change("cancel a run", sql, vec![text(id), text(CANCELLED)]).await? > 0)
    }

    /// The latest runs, newest first, at most 10,000.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn latest_runs(&self, most: u32) -> Result<Vec<RunRow>> {
        let which = runs!("ORDER BY started_at DESC, id DESC LIMIT $1");
        self.runs("list runs", which, vec![number(most.min(MAX_LIST))]).await
    }

    /// This run, if there is one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>> {
        let rows = self.rows("look up a run", runs!("WHERE id = $1"), vec![text(id)]).await?;
        let run = rows.first().map(read).transpose();
        run.map_err(|detail| JournalError::Row(A_RUN, detail))
    }

    /// The runs whose ids begin with `prefix` (hex digits and hyphens), oldest first, at most so many.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn runs_beginning_with(&self, prefix: &str, most: u32) -> Result<Vec<RunRow>> {
        let values = vec![text(format_args!("{prefix}%")), number(most)];
        self.runs("look up a run", runs!("WHERE id LIKE $1 ORDER BY id LIMIT $2"), values).await
    }

    async fn runs(&self, attempted: &str, sql: Sql, values: Vec<Value>) -> Result<Vec<RunRow>> {
        Ok(self.readable(A_RUN, &self.rows(attempted, sql, values).await?, read))
    }

    /// Ends a run of which nothing more can be made, not even a list of what happened.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn give_up(&self, id: RunId, why: &str, now: Timestamp) -> Result<()> {
        let sql = "UPDATE runs SET state = 'finished', end_reason = $2, updated_at = $3, ended_at = $3 \
             WHERE id = $1 AND state IN ('running', 'rating_owed')";
        self.change("give a run up", sql, vec![text(id), text(why), time(now)]).await.map(drop)
    }

    /// Writes down the stage a run has got to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn set_stage(&self, id: RunId, stage: &str) -> Result<()> {
        let sql = "UPDATE runs SET stage = $2 WHERE id = $1";
        self.change("note a stage", sql, vec![text(id), text(stage)]).await.map(drop)
    }

    /// Holds the persona of a run back that ended without saying so itself: it panicked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn hold_back(
        &self,
        id: RunId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<()> {
        let sql = "UPDATE runs SET held_since = $2, next_eligible_at = $3 WHERE id = $1";
        let values = vec![text(id), time(since), time(until)];
        self.change("hold a persona back", sql, values).await.map(drop)
    }

    /// Every persona whose last run asked for it to be held back. A run that was stopped before it
    /// left a mark says nothing about that.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn held_back(&self) -> Result<Vec<HeldBack>> {
        let sql = "SELECT persona_id, stage, attempt, held_since, next_eligible_at FROM runs \
             WHERE next_eligible_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs AS later \
             WHERE later.persona_id = runs.persona_id AND later.started_at > runs.started_at \
             AND (later.state <> 'failed' OR later.next_eligible_at IS NOT NULL))";
        let rows = self.rows("look up who is held back", sql, vec![]).await?;
        let read = |row: &Row| {
            // Held back for its money alone: no run of it has failed.
            let is_broke = row.text("stage").ok()? == "done";
            Some(HeldBack {
                persona: UserId::parse(&row.text("persona_id").ok()?).ok()?,
                failures: if is_broke { 0 } else { row.count("attempt") },
                since: row.time("held_since")?,
                until: row.time("next_eligible_at")?,
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}

fn read(row: &Row) -> std::result::Result<RunRow, String> {
    let (id, state) = (row.run("id")?, row.text("state")?);
    let time = |column| row.time(column).unwrap_or_default();
    Ok(RunRow {
        id,
        persona: serde_json::from_str(&row.text("persona")?).ok(),
        persona_id: row.text("persona_id")?,
        slot: Slot::stored(row.text("slot")?),
        attempt: row.count("attempt"),
        model: row.text("model")?,
        state: RunState::parse(&state).ok_or_else(|| format!("state {state:?}"))?,
        stage: row.text("stage")?,
        spent: row.money("spent"),
        replies: row.count("replies"),
        calls: row.count("calls"),
        call_errors: row.count("call_errors"),
        ratings: row.count("ratings"),
        end_reason: row.text("end_reason").ok(),
        started_at: time("started_at"),
        updated_at: time("updated_at").max(time("stepped_at")),
        ended_at: row.time("ended_at"),
    })
}
