//! Which runs belong to which side.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{Build, SideSummary, reference::Chosen};
use crate::facts::window::{Run, Window};

/// How long before a deployment its other side begins.
const BEFORE: SignedDuration = SignedDuration::from_hours(28 * 24);

/// A side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Before.
    A,
    /// After.
    B,
}

/// Which runs belong to which side.
#[derive(Debug)]
pub(super) struct Sides {
    /// The side of each run of the window.
    of_run: Vec<Option<Side>>,
    /// When B begins.
    begin_of_b: Timestamp,
    /// When A ends.
    pub(super) end_of_a: Timestamp,
}

impl Sides {
    pub(super) fn new(window: &Window, [a, b]: [Chosen; 2]) -> Self {
        let begin_of_b = b.begin(window);
        let is_of = |chosen: Chosen, run: &Run| match chosen {
            Chosen::Deployment(position) => run
                .build()
                .is_some_and(|build| window.text(build) == window.deployments()[position].id),
            Chosen::Days(from, to) => (from..=to).contains(&run.day),
            Chosen::Before => run.at < begin_of_b && begin_of_b.duration_since(run.at) <= BEFORE,
            Chosen::Nothing => false,
        };
        let side = |run: &Run| {
            if run.is_mixed() {
                None
            } else if run.build().is_some() && is_of(b, run) {
                Some(Side::B)
            } else {
                is_of(a, run).then_some(Side::A)
            }
        };
        let of_run = window.runs().iter().map(side).collect();
        Self { of_run, begin_of_b, end_of_a: a.end(window, b) }
    }

    /// The side of the run at this position.
    pub(super) fn of(&self, run: u32) -> Option<Side> {
        self.of_run[run as usize]
    }

    /// The runs of a side, in the order in which they began.
    pub(super) fn runs<'w>(
        &self,
        window: &'w Window,
        side: Side,
    ) -> impl DoubleEndedIterator<Item = &'w Run> {
        let runs = window.runs().iter().zip(&self.of_run);
        runs.filter(move |(_, of)| **of == Some(side)).map(|(run, _)| run)
    }

    fn personas(&self, window: &Window, side: Side) -> BTreeSet<u32> {
        self.runs(window, side).map(|run| run.persona).collect()
    }

    /// Whether at least half of the personas of the smaller side ran on both. Personas that were first seen after B
    /// began could not.
    pub(super) fn are_comparable(&self, window: &Window) -> bool {
        let a = self.personas(window, Side::A);
        let known = window.runs().iter().filter(|run| run.at < self.begin_of_b);
        let known: BTreeSet<_> = known.map(|run| run.persona).chain(a.iter().copied()).collect();
        let b = self.personas(window, Side::B);
        let b: BTreeSet<_> = b.intersection(&known).copied().collect();
        let both = a.intersection(&b).count();
        both > 0 && 2 * both >= a.len().min(b.len())
    }

    /// The seed of random numbers: the days of both sides.
    pub(super) fn seed(&self, window: &Window) -> u64 {
        let days = [Side::A, Side::B].into_iter().flat_map(|side| {
            let mut days = self.runs(window, side).map(|run| run.day);
            let first = days.next();
            [first, days.next_back().or(first)]
        });
        days.flatten().fold(0, |seed: u64, day| {
            let day = day.duration_since(Date::ZERO).as_hours() / 24;
            seed.wrapping_mul(1_000_003).wrapping_add_signed(day)
        })
    }

    pub(super) fn summary(&self, window: &Window, side: Side) -> SideSummary {
        let runs = || self.runs(window, side);
        let builds: BTreeSet<_> = runs().filter_map(Run::build).collect();
        let is_met = |id: &str| window.name(id).is_some_and(|name| builds.contains(&name));
        let build = |it: &crate::facts::line::Deployment| Build {
            id: it.id.clone(),
            version: it.version.clone(),
            from: it.at,
        };
        let met = window.deployments().iter().filter(|deployment| is_met(&deployment.id));
        SideSummary {
            deployments: met.map(build).collect(),
            from: runs().map(|run| run.day).min(),
            to: runs().map(|run| run.day).max(),
            runs: runs().count(),
            personas: self.personas(window, side).len(),
        }
    }
}
