//! Starts ticks and recoveries. One slot makes sure that at most one tick is in flight, whether it was
//! started by the interval or by a request.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tracing::Instrument;

use super::{
    fleet::Fleet,
    tick::{PATIENCE, TickError, TickSummary, Ticks},
};
use crate::metrics::TickOutcome;

/// First pause before mana-mcp is checked again, and the longest pause. The pause doubles after each check.
const CHECK_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Time limit for updating the gauges at the end of a tick.
const REFRESH_LIMIT: Duration = Duration::from_secs(1);

/// The summary of a tick, or why it did nothing.
pub(crate) type TickResult = Result<TickSummary, TickError>;

/// Error of [`Ticks::start`]: a tick is already in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tick is in flight already; try again when it has ended")]
pub(crate) struct SlotTaken;

impl Ticks {
    /// Starts a tick every `period` until a stop, unless one is in flight. The first tick starts one period
    /// from now: a restart begins no new runs by itself, it only continues unfinished ones.
    pub(crate) async fn tick_every(self: &Arc<Self>, period: Duration) {
        let mut heartbeat = interval_at(Instant::now() + period, period);
        // After a stall one tick is enough: the personas stay due, and further ticks would find the slot
        // taken.
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while self.fleet.shutdown.unless_stopping(heartbeat.tick()).await.is_some() {
            // The task of the tick logs and counts its own result.
            if let Err(taken) = self.start(PATIENCE) {
                tracing::debug!("interval: {taken}");
            }
        }
    }

    /// Starts a tick if none is in flight. The task returns the result of the tick, or `None` if an abort
    /// dropped the tick.
    ///
    /// # Errors
    /// When a tick is in flight.
    #[expect(clippy::disallowed_methods, reason = "the slot is held until the work ends")]
    pub(crate) fn start(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<JoinHandle<Option<TickResult>>, SlotTaken> {
        let Ok(permit) = self.slot.clone().try_acquire_owned() else {
            self.fleet.metrics.record_skipped_tick(TickOutcome::Overlap);
            return Err(SlotTaken);
        };
        let ticks = self.clone();
        let number = ticks.started.fetch_add(1, Ordering::Relaxed) + 1;
        let work = async move {
            // Dropped at the end of this task, so the slot is free before the task's result can be read.
            let _permit = permit;
            let tick = ticks.run(patience);
            let result = ticks.fleet.shutdown.unless_aborted(tick).await?;
            // A client that has got the result of the tick then finds the same state in the metrics.
            let _ = timeout(REFRESH_LIMIT, ticks.fleet.refresh_gauges()).await;
            Some(result)
        };
        Ok(tokio::spawn(work.instrument(tracing::info_span!("tick", tick.number = number))))
    }

    /// Starts a recovery: continues unfinished runs in a task of its own, also while a tick is in flight.
    #[expect(clippy::disallowed_methods, reason = "the slot is held until the work ends")]
    pub(crate) fn recover(self: &Arc<Self>) {
        let ticks = self.clone();
        let work = async move {
            let shutdown = &ticks.fleet.shutdown;
            loop {
                let under_way = ticks.recoveries.read().await;
                if shutdown.is_stopping() {
                    return;
                }
                let busy = shutdown.unless_aborted(ticks.go_on_with_unfinished()).await;
                let busy = busy.unwrap_or_default();
                drop(under_way);
                // A busy run may still end with its rating owed, if a pause ended it that is over by then. So
                // one recovery waits for the busy runs and checks again.
                if busy.is_empty()
                    || ticks.recovery_waits.swap(true, Ordering::SeqCst)
                    || shutdown.unless_stopping(ticks.claims.all_free(&busy)).await.is_none()
                {
                    return;
                }
                ticks.recovery_waits.store(false, Ordering::SeqCst);
            }
        };
        tokio::spawn(work.instrument(tracing::info_span!("recovery")));
    }

    /// Continues runs that were put off, as soon as mana-mcp is available again, until a stop. mana-mcp is
    /// checked after growing pauses, once for all waiting runs. A tick checks it too.
    pub(crate) async fn go_on_with_put_off(self: Arc<Self>) {
        let Fleet { holds, last_tick, shutdown, .. } = &*self.fleet;
        let work = async {
            loop {
                holds.somebody_waits_for_mcp().await;
                let (mut pause, longest) = CHECK_PAUSES;
                while holds.waits_for_mcp() {
                    sleep(pause).await;
                    pause = (pause * 2).min(longest);
                    if self.pipeline.check_mcp().await {
                        last_tick.lock().no_session = None;
                    }
                    // Also while mana-mcp is unavailable: a run may have become too old and must then be
                    // closed.
                    self.recover();
                }
            }
        };
        shutdown.unless_stopping(work).await;
    }

    /// Whether a tick or a recovery is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.slot.available_permits() == 0 || self.recoveries.try_write().is_err()
    }

    /// Resolves when neither a tick nor a recovery is under way. After a stop no further one begins.
    pub(crate) async fn idle(&self) {
        // Never an error, because the semaphore is never closed.
        let _ = self.slot.acquire().await;
        drop(self.recoveries.write().await);
    }
}
