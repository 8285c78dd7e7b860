//! The words of a persona that show a friction.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{Quote, case::Case};
use crate::{
    domain::ToolName,
    facts::{
        detect::About,
        window::{Name, Window},
    },
};

/// The notes of the lowest grounded rating of the affected runs, else the persona's own words after the failure;
/// of several, the newest. Quotes no persona of `quoted`, and adds the one it quotes.
pub(super) fn quote(window: &Window, case: &Case, quoted: &mut BTreeSet<u32>) -> Option<Quote> {
    let modules = modules(window, case);
    let is_new = |run: u32| !quoted.contains(&window.run(run).persona);
    let runs = || case.hits.iter().map(|hit| hit.run).filter(|run| is_new(*run));
    let notes = runs().flat_map(|run| window.modules().of(run)).filter_map(|row| {
        let (rating, notes) = (row.rating.filter(|_| row.grounded)?, row.notes?);
        modules.contains(&row.module).then_some((rating, Reverse(row.run), notes, row))
    });
    let lowest = notes.min_by_key(|(rating, run, _, row)| (*rating, *run, window.text(row.module)));
    let words = || {
        let said =
            |run| case.calls(window, run).rev().find_map(|call| Some((call.quote?, call.number)));
        runs().rev().find_map(|run| said(run).map(|(words, call)| (run, words, Some(call))))
    };
    let (run, text, call) = match lowest {
        Some((_, Reverse(run), notes, row)) => {
            let shows_it = |call: &&u32| case.calls(window, run).any(|of| of.number == **call);
            let call = row.calls.iter().find(shows_it).or(row.calls.first());
            // Nobody can look at a call that is no longer kept.
            let is_kept = !window.calls().of(run).is_empty();
            (run, notes, call.copied().filter(|_| is_kept))
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
    })
}

/// The modules whose ratings may be about the friction.
fn modules(window: &Window, case: &Case) -> BTreeSet<Name> {
    let of_tool = |tool: Name| window.find(ToolName::new(window.text(tool)).module().as_str());
    match case.about {
        About::Issue(issue) => {
            let hits = case.hits.iter().flat_map(|hit| window.hits().of(hit.run));
            let tools = hits.filter(|hit| hit.issue == issue).flat_map(|hit| &hit.tools);
            tools.filter_map(|tool| of_tool(*tool)).collect()
        }
        About::Tool(tool) => of_tool(tool).into_iter().collect(),
        About::Module(module) => [module].into(),
        About::End(_) => BTreeSet::new(),
    }
}
