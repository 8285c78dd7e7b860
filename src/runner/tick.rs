//! One tick: who is due, and a run for each.

mod entries;
mod unfinished;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Mutex, RwLock, Semaphore},
    time::Instant,
};

use self::{entries::Entry, unfinished::Unfinished};
use super::{
    admission::{Admitted, Hindrance},
    claims::Claims,
    fleet::Fleet,
    once_a_day::OnceADay,
    pipeline::{Pipeline, RunReport},
    work::{Came, carry_out},
};
use crate::{
    clients::personas::{PersonasClient, PersonasError},
    domain::{RunOutcome, Stage, Usd, WhyNotRun},
    journal::JournalError,
    metrics::TickOutcome,
};

/// For the list of due personas, retries included, after the wait for a rate limit.
const DUE_LIMIT: Duration = Duration::from_secs(60);

/// Starts ticks, one at a time, and carries them out. A tick runs in a task of its own: whoever asked for it may
/// go away.
#[derive(Debug)]
pub(crate) struct Ticks {
    pub(super) fleet: Arc<Fleet>,
    pub(super) pipeline: Arc<Pipeline>,
    personas: PersonasClient,
    /// The personas that somebody is at.
    pub(super) claims: Arc<Claims>,
    /// Held while unfinished runs are listed.
    listing: Mutex<()>,
    /// Rows of /due that are no run.
    told: OnceADay,
    /// Held by the tick that is in flight.
    pub(super) slot: Arc<Semaphore>,
    /// Read by each recovery that is under way. None takes the slot: a run that hangs keeps no tick from its time.
    pub(super) recoveries: RwLock<()>,
    /// Whether one waits for the end of runs that somebody else is at: one is enough.
    pub(super) recovery_waits: AtomicBool,
    /// Ticks started by this process; tells them apart in the log.
    pub(super) started: AtomicU64,
}

/// How long a tick waits for the rate limit of the personas endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(Duration);

impl Patience {
    /// As long as the limit takes, mostly: nobody waits for this tick.
    pub(crate) const SCHEDULED: Self = Self(Duration::from_secs(60));
    /// Hardly: somebody waits for the answer.
    pub(crate) const ASKED: Self = Self(Duration::from_millis(500));
}

/// What a tick came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct TickSummary {
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
    /// Runs of which rows wait in the outbox.
    pub undelivered: usize,
    /// Runs that did not end well, in the order of /due.
    pub failed: Vec<FailedRun>,
    /// What the model replies of its runs cost.
    pub cost: Usd,
    /// How long it took.
    pub took: Duration,
}

/// A persona whose run did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailedRun {
    /// Its e-mail.
    pub persona: String,
    /// What went wrong.
    pub error: String,
}

