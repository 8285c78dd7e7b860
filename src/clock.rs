//! Wall-clock time, for decisions that depend on it: today's date, back-off, slots and budgets.
//!
//! [`crate::app`] makes one clock and passes it down. Tests make a clock that they can move. Durations, such
//! as those of requests, are measured with tokio's monotonic clock instead.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;

/// The machine's wall clock (`None`), or a manual clock that shows the stored time. Clones of a manual clock
/// share that time.
#[derive(Clone, Debug)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    /// A clock that shows the time of the machine.
    pub fn system() -> Self {
        Self(None)
    }

    /// A manual clock, for tests. It shows `start` until [`Self::set`] or [`Self::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(start))))
    }

    /// The current time of this clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        self.change(|time| *time).unwrap_or_else(Timestamp::now)
    }

    /// Sets a manual clock to `to`, forward or back. Has no effect on a system clock.
    pub fn set(&self, to: Timestamp) {
        self.change(|time| *time = to);
    }

    /// Moves a manual clock forward. Has no effect on a system clock.
    pub fn advance(&self, by: Duration) {
        self.change(|time| *time += by);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Timestamp) -> T) -> Option<T> {
        let time = self.0.as_ref()?;
        Some(change(&mut time.lock()))
    }
}
