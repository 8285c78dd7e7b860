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
/// Least variance of a comparison that says something about the noise: 1, but for the last bits.
const LEAST_VARIANCE: f64 = 1.0 - 1e-9;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(lambda: f64) -> Noise {
        Noise { lambda: Some(lambda) }
    }

    #[test]
    fn without_noise_p_values_are_those_of_scipy() {
        // scipy 1.17: norm.sf(norm.isf(p) / sqrt(lambda))
        for (p, lambda, expected) in [
            (0.01, 2.0, 0.049_987_343_421_702_18),
            (1e-6, 1.7, 0.000_133_327_266_029_238_3),
            (0.3, 4.0, 0.396_583_527_881_194_4),
            (1e-12, 9.0, 0.009_517_930_916_781_839),
        ] {
            assert!((with(lambda).without(p) / expected - 1.0).abs() < 1e-10, "{p}");
        }
        assert_eq!([0.5, 0.7, 1.0].map(|p| with(4.0).without(p)), [0.5, 0.7, 1.0]);
        assert_eq!(Noise { lambda: None }.without(0.01), 0.01);
    }

    #[test]
    fn the_noise_floor_needs_ten_comparisons() {
        assert_eq!(Noise::of(vec![4.0; 9]), Noise { lambda: None });
        assert!((Noise::of(vec![4.0 * MEAN_OF_REST; 10]).factor() - 4.0).abs() < 1e-12);
        assert_eq!(Noise::of(vec![0.1; 10]), with(1.0));
    }

    #[test]
    fn the_largest_tenth_is_dropped() {
        // Of 19 comparisons one, of 20 two.
        let squares = |outliers: usize, all: usize| {
            let mut squares = vec![2.0 * MEAN_OF_REST; all];
            squares[..outliers].fill(1e6);
            Noise::of(squares).lambda.unwrap()
        };
        assert!((squares(1, 19) - 2.0).abs() < 1e-12 && squares(2, 19) > 1e4);
        assert!((squares(2, 20) - 2.0).abs() < 1e-12 && squares(3, 20) > 1e4);
    }

    #[test]
    fn quantiles_of_a_normal_distribution_show_no_noise() {
        // The squares of 999 quantiles at equal distances of probability, unchanged and three times as large.
        let squares = |factor: f64| {
            (1..1000)
                .map(move |it| factor * upper_quantile(f64::from(it) / 1000.0).powi(2))
                .collect()
        };
        assert!((Noise::of(squares(1.0)).lambda.unwrap() - 1.0).abs() < 0.01);
        assert!((Noise::of(squares(3.0)).lambda.unwrap() - 3.0).abs() < 0.03);
    }

    #[test]
    fn a_deviation_needs_a_variance_of_one() {
        // By hand: 8 of 20 runs hit, 10 of B: mean 4, variance 10 x 10 / 19 x .4 x .6 = 24 / 19; B has 6.
        let stratum = Stratum::of_hits([2, 10], [6, 10]);
        assert!((deviation(&[stratum]).unwrap() - 4.0 * 19.0 / 24.0).abs() < 1e-12);
        // A persona of one side neither adds to the sum nor to its mean.
        assert_eq!(deviation(&[stratum, Stratum::of(&[], &[1])]), deviation(&[stratum]));
        assert_eq!(deviation(&[Stratum::of_hits([1, 10], [1, 2])]), None);
        assert_eq!(deviation(&[]), None);
    }

    proptest! {
        #[test]
        fn noise_makes_no_p_value_smaller_and_changes_no_order(
            p in 1e-300..1.0, q in 1e-300..1.0, lambda in 1.0..50.0,
        ) {
            let [less, more] = [f64::min(p, q), f64::max(p, q)].map(|p| (p, with(lambda).without(p)));
            prop_assert!(less.1 >= less.0 * (1.0 - 1e-9) && less.1 <= more.1 + 1e-15);
        }
    }
}
