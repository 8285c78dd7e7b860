//! The clock of all peers; tests can set it to a date and change its speed. Its calendar can be set ahead
//! without it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

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
    /// How far the calendar is ahead of the clock.
    ahead: SignedDuration,
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
        Self(Arc::new(Mutex::new(Reading {
            shown: start,
            since: Instant::now(),
            speed: 1.0,
            ahead: SignedDuration::ZERO,
        })))
    }

    /// The time that the clock shows now.
    pub fn now(&self) -> Timestamp {
        self.reading().now()
    }

    /// The time of the product: what /due calls `serverTime`, who is due by it, when rows and entries were
    /// written, and the day that planted faults go by. JWTs, sessions and limits go by [`Clock::now`], so that
    /// days can pass here while a daemon with a clock of its own keeps its sessions.
    pub fn calendar(&self) -> Timestamp {
        let reading = self.reading();
        reading.now().checked_add(reading.ahead).unwrap_or(Timestamp::MAX)
    }

    /// Sets the calendar forward by `by`; the clock does not change.
    pub fn turn(&self, by: Duration) {
        let mut reading = self.reading();
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        reading.ahead = reading.ahead.saturating_add(by);
    }

    /// Sets the calendar forward by one day.
    pub fn step_day(&self) {
        self.turn(Duration::from_hours(24));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_turns_without_the_clock_and_advances_with_it() {
        let start: Timestamp = "2026-03-09T11:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        clock.set_speed(0.0);
        clock.set(start);
        assert_eq!(clock.calendar(), start);
        clock.step_day();
        clock.turn(Duration::from_mins(10));
        assert_eq!(clock.now(), start);
        assert_eq!(clock.calendar().to_string(), "2026-03-10T11:10:00Z");
        clock.advance(Duration::from_hours(1));
        assert_eq!(clock.calendar().to_string(), "2026-03-10T12:10:00Z");
    }
}
