//! What ratings say about calls, and calls about ratings.

use std::collections::BTreeMap;

use super::{About, Detector, Finding, RunHit, Window};
use crate::facts::{
    share::Tally,
    window::{ModuleUse, Name},
};

/// Ratings of at most 2 that rest on calls which were all successful: pain that no log shows.
pub(super) fn silent_pain(window: &Window) -> Vec<Finding> {
    let mut modules = BTreeMap::<Name, Vec<RunHit>>::new();
    for row in rated(window).filter(|row| row.rating <= Some(2) && rests_on_success(window, row)) {
        let hit = RunHit::of_calls(row.run, row.calls.to_vec());
        modules.entry(row.module).or_default().push(hit);
    }
    let runs = window.runs_by_module();
    let finding = |(module, hits)| {
        let exposed = runs.get(&module).cloned().unwrap_or_default();
        Finding { detector: Detector::SilentPain, about: About::Module(module), hits, exposed }
    };
    modules.into_iter().map(finding).collect()
}

/// The grounded ratings of the window.
fn rated(window: &Window) -> impl Iterator<Item = &ModuleUse> {
    let rows = window.modules().all().iter().filter(|row| window.contains(row.run));
    rows.filter(|row| row.grounded && row.rating.is_some())
}

/// Whether all calls that the rating names were successful. Of a run whose calls are no longer kept: whether no
/// call of the module failed.
fn rests_on_success(window: &Window, row: &ModuleUse) -> bool {
    let calls = window.calls().of(row.run);
    if calls.is_empty() {
        return row.failed == 0 && !row.dead_end;
    }
    let is_ok = |number: &u32| {
        let call = calls.binary_search_by_key(number, |call| call.number);
        call.is_ok_and(|index| calls[index].ok)
    };
    !row.calls.is_empty() && row.calls.iter().all(is_ok)
}

/// How credible ratings are: of the grounded ratings of modules that were a dead end in the run, those of 4 or 5.
/// One tally a persona.
pub fn too_kind(window: &Window) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); window.personas().len()];
    for row in rated(window).filter(|row| row.dead_end) {
        let tally = &mut tallies[window.run(row.run).persona as usize];
        tally.exposed += 1;
        tally.hits += u32::from(row.rating >= Some(4));
    }
    tallies
}
