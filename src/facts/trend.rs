//! What spark lines show: a number for each of the last days of the window.

use jiff::{ToSpan, civil::Date};

use super::{detect::RunHit, window::Window};

/// A number for each of the [`TREND_DAYS`] days up to the window's last one; `None` where there is nothing to count.
pub type Trend = Vec<Option<f64>>;

/// Length of a [`Trend`], in days.
pub const TREND_DAYS: usize = 28;

/// The position of a day in a trend; `None` if the day is too old.
pub(super) fn position(window: &Window, day: Date) -> Option<usize> {
    let age = window.to().duration_since(day).as_hours() / 24;
    (TREND_DAYS - 1).checked_sub(usize::try_from(age).ok()?)
}

/// How many runs had something, of those that could have had it. `exposed` and the runs of `hits` may be older than the
/// trend.
pub(super) fn of_runs(window: &Window, hits: &[RunHit], exposed: &[u32]) -> Trend {
    let mut trend = vec![None; TREND_DAYS];
    let oldest = window.to().saturating_sub((TREND_DAYS as i64 - 1).days());
    let mut add = |run: u32, count: f64| {
        // Most runs are older.
        let day = Some(window.run(run).day).filter(|day| *day >= oldest);
        if let Some(position) = day.and_then(|day| position(window, day)) {
            *trend[position].get_or_insert(0.0) += count;
        }
    };
    exposed.iter().for_each(|run| add(*run, 0.0));
    hits.iter().for_each(|hit| add(hit.run, 1.0));
    trend
}
