//! What a finding shows: its numbers, the personas for whom it changed, and two runs that one can look at.

use super::{
    Effect, Example, Fact, Finding, Value, Verdict,
    judge::{Judged, Strata},
    sides::{Side, Sides},
    source::{Observation, Source},
};
use crate::{
    facts::{digits, window::Window},
    statistics::{Histogram, Stratum, difference, interval},
};

/// The finding of a fact with its verdict.
pub(super) fn describe(
    window: &Window,
    sides: &Sides,
    source: &Source<'_>,
    judged: &Judged,
) -> Finding {
    let Judged { subject, verdict, p, adjusted } = *judged;
    let fact = subject.fact();
    let observations = source.observations(subject);
    let mut strata = Strata::new(window, sides);
    let all = strata.of(&observations);
    let both: Vec<_> = all.iter().copied().filter(Stratum::is_on_both_sides).collect();
    let value = |side: fn(&Stratum) -> &Histogram| {
        let runs = both.iter().fold(Histogram::default(), |sum, it| sum.plus(side(it)));
        Value { value: runs.mean().map(|mean| fact.rounded(mean)), n: runs.runs() }
    };
    let effect = difference(&both).map(|difference| {
        let interval = interval(&both, sides.seed(window));
        Effect {
            value: fact.rounded(difference),
            low: interval.map(|it| fact.rounded(it.low)),
            high: interval.map(|it| fact.rounded(it.high)),
        }
    });
    let flipped = flipped(fact, verdict, all);
    let [before, after] = examples(window, sides, fact, verdict, &observations, &flipped);
    let mut personas: Vec<_> = flipped
        .iter()
        .map(|(persona, _)| window.personas()[*persona as usize].label.clone())
        .collect();
    personas.sort();
    let (id, tool, module) = source.names(subject);
    let text = |name| window.text(name).to_owned();
    Finding {
        fact,
        id,
        tool: tool.map(text),
        module: module.map(text),
        verdict,
        a: value(|it| &it.a),
        b: value(|it| &it.b),
        effect,
        p: p.map(digits::p),
        p_adjusted: adjusted.map(digits::p),
        personas,
        before,
        after,
    }
}

/// The personas for whom the fact changed as the verdict says, and by how much, largest change first. A persona without
/// runs on A had no issue there that nobody had.
fn flipped(fact: Fact, verdict: Verdict, strata: &[Stratum]) -> Vec<(u32, f64)> {
    let is_more = match verdict {
        Verdict::Worse | Verdict::Watch => fact.more_is_worse(),
        Verdict::Better => !fact.more_is_worse(),
        Verdict::Unchanged | Verdict::Undecided | Verdict::Untested => return Vec::new(),
    };
    let change = |(persona, stratum): (u32, &Stratum)| {
        let before = stratum.a.mean().or((fact == Fact::Issue).then_some(0.0))?;
        let change = stratum.b.mean()? - before;
        Some((persona, if is_more { change } else { -change })).filter(|(_, change)| *change > 0.0)
    };
    let mut flipped: Vec<_> = (0..).zip(strata).filter_map(change).collect();
    flipped.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    flipped
}

/// A run before and a run after the change, of the same persona: the latest ones that show it most clearly.
fn examples(
    window: &Window,
    sides: &Sides,
    fact: Fact,
    verdict: Verdict,
    observations: &[Observation],
    flipped: &[(u32, f64)],
) -> [Option<Example>; 2] {
    let is_more = (verdict != Verdict::Better) == fact.more_is_worse();
    let latest = |persona: u32, side: Side, largest: bool| {
        let of_side = observations
            .iter()
            .filter(|(run, _)| sides.of(*run) == Some(side) && window.run(*run).persona == persona);
        let key = |(_, value): &&Observation| {
            if largest { i16::from(*value) } else { -i16::from(*value) }
        };
        // Of equal ones, the last.
        let (run, _) = of_side.max_by_key(key)?;
        Some(Example { run: window.text(window.run(*run).id).to_owned() })
    };
    let pair = |(persona, _): &(u32, f64)| {
        [latest(*persona, Side::A, !is_more), latest(*persona, Side::B, is_more)]
    };
    let pairs = || flipped.iter().map(pair);
    // A persona that is only on B has no run before.
    pairs().find(|[before, _]| before.is_some()).or_else(|| pairs().next()).unwrap_or_default()
}
