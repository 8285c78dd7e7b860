//! Carries out one persona's run, from the login to the feedback.
//!
//! A run returns a report, not a `Result`: the actions that happened in the product are delivered even if the
//! run then fails, times out or is stopped. Each step is in the journal before it is acted on, so a run that
//! was killed continues from its last step.

mod after_day;
mod kept;
mod main_turn;
mod run;

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::{main_turn::Offer, run::Run};
use super::{
    delivery::Deliverer,
    fleet::Fleet,
    holds::Hold,
    run_journal::{Books, RunJournal},
    tool_tally::ToolTally,
    verdict::{Cause, End, Failure, PANICKED, Then, Verdict, decide},
};
use crate::{
    agent::{
        Scope,
        conversation::Limits,
        day::MainTurn,
        day_end::{DayEnd, How},
        left_out::LeftOut,
        observed::Observer,
        replay::Replay,
        step::{Recorder, Step},
    },
    clients::claude::ClaudeClient,
    config::{PolicyConfig, RunLimits},
    domain::{Outcome, Persona, RunId, RunOutcome, RunState, Slot, Stage, Usd, UserId},
    journal::{CANCELLED, NewRun, RunRow, RunSettings},
    version::VERSION_AND_COMMIT,
};

pub(super) use run::RunReport;

/// Part of a run's time limit that is reserved for the delivery of its rows, retries included. A short time
/// limit reserves a fifth of itself instead.
const PERSIST_RESERVE: Duration = Duration::from_secs(45);
/// Longest wait, at the end of a list of runs, for MCP sessions to be ended whose opening was abandoned.
const SETTLE_LIMIT: Duration = Duration::from_secs(4);
/// Reason stored with a run that is closed because its persona cannot be read from the journal.
const NO_PERSONA: &str = "the journal does not say whose run it is";
/// Reason stored with a run that is closed because the process ended twice while the model was answering.
const LOST_TWICE: &str = "the runner ended twice while the model was answering";

/// Carries out runs: [`Pipeline::run`] begins a run, [`Pipeline::resume`] continues an unfinished one.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(super) fleet: Arc<Fleet>,
    pub(super) claude: Arc<ClaudeClient>,
    pub(super) deliverer: Arc<Deliverer>,
    policy: Arc<PolicyConfig>,
    /// Settings that name a tool which mana-mcp does not list, as (variable, tool name). Each is logged once.
    misnamed: Mutex<HashSet<(&'static str, String)>>,
    /// Results of tool calls since the last tick or recovery ended, which logs and resets them.
    pub(super) tools: Mutex<ToolTally>,
    /// Tools that are not offered to the model, for as long as this process lives.
    left_out: Arc<LeftOut>,
    /// What was offered last.
    offered: Mutex<Option<Arc<Offer>>>,
}

impl Pipeline {
    /// A pipeline for runs of the deliverer's fleet.
    pub(crate) fn new(claude: Arc<ClaudeClient>, deliverer: Arc<Deliverer>) -> Self {
        let fleet = deliverer.fleet.clone();
        let policy = Arc::new(fleet.config.policy.clone());
        let (misnamed, tools, left_out, offered) = Default::default();
        Self { fleet, claude, deliverer, policy, misnamed, tools, left_out, offered }
    }

    /// Runs `persona` once for this slot. `id` must be new.
    ///
    /// A future is as large as the largest future that it waits for. The short-lived futures at the beginning and
    /// at the end of a run are boxed here and below, so that they take no memory while the run waits for the model.
    pub(super) async fn run(
        &self,
        id: RunId,
        persona: Persona,
        slot: Slot,
        server_time: Timestamp,
    ) -> RunReport {
        let attempt = self.fleet.holds.failures(&persona.user_id) + 1;
        let model = self.claude.model();
        let now = self.fleet.clock.now();
        let (policy, prompt) = (kept::policy(&self.policy), kept::prompt(&persona));
        let begun = RunSettings {
            server_at: self.fleet.server_time.at(now),
            server_time: Some(server_time),
            deployment: self.fleet.deployments.current(),
            effort: kept::effort(self.fleet.config.claude.effort),
            policy: &policy,
            runner: VERSION_AND_COMMIT,
            prompt: &prompt,
        };
        let shift = kept::shift(begun.server_at, now);
        let new = NewRun { id, persona: &persona, slot: &slot, attempt, model, begun };
        let begun = Box::pin(self.fleet.journal.begin_run(new, now)).await;
        if let Err(error) = begun {
            return self.not_begun(error);
        }
        let run = Run { shift, ..self.enter(id, persona, &slot, Default::default(), 0) };
        let report = self.carry_out(run).await;
        Box::pin(self.close_cancelled(id, report)).await
    }

