//! One tick: who is due, and a run for each.

mod entries;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use self::entries::Entry;
use super::{
    once_a_day::OnceADay,
    pipeline::{Admitted, Pipeline},
    put_off::PutOff,
    recovery::{Recovery, Unfinished},
    work::{Came, Claims, Work, carry_out},
};
use crate::{
    clients::{
        claude::{Admission, ClaudeClient},
        personas::{PersonasClient, PersonasError},
    },
    domain::{Cadence, Usd},
    journal::JournalError,
    metrics::{DueBy, Metrics, RunOutcome, Stage, TickOutcome, WhyNotRun},
};

/// For the list of due personas, retries included, after the wait for a rate limit.
const DUE_LIMIT: Duration = Duration::from_secs(60);

/// Carries out ticks.
#[derive(Debug)]
pub struct Tick {
    pipeline: Arc<Pipeline>,
    personas: Arc<PersonasClient>,
    recovery: Recovery,
    claims: Arc<Claims>,
    /// PERSONA_CONCURRENCY, for the runs of a tick and those of a recovery beside it.
    permits: Arc<Semaphore>,
    /// Rows of /due that are no run.
    told: OnceADay,
}

/// How long a tick waits for the rate limit of the personas endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as the limit takes, mostly: nobody waits for this tick.
    Scheduled,
    /// Hardly: somebody waits for the answer.
    Asked,
}

impl Patience {
    fn limit(self) -> Duration {
        match self {
            Self::Scheduled => Duration::from_secs(60),
            Self::Asked => Duration::from_millis(500),
        }
    }
}

/// What a tick came to.
#[derive(Clone, Debug, Default)]
pub struct TickSummary {
    /// Personas /due listed.
    pub due: usize,
    /// Runs that ended well.
    pub ran_successfully: usize,
    /// Personas that did not run, by the reason.
    pub skipped: BTreeMap<WhyNotRun, usize>,
    /// When the first of those that are held back is so no longer.
    pub first_hold_ends: Option<Timestamp>,
    /// Personas whose run waits for mana-mcp.
    pub put_off: usize,
    /// Runs that were begun, however they ended.
    pub begun: usize,
    /// Runs of which rows wait in the outbox.
    pub undelivered: usize,
    /// Runs that did not end well, in the order of /due.
    pub failed: Vec<FailedRun>,
    /// What the model replies of its runs cost.
    pub cost: Usd,
    /// How long it took.
    pub took: Duration,
    /// Whether every login was refused for its credentials, and none has ever been accepted.
    pub seed_secret_mismatch: bool,
    /// What one of the runs came to, and how many did, where none got anything out of mana-mcp.
    pub no_session: Option<String>,
    /// Whether mana-mcp was found to be there again, for whom somebody had waited.
    pub mcp_is_back: bool,
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
    Due(PersonasError),
    /// A rate limit is in the way, which is nobody's failure.
    #[error("{0}; a tick after that finds out who is due")]
    RateLimited(PersonasError),
    /// Something that waiting does not heal stops all use of the model.
    #[error("the model is not used for now: {0}")]
    ModelStopped(String),
    /// Nothing can be written down, so nothing may be paid for.
    #[error("nothing is paid for without a record of it: {0}")]
    Journal(#[from] JournalError),
    /// The runner is paused.
    #[error("the runner is paused")]
    Paused,
    /// The runner is stopping.
    #[error("the runner is stopping")]
    Stopping,
}

/// Tells the client of the model that the tick is over.
struct EndOfTick<'a>(&'a ClaudeClient);

impl Drop for EndOfTick<'_> {
    fn drop(&mut self) {
        self.0.end_tick();
    }
}

impl Tick {
    /// Ticks with this pipeline, at most `concurrency` runs at once. Unfinished runs of an earlier
    /// process go on if they are younger than `resume_max_age`.
    pub fn new(
        pipeline: Arc<Pipeline>,
        personas: Arc<PersonasClient>,
        concurrency: usize,
        resume_max_age: Duration,
    ) -> Self {
        let claims = Arc::<Claims>::default();
        let recovery = Recovery::new(pipeline.clone(), claims.clone(), resume_max_age);
        let permits = Arc::new(Semaphore::new(concurrency));
        let told = OnceADay::default();
        Self { pipeline, personas, recovery, claims, permits, told }
    }

