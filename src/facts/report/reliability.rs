//! How far a report can be trusted.

use super::{Reliability, Unrated, past};
use crate::facts::{
    compare::{confounded, noise_before},
    detect::too_kind,
    share::Share,
    window::Window,
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
    let mut unrated = Unrated::default();
    for row in window.modules().all().iter().filter(|row| window.contains(row.run)) {
        unrated.of += 1;
        if row.rating.is_none() {
            unrated.n += 1;
            if let Some(why) = row.unrated {
                *unrated.why.entry(why.as_str()).or_default() += 1;
            }
        }
    }
    unrated
}
