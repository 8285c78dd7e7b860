//! The single slot for ticks, shared by the interval and by callers.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, RwLock, Semaphore, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Instrument;

use super::{
    gauges::Gauges,
    put_off::LOOK_AGAIN,
    tick::{Patience, Tick, TickError, TickSummary},
};
use crate::{
    metrics::{Metrics, TickOutcome},
    shutdown::Shutdown,
};

/// For the gauges to be brought up to date.
const REFRESH_LIMIT: Duration = Duration::from_secs(1);

/// A tick is in flight already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tick is in flight already; try again when it has ended")]
pub struct SlotTaken;

/// Starts ticks, one at a time. A tick runs in a task of its own: whoever asked for it may go away.
#[derive(Clone, Debug)]
pub struct TickSlot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tick: Tick,
    gauges: Arc<Gauges>,
    slot: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    trouble: Mutex<Trouble>,
    /// Read by each recovery that is under way. None takes the slot: a run that hangs keeps no tick from its time.
    recoveries: RwLock<()>,
    /// Whether one waits for the end of runs that somebody else is at: one is enough.
    recovery_waits: AtomicBool,
    /// Ticks started by this process; tells them apart in the log.
    started: AtomicU64,
}

/// What was wrong with the last tick that could tell.
#[derive(Debug, Default)]
struct Trouble {
    /// Why nobody knows who is due.
    due: Option<String>,
    /// Whether every login was refused for its credentials.
    seed_secret: bool,
    /// Why no run got a session at mana-mcp.
    no_session: Option<String>,
}

impl TickSlot {
    /// A free slot for this tick, after which the gauges are brought up to date.
    pub fn new(tick: Tick, gauges: Arc<Gauges>, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        let slot = Arc::new(Semaphore::new(1));
        Self(Arc::new(Inner {
            tick,
            gauges,
            slot,
            metrics,
            shutdown,
            trouble: Mutex::default(),
            recoveries: RwLock::default(),
            recovery_waits: AtomicBool::default(),
            started: AtomicU64::default(),
        }))
    }

    /// Starts a tick if none is in flight. The receiver gets what it came to, or nothing where a
    /// forced shutdown dropped it.
    ///
    /// # Errors
    /// When one is in flight.
    pub fn start(
        &self,
        patience: Patience,
    ) -> Result<oneshot::Receiver<Result<TickSummary, TickError>>, SlotTaken> {
        let Ok(permit) = self.0.slot.clone().try_acquire_owned() else {
            self.0.metrics.record_skipped_tick(TickOutcome::Overlap);
            return Err(SlotTaken);
        };
        let (ended, receiver) = oneshot::channel();
        self.spawn(patience, permit, ended);
        Ok(receiver)
    }

    #[expect(clippy::disallowed_methods, reason = "the slot is held until the work ends")]
    fn spawn(
        &self,
        patience: Patience,
        permit: OwnedSemaphorePermit,
        ended: oneshot::Sender<Result<TickSummary, TickError>>,
    ) -> JoinHandle<()> {
        let inner = self.0.clone();
        let number = inner.started.fetch_add(1, Ordering::Relaxed) + 1;
        let work = async move {
            let result = tokio::select! {
                biased;
                () = inner.shutdown.aborted() => return,
                result = inner.tick.run(patience) => result,
            };
            inner.note_trouble(&result);
            // Who learns that the tick has ended finds the same in the metrics.
            let _ = timeout(REFRESH_LIMIT, inner.gauges.refresh()).await;
            // The slot is free again before anybody learns that the tick has ended.
            drop(permit);
            // Nobody may be waiting any more, which is fine.
            let _ = ended.send(result);
        };
        tokio::spawn(work.instrument(tracing::info_span!("tick", tick.number = number)))
    }

