//! The runs of one persona on both sides.

use super::distribution::Distribution;

/// The largest value that a run can have: the best rating.
pub const MOST: u8 = 5;

/// How many runs have each value from 0 to [`MOST`]. A fact that a run has or has not is 1 or 0; a rating is 1 to 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram([u32; MOST as usize + 1]);

impl Histogram {
    /// Adds a run with this value; a value above [`MOST`] counts as [`MOST`].
    pub fn add(&mut self, value: u8) {
        self.0[usize::from(value.min(MOST))] += 1;
    }

    /// The runs of both.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = *self;
        sum.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
        sum
    }

    /// The number of runs.
    pub fn runs(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The sum of the values.
    pub fn sum(&self) -> u32 {
        self.values().map(|(value, runs)| value * runs).sum()
    }

    /// The mean value; `None` without a run.
    pub fn mean(&self) -> Option<f64> {
        (self.runs() > 0).then(|| f64::from(self.sum()) / f64::from(self.runs()))
    }

    /// The variance of the values, as that of a whole population; 0 without a run.
    pub fn variance(&self) -> f64 {
        let Some(mean) = self.mean() else { return 0.0 };
        let squares: f64 = self
            .values()
            .map(|(value, runs)| f64::from(runs) * (f64::from(value) - mean).powi(2))
            .sum();
        squares / f64::from(self.runs())
    }

    /// The number of runs with this value.
    pub(super) fn with(&self, value: u8) -> u32 {
        self.0[usize::from(value)]
    }

    /// The values with the number of runs that have them.
    fn values(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> {
        self.0.into_iter().enumerate().map(|(value, runs)| (value as u32, runs))
    }
}

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
