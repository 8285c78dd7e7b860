//! Runs: the persona, the slot, the stage and the end of each run, and which personas are held back.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{
    Journal, JournalError, Result, Row, Sql, Statement, Value,
    facts::{of_run, persona_line, personas},
    number, optional, outbox, text, time,
};
use crate::{
    clients::personas::Batch,
    domain::{Label, Outcome, Persona, RunId, RunState, Slot, Stage, Usd, UserId},
    facts::RunFacts,
};

/// The end reason of a cancelled run. A run that has this reason and has not ended is to be closed.
pub(crate) const CANCELLED: &str = "cancelled on request";

/// How many runs a list has at most.
const MAX_LIST: u32 = 10_000;

/// What a row of this table holds, for messages.
const A_RUN: &str = "a run";

/// A query for runs, each with the time of its last step, because writing a step does not update the run.
macro_rules! runs {
    ($which:literal) => {
        concat!(
            "SELECT runs.*, (SELECT at FROM steps WHERE run_id = runs.id ORDER BY number DESC LIMIT 1) ",
            "AS stepped_at, (SELECT label FROM personas WHERE id = runs.persona_id) AS label FROM runs ",
            $which
        )
    };
}
pub(super) use runs;

/// A run that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'a> {
    /// An id that no other run has.
    pub id: RunId,
    /// The persona that the run plays.
    pub persona: &'a Persona,
    /// The slot of the persona that the run uses up if it does not fail.
    pub slot: &'a Slot,
    /// 1, plus the number of consecutive failed runs of the persona before this one.
    pub attempt: u32,
    /// The id of the model that requests name.
    pub model: &'a str,
    /// When the run begins by mana-auth's time, and what may differ between two weeks.
    pub begun: RunSettings<'a>,
}

/// When a run begins by mana-auth's time, and what may differ between two weeks. An empty text is not known.
#[derive(Clone, Copy, Debug)]
pub struct RunSettings<'a> {
    /// When the run begins, by mana-auth's time.
    pub server_at: Timestamp,
    /// The time that mana-auth gave with the list of due personas.
    pub server_time: Option<Timestamp>,
    /// The number of the current deployment.
    pub deployment: Option<i64>,
    /// The effort that the model is asked for.
    pub effort: &'a str,
    /// The mode and a hash of the policy's settings.
    pub policy: &'a str,
    /// The version of this program.
    pub runner: &'a str,
    /// A hash of the persona's system prompt.
    pub prompt: &'a str,
}

impl RunSettings<'_> {
    /// The settings of a run of which only the time is known.
    pub fn unknown(server_at: Timestamp) -> Self {
        let (effort, policy, runner, prompt) = Default::default();
        Self { server_at, server_time: None, deployment: None, effort, policy, runner, prompt }
    }
}

/// How a run, or its main turn, ended.
#[derive(Clone, Debug)]
pub struct EndedRun {
    /// The new state of the run.
    pub state: RunState,
    /// The last stage that the run has reached.
    pub stage: &'static str,
    /// The number of model replies in the main turn.
    pub replies: u32,
    /// The number of tool calls.
    pub calls: usize,
    /// The number of tool calls that failed.
    pub call_errors: usize,
    /// The number of modules that the persona has rated.
    pub ratings: usize,
    /// Why the run ended; `None` keeps the reason that is stored.
    pub reason: Option<String>,
    /// Until when the persona is held back; `None` if it is not held back.
    pub next_eligible_at: Option<Timestamp>,
    /// What the run came to. Not stored with [`RunState::Running`], because the run has not ended then.
    pub outcome: Outcome,
    /// The facts of the run, which replace those of an earlier end. Not stored with [`RunState::Running`].
    pub facts: RunFacts,
    /// The number of the deployment that is current now.
    pub deployment_end: Option<i64>,
}

