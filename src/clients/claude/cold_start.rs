//! The first request of a tick writes the tool prefix to the cache before the others go out, so that it
//! is written once and not by everybody at the same time.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::clock::Clock;

/// How long a prefix stays in the cache after its last use (contracts/anthropic-messages.md, 5.1).
const LIFETIME: Duration = Duration::from_secs(300);
/// Longest wait for the first request.
const PATIENCE: Duration = Duration::from_secs(2);
/// Prefixes kept in mind; every persona sees the same tools, so one is the rule.
const MAX_PREFIXES: usize = 16;

/// Who goes first with which prefix.
#[derive(Debug)]
pub(super) struct ColdStart {
    clock: Clock,
    prefixes: Mutex<HashMap<u64, Prefix>>,
}

#[derive(Debug, Default)]
struct Prefix {
    /// Start of the last request that is known to have written or read it.
    used_at: Option<Timestamp>,
    /// Whom to wait for, and until when, if somebody went first in this tick.
    first: Option<(watch::Receiver<()>, Instant)>,
}

/// A request that goes out with a prefix.
#[derive(Debug)]
pub(super) struct Departure {
    prefix: u64,
    at: Timestamp,
    /// Dropped with it: the others need not wait any longer.
    _leading: Option<watch::Sender<()>>,
}

impl ColdStart {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, prefixes: Mutex::default() }
    }

    /// A tick begins: somebody may go first again.
    pub(super) fn begin_tick(&self) {
        self.prefixes.lock().values_mut().for_each(|prefix| prefix.first = None);
    }

    /// Resolves when a request with this prefix should go out: at once if the prefix is cached, if this
    /// is the first one, or if the first one has had its time.
    pub(super) async fn depart(&self, prefix: u64) -> Departure {
        let departure = |_leading| Departure { prefix, at: self.clock.now(), _leading };
        let first = {
            let mut prefixes = self.prefixes.lock();
            if prefixes.len() >= MAX_PREFIXES {
                prefixes.clear();
            }
            let Prefix { used_at, first } = prefixes.entry(prefix).or_default();
            let age = used_at.and_then(|at| Duration::try_from(self.clock.now() - at).ok());
            match first {
                _ if age.is_some_and(|age| age < LIFETIME) => None,
                Some(first) => Some(first.clone()),
                None => {
                    let (leading, arrival) = watch::channel(());
                    *first = Some((arrival, Instant::now() + PATIENCE));
                    return departure(Some(leading));
                }
            }
        };
        if let Some((mut arrival, until)) = first {
            // It ends when the first one is answered or fails, which closes the channel.
            let _ = timeout_at(until, arrival.changed()).await;
        }
        departure(None)
    }

    /// The request was answered: its prefix is in the cache from its start on.
    pub(super) fn arrived(&self, departure: &Departure) {
        if let Some(prefix) = self.prefixes.lock().get_mut(&departure.prefix) {
            prefix.used_at = prefix.used_at.max(Some(departure.at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cold_start() -> (ColdStart, Clock) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        (ColdStart::new(clock.clone()), clock)
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_wait_until_the_first_one_is_answered() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let first = gate.depart(1).await;
        let answered = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            gate.arrived(&first);
            drop(first);
        };
        let (_, _, ()) = tokio::join!(gate.depart(1), gate.depart(1), answered);
        assert_eq!(start.elapsed().as_millis(), 700);
        gate.depart(1).await;
        assert_eq!(start.elapsed().as_millis(), 700, "it is cached now");
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_wait_no_longer_than_until_the_first_one_fails() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let first = gate.depart(1).await;
        let failed = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(first);
        };
        let (_, ()) = tokio::join!(gate.depart(1), failed);
        assert_eq!(start.elapsed().as_millis(), 300);
        gate.depart(1).await;
        assert_eq!(start.elapsed().as_millis(), 300, "nobody goes first twice in a tick");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_two_seconds_and_only_once_a_tick() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let slow = gate.depart(1).await;
        gate.depart(1).await;
        assert_eq!(start.elapsed(), PATIENCE);
        gate.depart(1).await;
        drop(slow);
        gate.depart(1).await;
        assert_eq!(start.elapsed(), PATIENCE, "the first one failed; nobody leads again");
        gate.begin_tick();
        let _again = gate.depart(1).await;
        gate.depart(1).await;
        assert_eq!(start.elapsed(), 2 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_used_in_the_last_five_minutes_needs_no_first_one() {
        let (gate, clock) = cold_start();
        let first = gate.depart(1).await;
        gate.arrived(&first);
        drop(first);
        gate.begin_tick();
        clock.advance(LIFETIME - Duration::from_secs(1));
        let start = Instant::now();
        let (a, _b) = tokio::join!(gate.depart(1), gate.depart(1));
        assert_eq!(start.elapsed(), Duration::ZERO);
        // A use refreshes it.
        gate.arrived(&a);
        clock.advance(LIFETIME - Duration::from_secs(1));
        let (_c, _d) = tokio::join!(gate.depart(1), gate.depart(1));
        assert_eq!(start.elapsed(), Duration::ZERO);
        gate.begin_tick();
        clock.advance(LIFETIME);
        let (_e, _f) = tokio::join!(gate.depart(1), gate.depart(1));
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn other_tools_are_another_prefix() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let (_a, _b) = tokio::join!(gate.depart(1), gate.depart(2));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
