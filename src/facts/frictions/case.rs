//! One friction on its way into the ranking.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use super::{Friction, Quote};
use crate::{
    domain::{Label, Next},
    facts::{
        detect::{self, About, Detector, Finding, RunHit, UNRAISED},
        exposure::with_hits,
        line::Sighting,
        share::{Share, Tally},
        state::{self, Exposure, Progress, State},
        trend::{self, Trend},
        window::{Call, Name, Window},
    },
};

/// One friction on its way into the ranking.
pub(super) struct Case {
    pub(super) id: String,
    pub(super) about: About,
    pub(super) detectors: BTreeSet<Detector>,
    pub(super) state: State,
    progress: Progress,
    pub(super) trend: Trend,
    pub(super) impact: f64,
    /// The runs of the window that had it, in order; at least one.
    pub(super) hits: Vec<RunHit>,
    /// Of each persona.
    tallies: Vec<Tally>,
}

impl Case {
    /// The issue at this position, with all its hits and exposed runs up to the window's end; `None` if it has
    /// no hit in the window or the product is not to blame.
    pub(super) fn of_issue(
        window: &Window,
        number: u32,
        mut hits: Vec<RunHit>,
        exposed: Rc<[u32]>,
        mut detectors: BTreeSet<Detector>,
    ) -> Option<Self> {
        let issue = &window.issues()[number as usize];
        if !issue.cause.is_pain() || !hits.iter().any(|hit| window.contains(hit.run)) {
            return None;
        }
        let history = history(window, &hits, &exposed);
        let first = issue.first.as_ref()?.at;
        let standing = state::state(&history, first, &issue.mutings, window.end())?;
        let trend = trend::of_runs(window, &hits, &exposed);
        hits.retain(|hit| window.contains(hit.run));
        let tallies = tallies(window, &hits, &exposed);
        if detect::fails(tallies.iter().copied()) {
            detectors.insert(Detector::Fails);
        }
        Some(Self {
            id: issue.id.to_string(),
            about: About::Issue(number),
            impact: impact(window, &detectors, &hits, &tallies),
            state: standing.state,
            progress: standing.progress,
            trend,
            detectors,
            hits,
            tallies,
        })
    }

    /// A friction without an issue. Its state follows from the runs of the window, of which a short one does not show
    /// whether the friction is new.
    pub(super) fn of_finding(window: &Window, found: Finding) -> Self {
        let id = found.id(window);
        let Finding { detector, about, hits, exposed } = found;
        let exposed = with_hits(exposed.into(), &hits);
        let history = history(window, &hits, &exposed);
        let first_hit = window.run(hits[0].run);
        let standing = state::state(&history, first_hit.at, &[], window.end());
        let days_without = first_hit.day.duration_since(window.from());
        let is_shown = |state: &State| *state != State::New || days_without >= state::NEW;
        let progress = standing.map(|standing| standing.progress).unwrap_or_default();
        let state = standing.map(|standing| standing.state).filter(is_shown);
        let tallies = tallies(window, &hits, &exposed);
        let detectors = BTreeSet::from([detector]);
        Self {
            id,
            about,
            impact: impact(window, &detectors, &hits, &tallies),
            state: state.unwrap_or(State::Open),
            progress,
            trend: trend::of_runs(window, &hits, &exposed),
            detectors,
            hits,
            tallies,
        }
    }

    /// The friction as it is printed, with this quote. `labels` are those of the window's personas.
    pub(super) fn friction(
        &self,
        window: &Window,
        labels: &[Arc<str>],
        quote: Option<Quote>,
    ) -> Friction {
        let issue = match self.about {
            About::Issue(number) => Some(&window.issues()[number as usize]),
            _ => None,
        };
        let tool = match self.about {
            About::Tool(tool) => Some(tool),
            _ => issue.and_then(|issue| issue.tool),
        };
        let text = |name: Name| window.text(name).to_owned();
        let tallies = || self.tallies.iter().copied();
        let (first, last) = (&self.hits[0], &self.hits[self.hits.len() - 1]);
        let label = |(tally, label): (Tally, &Arc<str>)| (tally.hits > 0).then(|| label.clone());
        let mut personas: Vec<_> = tallies().zip(labels).filter_map(label).collect();
        personas.sort();
        personas.shrink_to_fit();
        Friction {
            id: self.id.clone(),
            tool: tool.map(text),
            module: self.module(window, tool).map(text),
            cause: issue.map(|issue| issue.cause),
            detector: self.detectors.first().copied(),
            detectors: self.detectors.clone(),
            template: issue.map(|issue| text(issue.template)),
            state: self.state,
            progress: self.progress,
            impact: self.impact,
            personas,
            personas_exposed: tallies().filter(|tally| tally.exposed > 0).count(),
            runs: tallies().map(|tally| tally.hits).sum(),
            runs_exposed: tallies().map(|tally| tally.exposed).sum(),
            share: Share::of(tallies()),
            calls: self.hits.iter().fold(0, |sum, hit| hit.calls.saturating_add(sum)),
            recovered: self.hits.iter().filter(|hit| hit.recovered).count() as u32,
            next: self.next(window),
            first_seen: issue
                .and_then(|issue| issue.first.clone())
                .unwrap_or_else(|| self.sighting(window, first, self.calls(window, first).next())),
            last_seen: self.sighting(window, last, self.calls(window, last).next_back()),
            quote,
        }
    }