/// Why a tick did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TickError {
    /// Nobody knows who is due.
    #[error("the due personas could not be fetched: {0}")]
    Due(PersonasError),
    /// A rate limit is in the way, which is nobody's failure.
    #[error("{0}; a tick after that finds out who is due")]
    RateLimited(PersonasError),
    /// It may not take place.
    #[error(transparent)]
    Hindered(#[from] Hindrance),
    /// Nothing can be written down, so nothing may be paid for.
    #[error("nothing is paid for without a record of it: {0}")]
    Journal(#[from] JournalError),
    /// The runner is stopping.
    #[error("the runner is stopping")]
    Stopping,
}

impl Ticks {
    /// Ticks of this pipeline's fleet.
    pub(crate) fn new(pipeline: Pipeline, personas: PersonasClient) -> Self {
        let (claims, listing, told, recoveries, recovery_waits, started) = Default::default();
        Self {
            fleet: pipeline.fleet.clone(),
            pipeline: Arc::new(pipeline),
            personas,
            claims,
            listing,
            told,
            slot: Arc::new(Semaphore::new(1)),
            recoveries,
            recovery_waits,
            started,
        }
    }

    /// Runs every due persona that is not held back.
    ///
    /// # Errors
    /// When the list of due personas cannot be had, or the runner is stopping.
    pub(super) async fn run(&self, patience: Patience) -> Result<TickSummary, TickError> {
        let started = Instant::now();
        let mut result = self.run_due(patience).await;
        self.pipeline.tools.lock().tell();
        let Fleet { last_tick, metrics, journal, .. } = &*self.fleet;
        // A rate limit says nothing about that; the other errors say themselves what is wrong, but for a journal
        // that can be written to and not be read.
        if !matches!(result, Err(TickError::RateLimited(_))) {
            let due = result.as_ref().err().filter(|error| match error {
                TickError::Journal(_) => journal.trouble().is_none(),
                error => matches!(error, TickError::Due(_)),
            });
            last_tick.lock().due = due.map(ToString::to_string);
        }
        let skip = |outcome, error: &TickError| {
            metrics.record_skipped_tick(outcome);
            tracing::info!("no tick: {error}");
        };
        match &mut result {
            Ok(summary) => {
                summary.took = started.elapsed();
                metrics.record_tick(TickOutcome::Completed, summary.took);
                for (why, personas) in &summary.skipped {
                    metrics.record_skipped(*why, *personas);
                }
                summary.log();
            }
            Err(TickError::Stopping) => {}
            Err(TickError::Hindered(Hindrance::Paused(_))) => {
                metrics.record_skipped_tick(TickOutcome::Paused);
            }
            Err(error @ TickError::RateLimited(_)) => skip(TickOutcome::RateLimited, error),
            Err(error @ TickError::Hindered(_)) => skip(TickOutcome::ModelStopped, error),
            Err(error) => {
                metrics.record_tick(TickOutcome::Failed, started.elapsed());
                tracing::error!("tick failed: {error}");
            }
        }
        result
    }

    /// Goes on with unfinished runs, beside a tick if one is in flight. Returns the personas somebody else
    /// was at: what is left of their runs is known when they are free.
    pub(super) async fn go_on_with_unfinished(&self) -> HashSet<String> {
        match self.unfinished(Admitted::All).await {
            Ok(Unfinished { list, busy, .. }) => {
                carry_out(&self.pipeline, list, Admitted::All).await;
                self.pipeline.tools.lock().tell();
                busy
            }
            Err(error) => {
                tracing::error!("unfinished runs stay as they are: {error}");
                HashSet::new()
            }
        }
    }

    /// Goes on with unfinished runs, and runs the due personas that have none.
    async fn run_due(&self, Patience(patience): Patience) -> Result<TickSummary, TickError> {
        self.fleet.check_not_paused()?;
        // Before anything is paid for, and also where nobody turns out to be due: that a disk is full is
        // to be known by then.
        self.fleet.journal.check_writable().await?;
        // Until the tick has ended, however it does, a panic included.
        let permit = self.fleet.begin_tick()?;
        let admitted = permit.admitted;
        let mcp_is_back = self.pipeline.look_for_mcp().await;
        let due = self.personas.fetch_due(patience, Instant::now() + patience + DUE_LIMIT);
        let due = self.fleet.shutdown.unless_stopping(due).await.ok_or(TickError::Stopping)?;
        let Unfinished { mut list, go_on, personas: unfinished, .. } =
            self.unfinished(admitted).await?;
        let due = match due {
            Ok(due) => due,
            Err(error) => {
                // They need nobody who is due.
                carry_out(&self.pipeline, list, admitted).await;
                return Err(match error.limited_until() {
                    Some(_) => TickError::RateLimited(error),
                    None => TickError::Due(error),
                });
            }
        };
        let cadences = due.rows.iter().map(|row| Some(row.as_ref().ok()?.cadence));
        self.fleet.metrics.set_due(cadences);
        let mut summary = TickSummary { due: due.rows.len(), ..TickSummary::default() };
        let most = admitted.most().saturating_sub(go_on);
        let resumed = list.len();
        let entries = self.sort_out(due, most, &unfinished, &mut list, &mut summary).await?;
        let ran = carry_out(&self.pipeline, list, admitted).await;
        Ok(self.sum_up(summary, entries, ran.into_iter().skip(resumed), mcp_is_back))
    }

    /// What the entries came to, of which those that ran came to what `ran` says, and what it tells of the
    /// secret and of mana-mcp.
    fn sum_up(
        &self,
        mut summary: TickSummary,
        entries: Vec<Entry>,
        mut ran: impl Iterator<Item = Came>,
        mcp_is_back: bool,
    ) -> TickSummary {
        let (mut has_begun, mut refused, mut past_mcp) = (false, Vec::new(), false);
        // Why the last of the runs got nothing out of mana-mcp.
        let mut nothing = None;
        for Entry { persona, user, came } in entries {
            let RunReport { verdict, cost, undelivered } = match came.or_else(|| ran.next()) {
                Some(Ok(report)) => report,
                not_run => {
                    summary.skip(not_run.and_then(Result::err).unwrap_or(WhyNotRun::Other));
                    continue;
                }
            };
            summary.cost += cost;
            summary.undelivered += usize::from(undelivered);
            refused.extend(user.filter(|_| verdict.is_refused_login()));
            let (outcome, stage) = (verdict.outcome(), verdict.stage());
            has_begun |= stage > Stage::Due;
            past_mcp |= outcome != RunOutcome::PutOff && stage > Stage::Mcp;
            let error = verdict.error().unwrap_or_default().to_owned();
            match outcome {
                RunOutcome::PutOff => {
                    summary.put_off += 1;
                    nothing = Some(format!("every run of the last tick was put off: {error}"));
                }
                RunOutcome::Skipped => summary.skip(verdict.why_skipped()),
                RunOutcome::Ok => summary.ran_successfully += 1,
                RunOutcome::Failed | RunOutcome::Stopped => {
                    if (outcome, stage) == (RunOutcome::Failed, Stage::Mcp) {
                        nothing = Some(format!("every run of the last tick failed: {error}"));
                    }
                    summary.failed.push(FailedRun { persona, error });
                }
            }
        }
        // Logins without an answer say nothing about the secret.
        let seed_secret = &self.fleet.seed_secret;
        let is_mismatch = !refused.is_empty() && !seed_secret.has_fitted();
        if is_mismatch {
            tracing::error!(
                "every login of this tick was refused: PERSONA_SEED_SECRET does not match the secret \
                 the personas were seeded with; they are held back so that their accounts do not lock"
            );
        } else {
            refused.iter().for_each(|persona| seed_secret.blame(persona));
        }
        let mut last = self.fleet.last_tick.lock();
        // Where everybody is held back, nobody has tried whether it goes well by now.
        let somebody_tried = summary.due == 0 || has_begun;
        if somebody_tried {
            last.seed_secret = is_mismatch;
        }
        if somebody_tried || summary.put_off > 0 || mcp_is_back {
            last.no_session = nothing.filter(|_| !past_mcp);
        }
        summary
    }

    /// When the rate limit is over that keeps everybody from asking who is due, if there is one.
    pub(crate) fn limited_until(&self) -> Option<Timestamp> {
        self.personas.limited_until()
    }
}

impl TickSummary {
    /// How many personas did not run.
    pub(crate) fn all_skipped(&self) -> usize {
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
    }
}
