//! Many tests at once: which of them can show anything, and which results are more than chance among so many.

/// What p-values that are equal on paper may differ by in the last bits, as a share of them.
const EQUAL: f64 = 1e-9;

/// Whether `p` is at most `alpha`, as on paper.
pub fn is_at_most(p: f64, alpha: f64) -> bool {
    p <= alpha * (1.0 + EQUAL)
}

/// The positions of the tests that are kept: those whose smallest attainable p-value could be significant among them.
/// The others could not be significant whatever happened, so they do not make the rest stricter (Tarone 1990;
/// Gilbert 2005 for the procedures that follow).
pub fn testable(smallest: &[f64], alpha: f64) -> Vec<usize> {
    let order = ascending(smallest);
    // How many could be significant if there were this number of tests.
    let fit =
        |tests: usize| order.partition_point(|p| is_at_most(smallest[*p], alpha / tests as f64));
    let enough = (1..=smallest.len()).map(|tests| (tests, fit(tests))).find(|(k, fit)| fit <= k);
    let mut kept = order[..enough.map_or(0, |(_, fit)| fit)].to_vec();
    kept.sort_unstable();
    kept
}

/// The adjusted p-values of Holm (1979), in the order of `p`: rejecting those up to α makes any false rejection in the
/// family improbable, at most α.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p.len()];
    let mut so_far = 0.0_f64;
    for (rank, position) in ascending(p).into_iter().enumerate() {
        so_far = so_far.max(p[position] * (p.len() - rank) as f64).min(1.0);
        adjusted[position] = so_far;
    }
    adjusted
}

/// The adjusted p-values of Benjamini and Hochberg (1995), in the order of `p`: of those rejected up to α, a share of
/// at most α is expected to be false.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p.len()];
    let mut so_far = 1.0_f64;
    for (rank, position) in ascending(p).into_iter().enumerate().rev() {
        so_far = so_far.min(p[position] * p.len() as f64 / (rank + 1) as f64);
        adjusted[position] = so_far;
    }
    adjusted
}

/// The positions in ascending order of `p`.
fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<_> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn are_near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn holm_and_benjamini_hochberg_adjust_as_computed_by_hand() {
        // Holm: .01 x 4, .02 x 3, then 2 x .03 and 1 x .04, neither of which may be below the one before.
        // Benjamini and Hochberg: p x 4 / rank is .04 for each of them.
        let p = [0.03, 0.01, 0.04, 0.02];
        assert!(are_near(&holm(&p), &[0.06, 0.04, 0.06, 0.06]));
        assert!(are_near(&benjamini_hochberg(&p), &[0.04; 4]));
        // Ties, and no p-value above 1: 3 x .5, 2 x .5, 1 x .5; 4 / 3 x .5 is above .5 x 3 / 3.
        assert!(are_near(&holm(&[0.5, 0.5, 0.001]), &[1.0, 1.0, 0.003]));
        assert!(are_near(&benjamini_hochberg(&[0.5, 0.5, 0.001]), &[0.5, 0.5, 0.003]));
        assert!(holm(&[]).is_empty() && benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn the_example_of_the_package_mhtdiscrete_has_three_testable_tests() {
        // Tarone.p.adjust of R's MHTdiscrete 1.0.1: three binomial tests, each p multiplied by 3.
        let smallest = [0.5_f64.powi(8), 0.25_f64.powi(5), 0.4_f64.powi(6)];
        assert_eq!(testable(&smallest, 0.05), [0, 1, 2]);
        // By hand: at .01 three fit one test, two or all fit two (.005), and all three at .00333 is one only.
        assert_eq!(testable(&smallest, 0.01), [1]);
    }

    #[test]
    fn tests_that_could_show_nothing_make_the_rest_no_stricter() {
        assert_eq!(testable(&[0.2, 0.04, 0.9, 0.06], 0.05), [1]);
        assert_eq!(testable(&[0.05], 0.05), [0]);
        assert_eq!(testable(&[0.2, 1.0], 0.05), [0; 0]);
        assert_eq!(testable(&[], 0.05), [0; 0]);
        // Two of .03 fit one test and none fits two.
        assert_eq!(testable(&[0.03, 0.03], 0.05), [0; 0]);
    }

    /// Tarone's definition, written down word by word.
    fn tarone(smallest: &[f64], alpha: f64) -> Vec<usize> {
        let fitting = |k: usize| {
            let fits = |position: &usize| smallest[*position] <= alpha / k as f64;
            (0..smallest.len()).filter(fits).collect::<Vec<_>>()
        };
        let k = (1..=smallest.len()).find(|k| fitting(*k).len() <= *k);
        k.map(fitting).unwrap_or_default()
    }

    proptest! {
        #[test]
        fn the_testable_ones_are_those_of_the_definition(
            exponents in vec(0u32..12, 0..30), alpha in 0.001..0.2,
        ) {
            let smallest: Vec<_> = exponents.iter().map(|it| 0.5_f64.powi(*it as i32)).collect();
            let kept = testable(&smallest, alpha);
            prop_assert_eq!(&kept, &tarone(&smallest, alpha));
            let least = kept.iter().map(|it| smallest[*it] * kept.len() as f64);
            prop_assert!(least.fold(0.0, f64::max) <= alpha + 1e-12, "each could be significant");
        }

        #[test]
        fn adjusted_values_keep_the_order_and_holm_is_the_stricter_one(p in vec(0.0..=1.0, 0..30)) {
            let (holm, other) = (holm(&p), benjamini_hochberg(&p));
            for a in 0..p.len() {
                prop_assert!(p[a] <= other[a] + 1e-12 && other[a] <= holm[a] + 1e-12 && holm[a] <= 1.0);
                for b in 0..p.len() {
                    prop_assert!(p[a] > p[b] || holm[a] <= holm[b] && other[a] <= other[b]);
                }
            }
        }
    }
}
