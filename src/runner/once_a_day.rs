//! Limits log messages and counts about the same thing to one a day.

use std::collections::HashSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use parking_lot::Mutex;

/// Most names that are remembered for a day, because peers choose the names. Names beyond are not reported
/// that day.
const MAX_REMEMBERED: usize = 10_000;

/// The names that were reported today (UTC).
#[derive(Debug, Default)]
pub(super) struct OnceADay(Mutex<(Date, HashSet<String>)>);

impl OnceADay {
    /// Whether `what` has not been reported yet on the day of `now`. Remembers it as reported.
    pub(super) fn is_first_today(&self, what: &str, now: Timestamp) -> bool {
        let today = now.to_zoned(TimeZone::UTC).date();
        let (day, reported) = &mut *self.0.lock();
        if *day != today {
            (*day, *reported) = (today, HashSet::new());
        }
        reported.len() < MAX_REMEMBERED && reported.insert(what.to_owned())
    }
}
