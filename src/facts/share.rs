//! Shares of exposed runs, with an interval that allows for differences between personas.

use serde::{Serialize, Serializer};

use super::digits;

/// The quantile of the normal distribution for two-sided intervals of 95 %.
const Z: f64 = 1.959_964;

/// The runs of one persona that were exposed to something, and those of them that had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// At most `exposed`.
    pub hits: u32,
    /// Runs in which it could have happened.
    pub exposed: u32,
}

/// A share of exposed runs, and the interval that contains the true share with a confidence of 95 %. Written
/// with four digits, so that machines whose last bits differ write the same text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Hits per exposed run, 0 to 1.
    #[serde(serialize_with = "four_digits")]
    pub value: f64,
    /// Lower end of the interval, 0 to 1.
    #[serde(serialize_with = "four_digits")]
    pub low: f64,
    /// Upper end of the interval, 0 to 1.
    #[serde(serialize_with = "four_digits")]
    pub high: f64,
    /// Number of exposed runs.
    pub n: u64,
    /// Number of personas with an exposed run.
    pub personas: u32,
}

impl Share {
    /// The share in all runs of these personas, one tally each; `None` if no run was exposed.
    ///
    /// The interval is Wilson's for `n` divided by the design effect: runs of one persona resemble each other,
    /// so that ten runs of one persona say less than one run of each of ten personas.
    pub fn of<I>(personas: I) -> Option<Self>
    where
        I: IntoIterator<Item = Tally, IntoIter: Clone>,
    {
        let exposed = personas.into_iter().filter(|tally| tally.exposed > 0);
        let (mut hits, mut n, mut personas) = (0, 0, 0);
        for tally in exposed.clone() {
            hits += u64::from(tally.hits);
            n += u64::from(tally.exposed);
            personas += 1;
        }
        if n == 0 {
            return None;
        }
        let value = hits as f64 / n as f64;
        let effective = n as f64 / design_effect(value, n, personas, exposed).max(1.0);
        let (low, high) = wilson(value, effective);
        Some(Self { value, low, high, n, personas })
    }
}

/// How many times larger the variance of the share `value` is than that of `n` independent runs: the variance
/// of a ratio estimator over personas, divided by the binomial one. It is 1 where nothing can be estimated:
/// for a share of 0 or 1, or one persona.
fn design_effect(value: f64, n: u64, personas: u32, tallies: impl Iterator<Item = Tally>) -> f64 {
    let binomial = value * (1.0 - value);
    if personas < 2 || binomial <= 0.0 {
        return 1.0;
    }
    let squares: f64 = tallies
        .map(|tally| (f64::from(tally.hits) - value * f64::from(tally.exposed)).powi(2))
        .sum();
    let personas = f64::from(personas);
    // The factor 1/n² of the ratio's variance and 1/n of the binomial variance leave one 1/n.
    personas / (personas - 1.0) * squares / n as f64 / binomial
}

/// The lower end of Wilson's interval of 95 % for `hits` of `runs` independent runs; 0 without runs. Below 1
/// for any number of runs.
pub fn lower_bound(hits: u32, runs: u32) -> f64 {
    if runs == 0 {
        return 0.0;
    }
    wilson(f64::from(hits) / f64::from(runs), f64::from(runs)).0
}

/// Wilson's interval of 95 % for the share `value` of `n` runs; `n` > 0 need not be whole.
fn wilson(value: f64, n: f64) -> (f64, f64) {
    let square = Z * Z / n;
    let centre = value + square / 2.0;
    let margin = (square * (value * (1.0 - value) + square / 4.0)).sqrt();
    let end = |sum: f64| (sum / (1.0 + square)).clamp(0.0, 1.0);
    (end(centre - margin), end(centre + margin))
}

