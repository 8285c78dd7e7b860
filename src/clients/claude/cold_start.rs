//! Lets the first request of a tick write the tool prefix to the prompt cache before other requests are sent.
//! So the prefix is written once, and not by several requests at the same time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::clock::Clock;

/// How long a prefix stays in the cache after its last use (docs/contracts/anthropic-messages.md, 5.1).
const LIFETIME: Duration = Duration::from_secs(300);
/// Longest wait for the first request.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest number of prefixes that are remembered. Every persona sees the same tools, so there is usually
/// one.
const MAX_PREFIXES: usize = 16;

/// Decides which request goes first with which prefix.
#[derive(Debug)]
pub(super) struct ColdStart {
    clock: Clock,
    /// By the hash of the prefix.
    prefixes: Mutex<HashMap<u64, Prefix>>,
}

#[derive(Debug, Default)]
struct Prefix {
    /// Start of the last request that is known to have written or read the prefix.
    used_at: Option<Timestamp>,
    /// The request that went first in this tick, if any: a channel that closes when the others need not wait
    /// any longer, and the time at which they stop waiting in any case.
    first: Option<(watch::Receiver<()>, Instant)>,
}

impl ColdStart {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, prefixes: Mutex::default() }
    }

    /// Begins a tick: one request may go first again.
    pub(super) fn begin_tick(&self) {
        self.prefixes.lock().values_mut().for_each(|prefix| prefix.first = None);
    }

    /// Sends a request with this prefix when it may go out: at once if the prefix is cached, if this is the
    /// first request, or if the time of the first request is over.
    pub(super) async fn send<T, E>(
        &self,
        prefix: &str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let prefix = BuildHasherDefault::<DefaultHasher>::default().hash_one(prefix);
        // When this sender is dropped, the other requests need not wait any longer.
        let _sender = self.wait(prefix).await;
        let started = self.clock.now();
        let answer = request.await;
        if answer.is_ok()
            && let Some(prefix) = self.prefixes.lock().get_mut(&prefix)
        {
            // The prefix is in the cache from the start of the request on.
            prefix.used_at = prefix.used_at.max(Some(started));
        }
        answer
    }

    /// Waits until a request may go out. The request that goes first gets a sender, and drops it when the
    /// others need not wait any longer.
    async fn wait(&self, prefix: u64) -> Option<watch::Sender<()>> {
        let (mut first_ended, until) = {
            let mut prefixes = self.prefixes.lock();
            if prefixes.len() >= MAX_PREFIXES {
                prefixes.clear();
            }
            let Prefix { used_at, first } = prefixes.entry(prefix).or_default();
            let age = used_at.and_then(|at| Duration::try_from(self.clock.now() - at).ok());
            if age.is_some_and(|age| age < LIFETIME) {
                return None;
            }
            let Some(first) = first else {
                let (sender, first_ended) = watch::channel(());
                *first = Some((first_ended, Instant::now() + PATIENCE));
                return Some(sender);
            };
            first.clone()
        };
        // The wait ends when the first request is answered or fails, which closes the channel.
        let _ = timeout_at(until, first_ended.changed()).await;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const FIRST: &str = "[1]";

    fn cold_start() -> (ColdStart, Clock) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        (ColdStart::new(clock.clone()), clock)
    }

    /// A request that takes `ms` milliseconds.
    async fn after(ms: u64, answer: Result<(), ()>) -> Result<(), ()> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_wait_until_the_first_one_is_answered() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let other = || gate.send(FIRST, after(0, Ok(())));
        let (_, _, _) = tokio::join!(gate.send(FIRST, after(700, Ok(()))), other(), other());
        assert_eq!(start.elapsed().as_millis(), 700);
        other().await.unwrap();
        assert_eq!(start.elapsed().as_millis(), 700, "it is cached now");
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_wait_no_longer_than_until_the_first_one_fails() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let other = || gate.send(FIRST, after(0, Err(())));
        let (_, _) = tokio::join!(gate.send(FIRST, after(300, Err(()))), other());
        assert_eq!(start.elapsed().as_millis(), 300);
        let _ = tokio::join!(other(), other());
        assert_eq!(start.elapsed().as_millis(), 300, "nobody goes first twice in a tick");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_two_seconds_and_only_once_a_tick() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let other = || gate.send(FIRST, after(0, Err(())));
        let behind_a_slow_one = async || {
            tokio::select! {
                biased;
                _ = gate.send(FIRST, pending::<Result<(), ()>>()) => {}
                _ = async { _ = (other().await, other().await) } => {}
            }
        };
        behind_a_slow_one().await;
        assert_eq!(start.elapsed(), PATIENCE);
        let _ = other().await;
        assert_eq!(start.elapsed(), PATIENCE, "the first one failed; nobody leads again");
        gate.begin_tick();
        behind_a_slow_one().await;
        assert_eq!(start.elapsed(), 2 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_used_in_the_last_five_minutes_needs_no_first_one() {
        let (gate, clock) = cold_start();
        let start = Instant::now();
        let send = |answer| gate.send(FIRST, after(100, answer));
        send(Ok(())).await.unwrap();
        gate.begin_tick();
        clock.advance(LIFETIME - Duration::from_secs(1));
        let (_, _) = tokio::join!(send(Ok(())), send(Err(())));
        assert_eq!(start.elapsed().as_millis(), 200, "together");
        // Each use of the prefix begins its lifetime again.
        clock.advance(LIFETIME - Duration::from_secs(1));
        let (_, _) = tokio::join!(send(Err(())), send(Err(())));
        assert_eq!(start.elapsed().as_millis(), 300);
        gate.begin_tick();
        clock.advance(LIFETIME);
        let (_, _) = tokio::join!(send(Err(())), send(Err(())));
        assert_eq!(start.elapsed().as_millis(), 500, "one after the other");
    }

    #[tokio::test(start_paused = true)]
    async fn other_tools_are_another_prefix() {
        let (gate, _) = cold_start();
        let start = Instant::now();
        let (_, _) = tokio::join!(
            gate.send(FIRST, after(100, Ok(()))),
            gate.send("[2]", after(100, Ok(())))
        );
        assert_eq!(start.elapsed().as_millis(), 100);
    }
}
