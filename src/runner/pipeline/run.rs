//! A run under way: what it works with, and how far it has come.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    agent::{Scope, day::MainTurn, replay::Replay, step::Recorder},
    clients::personas::Batch,
    domain::{RunState, Stage, Usd, one_line},
    journal::{CANCELLED, EndedRun},
    runner::{
        control::InFlightEntry,
        run_journal::RunJournal,
        verdict::{Facts, Failure, Then, Verdict},
    },
};

/// A run under way.
pub(super) struct Run {
    pub journal: RunJournal,
    /// Bounds of its conversations. No work after their deadline, only handing in.
    pub scope: Scope,
    pub started: Instant,
    /// Nothing after this.
    pub end: Instant,
    /// Its entry among those in flight.
    pub entry: InFlightEntry,
    /// What earlier processes have left of it.
    pub left: Replay,
    /// Whether one of them has begun its day.
    pub is_resumed: bool,
    /// Whether its main turn is over and its actions are in the outbox already.
    pub is_rating: bool,
    /// Why it does not go on.
    pub close: Option<String>,
    pub turn: MainTurn,
    /// Why its main turn ended.
    pub day_reason: String,
    pub ratings: usize,
    /// Rows that the journal does not have yet.
    pub posts: Vec<(u32, Batch)>,
    pub undelivered: bool,
}

impl Run {
    /// The outcome of free work, which a stop, a pause or the end of the run's time drops.
    pub(super) async fn unless_stopped<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.scope.shutdown.stopping() => Err(Failure::stopped(stage)),
            () = self.journal.paused() => Err(Failure::stopped(stage)),
            output = work => Ok(output),
            () = sleep_until(self.scope.deadline) => {
                Err(Failure::at(stage, "the run's time (PERSONA_TIMEOUT_MS) was up"))
            }
        }
    }

    /// What its end depends on.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            is_resumed: self.is_resumed,
            is_cancelled: self.entry.run.cancelled.is_cancelled()
                || self.close.as_deref() == Some(CANCELLED),
            has_paid: self.turn.spent > Usd::ZERO || self.journal.has_paid(),
            has_called: !self.turn.calls.is_empty(),
            is_idle: self.turn.is_idle(),
            has_used: !self.turn.used_modules().is_empty(),
        }
    }

    /// Where it stands, for the journal.
    pub(super) fn row(&self, state: RunState, stage: Stage, reason: Option<String>) -> EndedRun {
        let calls = &self.turn.calls;
        EndedRun {
            state,
            stage: stage.as_str(),
            replies: self.turn.replies,
            calls: calls.len(),
            call_errors: calls.iter().filter(|call| call.error.is_some()).count(),
            ratings: self.ratings,
            reason,
            next_eligible_at: None,
        }
    }

    /// Says in the log how it went.
    pub(super) fn log(&self, report: &RunReport, took: Duration) {
        let (calls, took_ms) = (self.turn.calls.len(), took.as_millis() as u64);
        match report.verdict.error() {
            None => tracing::info!(
                run.calls = calls,
                run.ratings = self.ratings,
                run.cost = %report.cost,
                run.undelivered = self.undelivered,
                took_ms,
                "run ended"
            ),
            // Told once a day, or once a tick where it is everybody's trouble.
            Some(error) if report.verdict.is_refused_login() => {
                tracing::info!(took_ms, "run did not end well: {}", one_line(error))
            }
            // On one line, whatever a peer put into it.
            Some(error) => tracing::warn!(
                run.calls = calls,
                run.ratings = self.ratings,
                run.cost = %report.cost,
                run.undelivered = self.undelivered,
                took_ms,
                "run did not end well: {}",
                one_line(error)
            ),
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(in crate::runner) struct RunReport {
    pub verdict: Verdict,
    /// Whether rows wait in the outbox.
    pub undelivered: bool,
    /// What its model requests cost in this process.
    pub cost: Usd,
}

impl RunReport {
    /// That of a persona that this kept from running.
    pub(in crate::runner) fn without_a_run(failure: Failure) -> Self {
        let verdict = Verdict::failed(Then::Leave, failure);
        Self { verdict, undelivered: false, cost: Usd::ZERO }
    }
}