    /// Goes on with what an earlier process has left, if it has left anything, beside a tick that may be in
    /// flight.
    #[expect(clippy::disallowed_methods, reason = "the slot is held until the work ends")]
    pub fn recover(&self) {
        let inner = self.0.clone();
        let work = async move {
            loop {
                let under_way = inner.recoveries.read().await;
                if inner.shutdown.is_stopping() {
                    return;
                }
                let busy = tokio::select! {
                    biased;
                    () = inner.shutdown.aborted() => return,
                    busy = inner.tick.recover() => busy,
                };
                drop(under_way);
                // A run that ends by a pause that is over by then leaves its rating.
                if busy.is_empty() || inner.recovery_waits.swap(true, Ordering::SeqCst) {
                    return;
                }
                tokio::select! {
                    biased;
                    () = inner.shutdown.stopping() => return,
                    () = inner.tick.all_free(&busy) => {}
                }
                inner.recovery_waits.store(false, Ordering::SeqCst);
            }
        };
        tokio::spawn(work.instrument(tracing::info_span!("recovery")));
    }

    /// Goes on with runs that were put off, once mana-mcp is there again, until a stop. It is looked for after
    /// growing pauses, once for all of them; a tick looks too.
    pub async fn go_on_with_put_off(self) {
        let Inner { tick, shutdown, trouble, .. } = &*self.0;
        let work = async {
            loop {
                tick.put_off().somebody().await;
                let (mut pause, longest) = LOOK_AGAIN;
                while !tick.put_off().is_empty() {
                    sleep(pause).await;
                    pause = (pause * 2).min(longest);
                    if tick.look_for_mcp().await {
                        trouble.lock().unwrap_or_else(PoisonError::into_inner).no_session = None;
                    }
                    // Also where it is away still: a run may have got too old meanwhile.
                    self.recover();
                }
            }
        };
        tokio::select! {
            biased;
            () = shutdown.stopping() => {}
            () = work => {}
        }
    }

    /// Whether a tick or a recovery is under way.
    pub fn is_busy(&self) -> bool {
        self.0.slot.available_permits() == 0 || self.0.recoveries.try_write().is_err()
    }

    /// Resolves when neither a tick nor a recovery is under way. After a stop none begins.
    pub async fn idle(&self) {
        // The semaphore is never closed, so this only waits.
        let _ = self.0.slot.acquire().await;
        drop(self.0.recoveries.write().await);
    }

    /// As [`Tick::limited_until`].
    pub fn limited_until(&self) -> Option<Timestamp> {
        self.0.tick.limited_until()
    }

    /// What was wrong with the last tick, if anything was.
    pub fn trouble(&self) -> Option<String> {
        if let Some(reason) = self.0.tick.model_stopped() {
            return Some(format!("the model is not used for now: {reason}"));
        }
        if let Some(reason) = self.0.tick.trouble() {
            return Some(reason);
        }
        let trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let mismatch = "every login was refused: PERSONA_SEED_SECRET does not match";
        // A login on demand can have shown since that it fits.
        let is_mismatch = trouble.seed_secret && !self.0.tick.secret_has_fitted();
        let mismatch = is_mismatch.then(|| mismatch.to_owned());
        trouble.due.clone().or(mismatch).or_else(|| trouble.no_session.clone())
    }
}

impl Inner {
    fn note_trouble(&self, result: &Result<TickSummary, TickError>) {
        if matches!(result, Err(TickError::RateLimited(_))) {
            // It says nothing about anything else.
            return;
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.due = match result {
            Err(error @ TickError::Due(_)) => Some(error.to_string()),
            // The others say themselves what is wrong, for as long as it is.
            Ok(_) | Err(_) => None,
        };
        if let Ok(summary) = result {
            // Where everybody is held back, nobody has tried whether it goes well by now.
            let nobody_tried = summary.due > 0 && summary.begun == 0;
            if !nobody_tried {
                trouble.seed_secret = summary.seed_secret_mismatch;
            }
            if !nobody_tried || summary.put_off > 0 || summary.mcp_is_back {
                trouble.no_session = summary.no_session.clone();
            }
        }
    }
}
