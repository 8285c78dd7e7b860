//! How many runs have each value.

/// The largest value that a run can have: the best rating.
pub const MOST: u8 = 5;

/// How many runs, fewer than 2^29, have each value from 0 to [`MOST`]. A fact that a run has or has not is 1 or 0; a
/// rating is 1 to 5.
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
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> {
        self.0.into_iter().enumerate().map(|(value, runs)| (value as u32, runs))
    }
}

#[cfg(test)]
impl Histogram {
    /// Runs with these values.
    pub(super) fn of(values: &[u8]) -> Self {
        let mut histogram = Self::default();
        values.iter().for_each(|value| histogram.add(*value));
        histogram
    }

    /// So many hits among so many runs.
    pub(super) fn of_hits([hits, runs]: [u32; 2]) -> Self {
        Self([runs - hits, hits, 0, 0, 0, 0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_the_mean_and_variance_of_its_values() {
        let [a, b] = [Histogram::of(&[1, 2, 2, 5, 9]), Histogram::default()];
        assert_eq!((a.runs(), a.sum(), a.mean()), (5, 15, Some(3.0)));
        // numpy 2.4: var([1, 2, 2, 5, 5]); a 9 counts as 5.
        assert!((a.variance() - 2.8).abs() < 1e-12);
        assert_eq!((b.runs(), b.sum(), b.mean(), b.variance()), (0, 0, None, 0.0));
    }
}