    /// Runs every due persona that is not held back.
    ///
    /// # Errors
    /// When the list of due personas cannot be had, or the runner is stopping.
    pub async fn run(&self, patience: Patience) -> Result<TickSummary, TickError> {
        let started = Instant::now();
        let result = self.run_due(started, patience).await;
        self.pipeline.tools().tell();
        match &result {
            Ok(summary) => {
                self.metrics().record_tick(TickOutcome::Completed, started.elapsed());
                summary.log();
            }
            Err(TickError::Stopping) => {}
            Err(TickError::Paused) => self.metrics().record_skipped_tick(TickOutcome::Paused),
            Err(error @ TickError::ModelStopped(_)) => {
                self.metrics().record_skipped_tick(TickOutcome::ModelStopped);
                tracing::info!("no tick: {error}");
            }
            Err(error @ TickError::RateLimited(_)) => {
                self.metrics().record_skipped_tick(TickOutcome::RateLimited);
                tracing::info!("no tick: {error}");
            }
            Err(error) => {
                self.metrics().record_tick(TickOutcome::Failed, started.elapsed());
                tracing::error!("tick failed: {error}");
            }
        }
        result
    }

    /// Who waits for mana-mcp.
    pub(super) fn put_off(&self) -> &PutOff {
        &self.pipeline.put_off
    }

    /// Where somebody waits for mana-mcp: whether it is there by now, so that nobody has to any longer.
    pub(super) async fn look_for_mcp(&self) -> bool {
        let is_there = !self.put_off().is_empty() && self.pipeline.mcp.is_there().await;
        if is_there {
            self.put_off().clear();
        }
        is_there
    }

    /// Goes on with unfinished runs, beside a tick if one is in flight. Returns the personas somebody else
    /// was at: what is left of their runs is known when they are free.
    pub(super) async fn recover(&self) -> HashSet<String> {
        match self.recovery.unfinished(Admitted::All).await {
            Ok(Unfinished { list, busy, .. }) => {
                self.carry_out(list, Admitted::All).await;
                self.pipeline.tools().tell();
                busy
            }
            Err(error) => {
                tracing::error!("unfinished runs stay as they are: {error}");
                HashSet::new()
            }
        }
    }

    /// Resolves when nobody is at a run of these personas.
    pub(super) async fn all_free(&self, personas: &HashSet<String>) {
        self.claims.all_free(personas).await;
    }

    async fn carry_out(&self, list: Vec<Work>, admitted: Admitted) -> Vec<Came> {
        carry_out(&self.pipeline, &self.permits, list, admitted).await
    }

    async fn run_due(
        &self,
        started: Instant,
        patience: Patience,
    ) -> Result<TickSummary, TickError> {
        if self.pipeline.control.paused().is_some() {
            return Err(TickError::Paused);
        }
        // Before anything is paid for, and also where nobody turns out to be due: that a disk is full is
        // to be known by then.
        self.pipeline.journal.check_writable().await?;
        let claude = &self.pipeline.claude;
        let admitted = match claude.begin_tick() {
            Admission::Open => Admitted::All,
            Admission::Probe => Admitted::Probe,
            Admission::Stopped(reason) => return Err(TickError::ModelStopped(reason)),
        };
        // However the tick ends, a panic included.
        let _end = EndOfTick(claude);
        let mcp_is_back = self.look_for_mcp().await;
        let summary = self.run_admitted(started, patience, admitted).await?;
        Ok(TickSummary { mcp_is_back, ..summary })
    }

