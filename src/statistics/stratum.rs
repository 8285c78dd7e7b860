//! The runs of one persona on both sides.

use super::{distribution::Distribution, histogram::Histogram};

/// The runs of one persona on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stratum {
    /// The runs of side A.
    pub a: Histogram,
    /// The runs of side B.
    pub b: Histogram,
}

impl Stratum {
    /// Whether the persona has runs on both sides, without which it says nothing about their difference.
    pub fn is_on_both_sides(&self) -> bool {
        self.a.runs() > 0 && self.b.runs() > 0
    }

    /// How much the persona says about the difference of the sides; 0 unless it has runs on both.
    pub(super) fn weight(&self) -> f64 {
        let [a, b] = [self.a.runs(), self.b.runs()].map(f64::from);
        if a + b > 0.0 { a * b / (a + b) } else { 0.0 }
    }

    /// In how many ways B's runs could be chosen from the persona's runs; infinite if a number cannot hold it.
    pub(super) fn choices(&self) -> f64 {
        let [a, b] = [self.a.runs(), self.b.runs()];
        let few = a.min(b);
        (1..=few).map(|n| f64::from(a + b - few + n) / f64::from(n)).product()
    }

    /// The distribution of the sum of B's values if B were any of the persona's runs, as many as it has.
    pub(super) fn sum_of_b(&self) -> Distribution {
        let (all, drawn) = (self.a.plus(&self.b), self.b.runs());
        let (rest, sum) = (self.a.runs(), all.sum());
        // What is not drawn is drawn by the other side, so the smaller side suffices.
        match drawn <= rest {
            true => Distribution::of_drawn(&all, drawn),
            false => Distribution::of_drawn(&all, rest).subtracted_from(sum),
        }
    }

    /// Mean and variance of [`Self::sum_of_b`]: those of a sample without replacement (Cochran, Sampling Techniques,
    /// theorems 2.1 and 2.2).
    pub(super) fn moments(&self) -> (f64, f64) {
        let all = self.a.plus(&self.b);
        let [a, b, runs] = [self.a.runs(), self.b.runs(), all.runs()].map(f64::from);
        let mean = b * f64::from(all.sum()) / runs;
        let variance = if runs > 1.0 { a * b / (runs - 1.0) * all.variance() } else { 0.0 };
        (mean, variance)
    }

    /// The smallest and the largest sum that B could have.
    pub(super) fn extremes(&self) -> [u32; 2] {
        let all = self.a.plus(&self.b);
        let sum = |values: &mut dyn Iterator<Item = (u32, u32)>| {
            let mut open = self.b.runs();
            let taken = values.map(|(value, runs)| {
                let taken = runs.min(open);
                open -= taken;
                value * taken
            });
            taken.sum()
        };
        [sum(&mut all.values()), sum(&mut all.values().rev())]
    }
}

#[cfg(test)]
impl Stratum {
    /// The runs with these values.
    pub(super) fn of(a: &[u8], b: &[u8]) -> Self {
        Self { a: Histogram::of(a), b: Histogram::of(b) }
    }

    /// Hits and runs of A, and those of B.
    pub(super) fn of_hits(a: [u32; 2], b: [u32; 2]) -> Self {
        Self { a: Histogram::of_hits(a), b: Histogram::of_hits(b) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_are_the_binomial_coefficient() {
        assert!((Stratum::of(&[1; 28], &[0; 7]).choices() - 6_724_520.0).abs() < 1e-6, "C(35, 7)");
        assert_eq!(Stratum::of(&[1, 1], &[0]).choices(), 3.0);
        assert_eq!(Stratum::of(&[1], &[]).choices(), 1.0);
    }

    #[test]
    fn extremes_are_the_sums_of_the_smallest_and_of_the_largest_values() {
        assert_eq!(Stratum::of(&[1, 5, 3], &[4, 2]).extremes(), [3, 9]);
        assert_eq!(Stratum::of(&[0, 1, 1], &[0, 0]).extremes(), [0, 2]);
        assert_eq!(Stratum::of(&[4, 4], &[]).extremes(), [0, 0]);
    }

    #[test]
    fn only_a_persona_with_runs_on_both_sides_has_weight() {
        assert_eq!(Stratum::of(&[1, 1, 1], &[1]).weight(), 0.75);
        for one in [Stratum::of(&[1], &[]), Stratum::of(&[], &[1]), Stratum::default()] {
            assert_eq!((one.weight(), one.is_on_both_sides()), (0.0, false));
        }
        assert_eq!(Stratum::of(&[3], &[]).moments(), (0.0, 0.0));
    }
}
