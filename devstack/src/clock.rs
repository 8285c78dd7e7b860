//! The clock of all peers: it can be set to a date and sped up.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// Wall-clock time as the peers see it. Clones share the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Reading>>);

#[derive(Debug)]
struct Reading {
    /// What the clock showed at `since`.
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
    /// The machine's own time at normal speed.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that shows `start` now and runs at normal speed.
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Reading { shown: start, since: Instant::now(), speed: 1.0 })))
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.reading().now()
    }

    /// Puts the clock to `to`, forward or back; the speed stays.
    pub fn set(&self, to: Timestamp) {
        self.reading().rebase(to);
    }

    /// Puts the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        let mut reading = self.reading();
        let shown = reading.now() + by;
        reading.rebase(shown);
    }

    /// Lets `speed` seconds pass per real second from now on (0 stops the clock).
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
