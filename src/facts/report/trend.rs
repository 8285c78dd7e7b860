//! What spark lines show: a number for each of the last days of the window.

use std::collections::HashMap;

use jiff::civil::Date;

use super::{TREND_DAYS, Trend};
use crate::facts::{
    detect::{RunHit, findings},
    exposure::Exposures,
    frictions::Friction,
    window::Window,
};

/// The position of a day in a trend; `None` if the day is too old.
pub(super) fn position(window: &Window, day: Date) -> Option<usize> {
    let age = window.to().duration_since(day).as_hours() / 24;
    (TREND_DAYS - 1).checked_sub(usize::try_from(age).ok()?)
}

/// The runs that had each friction, by day.
pub(super) fn of_frictions(window: &Window, frictions: &[Friction]) -> Vec<Trend> {
    let mut trends = HashMap::new();
    for (issue, hits, exposed) in Exposures::new(window).of_issues() {
        trends
            .insert(window.issues()[issue as usize].id.to_string(), trend(window, &hits, &exposed));
    }
    for found in findings(window) {
        trends.insert(found.id(window), trend(window, &found.hits, &found.exposed));
    }
    frictions.iter().map(|it| trends.remove(&it.id).unwrap_or_default()).collect()
}

fn trend(window: &Window, hits: &[RunHit], exposed: &[u32]) -> Trend {
    let mut trend = vec![None; TREND_DAYS];
    let mut add = |run: u32, count: f64| {
        if let Some(position) = position(window, window.run(run).day) {
            *trend[position].get_or_insert(0.0) += count;
        }
    };
    exposed.iter().for_each(|run| add(*run, 0.0));
    hits.iter().for_each(|hit| add(hit.run, 1.0));
    trend
}
