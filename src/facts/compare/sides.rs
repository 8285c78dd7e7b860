//! Which runs belong to which side.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{Build, SideSummary, reference::Chosen};
use crate::facts::window::{Run, Window};

/// How long before a deployment its other side begins.
const BEFORE: SignedDuration = SignedDuration::from_hours(28 * 24);

/// A side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::facts) enum Side {
    /// Before.
    A,
    /// After.
    B,
}

/// Which runs belong to which side.
#[derive(Debug)]
pub(super) struct Sides {
    a: Chosen,
    b: Chosen,
    /// The side of each run of the window.
    of_run: Vec<Option<Side>>,
    /// When A ends.
    pub(super) end_of_a: Timestamp,
}

impl Sides {
    /// A run with two deployments is on neither side, one that both sides could have is not on A, and one without a
    /// deployment is not on B.
    pub(super) fn new(window: &Window, [a, b]: [Chosen; 2]) -> Self {
        let (is_of_a, is_of_b) = (belongs(window, a, b), belongs(window, b, a));
        let side = |run: &Run| match run.build() {
            _ if run.is_mixed() => None,
            build if is_of_b(run) => build.map(|_| Side::B),
            _ => is_of_a(run).then_some(Side::A),
        };
        let of_run = window.runs().iter().map(side).collect();
        Self { a, b, of_run, end_of_a: a.end(window, b) }
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

    /// Whether at least half of the personas of the smaller side ran on both. Personas that were first seen after the
    /// later side began could not.
    pub(super) fn are_comparable(&self, window: &Window) -> bool {
        let later = self.a.begin(window).max(self.b.begin(window));
        let before = window.runs().iter().take_while(|run| run.at < later);
        let known: BTreeSet<_> = before.map(|run| run.persona).collect();
        let (a, b) = (self.personas(window, Side::A), self.personas(window, Side::B));
        let only = |of: &BTreeSet<u32>, other| {
            of.difference(other).filter(|it| known.contains(it)).count()
        };
        let both = a.intersection(&b).count();
        both > 0 && both >= only(&a, &b).min(only(&b, &a))
    }

    /// The seed of random numbers: the first and the last day of both sides.
    pub(super) fn seed(&self, window: &Window) -> u64 {
        let days = [Side::A, Side::B].into_iter().flat_map(|side| {
            let days = || self.runs(window, side).map(|run| run.day);
            [days().min(), days().max()]
        });
        seed(days.flatten())
    }

    pub(super) fn summary(&self, window: &Window, side: Side) -> SideSummary {
        let runs = || self.runs(window, side);
        let builds: BTreeSet<_> = runs().filter_map(Run::build).collect();
        let chosen = if side == Side::A { self.a } else { self.b };
        let is_of_side = |(position, id): (usize, &str)| {
            chosen == Chosen::Deployment(position)
                || window.name(id).is_some_and(|name| builds.contains(&name))
        };
        let deployments = window.deployments().iter().enumerate();
        let deployments = deployments.filter(|(position, it)| is_of_side((*position, &it.id)));
        SideSummary {
            deployments: deployments.map(|(_, it)| Build::from(it)).collect(),
            from: runs().map(|run| run.day).min(),
            to: runs().map(|run| run.day).max(),
            runs: runs().count(),
            personas: self.personas(window, side).len(),
            locked_out: runs().filter(|run| run.outcome.is_locked_out()).count(),
        }
    }
}

/// A seed for random numbers that follows from these days.
pub(in crate::facts) fn seed(days: impl Iterator<Item = Date>) -> u64 {
    days.fold(0, |seed: u64, day| {
        let day = day.duration_since(Date::ZERO).as_hours() / 24;
        seed.wrapping_mul(1_000_003).wrapping_add_signed(day)
    })
}

/// Whether a run that is not mixed could be on the side that `chosen` says, if the other side is `other`.
fn belongs(window: &Window, chosen: Chosen, other: Chosen) -> impl Fn(&Run) -> bool {
    let build = match chosen {
        Chosen::Deployment(position) => window.name(&window.deployments()[position].id),
        _ => None,
    };
    let begin_of_other = other.begin(window);
    move |run| match chosen {
        Chosen::Deployment(_) => build.is_some() && run.build() == build,
        Chosen::Days(from, to) => (from..=to).contains(&run.day),
        Chosen::Before => {
            run.at < begin_of_other && begin_of_other.duration_since(run.at) <= BEFORE
        }
        Chosen::Nothing => false,
    }
}
