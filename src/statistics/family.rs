//! Many tests at once: which of them can show anything, and which results are more than chance among so many.

/// The positions of the tests that are kept: those whose smallest attainable p-value could be significant among them.
/// The others could not be significant whatever happened, so they do not make the rest stricter (Tarone 1990;
/// Gilbert 2005 for the procedures that follow).
pub fn testable(smallest: &[f64], alpha: f64) -> Vec<usize> {
    let fits = |tests: usize| {
        let at = alpha / tests as f64;
        smallest.iter().enumerate().filter(move |(_, p)| **p <= at).map(|(position, _)| position)
    };
    let enough = (1..=smallest.len()).find(|tests| fits(*tests).count() <= *tests);
    enough.map(|tests| fits(tests).collect()).unwrap_or_default()
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
