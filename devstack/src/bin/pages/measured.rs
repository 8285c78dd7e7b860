//! Durations that were measured, and how they are printed.

use std::time::Duration;

/// Durations in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured(Vec<Duration>);

impl From<Vec<Duration>> for Measured {
    fn from(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        Self(durations)
    }
}

impl Measured {
    /// The duration that `percent` percent of all do not exceed; the longest one for 100.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or(Duration::MAX)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// All of both.
    pub(crate) fn with(self, other: &Self) -> Self {
        [self.0, other.0.clone()].concat().into()
    }
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Prints a target with what was measured; returns whether it is met.
pub(crate) fn target(what: &str, measured: &str, most: &str, is_met: bool) -> bool {
    let verdict = if is_met { "ok    " } else { "MISSED" };
    println!("  {verdict} {what}: {measured}; at most {most}");
    is_met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        let all = (1..=30).rev().map(Duration::from_millis).collect::<Vec<_>>();
        let measured = Measured::from(all);
        let found = [0, 50, 95, 100].map(|percent| measured.percentile(percent).as_millis());
        assert_eq!(found, [1, 15, 29, 30]);
        assert_eq!(measured.clone().with(&measured).count(), 60);
    }
}