    /// Continues an unfinished run. With `close`, the run is closed for that reason instead: its actions are
    /// delivered, and no further model request is sent.
    pub(super) async fn resume(&self, row: RunRow, close: Option<&str>) -> RunReport {
        let id = row.id;
        let report = self.go_on(row, close).await;
        self.close_cancelled(id, report).await
    }

    async fn go_on(&self, row: RunRow, close: Option<&str>) -> RunReport {
        match self.take_up(row, close).await {
            Ok(run) => self.carry_out(run).await,
            Err(why) => self.not_begun(why),
        }
    }

    /// Closes a run whose task panicked, so that its actions are delivered, and holds its persona back: the
    /// next run may panic again, and must not cost money every minute. A run that was not begun, or that
    /// ended before the panic, is not changed.
    pub(super) async fn close_panicked(&self, id: RunId) {
        let Fleet { journal, holds, metrics, .. } = &*self.fleet;
        let Ok(Some(row)) = journal.run(id).await else {
            metrics.record_no_run(RunOutcome::Failed);
            return;
        };
        if !matches!(row.state, RunState::Running | RunState::RatingOwed) {
            return;
        }
        let persona = UserId::parse(&row.persona_id);
        // Closing the run may panic again.
        let closing = AssertUnwindSafe(self.go_on(row, Some(PANICKED)));
        if closing.catch_unwind().await.is_err() {
            let why = "given up: it panicked when it was closed";
            self.give_up(id, (why, Outcome::Failed)).await;
        }
        let Some(persona) = persona.ok().filter(|persona| holds.why(persona).is_none()) else {
            return;
        };
        metrics.scheduling.backoffs.inc();
        let what = "the persona is held back: its run panicked";
        if let Some(until) = holds.apply(&persona, Hold::BackOff(Duration::ZERO), what) {
            self.write_hold(id, until).await;
        }
    }

    /// Closes a run that was cancelled while it would have been postponed, so that it is not resumed.
    async fn close_cancelled(&self, id: RunId, report: RunReport) -> RunReport {
        if report.verdict.then != Then::Close {
            return report;
        }
        let Ok(Some(row)) = self.fleet.journal.run(id).await else { return report };
        if row.state != RunState::Running || self.deliverer.unsaved_runs().await.contains(&id) {
            return report;
        }
        let RunReport { cost, undelivered, .. } = report;
        let closed = self.go_on(row, Some(CANCELLED)).await;
        RunReport {
            cost: closed.cost + cost,
            undelivered: closed.undelivered || undelivered,
            ..closed
        }
    }

