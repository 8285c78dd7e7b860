//! The heartbeat: a tick every interval, unless one is in flight.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{TickSlot, tick::Patience};
use crate::shutdown::Shutdown;

/// Starts a tick every `period` until a stop. The first one comes a whole period from now: a restart
/// begins no runs by itself, it only goes on with unfinished ones.
pub async fn run_interval(period: Duration, slot: TickSlot, shutdown: Shutdown) {
    let mut heartbeat = interval_at(Instant::now() + period, period);
    // After a stall one tick is enough: what is due stays due, and a burst would find the slot taken.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while shutdown.unless_stopping(heartbeat.tick()).await.is_some() {
        match slot.start(Patience::Scheduled) {
            // It runs by itself; its result is logged and counted there.
            Ok(_receiver) => {}
            Err(taken) => tracing::debug!("interval: {taken}"),
        }
    }
}