    /// The module that the friction is about, if it is only one.
    fn module(&self, window: &Window, tool: Option<Name>) -> Option<Name> {
        if let Some(tool) = tool {
            return Some(window.module_of(tool));
        }
        let modules = self.modules(window);
        modules.first().copied().filter(|_| modules.len() == 1)
    }

    /// The modules that the friction is about. Their ratings may be about the friction.
    pub(super) fn modules(&self, window: &Window) -> BTreeSet<Name> {
        match self.about {
            About::Issue(issue) => {
                let hits = self.hits.iter().flat_map(|hit| window.hits().of(hit.run));
                let tools = hits.filter(|hit| hit.issue == issue).flat_map(|hit| &hit.tools);
                tools.map(|tool| window.module_of(*tool)).collect()
            }
            About::Tool(tool) => [window.module_of(tool)].into(),
            About::Module(module) => [module].into(),
            About::End(_) => BTreeSet::new(),
        }
    }

    /// The calls of a run that had the friction, as far as single calls show it.
    pub(super) fn calls<'w>(
        &self,
        window: &'w Window,
        hit: &'w RunHit,
    ) -> impl DoubleEndedIterator<Item = &'w Call> + use<'w> {
        let about = self.about;
        let has_it = move |call: &&Call| match about {
            About::Issue(issue) => call.issue == Some(issue),
            _ => hit.numbers.binary_search(&call.number).is_ok(),
        };
        window.calls().of(hit.run).iter().filter(has_it)
    }

    /// What followed the failed calls that had it; empty if no call is known.
    fn next(&self, window: &Window) -> BTreeMap<&'static str, u32> {
        let mut calls = self.hits.iter().flat_map(|hit| self.calls(window, hit)).peekable();
        // Where no call is kept, it is not known what followed, which is no zero.
        let words = Next::ALL.iter().filter(|_| calls.peek().is_some());
        let mut next: BTreeMap<_, _> = words.map(|next| (next.as_str(), 0)).collect();
        for what in calls.filter(|call| !call.ok).filter_map(|call| call.next) {
            *next.entry(what.as_str()).or_default() += 1;
        }
        next
    }

    /// A call of the run; without a call, the run.
    fn sighting(&self, window: &Window, hit: &RunHit, call: Option<&Call>) -> Sighting {
        let run = window.run(hit.run);
        let text = |name: Name| window.text(name).to_owned();
        Sighting {
            at: call.map_or(run.at, |call| call.at),
            run: Some(text(run.id)),
            call: call.map(|call| call.number),
            deployment: run.deployment.map(text),
        }
    }
}

/// The exposed runs, each with whether it had the friction.
pub(in crate::facts) fn history(
    window: &Window,
    hits: &[RunHit],
    exposed: &[u32],
) -> Vec<Exposure> {
    let mut hits = hits.iter().map(|hit| hit.run).peekable();
    let exposure = |run: &u32| {
        let hit = hits.next_if_eq(run).is_some();
        let of = window.run(*run);
        Exposure { at: of.at, persona: of.persona, hit }
    };
    exposed.iter().map(exposure).collect()
}

/// The hits and exposed runs of each persona in the window.
fn tallies(window: &Window, hits: &[RunHit], exposed: &[u32]) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); window.personas().len()];
    for run in exposed.iter().filter(|run| window.contains(**run)) {
        tallies[window.run(*run).persona as usize].exposed += 1;
    }
    for hit in hits {
        tallies[window.run(hit.run).persona as usize].hits += 1;
    }
    tallies
}

/// How many personas the friction stops on an average day, with four digits, so that machines agree. A run that
/// recovered counts half. It is no rate: a persona that rarely uses a tool is rarely stopped by it.
fn impact(
    window: &Window,
    detectors: &BTreeSet<Detector>,
    hits: &[RunHit],
    tallies: &[Tally],
) -> f64 {
    let weight = detectors.first().map_or(UNRAISED, |heaviest| heaviest.weight());
    let mut halves = vec![0; tallies.len()];
    for hit in hits {
        halves[window.run(hit.run).persona as usize] += if hit.recovered { 1 } else { 2 };
    }
    let share =
        |(halves, tally): (u32, &Tally)| f64::from(halves) / 2.0 / (f64::from(tally.exposed) + 1.0);
    let stopped: f64 = halves.into_iter().zip(tallies).map(share).sum();
    (weight * stopped * 1e4).round() / 1e4
}
