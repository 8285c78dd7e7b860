//! Due personas that did not run.

use std::collections::BTreeMap;

use super::{coverage::days, window::Window};
use crate::domain::WhyNotRun;

/// How many due personas did not run on the days of a window, by reason.
pub(crate) fn absent(window: &Window) -> BTreeMap<WhyNotRun, u32> {
    let mut absent = BTreeMap::new();
    for absence in window.absences() {
        let day = days::of_slot(window.text(absence.slot), window.zone());
        if day.is_some_and(|day| (window.from()..=window.to()).contains(&day)) {
            *absent.entry(absence.why).or_default() += 1;
        }
    }
    absent
}
