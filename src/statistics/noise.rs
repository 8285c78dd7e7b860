//! How much more two sides differ than chance explains although nothing was deployed between them.

use super::{
    normal::{upper_quantile, upper_tail},
    stratum::Stratum,
    test::sum_of,
};

/// Fewest comparisons from which a noise floor is estimated.
const FEWEST: usize = 10;
/// The share of the largest squares that is dropped: some facts did change.
const DROPPED: usize = 10;
/// The mean of a chi-squared number of one degree of freedom below its 90 % quantile, 2.7055:
/// P(χ²₃ < 2.7055) / 0.9.
const MEAN_OF_REST: f64 = 0.623;
/// Least variance of a comparison that says something about the noise.
const LEAST_VARIANCE: f64 = 1.0;

/// The noise floor λ: the factor by which the variance of differences exceeds that of exchangeable runs. At least 1.
///
/// It is the genomic control of Devlin and Roeder (1999) with a trimmed mean in place of the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// λ; `None` if there were too few comparisons, and 1 is used.
    pub lambda: Option<f64>,
}

/// By how many standard deviations the sum of B's values deviates from its mean, squared; `None` if the variance is
/// below 1.
pub fn deviation(strata: &[Stratum]) -> Option<f64> {
    let strata = || strata.iter().filter(|stratum| stratum.is_on_both_sides());
    let (mean, variance) = sum_of(strata().map(Stratum::moments));
    let sum: f64 = strata().map(|stratum| f64::from(stratum.b.sum())).sum();
    (variance >= LEAST_VARIANCE).then(|| (sum - mean).powi(2) / variance)
}

impl Noise {
    /// The noise floor that these squared [`deviation`]s of comparisons without a deployment show.
    pub fn of(mut squares: Vec<f64>) -> Self {
        if squares.len() < FEWEST {
            return Self { lambda: None };
        }
        squares.sort_by(f64::total_cmp);
        let rest = &squares[..squares.len() - squares.len() / DROPPED];
        let mean = rest.iter().sum::<f64>() / rest.len() as f64;
        Self { lambda: Some((mean / MEAN_OF_REST).max(1.0)) }
    }

    /// The p-value that is left of `p` if the noise is taken out of it. A `p` of at least one half shows nothing and
    /// stays.
    pub fn without(self, p: f64) -> f64 {
        let factor = self.factor();
        if p >= 0.5 || factor <= 1.0 { p } else { upper_tail(upper_quantile(p) / factor.sqrt()) }
    }

    /// λ, or 1 if it is not known.
    pub(super) fn factor(self) -> f64 {
        self.lambda.unwrap_or(1.0)
    }
}
