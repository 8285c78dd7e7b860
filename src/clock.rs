//! Wall-clock time for everything it decides: today's date, back-off, later slots and budgets.
//!
//! One clock is made in [`crate::app`] and handed down; tests make one they can move. Durations of
//! requests and the like are measured with tokio's monotonic clock instead.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;

/// The wall clock, or one that shows the time in here. Clones show the same.
#[derive(Clone, Debug)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(start))))
    }

    /// What the clock shows.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        self.change(|time| *time).unwrap_or_else(Timestamp::now)
    }

    /// Puts a manual clock to `to`, forward or back; the machine's clock stays as it is.
    pub fn set(&self, to: Timestamp) {
        self.change(|time| *time = to);
    }

    /// Moves a manual clock forward; the machine's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        self.change(|time| *time += by);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Timestamp) -> T) -> Option<T> {
        let time = self.0.as_ref()?;
        Some(change(&mut time.lock()))
    }
}
