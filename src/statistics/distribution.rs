//! Distributions of whole numbers.

use std::iter;

use super::histogram::{Histogram, MOST};

/// What is left out of the distribution of one persona. With up to 69 runs nothing is: the most that 69 runs can be
/// divided is in C(69, 34) = 5.6e19 ways, all of which are equally probable.
const NEGLIGIBLE: f64 = 1e-20;
/// What is left out of the sum of several personas: what a number cannot hold in full precision.
const LEAST: f64 = f64::MIN_POSITIVE;

/// The probabilities of consecutive whole numbers. The default is that of no number at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Distribution {
    first: u32,
    /// Those of the numbers from `first` on; the first and the last one are above 0.
    probabilities: Vec<f64>,
}

impl Distribution {
    /// The distribution of a number that is certain.
    pub(super) fn certain(number: u32) -> Self {
        Self { first: number, probabilities: vec![1.0] }
    }

    /// The hypergeometric distribution: of the marked ones among `drawn` of `all`, of which `marked` are marked.
    /// Neither `marked` nor `drawn` is more than `all`.
    ///
    /// The weights follow from each other by the ratio of consecutive terms (Johnson, Kemp and Kotz, Univariate
    /// Discrete Distributions, 6.2), beginning with the largest one, so that none overflows.
    fn of_marked(all: u32, marked: u32, drawn: u32) -> Self {
        let (first, last) = ((marked + drawn).saturating_sub(all), marked.min(drawn));
        let [n, k, d] = [all, marked, drawn].map(f64::from);
        let ratio = |x: u32| {
            let x = f64::from(x);
            (k - x) * (d - x) / ((x + 1.0) * (n - k - d + x + 1.0))
        };
        let mode = ((d + 1.0) * (k + 1.0) / (n + 2.0)).floor() as u32;
        let mode = mode.clamp(first, last);
        let counts = |weight: &f64| *weight > NEGLIGIBLE;
        let below = (first..mode).rev().scan(1.0, |weight, x| {
            *weight /= ratio(x);
            Some(*weight)
        });
        let above = (mode..last).scan(1.0, |weight, x| {
            *weight *= ratio(x);
            Some(*weight)
        });
        let mut weights: Vec<f64> = below.take_while(counts).collect();
        let first = mode - weights.len() as u32;
        weights.reverse();
        weights.push(1.0);
        weights.extend(above.take_while(counts));
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Self { first, probabilities: weights }
    }

    /// The distribution of the sum of `drawn` of these values, each choice of which is equally probable.
    ///
    /// One value after the other is drawn: of those that are left, how many have the largest value is hypergeometric.
    /// The work grows with the number of values to the power of 1.5.
    pub(super) fn of_drawn(values: &Histogram, drawn: u32) -> Self {
        // For each number of values that are still to be drawn, the sum so far.
        let mut open = vec![Self::default(); drawn as usize + 1];
        open[drawn as usize] = Self::certain(0);
        let mut left = values.runs();
        for value in (1..=MOST).rev() {
            let marked = values.with(value);
            if marked == 0 {
                continue;
            }
            let mut next = vec![Self::default(); open.len()];
            for (drawn, sum) in (0..).zip(&open).filter(|(_, sum)| !sum.probabilities.is_empty()) {
                for (taken, probability) in Self::of_marked(left, marked, drawn).each() {
                    let shift = u32::from(value) * taken;
                    next[(drawn - taken) as usize].add(sum, shift, probability, NEGLIGIBLE);
                }
            }
            open = next;
            left -= marked;
        }
        // What is still to be drawn has the value 0.
        let mut all = Self::default();
        open.iter().for_each(|sum| all.add(sum, 0, 1.0, NEGLIGIBLE));
        all
    }

