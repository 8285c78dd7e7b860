//! What is told, and counted, once a day however often it is met.

use std::collections::HashSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use parking_lot::Mutex;

/// Most that is remembered: names are others' to choose. What comes after is told no more that day.
const MAX_TOLD: usize = 10_000;

/// Remembers what was told today (UTC).
#[derive(Debug, Default)]
pub(super) struct OnceADay(Mutex<(Date, HashSet<String>)>);

impl OnceADay {
    /// Whether this was not told yet on the day of `now`.
    pub(super) fn is_news(&self, what: &str, now: Timestamp) -> bool {
        let today = now.to_zoned(TimeZone::UTC).date();
        let (day, told) = &mut *self.0.lock();
        if *day != today {
            (*day, *told) = (today, HashSet::new());
        }
        told.len() < MAX_TOLD && told.insert(what.to_owned())
    }
}
