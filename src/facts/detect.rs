//! Detectors: rules that find what hurts in a window.
//!
//! A detector that reads calls reads those of the window only. Calls are kept for a shorter time than other
//! facts, and an export may have more of them than its window.

mod endings;
mod failures;
mod missing;
mod ratings;
mod results;
mod retries;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) use self::{failures::fails, results::durations};
pub use self::{
    missing::{Missing, missing},
    ratings::too_kind,
    results::{Slow, slow},
};
use super::window::{Name, Window};
use crate::domain::{Outcome, labels};

labels! {
    /// A rule that finds a friction. Heavier ones come first.
    pub Detector {
        /// A call failed, and no later call of the tool succeeded in the run.
        DeadEnd = "dead-end",
        /// Runs end before the first call.
        LockedOut = "locked-out",
        /// An issue occurs again and again.
        Fails = "fails",
        /// The same call is made again after a failure.
        Repeated = "repeated",
        /// Different inputs are tried until one works.
        Fumbling = "fumbling",
        /// The same field is rejected again and again.
        FieldTrap = "field-trap",
        /// A tool is slow.
        Slow = "slow",
        /// A call was cut off, and nobody knows whether it did what it should.
        Unsure = "unsure",
        /// A tool returns more than a persona can read.
        Flood = "flood",
        /// A persona no longer uses a favourite module after a failure.
        GaveUp = "gave-up",
        /// A bad rating that rests on calls which all succeeded.
        SilentPain = "silent-pain",
    }
}

impl Detector {
    /// How much a run that had the friction counts.
    pub fn weight(self) -> f64 {
        match self {
            Self::DeadEnd | Self::LockedOut => 1.0,
            Self::Fails => 0.7,
            _ => UNRAISED,
        }
    }
}

/// How much a run counts that had an issue which no detector raises.
pub(super) const UNRAISED: f64 = 0.4;

/// What a friction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The position of an issue in [`Window::issues`].
    Issue(u32),
    Tool(Name),
    Module(Name),
    /// What runs came to.
    End(Outcome),
}

/// A run that had a friction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunHit {
    pub(super) run: u32,
    /// How many calls had it.
    pub(super) calls: u32,
    pub(super) recovered: bool,
    /// The numbers of these calls, in order. Empty for an issue: the calls themselves name their issue.
    pub(super) numbers: Box<[u32]>,
}

impl RunHit {
    /// A run with a friction that belongs to no issue, and the numbers of the calls that had it.
    fn of_calls(run: u32, mut numbers: Vec<u32>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        Self { run, calls: numbers.len() as u32, recovered: false, numbers: numbers.into() }
    }
}

/// A friction that belongs to no issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) detector: Detector,
    pub(super) about: About,
    /// Runs of the window, in order; at least one.
    pub(super) hits: Vec<RunHit>,
    /// The runs of the window that could have had it, in order.
    pub(super) exposed: Vec<u32>,
}

impl Finding {
    /// The id of the friction: the detector and what it is about.
    pub(super) fn id(&self, window: &Window) -> String {
        let subject = match self.about {
            About::Issue(number) => &window.issues()[number as usize].id,
            About::Tool(name) | About::Module(name) => window.text(name),
            About::End(outcome) => outcome.as_str(),
        };
        format!("{}:{subject}", self.detector.as_str())
    }
}

/// The detectors that each issue raises, heaviest first. `fails` needs the exposure of an issue:
/// [`super::frictions`] adds it.
pub(super) fn raised_by_issues(window: &Window) -> Vec<BTreeSet<Detector>> {
    let mut raised = vec![BTreeSet::new(); window.issues().len()];
    for (detector, issues) in [
        (Detector::DeadEnd, failures::dead_ends(window)),
        (Detector::Repeated, retries::repeated(window)),
        (Detector::Fumbling, retries::fumbling(window)),
        (Detector::FieldTrap, failures::field_traps(window)),
        (Detector::Unsure, failures::unsure(window)),
    ] {
        for issue in issues {
            raised[issue as usize].insert(detector);
        }
    }
    raised
}

/// The frictions that belong to no issue.
pub(super) fn findings(window: &Window) -> Vec<Finding> {
    let mut findings = results::findings(window);
    findings.extend(endings::gave_up(window));
    findings.extend(endings::locked_out(window));
    findings.extend(ratings::silent_pain(window));
    findings
}

/// Counts, for each issue, the runs that have something.
#[derive(Debug, Default)]
struct RunsByIssue(BTreeMap<u32, BTreeSet<u32>>);

impl RunsByIssue {
    fn add(&mut self, issue: u32, run: u32) {
        self.0.entry(issue).or_default().insert(run);
    }

    /// The issues with at least so many runs.
    fn with_at_least(self, runs: usize) -> Vec<u32> {
        self.0.into_iter().filter(|(_, of)| of.len() >= runs).map(|(issue, _)| issue).collect()
    }
}

impl Window {
    /// The number of personas that these runs belong to.
    fn personas_of(&self, runs: impl IntoIterator<Item = u32>) -> usize {
        runs.into_iter().map(|run| self.run(run).persona).collect::<BTreeSet<_>>().len()
    }

    /// The runs of the window that used each module, in order.
    fn runs_by_module(&self) -> HashMap<Name, Vec<u32>> {
        let mut modules = HashMap::<_, Vec<_>>::new();
        for row in self.modules().all().iter().filter(|row| self.contains(row.run)) {
            modules.entry(row.module).or_default().push(row.run);
        }
        modules.values_mut().for_each(Vec::dedup);
        modules
    }
}
