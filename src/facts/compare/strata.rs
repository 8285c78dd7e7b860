//! The runs of a fact, by persona and side.

use jiff::{SignedDuration, Timestamp};

use super::{
    sides::{Side, Sides},
    source::Observation,
};
use crate::{facts::window::Window, statistics::Stratum};

/// A week before the change.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The runs of both sides: a stratum of each persona of the window.
pub(in crate::facts) fn strata(
    window: &Window,
    observations: &[Observation],
    side: impl Fn(u32) -> Option<Side>,
) -> Vec<Stratum> {
    let mut strata = vec![Stratum::default(); window.personas().len()];
    for (run, value) in observations {
        let stratum = &mut strata[window.run(*run).persona as usize];
        match side(*run) {
            Some(Side::A) => stratum.a.add(*value),
            Some(Side::B) => stratum.b.add(*value),
            None => {}
        }
    }
    strata
}

/// The weeks before a change, in which nothing is expected to differ.
pub(super) struct Weeks<'w> {
    window: &'w Window,
    /// The week of each run, 1 for the last one before the change; `None` for runs that do not count.
    of_run: Vec<Option<i128>>,
}

impl<'w> Weeks<'w> {
    /// The weeks of A.
    pub(super) fn of_a(window: &'w Window, sides: &Sides) -> Self {
        Self::before(window, sides.end_of_a, |run| sides.of(run) == Some(Side::A))
    }

    /// The weeks of the runs that count, counted back from `end`.
    pub(super) fn before(window: &'w Window, end: Timestamp, counts: impl Fn(u32) -> bool) -> Self {
        let week = |run| {
            let age = end.duration_since(window.run(run).at);
            // The first moment of a week belongs to it, and the end to none.
            let week = (age.as_nanos() - 1).div_euclid(WEEK.as_nanos()) + 1;
            (counts(run) && week > 0).then_some(week)
        };
        Self { window, of_run: (0..window.runs().len() as u32).map(week).collect() }
    }

    /// The last `weeks` weeks against the week before them.
    pub(super) fn strata(&self, observations: &[Observation], weeks: i128) -> Vec<Stratum> {
        strata(self.window, observations, |run| match self.of_run[run as usize]? - weeks {
            ..=0 => Some(Side::B),
            1 => Some(Side::A),
            _ => None,
        })
    }
}
