//! The modules that a run used, with their ratings.

use std::collections::{BTreeMap, BTreeSet};

use super::{Seen, Use, line};
use crate::{
    domain::{ModuleName, ModuleRating, Outcome, PARSE_MODULE, UnratedWhy},
    facts::Observed,
};

/// How the notes of an unreadable answer name a refusal.
const REFUSAL: &str = "(refusal";

/// A line for each module that the run used or rated, by name.
pub(super) fn lines(
    observed: &Observed,
    calls: &[Seen<'_>],
    tools: &BTreeMap<&str, Use>,
    (run, outcome): (&str, Outcome),
) -> Vec<line::Module> {
    let rated = observed.ratings.iter().flatten().filter(|row| row.module.as_str() != PARSE_MODULE);
    let mut ratings = BTreeMap::<&ModuleName, &ModuleRating>::new();
    for row in rated {
        ratings.entry(&row.module).or_insert(row);
    }
    let listed = || calls.iter().filter(|seen| seen.call.is_listed);
    let used = listed().filter(|seen| seen.call.may_have_run).map(|seen| &seen.module);
    let names: BTreeSet<_> = used.chain(ratings.keys().copied()).collect();
    let mut by_module = BTreeMap::<&ModuleName, Vec<&Seen<'_>>>::new();
    for seen in listed() {
        by_module.entry(&seen.module).or_default().push(seen);
    }
    let line = |name: &ModuleName| {
        let calls = by_module.get(name).map_or(&[][..], Vec::as_slice);
        let (mut reads, mut writes, mut failed) = (0, 0, 0);
        for seen in calls {
            reads += u32::from(seen.call.may_have_run && seen.call.is_read_only);
            writes += u32::from(seen.call.may_have_run && !seen.call.is_read_only);
            failed += u32::from(seen.is_pain());
        }
        let rating = ratings.get(name);
        let basis = rating.map(|row| row.calls.clone()).unwrap_or_default();
        line::Module {
            run: run.to_owned(),
            module: name.as_str().to_owned(),
            rating: rating.map(|row| row.rating.get()),
            grounded: calls.iter().any(|seen| basis.contains(&seen.call.number)),
            unrated_why: rating.is_none().then(|| why_unrated(observed, outcome, name)),
            notes: rating.and_then(|row| row.notes.clone()),
            calls: basis,
            reads,
            writes,
            failed,
            dead_end: calls.iter().any(|seen| is_dead(tools, seen)),
        }
    };
    names.into_iter().map(line).collect()
}

fn is_dead(tools: &BTreeMap<&str, Use>, seen: &Seen<'_>) -> bool {
    tools.get(&*seen.call.tool).is_some_and(|used| used.dead_end)
}

/// Why a used module has no rating. Where no step tells it, it follows from the rows of the rating turn, or from the
/// ends of the day and of the run if there are none: a run may be closed before the end of its day.
fn why_unrated(observed: &Observed, outcome: Outcome, name: &ModuleName) -> UnratedWhy {
    if let Some((_, why)) = observed.unrated.iter().find(|(module, _)| module == name) {
        return *why;
    }
    let rows = observed.ratings.as_deref().unwrap_or_default();
    let unreadable = rows.iter().find(|row| row.module.as_str() == PARSE_MODULE);
    let came_to = |end| observed.day == Some(end) || outcome == end;
    match unreadable {
        Some(row) if row.notes.as_ref().is_some_and(|notes| notes.contains(REFUSAL)) => {
            UnratedWhy::Refused
        }
        Some(_) => UnratedWhy::Unreadable,
        None if !rows.is_empty() => UnratedWhy::Forgotten,
        None if came_to(Outcome::Cost) => UnratedWhy::NoMoney,
        None if came_to(Outcome::Stopped) => UnratedWhy::Stopped,
        None => UnratedWhy::NotReached,
    }
}