    /// Rebuilds a run from its row and its steps. `close` is the reason to close it, if it must not continue.
    ///
    /// # Errors
    /// When the journal cannot be read, or the row does not name a persona.
    async fn take_up(&self, row: RunRow, close: Option<&str>) -> Result<Run, String> {
        // The journal may still be writing the last step of a run that was dropped.
        let settled = self.fleet.journal.settled().await;
        settled.map_err(|error| error.to_string())?;
        let steps = self.fleet.journal.steps(row.id).await.map_err(|error| error.to_string())?;
        let numbers = steps.iter().map(|step| step.number);
        let next_number = numbers.max().map_or(0, |last| last.saturating_add(1));
        let mut unreadable = None;
        let (now, today) = (Instant::now(), self.fleet.clock.now());
        // If the clock was set back since the step was written, its age is zero.
        let instant_of = |time| {
            let age = Duration::try_from(today.duration_since(time)).unwrap_or_default();
            now.checked_sub(age).unwrap_or(now)
        };
        let mut observer = Observer::default();
        let read = steps.iter().filter_map(|step| match serde_json::from_str::<Step>(&step.body) {
            Ok(read) => {
                observer.take(&read, step.at);
                Some((instant_of(step.at), read))
            }
            Err(error) => {
                unreadable = Some(format!("its step {} cannot be read: {error}", step.number));
                None
            }
        });
        let replay = Replay::of(read, self.run_limits());
        let persona = match (row.persona, UserId::parse(&row.persona_id)) {
            (Some(persona), _) => persona,
            // The id of the persona is enough to close the run and to deliver its actions.
            (None, Ok(user_id)) => {
                unreadable = Some(NO_PERSONA.to_owned());
                Persona::known_by_id(user_id)
            }
            (None, Err(_)) => {
                self.give_up(row.id, (NO_PERSONA, Outcome::Stopped)).await;
                return Err(NO_PERSONA.to_owned());
            }
        };
        let close = close.map(str::to_owned).or(unreadable);
        if close.is_none() {
            self.fleet.metrics.scheduling.runs_resumed.inc();
        }
        Ok(Run {
            is_rating: row.state == RunState::RatingOwed || row.stage == Stage::RatingTurn.as_str(),
            close,
            shift: kept::shift(row.server_at, row.started_at),
            ..self.enter(row.id, persona, &row.slot, (replay, observer), next_number)
        })
    }

    /// Registers a run as in flight and builds its state. `left` and `observer` are what its steps recorded,
    /// empty for a new run; `next_number` is the number of its next step.
    fn enter(
        &self,
        id: RunId,
        persona: Persona,
        slot: &Slot,
        (left, observer): (Replay, Observer),
        next_number: u32,
    ) -> Run {
        self.fleet.holds.begin(&persona.user_id);
        let entry = self.fleet.control.enter(id, &persona.user_id, slot, &self.fleet.shutdown);
        let (started, timeout) = (Instant::now(), self.fleet.config.run.timeout);
        let end = started + timeout;
        let deadline = end - PERSIST_RESERVE.min(timeout / 5);
        let (fleet, pause) = (self.fleet.clone(), entry.end_turn.clone());
        let redactor = fleet.auth.redactor_of(&persona.email);
        let books = Books::new(next_number, left.spent(), left.lost, observer);
        let scope = Scope {
            deadline,
            limits: self.run_limits(),
            policy: self.policy.clone(),
            left_out: self.left_out.clone(),
            tool_timeout: self.fleet.config.run.tool_timeout,
            shutdown: entry.run.shutdown.clone(),
            redactor: redactor.clone(),
            patience: Arc::default(),
        };
        let words = redactor.without(&persona.email);
        let journal =
            RunJournal { id, fleet, persona, redactor, words, pause, give_up_at: deadline, books };
        Run {
            journal,
            scope,
            started,
            end,
            entry,
            is_resumed: left.day.is_some(),
            left,
            is_rating: false,
            close: None,
            deployment: None,
            turn: MainTurn::default(),
            day_reason: String::new(),
            day_outcome: None,
            ratings: 0,
            shift: SignedDuration::ZERO,
            posts: Vec::new(),
            undelivered: false,
        }
    }

    /// Writes to the journal until when the persona is held back, for a run that is not ended by `end_run`.
    async fn write_hold(&self, id: RunId, until: Timestamp) {
        let now = self.fleet.clock.now();
        if let Err(error) = self.fleet.journal.hold_back(id, now, until).await {
            tracing::warn!("{error}; a restart will not know of the back-off");
        }
    }

    /// Ends a run that cannot even be closed with its actions: its persona is unknown, or closing it
    /// panicked.
    async fn give_up(&self, id: RunId, why: (&str, Outcome)) {
        tracing::error!(run.id = %id, "a run is given up: {}", why.0);
        if let Err(error) = self.fleet.journal.give_up(id, why, self.fleet.clock.now()).await {
            tracing::error!(run.id = %id, "{error}");
        }
    }

