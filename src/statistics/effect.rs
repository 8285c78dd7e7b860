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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn the_difference_of_shares_is_the_risk_difference_of_mantel_and_haenszel() {
        // By hand: the sum of (hits of B x runs of A - hits of A x runs of B) / runs, by the sum of the weights.
        let strata = [
            Stratum::of_hits([3, 10], [5, 8]),
            Stratum::of_hits([0, 6], [2, 4]),
            Stratum::of_hits([7, 20], [1, 5]),
        ];
        let expected = {
            let [numerator, weights] = [(3., 10., 5., 8.), (0., 6., 2., 4.), (7., 20., 1., 5.)]
                .map(|(a, n, b, m): (f64, f64, f64, f64)| {
                    [(b * n - a * m) / (n + m), n * m / (n + m)]
                })
                .into_iter()
                .fold([0.0, 0.0], |sum, it| [sum[0] + it[0], sum[1] + it[1]]);
            numerator / weights
        };
        assert!((difference(&strata).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn personas_of_one_side_count_neither_for_a_difference_nor_for_an_interval() {
        let both = vec![Stratum::of(&[1, 2], &[2, 4]); 4];
        let with_others =
            [both.clone(), vec![Stratum::of(&[5], &[]), Stratum::of(&[], &[5])]].concat();
        assert_eq!(difference(&with_others), Some(1.5));
        assert_eq!(interval(&with_others, 1), None);
        assert_eq!((difference(&[]), interval(&[], 1)), (None, None));
        let five = [both, vec![Stratum::of(&[3], &[3])]].concat();
        assert!(interval(&five, 1).is_some());
    }

    #[test]
    fn equal_differences_leave_no_width() {
        let five = vec![Stratum::of(&[3, 4], &[2, 3]); 5];
        assert_eq!(interval(&five, 7), Some(Interval { low: -1.0, high: -1.0 }));
    }

    #[test]
    fn the_interval_contains_the_true_difference_in_most_worlds() {
        // Personas whose true differences scatter around 0: -0.3 to 0.3.
        let mut chance = Chance::new(5);
        let mut covered = 0;
        for seed in 0..200 {
            let strata: Vec<_> = (0..10)
                .map(|_| {
                    let of_b = 35 + chance.below(31);
                    let mut side =
                        |share, runs| (0..runs).filter(|_| chance.below(100) < share).count();
                    let [a, b] = [side(50, 20), side(of_b, 20)].map(|hits| [hits as u32, 20]);
                    Stratum::of_hits(a, b)
                })
                .collect();
            let Interval { low, high } = interval(&strata, seed).unwrap();
            covered += usize::from(low <= 0.0 && 0.0 <= high);
        }
        // A percentile bootstrap of ten is a little too narrow: 95 % are about 90 %.
        assert!((168..=198).contains(&covered), "{covered}");
    }

    proptest! {
        #[test]
        fn the_interval_is_the_same_each_time_and_lies_within_the_personas_differences(
            hits in vec((0u32..=6, 0u32..=3), 5..12), seed: u64,
        ) {
            let strata: Vec<_> = hits.iter().map(|(a, b)| Stratum::of_hits([*a, 6], [*b, 3])).collect();
            let Interval { low, high } = interval(&strata, seed).unwrap();
            prop_assert_eq!(interval(&strata, seed), Some(Interval { low, high }));
            let each = hits.iter().map(|(a, b)| f64::from(*b) / 3.0 - f64::from(*a) / 6.0);
            let (least, most) = (each.clone().fold(1.0, f64::min), each.fold(-1.0, f64::max));
            prop_assert!(least - 1e-12 <= low && low <= high && high <= most + 1e-12);
        }
    }
}
