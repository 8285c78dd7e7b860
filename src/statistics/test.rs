//! The one test of everything: whether B's sum is larger or smaller than if the labels were chance.

use super::{distribution::Distribution, normal::upper_tail, stratum::Stratum};

/// Most personas for which a test is exact.
pub const MOST_EXACT: usize = 60;
/// Most runs for which a test is exact, so that none takes longer than half a second: those of sixty personas that run
/// each hour for 35 days are 50,400.
const MOST_RUNS: u64 = 60_000;

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
/// permutation test of the sum within strata (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses),
/// computed from all choices at once.
///
/// Of more than [`MOST_EXACT`] personas, and of more than 60,000 runs, the tails are those of a normal distribution
/// with the exact mean and variance.
pub fn test(strata: &[Stratum]) -> Option<Test> {
    let strata: Vec<_> = strata.iter().filter(|stratum| stratum.is_on_both_sides()).collect();
    let sum = strata.iter().map(|stratum| stratum.b.sum()).sum();
    let runs = |it: &&Stratum| u64::from(it.a.runs()) + u64::from(it.b.runs());
    let is_exact = strata.len() <= MOST_EXACT && strata.iter().map(runs).sum::<u64>() <= MOST_RUNS;
    let test = if is_exact { exact } else { approximate };
    (!strata.is_empty()).then(|| test(&strata, sum))
}

fn exact(strata: &[&Stratum], sum: u32) -> Test {
    let certain = Distribution::certain(0);
    let all = strata.iter().fold(certain, |all, stratum| all.plus(&stratum.sum_of_b()));
    let [smallest_less, smallest_more] = all.ends();
    Test {
        more: Tail { p: all.at_least(sum), smallest: smallest_more },
        less: Tail { p: all.at_most(sum), smallest: smallest_less },
    }
}

fn approximate(strata: &[&Stratum], sum: u32) -> Test {
    let (mean, variance) = sum_of(strata.iter().map(|stratum| stratum.moments()));
    let [least, most] = [0, 1].map(|end| strata.iter().map(|it| it.extremes()[end]).sum::<u32>());
    let [sum, least, most] = [sum, least, most].map(f64::from);
    let tail = |distance: f64| match variance > 0.0 {
        true => upper_tail(distance / variance.sqrt()).max(f64::MIN_POSITIVE),
        // Each choice of runs has the same sum.
        false => 1.0,
    };
    Test {
        more: Tail { p: tail(sum - mean), smallest: tail(most - mean) },
        less: Tail { p: tail(mean - sum), smallest: tail(mean - least) },
    }
}

/// Mean and variance of a sum of independent numbers.
pub(super) fn sum_of(moments: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    moments.fold((0.0, 0.0), |(mean, variance), more| (mean + more.0, variance + more.1))
}