/// Writes a share with four digits after the point.
fn four_digits<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(digits::share(*value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tallies(pairs: &[(u32, u32)]) -> Vec<Tally> {
        pairs.iter().map(|&(hits, exposed)| Tally { hits, exposed }).collect()
    }

    fn share(pairs: &[(u32, u32)]) -> Share {
        Share::of(tallies(pairs)).unwrap()
    }

    #[test]
    fn the_interval_of_one_persona_is_wilsons() {
        // Published example of the score interval without correction (Newcombe 1998): 81 of 263.
        let Share { value, low, high, n, personas } = share(&[(81, 263)]);
        assert_eq!((n, personas), (263, 1));
        for (is, expected) in [(value, 0.3080), (low, 0.2553), (high, 0.3662)] {
            assert!((is - expected).abs() < 5e-5, "{is} instead of {expected}");
        }
    }

    #[test]
    fn a_share_of_none_or_all_has_an_interval_that_begins_or_ends_there() {
        // Newcombe 1998: 0 of 20 and 1 of 29.
        let none = share(&[(0, 10), (0, 10)]);
        assert!(none.low.abs() < 1e-12 && (none.high - 0.1611).abs() < 5e-5, "{none:?}");
        assert!((share(&[(1, 29)]).low - 0.0061).abs() < 5e-5);
        let all = share(&[(10, 10), (10, 10)]);
        assert!((all.low - 0.8389).abs() < 5e-5 && (all.high - 1.0).abs() < 1e-12, "{all:?}");
    }

    #[test]
    fn two_personas_of_which_one_always_has_it_count_as_one_run() {
        // Variance of the ratio: 2 · (5² + 5²) / 20² = 0.25; binomial: 0.0125; n / 20 = 1.
        let Share { low, high, .. } = share(&[(10, 10), (0, 10)]);
        let (expected_low, expected_high) = wilson(0.5, 1.0);
        assert!((low - expected_low).abs() < 1e-12 && (high - expected_high).abs() < 1e-12);
    }

    #[test]
    fn personas_that_are_more_alike_than_chance_do_not_narrow_the_interval() {
        let alike = share(&[(5, 10), (5, 10), (5, 10)]);
        assert_eq!((alike.low, alike.high), wilson(0.5, 30.0));
    }

    #[test]
    fn a_persona_without_an_exposed_run_does_not_count() {
        assert_eq!(share(&[(3, 10), (0, 0), (1, 10)]), share(&[(3, 10), (1, 10)]));
        assert_eq!(Share::of(tallies(&[(0, 0)])), None);
        assert_eq!(Share::of([]), None);
    }

    #[test]
    fn a_share_is_written_with_four_digits_under_the_keys_of_the_report() {
        let json = serde_json::to_string(&share(&[(19, 31)])).unwrap();
        assert_eq!(json, r#"{"value":0.6129,"low":0.4382,"high":0.7627,"n":31,"personas":1}"#);
    }

    #[test]
    fn the_lower_bound_needs_runs() {
        assert_eq!(lower_bound(0, 0), 0.0);
        assert_eq!(lower_bound(20, 20), wilson(1.0, 20.0).0);
    }

    proptest! {
        #[test]
        fn a_share_lies_within_its_interval_which_lies_between_none_and_all(
            pairs in prop::collection::vec((0u32..400).prop_flat_map(|n| (0..=n, Just(n))), 0..20),
        ) {
            if let Some(Share { value, low, high, n, personas }) = Share::of(tallies(&pairs)) {
                prop_assert!(0.0 <= low && low <= value + 1e-12);
                prop_assert!(value - 1e-12 <= high && high <= 1.0);
                prop_assert!(u64::from(personas) <= n);
            }
        }

        #[test]
        fn no_spread_between_personas_makes_the_interval_narrower_than_that_of_independent_runs(
            pairs in prop::collection::vec((0u32..40).prop_flat_map(|n| (0..=n, Just(n))), 2..10),
        ) {
            let sum = pairs.iter().fold((0, 0), |(h, n), pair| (h + pair.0, n + pair.1));
            if let Some(clustered) = Share::of(tallies(&pairs)) {
                let pooled = share(&[sum]);
                prop_assert!(clustered.high - clustered.low >= pooled.high - pooled.low - 1e-12);
            }
        }
    }
}
