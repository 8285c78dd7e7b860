//! The time before a window that the window is compared with.

use std::collections::BTreeSet;

use jiff::{ToSpan, civil::Date};

use crate::facts::{compare::Side, window::Window};

/// How many days before the window a persona's own past begins.
const DAYS: i64 = 56;

/// The first day of the past.
fn begin(window: &Window) -> Date {
    window.from().saturating_sub(DAYS.days())
}

/// The side of a run: B in the window, A in the eight weeks before.
pub(in crate::facts) fn side(window: &Window, run: u32) -> Option<Side> {
    match window.run(run).day {
        day if day >= window.from() => Some(Side::B),
        day if day >= begin(window) => Some(Side::A),
        _ => None,
    }
}

/// The side of each run, where the first run of a persona without a past counts as its past.
pub(super) fn sides_with_first_run(window: &Window) -> Vec<Option<Side>> {
    let mut known = BTreeSet::new();
    let runs = 0..window.runs().len() as u32;
    let side = |run| {
        let side = side(window, run)?;
        let is_first = known.insert(window.run(run).persona);
        Some(if is_first { Side::A } else { side })
    };
    runs.map(side).collect()
}
