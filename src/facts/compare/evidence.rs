//! What a finding shows: its numbers, the personas for whom it changed, and two runs that one can look at.

use super::{
    Effect, Example, Fact, Finding, Value, Verdict,
    judge::Judged,
    measured::{Direction, Measured},
    sides::{Side, Sides},
    source::{Observation, Source},
    strata::strata,
};
use crate::{
    facts::{digits, window::Window},
    statistics::{Histogram, Stratum},
};

/// The finding of a fact with its verdict.
pub(super) fn describe(
    window: &Window,
    sides: &Sides,
    source: &Source<'_>,
    judged: &Judged,
) -> Finding {
    let Judged { subject, ref measured, verdict, is_new, p, adjusted } = *judged;
    let (fact, measured) = (subject.fact(), measured.as_ref());
    let changed = Changed::new(window, sides, source, judged);
    let (id, tool, module) = source.names(subject);
    let text = |name| window.text(name).to_owned();
    Finding {
        fact,
        id,
        tool: tool.map(text),
        module: module.map(text),
        verdict,
        a: value(fact, measured.map(|it| it.a)),
        b: value(fact, measured.map(|it| it.b)),
        effect: measured.map(|it| effect(fact, it)),
        p: p.map(digits::p),
        p_adjusted: adjusted.map(digits::p),
        personas: changed.personas,
        before: changed.before,
        after: changed.after,
        shown_by: changed.shown_by,
        is_new,
    }
}

fn value(fact: Fact, runs: Option<Histogram>) -> Value {
    let runs = runs.unwrap_or_default();
    Value { value: runs.mean().map(|mean| fact.rounded(mean)), n: runs.runs() }
}

fn effect(fact: Fact, measured: &Measured) -> Effect {
    Effect {
        value: fact.rounded(measured.difference),
        low: measured.interval.map(|it| fact.rounded(it.low)),
        high: measured.interval.map(|it| fact.rounded(it.high)),
    }
}

/// For whom a fact changed; nothing without a verdict that says so.
#[derive(Default)]
struct Changed {
    personas: Vec<String>,
    before: Option<Example>,
    after: Option<Example>,
    /// The label of the persona of both runs.
    shown_by: Option<String>,
}

impl Changed {
    fn new(window: &Window, sides: &Sides, source: &Source<'_>, judged: &Judged) -> Self {
        let direction = match judged.verdict {
            Verdict::Worse | Verdict::Watch => Direction::Worse,
            Verdict::Better => Direction::Better,
            Verdict::Unchanged | Verdict::Undecided | Verdict::Untested => return Self::default(),
        };
        let fact = judged.subject.fact();
        let observations = source.observations(judged.subject);
        let strata = strata(window, &observations, |run| sides.of(run));
        let flipped = flipped(fact, direction, &strata);
        let is_more = fact.is_more(direction);
        let run = |persona: u32, side: Side, is_more: bool| {
            let of_persona = observations.iter().filter(|(run, _)| {
                sides.of(*run) == Some(side) && window.run(*run).persona == persona
            });
            let clearness =
                |(_, value): &&Observation| if is_more { *value } else { u8::MAX - *value };
            // Of equal ones, the last.
            let (run, _) = of_persona.max_by_key(clearness)?;
            Some(Example { run: window.text(window.run(*run).id).to_owned() })
        };
        let pair = flipped
            .first()
            .map(|persona| [run(*persona, Side::A, !is_more), run(*persona, Side::B, is_more)]);
        let [before, after] = pair.unwrap_or_default();
        let label = |persona: &u32| window.personas()[*persona as usize].label.clone();
        let shown_by = flipped.first().map(label);
        let mut personas: Vec<_> = flipped.iter().map(label).collect();
        personas.sort();
        Self { personas, before, after, shown_by }
    }
}

/// The personas for whom the fact changed in this direction, largest change first. Only those with runs on both sides
/// count, unless there are none: an issue that no run of A hit may be one of personas that have no such runs on A.
fn flipped(fact: Fact, direction: Direction, strata: &[Stratum]) -> Vec<u32> {
    let changed = |before_without_a_run: Option<f64>| {
        let change = |(persona, stratum): (u32, &Stratum)| {
            let before = stratum.a.mean().or(before_without_a_run)?;
            let change = stratum.b.mean()? - before;
            let change = if fact.is_more(direction) { change } else { -change };
            (change > 0.0).then_some((persona, change))
        };
        (0..).zip(strata).filter_map(change).collect::<Vec<_>>()
    };
    let mut flipped = changed(None);
    if flipped.is_empty() && fact == Fact::Issue {
        flipped = changed(Some(0.0));
    }
    flipped.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    flipped.into_iter().map(|(persona, _)| persona).collect()
}