/// A run as the journal has it.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// The id of the run.
    pub id: RunId,
    /// The persona; `None` if the steps of the run were pruned or the column cannot be read.
    pub persona: Option<Persona>,
    /// The id of the persona.
    pub persona_id: String,
    /// The local part of the persona's e-mail, which stays known when `persona` is pruned.
    pub label: Option<String>,
    /// The slot of the persona that the run uses up if it does not fail.
    pub slot: Slot,
    /// 1, plus the number of consecutive failed runs of the persona before this one.
    pub attempt: u32,
    /// The id of the model that requests name.
    pub model: String,
    /// The state of the run.
    pub state: RunState,
    /// The last stage that the run has reached.
    pub stage: String,
    /// What the run has cost, with the reservations of requests without an answer.
    pub spent: Usd,
    /// The number of model replies in the main turn.
    pub replies: u32,
    /// The number of tool calls.
    pub calls: usize,
    /// The number of tool calls that failed.
    pub call_errors: usize,
    /// The number of modules that the persona has rated.
    pub ratings: usize,
    /// Why the run ended, or [`CANCELLED`] before its end.
    pub end_reason: Option<String>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When the run or one of its steps was last written.
    pub updated_at: Timestamp,
    /// When the run ended; `None` if it has not ended.
    pub ended_at: Option<Timestamp>,
    /// When the run began, by mana-auth's time.
    pub server_at: Timestamp,
    /// The time that mana-auth gave with the list of due personas.
    pub server_time: Option<Timestamp>,
    /// What the run came to; `None` if it has not ended, or ended in an earlier version of this program.
    pub outcome: Option<Outcome>,
    /// The number of the deployment that was current when the run began.
    pub deployment: Option<i64>,
    /// The number of the deployment that was current when the run ended.
    pub deployment_end: Option<i64>,
    /// What may differ between two weeks.
    pub settings: KeptSettings,
}

/// The settings of a run as its row has them. `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptSettings {
    /// The effort that the model was asked for.
    pub effort: Option<String>,
    /// The mode and a hash of the policy's settings.
    pub policy: Option<String>,
    /// The version of this program.
    pub runner: Option<String>,
    /// A hash of the persona's system prompt.
    pub prompt: Option<String>,
}

/// A persona that is held back after failed runs.
#[derive(Clone, Debug)]
pub struct HeldBack {
    /// The id of the persona.
    pub persona: UserId,
    /// The number of consecutive failed runs.
    pub failures: u32,
    /// When the last of these runs ended.
    pub since: Timestamp,
    /// When the persona may run again.
    pub until: Timestamp,
}

/// Whether rows of a run with this state and stage were refused for good and thrown away: the run ended in the stage
/// that would have handed them in.
pub(crate) fn has_lost_rows(state: RunState, stage: &str) -> bool {
    let posting = [Stage::PostActions, Stage::PostFeedback];
    state == RunState::Finished && posting.iter().any(|posting| posting.as_str() == stage)
}

impl RunRow {
    /// Whether rows of the run were refused for good and thrown away.
    pub(crate) fn has_lost_rows(&self) -> bool {
        has_lost_rows(self.state, &self.stage)
    }

    /// Whether the run was cancelled. If it has not ended, it is to be closed.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.end_reason.as_deref() == Some(CANCELLED)
    }
}

