//! Due personas that did not run.

use std::collections::{BTreeMap, HashSet};

use super::{coverage::days, window::Window};
use crate::domain::WhyNotRun;

/// How many due personas did not run on the days of a window, by reason. A slot of a persona counts once, and not if the
/// persona ran in it.
pub(crate) fn absent(window: &Window) -> BTreeMap<WhyNotRun, u32> {
    let slots = window.runs().iter().filter_map(|run| Some((run.slot?, run.persona)));
    let mut known: HashSet<_> = slots.collect();
    let mut absent = BTreeMap::new();
    for absence in window.absences() {
        if !known.insert((absence.slot, absence.persona)) {
            continue;
        }
        let day = days::of_slot(window.text(absence.slot), window.zone());
        if day.is_some_and(|day| (window.from()..=window.to()).contains(&day)) {
            *absent.entry(absence.why).or_default() += 1;
        }
    }
    absent
}
