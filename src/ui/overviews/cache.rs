//! Values that take seconds to compute: kept for a while, computed again when the facts have changed, one at a time.

#[cfg(test)]
mod tests;

use std::{fmt::Display, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    spawn,
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};

use super::Found;
use crate::{clock::Clock, shutdown::Shutdown};

/// How long a page waits for the first value.
const FIRST: Duration = Duration::from_secs(2);
/// How long a page waits for a newer value before it shows the old one.
const NEWER: Duration = Duration::from_millis(200);
/// How long a value is kept after its last use.
const KEPT: Duration = Duration::from_secs(600);
/// A value is computed again after so many times as long as it took.
const PAUSES: u32 = 10;
/// The shortest pause after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Values by key. `R` is the revision of the facts that a value was computed from. Clones share the values.
#[derive(Debug)]
pub(super) struct Cache<K, V, R>(Arc<Shared<K, V, R>>);

#[derive(Debug)]
struct Shared<K, V, R> {
    shelf: Mutex<Shelf<K, V, R>>,
    /// Its one permit belongs to the computation that runs.
    turn: Arc<Semaphore>,
    clock: Clock,
    shutdown: Shutdown,
}

#[derive(Debug)]
struct Shelf<K, V, R> {
    /// How many entries there are at most.
    most: usize,
    entries: Vec<Entry<K, V, R>>,
    /// Whether a task removes the entries that nobody uses.
    is_swept: bool,
}

#[derive(Debug)]
struct Entry<K, V, R> {
    key: K,
    kept: Option<Kept<V, R>>,
    /// Why the last computation failed.
    failure: Option<String>,
    /// When the last computation ended, and the pause after it.
    ended: Option<(Instant, Duration)>,
    used: Instant,
    /// Its sender is dropped when the computation ends.
    running: Option<watch::Receiver<()>>,
}

#[derive(Debug)]
struct Kept<V, R> {
    value: Arc<V>,
    revision: R,
    /// When its computation began: as people read it, and as durations are measured.
    at: Timestamp,
    begun: Instant,
}

impl<K, V, R> Cache<K, V, R>
where
    K: Clone + PartialEq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    R: PartialEq + Send + Sync + 'static,
{
    /// A cache of at most so many values. Those who share `turn` compute one at a time.
    pub(super) fn new(most: usize, turn: Arc<Semaphore>, clock: Clock, shutdown: Shutdown) -> Self {
        let shelf = Shelf { most, entries: Vec::new(), is_swept: false };
        Self(Arc::new(Shared { shelf: Mutex::new(shelf), turn, clock, shutdown }))
    }

    /// The value of this key, if the facts now have this revision; `None` if it is not computed yet, an error text if it
    /// could not be computed. `compute` gives the value and the revision of its facts. It goes on when the caller is
    /// dropped.
    pub(super) async fn get<F>(
        &self,
        key: K,
        revision: &R,
        compute: impl FnOnce() -> F,
    ) -> Option<Result<Found<V>, String>>
    where
        F: Future<Output = Result<(V, R), String>> + Send + 'static,
    {
        let asked = Instant::now();
        let (running, patience) = {
            let mut shelf = self.0.shelf.lock();
            if !shelf.is_swept {
                shelf.is_swept = true;
                self.sweep();
            }
            let entry = shelf.entry(&key, asked)?;
            if entry.is_fresh(revision, asked) {
                return entry.found(revision, asked);
            }
            if !entry.is_running() && entry.may_run(asked) {
                entry.running = Some(self.begin(key.clone(), compute()));
            }
            let patience = if entry.kept.is_some() { NEWER } else { FIRST };
            (entry.running.clone().filter(|_| entry.is_running()), patience)
        };
        if let Some(mut running) = running {
            // The sender is dropped without a message.
            let _ = timeout(patience, running.changed()).await;
        }
        self.0.shelf.lock().find(&key)?.found(revision, asked)
    }

    /// The value of this key, if there is one and nobody knows whether it is that of the facts now, because of this error.
    pub(super) fn old(&self, key: &K, error: &impl Display) -> Option<Found<V>> {
        let mut shelf = self.0.shelf.lock();
        let entry = shelf.find(key)?;
        let kept = entry.kept.as_ref()?;
        entry.used = Instant::now();
        let failure = Some(error.to_string());
        Some(Found { value: kept.value.clone(), as_of: Some(kept.at), failure })
    }

    #[expect(clippy::disallowed_methods, reason = "a computation outlives those who wait for it")]
    fn begin<F>(&self, key: K, compute: F) -> watch::Receiver<()>
    where
        F: Future<Output = Result<(V, R), String>> + Send + 'static,
    {
        let (ended, running) = watch::channel(());
        let shared = self.0.clone();
        spawn(async move {
            let shutdown = shared.shutdown.clone();
            shutdown.unless_stopping(shared.run(key, compute)).await;
            drop(ended);
        });
        running
    }

    /// Removes each entry some time after its last use, until there is none.
    #[expect(
        clippy::disallowed_methods,
        reason = "memory is given back also if nobody comes again"
    )]
    fn sweep(&self) {
        let shared = self.0.clone();
        spawn(async move {
            let sweep = async {
                while let Some(next) = shared.remove_unused() {
                    sleep_until(next).await;
                }
            };
            shared.shutdown.unless_stopping(sweep).await;
        });
    }
}

