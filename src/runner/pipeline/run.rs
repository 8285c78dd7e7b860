//! The state of one run that is carried out.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, sleep_until};

use crate::{
    agent::{Scope, day::MainTurn, replay::Replay, step::Recorder},
    clients::personas::Batch,
    domain::{Outcome, RunState, Stage, Usd, one_line},
    facts::{RunFacts, extract},
    journal::{CANCELLED, EndedRun},
    runner::{
        control::InFlightEntry,
        run_journal::RunJournal,
        verdict::{Facts, Failure, Then, Verdict},
    },
};

/// The state of one run that is carried out: its journal, its limits and its results so far.
pub(super) struct Run {
    pub journal: RunJournal,
    /// Limits and shared values of the run's conversations. After `scope.deadline` only rows are delivered.
    pub scope: Scope,
    pub started: Instant,
    /// End of the run's whole time limit; also the deadline for deliveries.
    pub end: Instant,
    /// The registration of the run as in flight.
    pub entry: InFlightEntry,
    /// What the steps of earlier processes recorded. Stages take their part out of it.
    pub left: Replay,
    /// Whether an earlier process began the main turn.
    pub is_resumed: bool,
    /// Whether the main turn is over and its actions are already in the outbox.
    pub is_rating: bool,
    /// The reason to close the run without further model requests, if there is one.
    pub close: Option<String>,
    /// The deployment that was current when this process opened the run's session.
    pub deployment: Option<i64>,
    pub turn: MainTurn,
    /// Why the main turn ended.
    pub day_reason: String,
    /// What the main turn came to.
    pub day_outcome: Option<Outcome>,
    pub ratings: usize,
    /// How far mana-auth's clock was ahead of the daemon's when the run began.
    pub shift: SignedDuration,
    /// Posts that are not in the journal yet.
    pub posts: Vec<(u32, Batch)>,
    pub undelivered: bool,
}

impl Run {
    /// The output of `work`, which must not cost money, because a stop, a pause or the run's deadline drops
    /// it.
    ///
    /// # Errors
    /// When `work` was dropped.
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
                Err(Failure::late(stage))
            }
        }
    }

    /// The facts for [`crate::runner::verdict::decide`].
    pub(super) fn facts(&self) -> Facts {
        Facts {
            is_resumed: self.is_resumed,
            is_cancelled: self.entry.run.cancelled.is_cancelled()
                || self.close.as_deref() == Some(CANCELLED),
            has_paid: self.turn.spent > Usd::ZERO || self.journal.has_paid(),
            has_called: !self.turn.calls.is_empty(),
            is_idle: self.turn.calls.iter().all(|call| call.listed().is_none()),
            has_used: !self.turn.used_modules().is_empty(),
        }
    }

    /// The row of the run for the journal, with the counts so far.
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
            outcome: Outcome::Done,
            facts: RunFacts::default(),
            deployment_end: None,
        }
    }

    /// The facts of the run, as far as it has come, with this outcome.
    pub(super) fn learned(&self, outcome: Outcome) -> RunFacts {
        extract(&self.journal.observed(), &self.journal.id.to_string(), outcome, self.shift)
    }

    /// Logs the end of the run.
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
            // Only info: the warning or error is logged once a day for the persona, or once a tick if all
            // logins were refused.
            Some(error) if report.verdict.is_refused_login() => {
                tracing::info!(took_ms, "run did not end well: {}", one_line(error))
            }
            // A peer may have put line breaks into the error.
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

/// The report of a run for its tick.
#[derive(Debug)]
pub(in crate::runner) struct RunReport {
    pub verdict: Verdict,
    /// Whether rows of the run wait in the outbox.
    pub undelivered: bool,
    /// Cost of the run's model requests in this process.
    pub cost: Usd,
}

impl RunReport {
    /// A report for a persona that did not run because of this failure.
    pub(in crate::runner) fn without_a_run(failure: Failure) -> Self {
        let verdict = Verdict::failed(Then::Leave, failure);
        Self { verdict, undelivered: false, cost: Usd::ZERO }
    }
}