impl Journal {
    /// Writes the row of a run that begins.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn begin_run(&self, run: NewRun<'_>, now: Timestamp) -> Result<()> {
        const BEGIN: &str = "INSERT INTO runs (id, persona_id, persona, slot, attempt, model, state, \
             stage, spent, replies, calls, call_errors, ratings, started_at, updated_at, server_at, \
             server_time, deployment, effort, policy, runner, prompt) \
             VALUES ($1, $2, $3, $4, $5, $6, 'running', 'login', 0, 0, 0, 0, 0, $7, $7, $8, $9, $10, \
             $11, $12, $13, $14)";
        const TAKE_SLOT: &str = "DELETE FROM absences WHERE slot = $1 AND persona_id = $2";
        let NewRun { id, persona, slot, attempt, model, begun } = run;
        // Strings and numbers always encode.
        let json = serde_json::to_string(persona).unwrap_or_default();
        let mut values = vec![text(id), text(&persona.user_id), text(json), text(slot)];
        values.extend([number(attempt), text(model), time(now), time(begun.server_at)]);
        values.extend([time(begun.server_time), Value::Number(begun.deployment)]);
        let settings = [begun.effort, begun.policy, begun.runner, begun.prompt];
        values.extend(settings.map(|text| optional(Some(text).filter(|text| !text.is_empty()))));
        let statements = |with_facts: bool| {
            let mut statements: Vec<Statement> = vec![(BEGIN.into(), values.clone())];
            if with_facts {
                let of_slot = vec![text(slot), text(&persona.user_id)];
                statements.push((TAKE_SLOT.into(), of_slot));
                statements.extend(personas::additions(&[persona_line(persona)], begun.server_at));
            }
            statements
        };
        self.write_with_facts("begin a run", id, statements).await
    }

    /// Writes the end of a run and the posts of the run, all of them or none. A run that has ended already stays as
    /// it is.
    ///
    /// The facts of the run are written with the end. If the database refuses them, the run ends without them, and
    /// [`Journal::runs_without_facts`] has the run. The deployment of a run's end is that of its first end, because a
    /// rating that is owed says nothing about a later build.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn end_run(
        &self,
        id: RunId,
        ended: &EndedRun,
        posts: &[(u32, Batch)],
        now: Timestamp,
    ) -> Result<()> {
        const END: &str = "UPDATE runs SET state = $2, stage = $3, replies = $4, calls = $5, \
             call_errors = $6, ratings = $7, end_reason = COALESCE($8, end_reason), updated_at = $9, \
             ended_at = $10, held_since = $9, next_eligible_at = $11, outcome = $12, \
             deployment_end = COALESCE(deployment_end, $13, CASE WHEN $2 <> 'running' THEN deployment END), \
             facts = COALESCE($14, facts), \
             has_calls = COALESCE($15, has_calls) \
             WHERE id = $1 AND state IN ('running', 'rating_owed')";
        let has_ended = ended.state != RunState::Running;
        let mut end = vec![text(id), text(ended.state.as_str()), text(ended.stage)];
        let counts = [ended.replies as usize, ended.calls, ended.call_errors, ended.ratings];
        end.extend(counts.map(number));
        end.extend([Value::Text(ended.reason.clone()), time(now)]);
        end.extend([time(has_ended.then_some(now)), time(ended.next_eligible_at)]);
        end.push(optional(has_ended.then_some(ended.outcome.as_str())));
        end.push(Value::Number(ended.deployment_end));
        // Posts and facts are added only to a run that has not ended, so the end is the last statement.
        let statements = |with_facts: bool| -> Vec<Statement> {
            let posts = posts.iter();
            let posts = posts.map(|(number, batch)| outbox::addition(id, *number, batch, now));
            let facts = if with_facts { of_run::replacement(id, &ended.facts) } else { Vec::new() };
            let marks = match has_ended {
                true => of_run::marks(with_facts.then_some(&ended.facts)),
                false => [Value::Number(None), Value::Number(None)],
            };
            let end = end.iter().cloned().chain(marks).collect();
            posts.chain(facts).chain([(END.into(), end)]).collect()
        };
        match has_ended {
            true => self.write_with_facts("end a run", id, statements).await,
            false => self.write("end a run", statements(false)).await.map(drop),
        }
    }

    /// The ids of the personas that have a run for this slot which has not failed.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn personas_done_for(&self, slot: &Slot) -> Result<Vec<String>> {
        let sql = "SELECT persona_id FROM runs WHERE slot = $1 AND state <> 'failed'";
        let rows = self.rows("look up a slot", sql, vec![text(slot)]).await?;
        Ok(rows.iter().filter_map(|row| row.text("persona_id").ok()).collect())
    }

    /// The runs in the state `wanted`, oldest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn runs_in(&self, wanted: RunState) -> Result<Vec<RunRow>> {
        self.runs("list runs", runs!("WHERE state = $1 ORDER BY id"), vec![text(wanted.as_str())])
            .await
    }

    /// The costs of the latest runs of each persona that have ended and reached the model: at most `most` runs of a
    /// persona, newest first, by the persona's id.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn latest_costs(&self, most: u32) -> Result<HashMap<String, Vec<Usd>>> {
        // A run that ended in an earlier version of this program has no outcome.
        let sql = "SELECT persona_id, spent FROM (SELECT persona_id, spent, ROW_NUMBER() OVER \
             (PARTITION BY persona_id ORDER BY started_at DESC, id DESC) AS place FROM runs \
             WHERE state NOT IN ('running', 'rating_owed') \
             AND (spent > 0 OR outcome NOT IN ('login', 'space', 'session', 'cost'))) \
             AS latest WHERE place <= $1 ORDER BY persona_id, place";
        let mut costs = HashMap::<_, Vec<_>>::new();
        for row in self.rows("read the costs of runs", sql, vec![number(most)]).await? {
            if let Ok(persona) = row.text("persona_id") {
                costs.entry(persona).or_default().push(row.money("spent"));
            }
        }
        Ok(costs)
    }

    /// When the latest successful run ended.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn last_finished_run(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT ended_at FROM runs WHERE state = 'finished' AND stage = 'done' \
             ORDER BY started_at DESC LIMIT 1";
        let rows = self.rows("look up the last finished run", sql, vec![]).await?;
        Ok(rows.first().and_then(|row| row.time("ended_at")))
    }

    /// Marks an unfinished run as cancelled, so that this process or the next one closes it. Returns false if there
    /// is no such run.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn cancel_run(&self, id: RunId) -> Result<bool> {
        let sql = "UPDATE runs SET end_reason = $2 WHERE id = $1 \
             AND state IN ('running', 'rating_owed') RETURNING id";
        let cancelled =
            self.write("cancel a run", vec![(sql.into(), vec![text(id), text(CANCELLED)])]);
        Ok(!cancelled.await?.is_empty())
    }

    /// The latest `most` runs, newest first; at most 10,000.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn latest_runs(&self, most: u32) -> Result<Vec<RunRow>> {
        let which = runs!("ORDER BY started_at DESC, id DESC LIMIT $1");
        self.runs("list runs", which, vec![number(most.min(MAX_LIST))]).await
    }

    /// The run with this id.
    ///
    /// # Errors
    /// If the journal or the row of the run cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>> {
        let rows = self.rows("look up a run", runs!("WHERE id = $1"), vec![text(id)]).await?;
        let run = rows.first().map(read).transpose();
        run.map_err(|detail| JournalError::Row(A_RUN, detail))
    }

    /// The first `most` runs whose ids begin with `prefix` (hex digits and hyphens), oldest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn runs_beginning_with(&self, prefix: &str, most: u32) -> Result<Vec<RunRow>> {
        let values = vec![text(format_args!("{prefix}%")), number(most)];
        self.runs("look up a run", runs!("WHERE id LIKE $1 ORDER BY id LIMIT $2"), values).await
    }

    pub(super) async fn runs(
        &self,
        task: &'static str,
        sql: Sql,
        values: Vec<Value>,
    ) -> Result<Vec<RunRow>> {
        Ok(self.readable(A_RUN, &self.rows(task, sql, values).await?, read))
    }

    /// Ends a run without posts, because its persona is unknown or because closing the run panicked.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn give_up(
        &self,
        id: RunId,
        (why, outcome): (&str, Outcome),
        now: Timestamp,
    ) -> Result<()> {
        let sql = "UPDATE runs SET state = 'finished', end_reason = $2, updated_at = $3, ended_at = $3, \
             outcome = $4 WHERE id = $1 AND state IN ('running', 'rating_owed')";
        let values = vec![text(id), text(why), time(now), text(outcome.as_str())];
        self.change("give a run up", sql, values).await
    }

    /// Notes that the main turn of a run begins, with the id of the tools that it is offered. `deployment` replaces
    /// the current deployment of the run's begin, unless it is `None`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn open_day(
        &self,
        id: RunId,
        catalog_id: &str,
        deployment: Option<i64>,
    ) -> Result<()> {
        let sql = "UPDATE runs SET stage = 'main_turn', catalog = $2, \
             deployment = COALESCE($3, deployment) WHERE id = $1";
        let values = vec![text(id), text(catalog_id), Value::Number(deployment)];
        self.change("note a stage", sql, values).await
    }

    /// Holds the persona of a run back. Used after a panic, because the run has not written its own end then.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn hold_back(
        &self,
        id: RunId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<()> {
        let sql = "UPDATE runs SET held_since = $2, next_eligible_at = $3 WHERE id = $1";
        let values = vec![text(id), time(since), time(until)];
        self.change("hold a persona back", sql, values).await
    }

    /// The personas that are held back: those whose last run says so. Failed runs that do not say how long the
    /// persona is held back are ignored; such a run was stopped.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn held_back(&self) -> Result<Vec<HeldBack>> {
        let sql = "SELECT persona_id, stage, attempt, held_since, next_eligible_at FROM runs \
             WHERE next_eligible_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs AS later \
             WHERE later.persona_id = runs.persona_id AND later.started_at > runs.started_at \
             AND (later.state <> 'failed' OR later.next_eligible_at IS NOT NULL))";
        let rows = self.rows("look up who is held back", sql, vec![]).await?;
        let read = |row: &Row| {
            // At the stage `done` a run has not failed. It holds the persona back because the money of the day is
            // spent.
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

pub(super) fn read(row: &Row) -> std::result::Result<RunRow, String> {
    let (id, state) = (row.run("id")?, row.text("state")?);
    let time = |column| row.time(column).unwrap_or_default();
    Ok(RunRow {
        id,
        persona: serde_json::from_str(&row.text("persona")?).ok(),
        persona_id: row.text("persona_id")?,
        label: row.text("label").ok(),
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
        server_at: time("server_at"),
        server_time: row.time("server_time"),
        outcome: row.text("outcome").ok().and_then(|word| Outcome::parse(&word)),
        deployment: row.number("deployment"),
        deployment_end: row.number("deployment_end"),
        settings: KeptSettings {
            effort: row.text("effort").ok(),
            policy: row.text("policy").ok(),
            runner: row.text("runner").ok(),
            prompt: row.text("prompt").ok(),
        },
    })
}
