//! A run under way: what it works with, and how far it has come.

use std::{fmt::Write, sync::Arc};

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::report::{Failure, RunReport};
use crate::{
    agent::{
        main_turn::{CalledTool, MainTurn},
        replay::{RatingStep, Replay},
        step::Recorder,
    },
    clients::{claude::Patience, personas::Batch},
    config::PolicyMode,
    domain::{Persona, Redactor, RunId, Usd},
    journal::{EndedRun, RunState},
    metrics::{Metrics, RunOutcome, Stage, ToolOutcome},
    runner::run_journal::RunJournal,
    shutdown::Shutdown,
};

/// What a run works with.
pub(super) struct Live<'a> {
    pub journal: RunJournal,
    pub persona: &'a Persona,
    /// Of this run alone, and of the process.
    pub shutdown: Shutdown,
    /// No work after this, only handing in.
    pub work_end: Instant,
    /// Nothing after this.
    pub end: Instant,
    /// The secrets known before the login.
    pub redactor: Redactor,
    /// Whether it was cancelled, which is final.
    pub cancelled: CancellationToken,
}

impl Live<'_> {
    /// The outcome of free work, which a stop, a pause or the end of the run's time drops.
    pub(super) async fn unless_stopped<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Failure::stopped(stage)),
            () = self.journal.paused() => Err(Failure::stopped(stage)),
            output = work => Ok(output),
            () = sleep_until(self.work_end) => {
                Err(Failure::at(stage, "the run's time (PERSONA_TIMEOUT_MS) was up"))
            }
        }
    }
}

/// How far a run has come.
#[derive(Default)]
pub(super) struct Progress {
    replies: u32,
    calls: usize,
    call_errors: usize,
    pub ratings: usize,
    /// What it has cost, earlier processes included, and what it had cost them.
    cost: Usd,
    cost_before: Usd,
    lost_before_rating: Usd,
    /// Why the main turn ended, if not by a stop.
    pub day_ended: Option<String>,
    /// Whether an earlier process has begun with it.
    pub is_resumed: bool,
    /// Whether that one died while an answer was under way.
    pub lost_an_answer: bool,
    /// Sessions that earlier processes may have left open at mana-mcp.
    pub sessions: Vec<String>,
    pub logged_in: bool,
    pub undelivered: bool,
    /// Rows that are in no journal yet.
    pub unsaved_posts: Vec<(u32, Batch)>,
    /// What waiting for Claude's limits came to.
    pub patience: Arc<Patience>,
    /// All of the persona's secrets, once it is logged in.
    pub redactor: Option<Redactor>,
}

impl Progress {
    /// Nothing yet, after what an earlier process has spent.
    pub(super) fn after(replay: &Replay) -> Self {
        let spent = spent(replay);
        let is_resumed = replay.day.is_some();
        let (lost_an_answer, sessions) = (replay.lost_an_answer, replay.sessions.clone());
        let (cost, cost_before) = (spent, spent);
        Self { cost, cost_before, is_resumed, lost_an_answer, sessions, ..Self::default() }
    }

    /// The main turn is over; so much may have been lost until then.
    pub(super) fn note_turn(&mut self, turn: &MainTurn, lost: Usd) {
        self.replies = turn.replies;
        self.calls = turn.calls.len();
        self.call_errors = turn.calls.iter().filter(|call| call.error.is_some()).count();
        (self.cost, self.lost_before_rating) = (turn.spent, lost);
    }

    /// The rating turn is over too.
    pub(super) fn note_rating(&mut self, spent: Usd, lost: Usd) {
        self.cost += spent + lost.saturating_sub(self.lost_before_rating);
    }

    /// Where the run stands, for the journal.
    pub(super) fn ended(&self, state: RunState, stage: Stage, reason: Option<String>) -> EndedRun {
        EndedRun {
            state,
            stage: stage.as_str(),
            replies: self.replies,
            calls: self.calls,
            call_errors: self.call_errors,
            ratings: self.ratings,
            reason,
            next_eligible_at: None,
        }
    }

    pub(super) fn report(
        self,
        run: RunId,
        failure: Option<Failure>,
        outcome: Option<RunOutcome>,
    ) -> RunReport {
        let by_failure = match &failure {
            None => RunOutcome::Ok,
            Some(failure) if failure.stopped => RunOutcome::Stopped,
            Some(failure) if failure.put_off => RunOutcome::PutOff,
            Some(_) => RunOutcome::Failed,
        };
        RunReport {
            run,
            outcome: outcome.unwrap_or(by_failure),
            cancelled_on_the_way: false,
            stage: failure.as_ref().map_or(Stage::Done, |failure| failure.stage),
            credentials_refused: failure.as_ref().is_some_and(|f| f.credentials_refused),
            error: failure.map(|failure| failure.error),
            broke: None,
            logged_in: self.logged_in,
            calls: self.calls,
            ratings: self.ratings,
            undelivered: self.undelivered,
            cost: self.cost.saturating_sub(self.cost_before),
            waited: self.patience.spent(),
        }
    }
}

/// What a run had cost before this process.
pub(super) fn spent(replay: &Replay) -> Usd {
    let day = replay.day.as_ref().map_or(replay.lost, |day| day.spent());
    let rating = replay.rating.iter().map(|step| match step {
        RatingStep::Replied(reply) => reply.cost.total(),
        RatingStep::ThinkingStripped => Usd::ZERO,
    });
    day + rating.sum()
}

/// Names a list of tools by what it says.
pub(super) fn hash(tools: &str) -> String {
    let digest = Sha256::digest(tools);
    digest.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(super) fn record_calls(metrics: &Metrics, turn: &MainTurn) {
    for call in &turn.calls {
        let listed = match &call.tool {
            CalledTool::Listed(name) => Some(name.as_str()),
            CalledTool::Invented(_) => None,
        };
        let outcome = match (&call.error, call.outcome_unknown) {
            (None, _) => ToolOutcome::Ok,
            (Some(_), true) => ToolOutcome::Unknown,
            (Some(_), false) => ToolOutcome::Error,
        };
        metrics.record_tool_call(listed, outcome, call.latency);
    }
}

/// Counts what this process, and no earlier one, decided about calls and reminded the model of.
pub(super) fn record_decisions(metrics: &Metrics, turn: &MainTurn, mode: PolicyMode) {
    for note in turn.calls.iter().flat_map(|call| &call.policy) {
        metrics.record_policy(note.decision, note.reason, mode.as_str());
    }
    for producer in &turn.reminders {
        metrics.record_reminder(producer);
    }
}
