//! One tick: fetches the due personas, decides which of them run, and carries out their runs.

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
    absences::{self, TickTime},
    admission::{Admitted, Hindrance, TickPermit},
    claims::Claims,
    fleet::Fleet,
    once_a_day::OnceADay,
    pipeline::{Pipeline, RunReport},
    work::{RunResult, carry_out},
};
use crate::{
    clients::personas::PersonasError,
    domain::{RunOutcome, Stage, Usd, WhyNotRun},
    journal::JournalError,
    metrics::TickOutcome,
};

/// Time limit for fetching the due personas, retries included. The wait for a rate limit is not counted.
pub(crate) const DUE_LIMIT: Duration = Duration::from_secs(60);
/// How long a scheduled tick, whose result nobody waits for, waits for the end of a rate limit of the personas
/// endpoint: longer than most rate limits.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a tick on request: short, because a client waits for the answer.
pub(crate) const PATIENCE_ON_REQUEST: Duration = Duration::from_millis(500);

/// Starts ticks, one at a time, and carries them out. A tick runs in a task of its own, so it continues when
/// the HTTP client that asked for it disconnects.
#[derive(Debug)]
pub(crate) struct Ticks {
    pub(super) fleet: Arc<Fleet>,
    pub(super) pipeline: Arc<Pipeline>,
    /// Ids of the personas that have a run under way or in a list of work.
    pub(super) claims: Arc<Claims>,
    /// Held while unfinished runs are listed, so that two listings cannot claim the same run.
    listing: Mutex<()>,
    /// Invalid rows of /due, each logged and counted once a day.
    logged: OnceADay,
    /// Its only permit is held by the tick that is in flight.
    pub(super) slot: Arc<Semaphore>,
    /// Read-locked by each recovery that is under way. A recovery does not take the slot, so a resumed run
    /// that hangs does not delay the next tick.
    pub(super) recoveries: RwLock<()>,
    /// Whether a recovery is waiting for the end of runs that another task carries out. One waiting recovery
    /// is enough.
    pub(super) recovery_waits: AtomicBool,
    /// Number of ticks that this process has started. It identifies a tick in the log.
    pub(super) started: AtomicU64,
}

/// The result of a tick that took place.
#[derive(Clone, Debug, Default)]
pub(crate) struct TickSummary {
    /// Number of rows in the answer of /due, invalid ones included.
    pub due: usize,
    /// Number of runs that ended without an error.
    pub ran_successfully: usize,
    /// Numbers of personas that did not run, by the reason.
    pub skipped: BTreeMap<WhyNotRun, usize>,
    /// The earliest end of a hold among the personas that are held back.
    pub first_hold_ends: Option<Timestamp>,
    /// Number of personas whose run waits for mana-mcp.
    pub put_off: usize,
    /// Number of runs with rows that wait in the outbox.
    pub undelivered: usize,
    /// Runs that failed or were stopped, in the order of /due.
    pub failed: Vec<FailedRun>,
    /// Cost of the model requests of the tick's runs.
    pub cost: Usd,
    /// Duration of the tick.
    pub took: Duration,
}

/// A persona whose run failed or was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailedRun {
    /// The persona's e-mail, or the part of an invalid row that could be read.
    pub persona: String,
    pub error: String,
}

