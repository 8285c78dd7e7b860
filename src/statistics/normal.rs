//! The standard normal distribution.

use std::f64::consts::SQRT_2;

/// No number above 0 is the probability of a value beyond 40.
const FURTHEST: f64 = 40.0;
/// Halvings of the range of values until nothing of it is left that a number could tell apart.
const HALVINGS: usize = 64;

/// The probability of a value of at least `z`: half of erfc(z / √2) (Abramowitz and Stegun 26.2.29).
pub(super) fn upper_tail(z: f64) -> f64 {
    libm::erfc(z / SQRT_2) / 2.0
}

/// The value that is reached or exceeded with probability `p`, 0 to 1; at most 40 from the mean. By bisection of
/// [`upper_tail`].
pub(super) fn upper_quantile(p: f64) -> f64 {
    let halve = |[low, high]: [f64; 2], _| {
        let middle = f64::midpoint(low, high);
        if upper_tail(middle) > p { [middle, high] } else { [low, middle] }
    };
    let [low, high] = (0..HALVINGS).fold([-FURTHEST, FURTHEST], halve);
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 1e-12
    }

    #[test]
    fn tails_are_those_of_scipy_even_far_out() {
        // scipy 1.17: norm.sf(z)
        for (z, tail) in [
            (1.0, 0.158_655_253_931_457_07),
            (5.0, 2.866_515_718_791_933e-7),
            (20.0, 2.753_624_118_606_155_6e-89),
            (37.0, 5.725_571_222_523_927e-300),
        ] {
            assert!(is_near(upper_tail(z), tail), "{z}: {}", upper_tail(z));
        }
        assert_eq!([0.0, f64::INFINITY, f64::NEG_INFINITY].map(upper_tail), [0.5, 0.0, 1.0]);
    }

    #[test]
    fn quantiles_are_those_of_scipy_even_far_out() {
        // scipy 1.17: norm.isf(p)
        for (p, z) in [
            (0.05, 1.644_853_626_951_472_9),
            (1e-3, 3.090_232_306_167_813),
            (1e-12, 7.034_483_825_301_131),
            (1e-60, 16.397_278_212_718_71),
            (1e-300, 37.047_096_299_361_2),
            (0.8, -0.841_621_233_572_914_3),
            (0.999, -3.090_232_306_167_813),
        ] {
            assert!(is_near(upper_quantile(p), z), "{p}: {}", upper_quantile(p));
        }
        assert!(upper_quantile(0.5).abs() < 1e-15);
        // At 38 the tail is less than any number above 0.
        assert_eq!([0.0, 1.0].map(upper_quantile).map(f64::round), [38.0, -40.0]);
    }

    proptest! {
        #[test]
        fn the_tail_of_a_quantile_is_its_probability(exponent in -300.0..-0.01) {
            let p = 10.0_f64.powf(exponent);
            prop_assert!((upper_tail(upper_quantile(p)) / p - 1.0).abs() < 1e-11);
        }
    }
}
