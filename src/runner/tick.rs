//! One tick: who is due, and a run for each.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{Instrument, field::Empty};

use super::{
    back_off::BackOff,
    fan_out::{Outcome, fan_out},
    pipeline::{Pipeline, RunReport},
};
use crate::{
    clients::{
        claude::Admission,
        personas::{DueRow, PersonasError},
    },
    clock::Clock,
    domain::{Persona, Usd},
    metrics::{Metrics, RunOutcome, TickOutcome},
};

/// For the list of due personas, retries included.
const DUE_LIMIT: Duration = Duration::from_secs(60);

/// For sessions to be ended that were being opened when nobody wanted them any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(4);

/// Carries out ticks.
#[derive(Debug)]
pub struct Tick {
    pipeline: Arc<Pipeline>,
    back_off: Arc<BackOff>,
    concurrency: usize,
}

/// What a tick came to.
#[derive(Clone, Debug, Default)]
pub struct TickSummary {
    /// Personas /due listed.
    pub due: usize,
    /// Runs that ended well.
    pub ran_successfully: usize,
    /// Personas held back or, in a shutdown, not started.
    pub skipped: usize,
    /// Runs that did not end well, in the order of /due.
    pub failed: Vec<FailedRun>,
    /// What the model replies of its runs cost.
    pub cost: Usd,
    /// How long it took.
    pub took: Duration,
    /// Whether every login was refused for its credentials.
    pub seed_secret_mismatch: bool,
}

/// A persona whose run did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRun {
    /// Its e-mail.
    pub persona: String,
    /// What went wrong.
    pub error: String,
}

/// Why a tick did nothing.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    /// Nobody knows who is due.
    #[error("the due personas could not be fetched: {0}")]
    Due(#[from] PersonasError),
    /// Something that waiting does not heal stops all use of the model.
    #[error("the model is not used for now: {0}")]
    ModelStopped(String),
    /// The runner is stopping.
    #[error("the runner is stopping")]
    Stopping,
}

/// What is known of a due persona before its run.
enum Entry {
    Run(Persona),
    HeldBack,
    Failed(FailedRun),
}

impl Tick {
    /// Ticks with this pipeline, at most `concurrency` runs at once. A failed run holds its persona
    /// back for `first_back_off` at first.
    pub fn new(
        pipeline: Arc<Pipeline>,
        clock: Clock,
        concurrency: usize,
        first_back_off: Duration,
    ) -> Self {
        let back_off = Arc::new(BackOff::new(clock, first_back_off));
        Self { pipeline, back_off, concurrency }
    }

    /// Runs every due persona that is not held back.
    ///
    /// # Errors
    /// When the list of due personas cannot be had, or the runner is stopping.
    pub async fn run(&self) -> Result<TickSummary, TickError> {
        let started = Instant::now();
        let result = self.run_due(started).await;
        match &result {
            Ok(summary) => {
                self.metrics().record_tick(TickOutcome::Completed, started.elapsed());
                summary.log();
            }
            Err(TickError::Stopping) => {}
            Err(error @ TickError::ModelStopped(_)) => {
                self.metrics().record_skipped_tick(TickOutcome::ModelStopped);
                tracing::info!("no tick: {error}");
            }
            Err(error) => {
                self.metrics().record_tick(TickOutcome::Failed, started.elapsed());
                tracing::error!("tick failed: {error}");
            }
        }
        result
    }

    async fn run_due(&self, started: Instant) -> Result<TickSummary, TickError> {
        let claude = &self.pipeline.claude;
        let most = match claude.begin_tick() {
            Admission::Open => usize::MAX,
            Admission::Probe => 1,
            Admission::Stopped(reason) => return Err(TickError::ModelStopped(reason)),
        };
        let result = self.run_admitted(started, most).await;
        claude.end_tick();
        result
    }

