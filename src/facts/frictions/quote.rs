//! The words of a persona that show a friction.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{Quote, case::Case};
use crate::facts::{detect::RunHit, window::Window};

/// The notes of the lowest grounded rating of the affected runs, else the persona's own words after the failure;
/// of several, the newest. Quotes no persona of `quoted`, and adds the one it quotes.
pub(super) fn quote(window: &Window, case: &Case, quoted: &mut BTreeSet<u32>) -> Option<Quote> {
    let modules = case.modules(window);
    let hits = || case.hits.iter().filter(|hit| !quoted.contains(&window.run(hit.run).persona));
    let rows =
        hits().flat_map(|hit| window.modules().of(hit.run).iter().map(move |row| (hit, row)));
    let notes = rows.filter_map(|(hit, row)| {
        let (rating, notes) = (row.rating.filter(|_| row.grounded)?, row.notes?);
        modules.contains(&row.module).then_some((rating, hit, notes, row))
    });
    let lowest = notes
        .min_by_key(|(rating, hit, _, row)| (*rating, Reverse(hit.run), window.text(row.module)));
    let words = || {
        let said = |hit: &RunHit| {
            let call = case.calls(window, hit).rev().find(|call| call.quote.is_some())?;
            Some((hit.run, call.quote?, Some(call.number)))
        };
        hits().rev().find_map(said)
    };
    let (run, text, call) = match lowest {
        Some((_, hit, notes, row)) => {
            let shows_it = |call: &&u32| case.calls(window, hit).any(|of| of.number == **call);
            let call = row.calls.iter().find(shows_it).or(row.calls.first());
            // Nobody can look at a call that is no longer kept.
            let is_kept = !window.calls().of(hit.run).is_empty();
            (hit.run, notes, call.copied().filter(|_| is_kept))
        }
        None => words()?,
    };
    let persona = window.run(run).persona;
    quoted.insert(persona);
    Some(Quote {
        persona: window.personas()[persona as usize].label.clone(),
        text: window.text(text).to_owned(),
        run: window.text(window.run(run).id).to_owned(),
        call,
        at: window.run(run).at,
    })
}