    /// Goes on with unfinished runs, and runs the due personas that have none.
    async fn run_admitted(
        &self,
        started: Instant,
        patience: Patience,
        admitted: Admitted,
    ) -> Result<TickSummary, TickError> {
        let shutdown = &self.pipeline.shutdown;
        let patience = patience.limit();
        let deadline = Instant::now() + patience + DUE_LIMIT;
        let due = tokio::select! {
            biased;
            () = shutdown.stopping() => return Err(TickError::Stopping),
            due = self.personas.fetch_due(patience, deadline) => due,
        };
        let Unfinished { mut list, go_on, personas: unfinished, .. } =
            self.recovery.unfinished(admitted).await?;
        let due = match due {
            Ok(due) => due,
            Err(error) => {
                // They need nobody who is due.
                self.carry_out(list, admitted).await;
                return Err(match error.limited_until() {
                    Some(_) => TickError::RateLimited(error),
                    None => TickError::Due(error),
                });
            }
        };
        self.metrics().set_due(due.rows.iter().map(|row| match row {
            Ok(persona) => match persona.cadence {
                Cadence::Hourly => DueBy::Hourly,
                Cadence::Daily => DueBy::Daily,
                Cadence::Weekdays => DueBy::Weekdays,
            },
            Err(_) => DueBy::Unknown,
        }));
        let mut summary = TickSummary { due: due.rows.len(), ..Default::default() };

        let most = admitted.most().saturating_sub(go_on);
        let resumed = list.len();
        let entries = self.sort_out(due, most, &unfinished, &mut list, &mut summary).await?;
        let came = self.carry_out(list, admitted).await;
        let (mut logged_in, mut refused) = (false, Vec::new());
        let mut past_mcp = false;
        let mut came = came.into_iter().skip(resumed);
        for entry in entries {
            match entry {
                Entry::Skipped(why) => summary.skip(why),
                Entry::PutOff(why) => {
                    summary.put_off += 1;
                    summary.no_session = Some(nothing("was put off", &why));
                }
                Entry::Failed(failed) => summary.failed.push(failed),
                Entry::Run(persona) => match came.next() {
                    None => summary.skip(WhyNotRun::Other),
                    Some(Came::NotBegun(why)) => summary.skip(why),
                    Some(Came::Panicked) => {
                        let error = "the run panicked; the log has the place".to_owned();
                        summary.failed.push(FailedRun { persona: persona.email, error });
                    }
                    Some(Came::Ended(report)) => {
                        logged_in |= report.logged_in;
                        if report.credentials_refused {
                            refused.push(persona.user_id);
                        }
                        let error = report.error.as_deref().unwrap_or_default();
                        match (report.outcome, report.stage) {
                            (RunOutcome::Failed, Stage::Mcp) => {
                                summary.no_session = Some(nothing("failed", error));
                            }
                            (RunOutcome::PutOff, _) => {
                                summary.no_session = Some(nothing("was put off", error));
                            }
                            (_, Stage::Due | Stage::Login | Stage::Space | Stage::Mcp) => {}
                            _ => past_mcp = true,
                        }
                        summary.begun += 1;
                        summary.cost += report.cost;
                        summary.undelivered += usize::from(report.undelivered);
                        match report.error {
                            _ if report.outcome == RunOutcome::PutOff => summary.put_off += 1,
                            None if report.outcome == RunOutcome::Skipped => {
                                summary.skip(report.broke.unwrap_or(WhyNotRun::Other));
                            }
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
        let seed_secret = &self.pipeline.seed_secret;
        let fits = logged_in || seed_secret.has_fitted();
        summary.seed_secret_mismatch = !refused.is_empty() && !fits;
        if fits {
            refused.iter().for_each(|persona| seed_secret.blame(persona));
        }
        if past_mcp {
            summary.no_session = None;
        }
        for (why, personas) in &summary.skipped {
            self.metrics().record_skipped(*why, *personas);
        }
        summary.took = started.elapsed();
        Ok(summary)
    }

    /// Why the model is not used at all for now, if so.
    pub fn model_stopped(&self) -> Option<String> {
        self.pipeline.claude.stopped()
    }

    /// When the rate limit is over that keeps everybody from asking who is due, if there is one.
    pub fn limited_until(&self) -> Option<Timestamp> {
        self.personas.limited_until()
    }

    /// Whether PERSONA_SEED_SECRET has ever opened an account.
    pub fn secret_has_fitted(&self) -> bool {
        self.pipeline.seed_secret.has_fitted()
    }

    /// As [`Pipeline::trouble`].
    pub fn trouble(&self) -> Option<String> {
        self.pipeline.trouble()
    }

    fn metrics(&self) -> &Metrics {
        &self.pipeline.metrics
    }
}

/// Why a tick got nothing out of mana-mcp.
fn nothing(what: &str, why: &str) -> String {
    format!("every run of the last tick {what}: {why}")
}

impl TickSummary {
    /// How many personas did not run.
    pub fn all_skipped(&self) -> usize {
        self.skipped.values().sum()
    }

    fn skip(&mut self, why: WhyNotRun) {
        *self.skipped.entry(why).or_default() += 1;
    }

    fn log(&self) {
        let because = self.skipped.iter().map(|(why, number)| format!("{} {number}", why.as_str()));
        let because: Vec<_> = because.collect();
        tracing::info!(
            tick.due = self.due,
            tick.ran_successfully = self.ran_successfully,
            tick.skipped = self.all_skipped(),
            tick.skipped_because = (!because.is_empty()).then_some(because.join(", ")),
            tick.first_hold_ends = self.first_hold_ends.map(tracing::field::display),
            tick.put_off = self.put_off,
            tick.failed = self.failed.len(),
            tick.undelivered = self.undelivered,
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
