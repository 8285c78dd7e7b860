//! What is told, and counted, once a day however often it is met.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use parking_lot::Mutex;

/// Most that is remembered: names are others' to choose. What comes after is told no more that day.
const MAX_TOLD: usize = 10_000;

/// Remembers what was told on which day (UTC).
#[derive(Debug, Default)]
pub(super) struct OnceADay(Mutex<HashMap<String, Date>>);

impl OnceADay {
    /// Whether this was not told yet on the day of `now`.
    pub(super) fn is_news(&self, what: &str, now: Timestamp) -> bool {
        let today = now.to_zoned(TimeZone::UTC).date();
        let mut told = self.0.lock();
        if told.get(what) == Some(&today) {
            return false;
        }
        told.retain(|_, day| *day == today);
        let fits = told.len() < MAX_TOLD;
        if fits {
            told.insert(what.to_owned(), today);
        }
        fits
    }
}
