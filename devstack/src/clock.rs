//! The clock of all peers; tests can set it to a date and change its speed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// The wall-clock time of the peers. Clones share the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Reading>>);

#[derive(Debug)]
struct Reading {
    /// The time that the clock showed at `since`.
    shown: Timestamp,
    since: Instant,
    /// Seconds shown per real second, ≥ 0.
    speed: f64,
}

impl Reading {
    fn now(&self) -> Timestamp {
        let elapsed = self.since.elapsed().mul_f64(self.speed);
        self.shown
            .checked_add(jiff::SignedDuration::try_from(elapsed).unwrap_or_default())
            .unwrap_or(Timestamp::MAX)
    }

    fn rebase(&mut self, shown: Timestamp) {
        self.shown = shown;
        self.since = Instant::now();
    }
}

impl Clock {
    /// A clock that starts at the machine's current time and runs at normal speed.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that shows `start` now and runs at normal speed.
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Reading { shown: start, since: Instant::now(), speed: 1.0 })))
    }

    /// The time that the clock shows now.
    pub fn now(&self) -> Timestamp {
        self.reading().now()
    }

    /// Sets the clock to `to`, forward or back; the speed does not change.
    pub fn set(&self, to: Timestamp) {
        self.reading().rebase(to);
    }

    /// Sets the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        let mut reading = self.reading();
        let shown = reading.now() + by;
        reading.rebase(shown);
    }

    /// Makes `speed` seconds pass per real second from now on (0 stops the clock).
    pub fn set_speed(&self, speed: f64) {
        let mut reading = self.reading();
        let shown = reading.now();
        reading.rebase(shown);
        reading.speed = speed.max(0.0);
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