    /// Waits until the MCP sessions whose opening was abandoned have been ended, at most [`SETTLE_LIMIT`].
    pub(super) async fn sessions_settled(&self) {
        let courtesy = self.fleet.shutdown.courtesy().saturating_mul(2);
        self.fleet.mcp.settled(SETTLE_LIMIT.min(courtesy)).await;
    }

    /// If runs wait for mana-mcp, checks whether mana-mcp is available again and ends their wait. Returns
    /// whether the wait was ended.
    pub(super) async fn check_mcp(&self) -> bool {
        let is_there = self.fleet.holds.waits_for_mcp() && self.fleet.mcp.look.is_there().await;
        if is_there {
            self.fleet.holds.mcp_is_back();
        }
        is_there
    }

    fn run_limits(&self) -> Limits {
        let RunLimits { max_turns: max_replies, max_cost, .. } = self.fleet.config.run;
        Limits { max_replies, max_cost }
    }

    async fn carry_out(&self, mut run: Run) -> RunReport {
        let _in_flight = self.fleet.metrics.start_run();
        let shutdown = run.scope.shutdown.clone();
        // Boxed, because the future is large and each future around it would contain it.
        let stages = Box::pin(async {
            let verdict = self.stages(&mut run).await;
            if !matches!(verdict.then, Then::Postpone | Then::Close) {
                self.end_left_sessions(&mut run).await;
            }
            verdict
        });
        // After an abort nothing more is written: the next process finds the same journal as after a kill.
        let verdict = shutdown.unless_aborted(stages).await;
        let mut verdict =
            verdict.unwrap_or_else(|| Verdict::failed(Then::Leave, Failure::stopped(Stage::Due)));
        if run.close.as_deref() == Some(PANICKED) {
            verdict = verdict.after_panic();
        }
        // The run may have been cancelled after the decision.
        if run.facts().is_cancelled {
            verdict = verdict.for_good();
        }
        Box::pin(self.finish(run, verdict)).await
    }

    /// Carries out the stages of a run, from the login or from its last step to its end.
    async fn stages(&self, run: &mut Run) -> Verdict {
        if run.close.is_none() && run.left.has_lost_enough() {
            run.close = Some(LOST_TWICE.to_owned());
        }
        let closed = run.close.as_ref().map(|why| {
            let outcome = Some(Outcome::Stopped);
            DayEnd { outcome, ..DayEnd::new(How::Failed, why) }
        });
        let end = match (run.left.day.take(), run.left.ended.take().or(closed)) {
            (Some(day), Some(end)) => {
                run.turn = day.close(&run.scope.redactor);
                // A stop of an earlier process ended the main turn. If a model request may have been billed,
                // the main turn counts as complete now, and the run continues after it.
                let has_begun = run.turn.replies > 0 || run.journal.lost() > Usd::ZERO;
                let how = if end.how == How::Stopped && has_begun { How::Over } else { end.how };
                DayEnd { how, outcome: Some(end.outcome()), ..end }
            }
            (None, Some(DayEnd { reason, .. })) => {
                let failure = Failure { cause: Cause::Stop, ..Failure::at(Stage::Login, reason) };
                return decide(End::Barred(failure), &run.facts());
            }
            (day, None) => match self.main_turn(run, day).await {
                Ok(end) => end,
                Err(failure) => return decide(End::Barred(failure), &run.facts()),
            },
        };
        run.day_outcome = Some(end.outcome());
        // The reason of the main turn is shown for the whole run, so that an unusual end stays visible.
        run.day_reason =
            if end.how == How::Stopped { "done".to_owned() } else { end.reason.clone() };
        if !run.is_rating {
            let verdict = Box::pin(self.hand_in_day(run, end)).await;
            if verdict.then != Then::Rate {
                return verdict;
            }
        }
        self.rate(run).await
    }

    fn not_begun(&self, error: impl ToString) -> RunReport {
        self.fleet.metrics.record_no_run(RunOutcome::Failed);
        RunReport::without_a_run(Failure::at(Stage::Due, error))
    }
}