    /// Runs the due personas, but no more than `most`.
    async fn run_admitted(&self, started: Instant, most: usize) -> Result<TickSummary, TickError> {
        let shutdown = &self.pipeline.shutdown;
        let rows = tokio::select! {
            biased;
            () = shutdown.stopping() => return Err(TickError::Stopping),
            rows = self.pipeline.personas.fetch_due(started + DUE_LIMIT) => rows?,
        };
        self.metrics().set_due(rows.len());
        let mut summary = TickSummary { due: rows.len(), ..Default::default() };

        let entries = self.sort_out(rows, most);
        let personas: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Run(persona) => Some(persona.clone()),
                _ => None,
            })
            .collect();
        let outcomes = fan_out(personas, self.concurrency, shutdown, |persona| {
            let (pipeline, back_off) = (self.pipeline.clone(), self.back_off.clone());
            let span = tracing::info_span!("run", persona.id = %persona.user_id, run.id = Empty);
            async move {
                // Stopped in the middle of a tick, it need not log anybody in.
                if most > 1 && pipeline.claude.stopped().is_some() {
                    return None;
                }
                let report = pipeline.run(&persona).await;
                settle(&pipeline.metrics, &back_off, &persona, &report);
                Some(report)
            }
            .instrument(span)
        })
        .await;

        self.pipeline.mcp.settled(SETTLE_LIMIT.min(shutdown.courtesy().saturating_mul(2))).await;
        let (mut logged_in, mut refused) = (false, false);
        let mut outcomes = outcomes.into_iter();
        for entry in entries {
            match entry {
                Entry::HeldBack => summary.skipped += 1,
                Entry::Failed(failed) => summary.failed.push(failed),
                Entry::Run(persona) => match outcomes.next() {
                    None | Some(Outcome::NotStarted | Outcome::Ended(None)) => summary.skipped += 1,
                    Some(Outcome::Panicked) => {
                        self.metrics().record_no_run(RunOutcome::Failed);
                        // It may panic again next time; at least it is not paid for every minute.
                        self.back_off.failed(&persona.user_id, None);
                        self.metrics().record_backoff();
                        let error = "the run panicked; the log has the place".to_owned();
                        summary.failed.push(FailedRun { persona: persona.email, error });
                    }
                    Some(Outcome::Ended(Some(report))) => {
                        logged_in |= report.logged_in;
                        refused |= report.credentials_refused;
                        summary.cost += report.cost;
                        match report.error {
                            None => summary.ran_successfully += 1,
                            Some(error) => {
                                summary.failed.push(FailedRun { persona: persona.email, error });
                            }
                        }
                    }
                },
            }
        }
        // Logins without an answer say nothing about the secret.
        summary.seed_secret_mismatch = refused && !logged_in;
        summary.took = started.elapsed();
        Ok(summary)
    }

    /// Who runs, who is held back, and which rows are nobody.
    fn sort_out(&self, rows: Vec<DueRow>, most: usize) -> Vec<Entry> {
        let mut running = 0;
        let mut seen = HashSet::new();
        let refuse = |persona, error| {
            self.metrics().record_no_run(RunOutcome::Failed);
            Entry::Failed(FailedRun { persona, error })
        };
        rows.into_iter()
            .map(|row| match row {
                Err(error) => {
                    tracing::warn!(due.row = error.place, "a row of /due is malformed");
                    refuse(error.persona.clone(), error.to_string())
                }
                Ok(persona) if !seen.insert(persona.user_id.clone()) => {
                    tracing::warn!(persona.id = %persona.user_id, "/due lists a persona twice");
                    refuse(persona.email, "/due lists this persona twice; it runs once".into())
                }
                Ok(persona) if self.back_off.holds(&persona.user_id) => {
                    self.metrics().record_no_run(RunOutcome::Skipped);
                    Entry::HeldBack
                }
                Ok(_) if running >= most => Entry::HeldBack,
                Ok(persona) => {
                    running += 1;
                    Entry::Run(persona)
                }
            })
            .collect()
    }

    /// Why the model is not used at all for now, if so.
    pub fn model_stopped(&self) -> Option<String> {
        self.pipeline.claude.stopped()
    }

    fn metrics(&self) -> &Metrics {
        &self.pipeline.metrics
    }
}

/// Holds a persona back whose run left no mark: it is still due, and would be paid for again.
fn settle(metrics: &Metrics, back_off: &BackOff, persona: &Persona, report: &RunReport) {
    if report.left_mark {
        back_off.succeeded(&persona.user_id);
    } else if report.outcome == RunOutcome::Failed {
        let wait = back_off.failed(&persona.user_id, report.hold);
        metrics.record_backoff();
        tracing::info!(wait_s = wait.as_secs(), "the persona is held back");
    }
}

impl TickSummary {
    fn log(&self) {
        tracing::info!(
            tick.due = self.due,
            tick.ran_successfully = self.ran_successfully,
            tick.skipped = self.skipped,
            tick.failed = self.failed.len(),
            tick.cost = %self.cost,
            took_ms = self.took.as_millis() as u64,
            "tick ended"
        );
        if self.seed_secret_mismatch {
            tracing::error!(
                "every login of this tick was refused: PERSONA_SEED_SECRET does not match the secret \
                 the personas were seeded with; they are held back so that their accounts do not lock"
            );
        }
    }
}
