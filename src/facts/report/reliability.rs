//! How far a report can be trusted.

use std::collections::BTreeMap;

use super::{Reliability, Unrated, past};
use crate::facts::{
    compare::{confounded, noise_before},
    detect::too_kind,
    share::Share,
    window::{ModuleUse, Window},
};

pub(super) fn reliability(window: &Window) -> Reliability {
    let sides = past::sides_with_first_run(window);
    let begin = window.zone().to_timestamp(window.from().at(0, 0, 0, 0));
    Reliability {
        lambda: begin.map(|begin| noise_before(window, begin)).unwrap_or_default(),
        too_kind: Share::of(too_kind(window)),
        unrated: unrated(window),
        confounded: confounded(window, |run| sides[run as usize]),
    }
}

/// The uses of modules without a rating.
fn unrated(window: &Window) -> Unrated {
    let rows = || window.modules().all().iter().filter(|row| window.contains(row.run));
    Unrated {
        n: rows().filter(|row| row.rating.is_none()).count() as u32,
        of: rows().count() as u32,
        why: why_unrated(rows()),
    }
}

/// How many of these uses have no rating for each known reason, by its word.
pub(super) fn why_unrated<'u>(
    rows: impl Iterator<Item = &'u ModuleUse>,
) -> BTreeMap<&'static str, u32> {
    let mut reasons = BTreeMap::new();
    for why in rows.filter(|row| row.rating.is_none()).filter_map(|row| row.unrated) {
        *reasons.entry(why.as_str()).or_default() += 1;
    }
    reasons
}
