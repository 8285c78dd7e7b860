//! The one test of everything: whether B's sum is larger or smaller than if the labels were chance.

use super::{distribution::Distribution, normal::upper_tail, stratum::Stratum};

/// Most personas for which a test is exact. The tails of more are those of a normal distribution with the exact mean
/// and variance, which are then close to each other.
pub const MOST_EXACT: usize = 60;

/// The result of a test in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// The probability of a sum as far out as that of B, or further, if the labels were chance; above 0, at most 1.
    pub p: f64,
    /// The smallest value that `p` could have taken with these runs, whichever of them were B's.
    pub smallest: f64,
}

/// The result of a test in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// B has more.
    pub more: Tail,
    /// B has less.
    pub less: Tail,
}

/// Tests the sum of B's values. Personas without runs on both sides say nothing; `None` if there are no others.
///
/// For values of 0 and 1 it is the convolution of the personas' hypergeometric distributions, the exact conditional
/// test of a common odds ratio (Gart 1970; `mantelhaen.test(exact = TRUE)` of R). For ratings it is the
/// permutation test of the sum within strata, computed from all choices at once.
pub fn test(strata: &[Stratum]) -> Option<Test> {
    let strata: Vec<_> = strata.iter().filter(|stratum| stratum.is_on_both_sides()).collect();
    let sum: u32 = strata.iter().map(|stratum| stratum.b.sum()).sum();
    match strata.len() {
        0 => None,
        1..=MOST_EXACT => Some(exact(&strata, sum)),
        _ => Some(approximate(&strata, sum)),
    }
}

fn exact(strata: &[&Stratum], sum: u32) -> Test {
    let mut all = Distribution::certain(0);
    for stratum in strata {
        all = all.plus(&stratum.sum_of_b());
    }
    let [smallest_less, smallest_more] = all.ends();
    Test {
        more: Tail { p: all.at_least(sum), smallest: smallest_more },
        less: Tail { p: all.at_most(sum), smallest: smallest_less },
    }
}

fn approximate(strata: &[&Stratum], sum: u32) -> Test {
    let (mean, variance) = sum_of(strata.iter().map(|stratum| stratum.moments()));
    let [least, most] = [0, 1].map(|end| strata.iter().map(|it| it.extremes()[end]).sum::<u32>());
    // Without any spread, each sum is the mean.
    let above = |sum: u32| match variance > 0.0 {
        true => (f64::from(sum) - mean) / variance.sqrt(),
        false => f64::NEG_INFINITY,
    };
    let tail = |z: f64| upper_tail(z).max(f64::MIN_POSITIVE);
    let below = |sum: u32| if variance > 0.0 { -above(sum) } else { f64::NEG_INFINITY };
    Test {
        more: Tail { p: tail(above(sum)), smallest: tail(above(most)) },
        less: Tail { p: tail(below(sum)), smallest: tail(below(least)) },
    }
}

/// Mean and variance of a sum of independent numbers.
pub(super) fn sum_of(moments: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    moments.fold((0.0, 0.0), |(mean, variance), more| (mean + more.0, variance + more.1))
}
