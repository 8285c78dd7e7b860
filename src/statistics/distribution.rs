//! Distributions of whole numbers.

use super::stratum::{Histogram, MOST};

/// What is left out of the ends of a distribution: no p-value that anybody reads is so small.
const NEGLIGIBLE: f64 = 1e-60;

/// The probabilities of consecutive whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Distribution {
    first: u32,
    /// At least one; those of the numbers from `first` on.
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
    /// The weights follow from each other by a ratio, beginning with the largest one, so that none overflows.
    fn of_marked(all: u32, marked: u32, drawn: u32) -> Self {
        let (first, last) = ((marked + drawn).saturating_sub(all), marked.min(drawn));
        let [n, k, d] = [all, marked, drawn].map(f64::from);
        let ratio = |x: u32| {
            let x = f64::from(x);
            (k - x) * (d - x) / ((x + 1.0) * (n - k - d + x + 1.0))
        };
        let mode = ((d + 1.0) * (k + 1.0) / (n + 2.0)).floor() as u32;
        let mode = mode.clamp(first, last);
        let mut weights = vec![1.0; (last - first) as usize + 1];
        let at = |x: u32| (x - first) as usize;
        for x in mode..last {
            weights[at(x + 1)] = weights[at(x)] * ratio(x);
        }
        for x in (first..mode).rev() {
            weights[at(x)] = weights[at(x + 1)] / ratio(x);
        }
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Self { first, probabilities: weights }.trimmed()
    }

    /// The distribution of the sum of `drawn` of these values, each choice of which is equally probable.
    ///
    /// One value after the other is drawn: of those that are left, how many have the largest value is hypergeometric.
    pub(super) fn of_drawn(values: &Histogram, drawn: u32) -> Self {
        // For each number of values that are still to be drawn, the sum so far.
        let mut open = vec![None; drawn as usize + 1];
        open[drawn as usize] = Some(Self::certain(0));
        let mut left = values.runs();
        for value in (1..=MOST).rev() {
            let marked = values.with(value);
            let mut next = vec![None; open.len()];
            for (drawn, sum) in (0..).zip(open) {
                let Some(sum) = sum else { continue };
                let of_value = Self::of_marked(left, marked, drawn);
                for (taken, probability) in of_value.each() {
                    let more = &mut next[(drawn - taken) as usize];
                    sum.add_to(more, u32::from(value) * taken, probability);
                }
            }
            open = next;
            left -= marked;
        }
        // What is still to be drawn has the value 0.
        let mut all = None;
        open.iter().flatten().for_each(|sum| sum.add_to(&mut all, 0, 1.0));
        all.unwrap_or_else(|| Self::certain(0)).trimmed()
    }

    /// Adds this distribution to a mixture, moved by `shift` and with this weight.
    fn add_to(&self, mixture: &mut Option<Self>, shift: u32, weight: f64) {
        let (first, count) = (self.first + shift, self.probabilities.len());
        let mixture = mixture.get_or_insert_with(|| Self { first, probabilities: Vec::new() });
        if first < mixture.first {
            let more = (mixture.first - first) as usize;
            mixture.probabilities.splice(..0, std::iter::repeat_n(0.0, more));
            mixture.first = first;
        }
        let offset = (first - mixture.first) as usize;
        if mixture.probabilities.len() < offset + count {
            mixture.probabilities.resize(offset + count, 0.0);
        }
        let of_mixture = &mut mixture.probabilities[offset..];
        of_mixture
            .iter_mut()
            .zip(&self.probabilities)
            .for_each(|(sum, more)| *sum += more * weight);
    }

    /// The distribution of the sum of this number and an independent one.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = None;
        let (few, many) = match self.probabilities.len() < other.probabilities.len() {
            true => (self, other),
            false => (other, self),
        };
        few.each().for_each(|(number, probability)| many.add_to(&mut sum, number, probability));
        sum.unwrap_or_else(|| Self::certain(0)).trimmed()
    }

    /// The distribution of `sum` less this number, which is never more than `sum`.
    pub(super) fn subtracted_from(mut self, sum: u32) -> Self {
        self.first = sum - self.last();
        self.probabilities.reverse();
        self
    }

    /// The probability of a number of at least `number`. Beyond the last number that is not negligible: the
    /// probability of that one.
    pub(super) fn at_least(&self, number: u32) -> f64 {
        let from = number.min(self.last()).saturating_sub(self.first) as usize;
        // The smallest ones first, so that none is lost beside a large one.
        self.probabilities[from..].iter().rev().sum::<f64>().min(1.0)
    }

    /// The probability of a number of at most `number`, likewise.
    pub(super) fn at_most(&self, number: u32) -> f64 {
        let to = (number.max(self.first) - self.first) as usize;
        let to = to.min(self.probabilities.len() - 1);
        self.probabilities[..=to].iter().sum::<f64>().min(1.0)
    }

    /// The probabilities of the smallest and of the largest number.
    pub(super) fn ends(&self) -> [f64; 2] {
        [self.probabilities[0], self.probabilities[self.probabilities.len() - 1]]
    }

    fn last(&self) -> u32 {
        self.first + (self.probabilities.len() - 1) as u32
    }

    fn each(&self) -> impl Iterator<Item = (u32, f64)> {
        (self.first..).zip(self.probabilities.iter().copied())
    }

    /// Without numbers at the ends whose probability is negligible.
    fn trimmed(mut self) -> Self {
        let counts = |p: &f64| *p > NEGLIGIBLE;
        let Some(begin) = self.probabilities.iter().position(counts) else { return self };
        let end = self.probabilities.iter().rposition(counts).unwrap_or(begin);
        self.probabilities.truncate(end + 1);
        self.probabilities.drain(..begin);
        self.first += begin as u32;
        self
    }
}
