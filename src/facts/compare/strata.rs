//! The runs of a fact, by persona and side.

use jiff::SignedDuration;

use super::{
    sides::{Side, Sides},
    source::Observation,
};
use crate::{facts::window::Window, statistics::Stratum};

/// A week of A.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Sorts the runs of a fact by persona and side.
pub(super) struct Strata<'w> {
    window: &'w Window,
    sides: &'w Sides,
    /// The week of each run, 1 for the last week of A; `None` for runs that are not on A.
    weeks: Vec<Option<i128>>,
}

impl<'w> Strata<'w> {
    pub(super) fn new(window: &'w Window, sides: &'w Sides) -> Self {
        let week = |run| {
            let age = sides.end_of_a.duration_since(window.run(run).at);
            // The first moment of a week belongs to it, and the end of A to none.
            let week = (age.as_nanos() - 1).div_euclid(WEEK.as_nanos()) + 1;
            (sides.of(run) == Some(Side::A) && week > 0).then_some(week)
        };
        let weeks = (0..window.runs().len() as u32).map(week).collect();
        Self { window, sides, weeks }
    }

    /// The runs of both sides: a stratum of each persona of the window.
    pub(super) fn of(&self, observations: &[Observation]) -> Vec<Stratum> {
        self.sorted(observations, |run| self.sides.of(run))
    }

    /// The last `weeks` weeks of A against the week before them.
    pub(super) fn of_weeks(&self, observations: &[Observation], weeks: i128) -> Vec<Stratum> {
        self.sorted(observations, |run| match self.weeks[run as usize]? - weeks {
            ..=0 => Some(Side::B),
            1 => Some(Side::A),
            _ => None,
        })
    }

    fn sorted(
        &self,
        observations: &[Observation],
        side: impl Fn(u32) -> Option<Side>,
    ) -> Vec<Stratum> {
        let mut strata = vec![Stratum::default(); self.window.personas().len()];
        for (run, value) in observations {
            let stratum = &mut strata[self.window.run(*run).persona as usize];
            match side(*run) {
                Some(Side::A) => stratum.a.add(*value),
                Some(Side::B) => stratum.b.add(*value),
                None => {}
            }
        }
        strata
    }
}
