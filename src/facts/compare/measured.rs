//! The numbers of one fact, from which its verdict follows.

use super::Fact;
use crate::statistics::{
    Exposure, Histogram, Interval, Noise, Stratum, Tail, Test, difference, interval,
    of_full_change, test,
};

/// The smallest difference that a verdict needs: of a share of runs, and of a mean rating.
pub(super) const LEAST_SHARE: f64 = 0.1;
pub(super) const LEAST_RATING: f64 = 0.3;
/// Differences that differ by less are equal: the last bits of a difference are those of its computation.
const EQUAL: f64 = 1e-9;
/// Least variance of a persona's ratings: if ratings that were all equal fall by 0.3, at least three of ten differ by 1.
const LEAST_VARIANCE: f64 = LEAST_RATING * (1.0 - LEAST_RATING);
/// Fewest personas for whom a fact changed, unless only one has it on both sides.
const FEWEST_PERSONAS: usize = 2;

/// The numbers of a fact that some personas have on both sides. No others count.
#[derive(Debug)]
pub(super) struct Measured {
    fact: Fact,
    pub(super) a: Histogram,
    pub(super) b: Histogram,
    test: Test,
    /// B less A.
    pub(super) difference: f64,
    pub(super) interval: Option<Interval>,
    pub(super) exposure: Exposure,
    /// The p-value if all runs of B had what no run of A has.
    pub(super) of_full_change: f64,
    /// The variance of a rating within its persona and side.
    pub(super) variance: f64,
    personas: usize,
    /// For how many of the personas B has more, and less.
    more: usize,
    less: usize,
}

/// A direction in which a fact may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Worse,
    Better,
}

impl Measured {
    /// `None` if no persona has the fact on both sides. `seed` is that of the interval's random numbers.
    pub(super) fn new(fact: Fact, strata: &[Stratum], seed: u64) -> Option<Self> {
        let both: Vec<_> = strata.iter().copied().filter(Stratum::is_on_both_sides).collect();
        let changes = || both.iter().filter_map(|it| Some(it.b.mean()? - it.a.mean()?));
        let sum = |side: fn(&Stratum) -> &Histogram| {
            both.iter().fold(Histogram::default(), |sum, it| sum.plus(side(it)))
        };
        Some(Self {
            fact,
            a: sum(|it| &it.a),
            b: sum(|it| &it.b),
            test: test(&both)?,
            difference: difference(&both)?,
            interval: interval(&both, seed),
            exposure: Exposure::of(&both)?,
            of_full_change: of_full_change(&both),
            variance: variance_within(&both).max(LEAST_VARIANCE),
            personas: both.len(),
            more: changes().filter(|change| *change > 0.0).count(),
            less: changes().filter(|change| *change < 0.0).count(),
        })
    }

    fn is_more(&self, direction: Direction) -> bool {
        self.fact.is_more(direction)
    }

    /// The test in this direction.
    pub(super) fn tail(&self, direction: Direction) -> Tail {
        if self.is_more(direction) { self.test.more } else { self.test.less }
    }

    /// The direction of the difference. No difference counts as one to the worse.
    pub(super) fn direction(&self) -> Direction {
        if self.change(Direction::Worse) >= -EQUAL { Direction::Worse } else { Direction::Better }
    }

    /// The difference in this direction.
    fn change(&self, direction: Direction) -> f64 {
        if self.is_more(direction) { self.difference } else { -self.difference }
    }

    /// Whether the difference in this direction is large enough for a verdict, and concerns enough personas.
    pub(super) fn is_large(&self, direction: Direction) -> bool {
        let changed = if self.is_more(direction) { self.more } else { self.less };
        let least = if self.fact == Fact::Rating { LEAST_RATING } else { LEAST_SHARE };
        self.change(direction) >= least - EQUAL && changed >= FEWEST_PERSONAS.min(self.personas)
    }

    /// The mean of A.
    pub(super) fn mean_of_a(&self) -> f64 {
        self.a.mean().unwrap_or_default()
    }

    /// Whether the values of A leave room for a change to the worse that a verdict needs.
    pub(super) fn can_become_worse(&self) -> bool {
        match self.fact {
            Fact::Rating => self.mean_of_a() - LEAST_RATING >= 1.0 - EQUAL,
            _ => self.mean_of_a() + LEAST_SHARE <= 1.0 + EQUAL,
        }
    }

    /// Whether the smallest difference that a verdict needs would have been seen, if it were there.
    pub(super) fn would_have_shown(&self, alpha: f64, noise: Noise) -> bool {
        if self.fact == Fact::Rating {
            return self.exposure.sees_fall(LEAST_RATING, self.variance, alpha, noise);
        }
        // A share that cannot rise so far can fall, which is a rise of the runs that do not have the fact.
        let share = self.mean_of_a();
        let share = if share > 1.0 - LEAST_SHARE { 1.0 - share } else { share };
        self.exposure.sees_rise(LEAST_SHARE, share, alpha, noise)
    }
}

impl Fact {
    /// Whether B has more of it if it changes in this direction.
    pub(super) fn is_more(self, direction: Direction) -> bool {
        (direction == Direction::Worse) == (self != Self::Rating)
    }
}

/// The variance of a run's value within its persona and side; that of all runs if none has another one beside it.
fn variance_within(strata: &[Stratum]) -> f64 {
    let sides = || strata.iter().flat_map(|it| [it.a, it.b]);
    let squares: f64 = sides().map(|side| side.variance() * f64::from(side.runs())).sum();
    let free: u32 = sides().map(|side| side.runs().saturating_sub(1)).sum();
    match free {
        0 => sides().fold(Histogram::default(), |sum, side| sum.plus(&side)).variance(),
        _ => squares / f64::from(free),
    }
}
