//! When the product could not be reached.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Outage;
use crate::{domain::Cause, facts::window::Window};

/// Calls in vain belong together if so little time passed between them.
const TOGETHER: SignedDuration = SignedDuration::from_mins(10);
/// Calls in vain belong together if so little time passed between them and no call was answered meanwhile. While the
/// product is away, runs wait for it and hardly call.
const UNANSWERED: SignedDuration = SignedDuration::from_hours(1);

/// The outages of the window, in order.
pub(super) fn unreachable(window: &Window) -> Vec<Outage> {
    let mut calls: Vec<_> = window
        .calls()
        .all()
        .iter()
        .filter_map(|call| {
            let in_vain = call.cause == Some(Cause::Unreachable);
            (in_vain || call.ok || call.is_pain()).then_some((call.at, in_vain, call.run))
        })
        .collect();
    // Of calls that began at the same time, those that were answered come first.
    calls.sort_unstable();
    let mut outages: Vec<(Outage, BTreeSet<u32>)> = Vec::new();
    let mut last_answer = Timestamp::MIN;
    for (at, in_vain, run) in calls {
        if !in_vain {
            last_answer = at;
            continue;
        }
        let goes_on = |last: &Outage| {
            let gap = at.duration_since(last.to);
            gap <= TOGETHER || gap <= UNANSWERED && last_answer <= last.to
        };
        match outages.last_mut().filter(|(last, _)| goes_on(last)) {
            Some((last, runs)) => {
                last.to = at;
                runs.insert(run);
            }
            None => outages.push((Outage { from: at, to: at, runs: 0 }, [run].into())),
        }
    }
    let counted = |(outage, runs): (Outage, BTreeSet<u32>)| Outage { runs: runs.len(), ..outage };
    outages.into_iter().map(counted).collect()
}
