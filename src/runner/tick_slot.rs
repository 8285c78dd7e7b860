//! The single slot for ticks, shared by the heartbeat and by callers.

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
    tick::{Patience, TickError, TickSummary, Ticks},
};
use crate::metrics::TickOutcome;

/// Before the first look for mana-mcp, and the longest pause from one to the next.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// For the gauges to be brought up to date.
const REFRESH_LIMIT: Duration = Duration::from_secs(1);

/// What a tick came to, or why it did nothing.
pub(crate) type TickResult = Result<TickSummary, TickError>;

/// A tick is in flight already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tick is in flight already; try again when it has ended")]
pub(crate) struct SlotTaken;

impl Ticks {
    /// Starts a tick every `period` until a stop, unless one is in flight. The first one comes a whole period
    /// from now: a restart begins no runs by itself, it only goes on with unfinished ones.
    pub(crate) async fn tick_every(self: &Arc<Self>, period: Duration) {
        let mut heartbeat = interval_at(Instant::now() + period, period);
        // After a stall one tick is enough: what is due stays due, and a burst would find the slot taken.
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while self.fleet.shutdown.unless_stopping(heartbeat.tick()).await.is_some() {
            // It runs by itself; its result is logged and counted there.
            if let Err(taken) = self.start(Patience::SCHEDULED) {
                tracing::debug!("interval: {taken}");
            }
        }
    }

    /// Starts a tick if none is in flight. The task returns what it came to, or nothing where a forced
    /// shutdown dropped it.
    ///
    /// # Errors
    /// When one is in flight.
    #[expect(clippy::disallowed_methods, reason = "the slot is held until the work ends")]
    pub(crate) fn start(
        self: &Arc<Self>,
        patience: Patience,
    ) -> Result<JoinHandle<Option<TickResult>>, SlotTaken> {
        let Ok(permit) = self.slot.clone().try_acquire_owned() else {
            self.fleet.metrics.record_skipped_tick(TickOutcome::Overlap);
            return Err(SlotTaken);
        };
        let ticks = self.clone();
        let number = ticks.started.fetch_add(1, Ordering::Relaxed) + 1;
        let work = async move {
            // The slot is free again before anybody learns that the tick has ended.
            let _permit = permit;
            let tick = ticks.run(patience);
            let result = ticks.fleet.shutdown.unless_aborted(tick).await?;
            // Who learns that the tick has ended finds the same in the metrics.
            let _ = timeout(REFRESH_LIMIT, ticks.fleet.refresh_gauges()).await;
            Some(result)
        };
        Ok(tokio::spawn(work.instrument(tracing::info_span!("tick", tick.number = number))))
    }

    /// Goes on with what an earlier process has left, if it has left anything, beside a tick that may be in
    /// flight.
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
                let Some(busy) = shutdown.unless_aborted(ticks.go_on_with_unfinished()).await
                else {
                    return;
                };
                drop(under_way);
                // A run that ends by a pause that is over by then leaves its rating.
                if busy.is_empty() || ticks.recovery_waits.swap(true, Ordering::SeqCst) {
                    return;
                }
                if shutdown.unless_stopping(ticks.claims.all_free(&busy)).await.is_none() {
                    return;
                }
                ticks.recovery_waits.store(false, Ordering::SeqCst);
            }
        };
        tokio::spawn(work.instrument(tracing::info_span!("recovery")));
    }

    /// Goes on with runs that were put off, once mana-mcp is there again, until a stop. It is looked for after
    /// growing pauses, once for all of them; a tick looks too.
    pub(crate) async fn go_on_with_put_off(self: Arc<Self>) {
        let Fleet { holds, last_tick, shutdown, .. } = &*self.fleet;
        let work = async {
            loop {
                holds.somebody_waits_for_mcp().await;
                let (mut pause, longest) = LOOK_AGAIN;
                while holds.waits_for_mcp() {
                    sleep(pause).await;
                    pause = (pause * 2).min(longest);
                    if self.pipeline.look_for_mcp().await {
                        last_tick.lock().no_session = None;
                    }
                    // Also where it is away still: a run may have got too old meanwhile.
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

    /// Resolves when neither a tick nor a recovery is under way. After a stop none begins.
    pub(crate) async fn idle(&self) {
        // The semaphore is never closed, so this only waits.
        let _ = self.slot.acquire().await;
        drop(self.recoveries.write().await);
    }
}