impl<K: PartialEq, V, R: PartialEq> Shared<K, V, R> {
    async fn run<F>(&self, key: K, compute: F)
    where
        F: Future<Output = Result<(V, R), String>>,
    {
        let Ok(turn) = self.turn.acquire().await else { return };
        let (begun, at) = (Instant::now(), self.clock.now());
        let computed = compute.await;
        drop(turn);
        let ended = Instant::now();
        let pause = (ended - begun) * PAUSES;
        let mut shelf = self.shelf.lock();
        let Some(entry) = shelf.find(&key) else { return };
        match computed {
            Ok((value, revision)) => {
                entry.kept = Some(Kept { value: Arc::new(value), revision, at, begun });
                entry.failure = None;
                entry.ended = Some((ended, pause));
            }
            Err(failure) => {
                tracing::warn!("a page cannot be computed: {failure}");
                entry.failure = Some(failure);
                entry.ended = Some((ended, pause.max(PAUSE_AFTER_FAILURE)));
            }
        }
    }

    /// Removes the entries that nobody uses. Returns when to look again; `None` if none is left.
    fn remove_unused(&self) -> Option<Instant> {
        let mut shelf = self.shelf.lock();
        let now = Instant::now();
        shelf.entries.retain(|entry| entry.is_running() || now < entry.used + KEPT);
        let next = shelf.entries.iter().map(|entry| entry.used + KEPT).min();
        shelf.is_swept = next.is_some();
        // The entry of a computation that goes on may be older.
        next.map(|next| next.max(now + PAUSE_AFTER_FAILURE))
    }
}

impl<K: PartialEq, V, R: PartialEq> Shelf<K, V, R> {
    fn find(&mut self, key: &K) -> Option<&mut Entry<K, V, R>> {
        self.entries.iter_mut().find(|entry| entry.key == *key)
    }

    /// The entry of this key, which is used now. A new one takes the place of the one that was not used for longest; `None`
    /// if each of the others is being computed.
    fn entry(&mut self, key: &K, now: Instant) -> Option<&mut Entry<K, V, R>>
    where
        K: Clone,
    {
        let position = match self.entries.iter().position(|entry| entry.key == *key) {
            Some(position) => position,
            None => {
                if self.entries.len() == self.most {
                    let others = self.entries.iter().enumerate();
                    let idle = others.filter(|(_, entry)| !entry.is_running());
                    let oldest = idle.min_by_key(|(_, entry)| entry.used)?.0;
                    self.entries.remove(oldest);
                }
                self.entries.push(Entry::new(key.clone(), now));
                self.entries.len() - 1
            }
        };
        let entry = self.entries.get_mut(position)?;
        entry.used = now;
        Some(entry)
    }
}

impl<K, V, R: PartialEq> Entry<K, V, R> {
    fn new(key: K, now: Instant) -> Self {
        Self { key, kept: None, failure: None, ended: None, used: now, running: None }
    }

    fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.has_changed().is_ok())
    }

    fn may_run(&self, now: Instant) -> bool {
        self.ended.is_none_or(|(ended, pause)| now >= ended + pause)
    }

    /// Whether the value is that of the facts of this revision, or of later ones.
    fn is_fresh(&self, revision: &R, asked: Instant) -> bool {
        let is_fresh = |kept: &Kept<V, R>| kept.revision == *revision || kept.begun >= asked;
        self.kept.as_ref().is_some_and(is_fresh)
    }

    fn found(&self, revision: &R, asked: Instant) -> Option<Result<Found<V>, String>> {
        match (&self.kept, &self.failure) {
            (Some(kept), failure) => {
                let is_old = !self.is_fresh(revision, asked);
                let as_of = is_old.then_some(kept.at);
                let failure = failure.clone().filter(|_| is_old);
                Some(Ok(Found { value: kept.value.clone(), as_of, failure }))
            }
            (None, Some(failure)) if !self.is_running() => Some(Err(failure.clone())),
            _ => None,
        }
    }
}
