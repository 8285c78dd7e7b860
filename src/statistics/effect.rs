//! How large a difference is.

use super::{chance::Chance, stratum::Stratum};

/// Draws of a bootstrap.
const DRAWS: usize = 2_000;
/// The draws, in ascending order, that are the ends of an interval of 95 %.
const ENDS: [usize; 2] = [DRAWS / 40 - 1, DRAWS - DRAWS / 40 - 1];
/// Fewest personas from which an interval is computed.
const FEWEST: usize = 5;

/// An interval that contains the true difference with a confidence of about 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The mean of B less that of A, within personas: the differences of the personas, weighted by what their runs say
/// about them (Mantel and Haenszel; for shares the risk difference of Greenland and Robins 1985). `None` if no persona
/// has runs on both sides.
pub fn difference(strata: &[Stratum]) -> Option<f64> {
    mean(strata.iter().filter_map(weighted))
}

/// The interval of the [`difference`]: a percentile bootstrap over personas (Efron and Tibshirani 1993), because the
/// runs of a persona resemble each other. `None` with fewer than five personas on both sides.
pub fn interval(strata: &[Stratum], seed: u64) -> Option<Interval> {
    let strata: Vec<_> = strata.iter().filter_map(weighted).collect();
    if strata.len() < FEWEST {
        return None;
    }
    let mut chance = Chance::new(seed);
    let mut draw = |_| {
        let drawn = (0..strata.len()).map(|_| strata[chance.below(strata.len())]);
        mean(drawn).unwrap_or_default()
    };
    let mut means: Vec<f64> = (0..DRAWS).map(&mut draw).collect();
    means.sort_by(f64::total_cmp);
    let [low, high] = ENDS.map(|end| means[end]);
    Some(Interval { low, high })
}

/// The weight of a persona, and its difference times the weight.
fn weighted(stratum: &Stratum) -> Option<(f64, f64)> {
    let difference = stratum.b.mean()? - stratum.a.mean()?;
    let weight = stratum.weight();
    Some((weight, weight * difference))
}

fn mean(weighted: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let sum = weighted.fold((0.0, 0.0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
    (sum.0 > 0.0).then(|| sum.1 / sum.0)
}