/// Why a tick did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TickError {
    /// The personas endpoint did not return the due personas.
    #[error("the due personas could not be fetched: {0}")]
    Due(PersonasError),
    /// A rate limit of the personas endpoint is active. This does not count as a failure.
    #[error("{0}; a tick after that finds out who is due")]
    RateLimited(PersonasError),
    /// The tick may not take place for this reason.
    #[error(transparent)]
    Hindered(#[from] Hindrance),
    /// The journal cannot be used, so nothing may be paid for.
    #[error("nothing is paid for without a record of it: {0}")]
    Journal(#[from] JournalError),
    /// A stop was requested while the due personas were fetched.
    #[error("the runner is stopping")]
    Stopping,
}

impl Ticks {
    /// Ticks whose runs this pipeline carries out.
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        let (claims, listing, logged, recoveries, recovery_waits, started) = Default::default();
        let (fleet, pipeline) = (pipeline.fleet.clone(), Arc::new(pipeline));
        let slot = Arc::new(Semaphore::new(1));
        Self { fleet, pipeline, claims, listing, logged, slot, recoveries, recovery_waits, started }
    }

    /// Carries out one tick: continues unfinished runs and runs every due persona that may run. Logs and
    /// counts the result.
    ///
    /// # Errors
    /// See [`TickError`].
    pub(super) async fn run(&self, patience: Duration) -> Result<TickSummary, TickError> {
        let started = Instant::now();
        self.fleet.note_halts().await;
        let mut result = self.run_due(patience).await;
        // The model may have stopped, or may be used again.
        self.fleet.note_halts().await;
        self.pipeline.tools.lock().warn_and_reset();
        let Fleet { last_tick, metrics, journal, .. } = &*self.fleet;
        // A rate limit does not show whether /due works. The other errors are reported by hindrances of their
        // own, except a journal that can be written to but not read.
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

    /// Continues unfinished runs, also while a tick is in flight. Returns the ids of the personas that
    /// another task was running: whether their runs stay unfinished is known only when those claims are
    /// released.
    pub(super) async fn go_on_with_unfinished(&self) -> HashSet<String> {
        match self.unfinished(Admitted::All).await {
            Ok(Unfinished { list, busy, .. }) => {
                carry_out(&self.pipeline, list, Admitted::All).await;
                self.pipeline.tools.lock().warn_and_reset();
                busy
            }
            Err(error) => {
                tracing::error!("unfinished runs stay as they are: {error}");
                HashSet::new()
            }
        }
    }

    /// Continues unfinished runs, and runs the due personas that have no unfinished run.
    async fn run_due(&self, patience: Duration) -> Result<TickSummary, TickError> {
        if let Some(paused) = self.fleet.control.paused() {
            return Err(Hindrance::Paused(paused).into());
        }
        // Checked before anything is paid for, and also in ticks without due personas, so that a full disk is
        // noticed early.
        self.fleet.journal.check_writable().await?;
        // Held until the end of the tick, also if the tick panics.
        let permit = TickPermit::new(&self.pipeline.claude)?;
        let admitted = permit.admitted;
        let mcp_is_back = self.pipeline.check_mcp().await;
        let (personas, until) = (&self.pipeline.deliverer.personas, Instant::now() + patience);
        let due = personas.fetch_due(patience, until + DUE_LIMIT);
        let due = self.fleet.shutdown.unless_stopping(due).await.ok_or(TickError::Stopping)?;
        let Unfinished { mut list, go_on, personas: unfinished, .. } =
            self.unfinished(admitted).await?;
        let due = match due {
            Ok(due) => due,
            Err(error) => {
                // Unfinished runs do not depend on the list of due personas.
                carry_out(&self.pipeline, list, admitted).await;
                return Err(match error.limited_until() {
                    Some(_) => TickError::RateLimited(error),
                    None => TickError::Due(error),
                });
            }
        };
        let clock_at = self.fleet.clock.now();
        let time = TickTime { at: due.server_time, clock_at };
        self.fleet.note_server_time(time).await;
        self.fleet.follow_deployments().await;
        let cadences = due.rows.iter().map(|row| Some(row.as_ref().ok()?.cadence));
        self.fleet.metrics.set_due(cadences);
        let mut summary = TickSummary { due: due.rows.len(), ..TickSummary::default() };
        let most = (admitted as usize).saturating_sub(go_on);
        let resumed = list.len();
        let entries = self.sort_out(due, most, &unfinished, &mut list, &mut summary).await?;
        // The runs may take hours, and a kill must not lose who does not run.
        let known = entries.iter().filter_map(Entry::known);
        self.fleet.note_tick(time, &known.collect::<Vec<_>>()).await;
        let ran = carry_out(&self.pipeline, list, admitted).await;
        let ran = ran.into_iter().skip(resumed);
        let (summary, due) = self.sum_up(summary, entries, ran, mcp_is_back);
        self.fleet.note_tick(time, &due).await;
        Ok(summary)
    }

    /// Adds the results of all entries to the summary, and notes whether the tick showed a wrong seed secret
    /// or an unusable mana-mcp. `ran` has the results of the new runs, in the order of the entries without a
    /// result. Returns the due personas with their absences, too.
    fn sum_up(
        &self,
        mut summary: TickSummary,
        entries: Vec<Entry>,
        mut ran: impl Iterator<Item = RunResult>,
        mcp_is_back: bool,
    ) -> (TickSummary, Vec<absences::Due>) {
        let mut present = Vec::with_capacity(entries.len());
        let (mut has_begun, mut refused, mut past_mcp) = (false, Vec::new(), false);
        // Why the last run that got no tools from mana-mcp got none.
        let mut no_session = None;
        for Entry { persona, due, result } in entries {
            let result = result.or_else(|| ran.next()).unwrap_or(Err(WhyNotRun::Other));
            let user = due.as_ref().map(|due| due.user.clone());
            let absent = why_absent(&result);
            present.extend(due.map(|due| absences::Due { absent, ..due }));
            let RunReport { verdict, cost, undelivered } = match result {
                Ok(report) => report,
                Err(why) => {
                    summary.skip(why);
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
                    no_session = Some(format!("every run of the last tick was put off: {error}"));
                }
                RunOutcome::Skipped => summary.skip(verdict.why_skipped()),
                RunOutcome::Ok => summary.ran_successfully += 1,
                RunOutcome::Failed | RunOutcome::Stopped => {
                    if (outcome, stage) == (RunOutcome::Failed, Stage::Mcp) {
                        no_session = Some(format!("every run of the last tick failed: {error}"));
                    }
                    summary.failed.push(FailedRun { persona, error });
                }
            }
        }
        // Only refused logins are counted: a login without an answer does not show whether the secret fits.
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
        // If all due personas are held back, no run has tried a login, so the last finding stays.
        let somebody_tried = summary.due == 0 || has_begun;
        if somebody_tried {
            last.seed_secret = is_mismatch;
        }
        if somebody_tried || summary.put_off > 0 || mcp_is_back {
            last.no_session = no_session.filter(|_| !past_mcp);
        }
        (summary, present)
    }

    /// The end of the active rate limit of the personas endpoint, if there is one.
    pub(crate) fn limited_until(&self) -> Option<Timestamp> {
        self.pipeline.deliverer.personas.limited_until()
    }
}

/// Why a due persona with this result was absent in this tick. The journal keeps it only where no run has taken the
/// slot.
fn why_absent(result: &RunResult) -> Option<WhyNotRun> {
    let verdict = match result {
        Ok(report) => &report.verdict,
        Err(why) => return (*why != WhyNotRun::SlotUsed).then_some(*why),
    };
    match verdict.outcome() {
        RunOutcome::Skipped => Some(verdict.why_skipped()),
        // A run of an earlier slot waits for mana-mcp.
        RunOutcome::PutOff if verdict.stage() == Stage::Due => Some(WhyNotRun::Unfinished),
        _ => (verdict.stage() == Stage::Due).then_some(WhyNotRun::Other),
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