    /// The distribution of the sum of this number and an independent one.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let (few, many) = match self.probabilities.len() < other.probabilities.len() {
            true => (self, other),
            false => (other, self),
        };
        let mut sum = Self::default();
        few.each().for_each(|(number, probability)| sum.add(many, number, probability, LEAST));
        sum
    }

    /// Adds the probabilities of `other`, moved by `shift` and multiplied by `weight`, without those at its ends that
    /// are then at most `least`.
    fn add(&mut self, other: &Self, shift: u32, weight: f64, least: f64) {
        // Not `p * weight > least`: products below the least normal number take a hundred times as long.
        let least = least / weight;
        let counts = |p: &f64| *p > least;
        let Some(begin) = other.probabilities.iter().position(counts) else { return };
        let end = other.probabilities.iter().rposition(counts).unwrap_or(begin);
        let more = &other.probabilities[begin..=end];
        let first = other.first + begin as u32 + shift;
        if self.probabilities.is_empty() {
            self.first = first;
        }
        if first < self.first {
            let before = (self.first - first) as usize;
            self.probabilities.splice(..0, iter::repeat_n(0.0, before));
            self.first = first;
        }
        let offset = (first - self.first) as usize;
        if self.probabilities.len() < offset + more.len() {
            self.probabilities.resize(offset + more.len(), 0.0);
        }
        let sums = self.probabilities[offset..].iter_mut();
        sums.zip(more).for_each(|(sum, more)| *sum += more * weight);
    }

    /// The distribution of `sum` less this number, which is never more than `sum`.
    pub(super) fn subtracted_from(mut self, sum: u32) -> Self {
        self.first = sum - self.last();
        self.probabilities.reverse();
        self
    }

    /// The probability of a number of at least `number`. Beyond the last number that is not left out: the probability
    /// of that one.
    pub(super) fn at_least(&self, number: u32) -> f64 {
        let from = number.min(self.last()).saturating_sub(self.first) as usize;
        // The smallest ones first, so that none is lost beside a large one.
        self.probabilities[from..].iter().rev().sum::<f64>().min(1.0)
    }

    /// The probability of a number of at most `number`, likewise.
    pub(super) fn at_most(&self, number: u32) -> f64 {
        let to = number.clamp(self.first, self.last()) - self.first;
        self.probabilities[..=to as usize].iter().sum::<f64>().min(1.0)
    }

    /// The probabilities of the smallest and of the largest number.
    pub(super) fn ends(&self) -> [f64; 2] {
        [self.first, self.last()].map(|end| self.probabilities[(end - self.first) as usize])
    }

    fn last(&self) -> u32 {
        (self.first + self.probabilities.len() as u32).saturating_sub(1)
    }

    /// The numbers with their probabilities.
    fn each(&self) -> impl Iterator<Item = (u32, f64)> {
        (self.first..).zip(self.probabilities.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::stratum::Stratum, *};

    fn is_near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 1e-10
    }

    /// The sums of all choices of `drawn` of the values.
    fn enumerated(values: &[u8], drawn: usize) -> Vec<u32> {
        let chosen = |set: &u32| set.count_ones() as usize == drawn;
        let sum = |set: u32| {
            let values = values.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
            values.map(|(_, value)| u32::from(*value)).sum()
        };
        (0..1 << values.len()).filter(chosen).map(sum).collect()
    }

    #[test]
    fn the_hypergeometric_distribution_is_that_of_scipy() {
        // scipy 1.17: hypergeom(40, 7, 9).pmf(k)
        let expected = [
            0.141_044_682_453_351_17,
            0.355_432_599_782_444_96,
            0.328_091_630_568_410_7,
            0.141_767_988_517_214_5,
            0.030_378_854_682_260_256,
            0.003_142_640_139_544_164,
            0.000_139_672_895_090_851_73,
            0.000_001_930_961_683_283_665,
        ];
        let ours: Vec<_> = Distribution::of_marked(40, 7, 9).each().collect();
        assert_eq!(ours.len(), expected.len());
        assert!(ours.iter().zip(expected).all(|(ours, p)| is_near(ours.1, p)), "{ours:?}");
        // scipy 1.17: hypergeom(840, 84, 168), sf(29) and cdf(9)
        let hourly = Distribution::of_marked(840, 84, 168);
        assert!(is_near(hourly.at_least(30), 0.000_284_405_100_262_841_27));
        assert!(is_near(hourly.at_most(9), 0.013_841_768_579_407_051));
    }

    #[test]
    fn numbers_that_must_be_drawn_are_certain() {
        assert_eq!(Distribution::of_marked(9, 0, 4), Distribution::certain(0));
        assert_eq!(Distribution::of_marked(9, 9, 4), Distribution::certain(4));
        assert_eq!(Distribution::of_marked(9, 4, 9), Distribution::certain(4));
        assert_eq!(Distribution::of_marked(0, 0, 0), Distribution::certain(0));
        assert_eq!(Distribution::of_drawn(&Histogram::default(), 0), Distribution::certain(0));
    }

    #[test]
    fn beyond_its_ends_a_distribution_has_the_probability_of_the_end() {
        let one = Distribution { first: 3, probabilities: vec![0.25, 0.75] };
        assert_eq!([0, 3, 4, 9].map(|number| one.at_least(number)), [1.0, 1.0, 0.75, 0.75]);
        assert_eq!([0, 3, 4, 9].map(|number| one.at_most(number)), [0.25, 0.25, 1.0, 1.0]);
        assert_eq!(one.ends(), [0.25, 0.75]);
    }

    #[test]
    fn ten_thousand_runs_of_one_persona_overflow_nothing() {
        for values in [[8_000, 2_000, 0, 0, 0, 0], [0, 1_000, 1_000, 2_000, 3_000, 3_000]] {
            let mut all = Stratum::default();
            for (value, runs) in (0..).zip(values) {
                (0..runs)
                    .for_each(|run| if run % 5 == 0 { &mut all.b } else { &mut all.a }.add(value));
            }
            let sum = all.sum_of_b();
            let total: f64 = sum.probabilities.iter().sum();
            assert!((total - 1.0).abs() < 1e-9, "{total}");
            assert!(sum.ends().iter().all(|end| *end > 0.0), "{:?}", sum.ends());
            let (mean, variance) = all.moments();
            let ours: f64 = sum.each().map(|(number, p)| f64::from(number) * p).sum();
            assert!((ours - mean).abs() < 1e-6 * variance.sqrt(), "{ours} {mean}");
        }
    }

    proptest! {
        #[test]
        fn sums_of_drawn_values_are_as_frequent_as_among_all_choices(
            (values, drawn) in vec(0..=MOST, 0..11).prop_flat_map(|it| { let n = it.len(); (Just(it), 0..=n) }),
        ) {
            let all = enumerated(&values, drawn);
            let (b, a) = values.split_at(drawn);
            let ours = Stratum::of(a, b).sum_of_b();
            let count = |is: &dyn Fn(u32) -> bool| {
                all.iter().filter(|sum| is(**sum)).count() as f64 / all.len() as f64
            };
            for (number, p) in ours.each() {
                prop_assert!((p - count(&|sum| sum == number)).abs() < 1e-12);
                prop_assert!(is_near(ours.at_least(number), count(&|sum| sum >= number)));
                prop_assert!(is_near(ours.at_most(number), count(&|sum| sum <= number)));
            }
            let ends = [all.iter().min(), all.iter().max()].map(|end| *end.unwrap());
            prop_assert_eq!([ours.first, ours.last()], ends, "no sum is missing");
        }

        #[test]
        fn mean_and_variance_are_those_of_a_sample(a in vec(0..=MOST, 1..40), b in vec(0..=MOST, 1..40)) {
            let stratum = Stratum::of(&a, &b);
            let sum = stratum.sum_of_b();
            let (mean, variance) = stratum.moments();
            let moment = |f: &dyn Fn(f64) -> f64| -> f64 { sum.each().map(|(x, p)| f(f64::from(x)) * p).sum() };
            prop_assert!((moment(&|x| x) - mean).abs() < 1e-8);
            prop_assert!((moment(&|x| (x - mean).powi(2)) - variance).abs() < 1e-7);
        }
    }
}
