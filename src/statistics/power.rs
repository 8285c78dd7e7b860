//! How small a difference could have been seen.

use super::{
    noise::Noise,
    normal::{upper_quantile, upper_tail},
    stratum::Stratum,
};

/// The power with which a difference counts as one that would have been seen.
const POWER: f64 = 0.8;
/// A sum is a whole number: the one at which a test shows something is on average half a step further out.
const HALF_A_STEP: f64 = 0.5;
/// Steps in which differences are tried, per unit of the values.
const STEPS: u32 = 200;

/// How much the runs of a fact say about a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// The sum of the personas' weights: runs of A times runs of B per run.
    pub weight: f64,
    /// The share of B in the runs, 0 to 1.
    pub share_of_b: f64,
}

impl Exposure {
    /// The exposure of these personas; `None` if none has runs on both sides.
    pub fn of(strata: &[Stratum]) -> Option<Self> {
        let strata = || strata.iter().filter(|stratum| stratum.is_on_both_sides());
        let weight: f64 = strata().map(Stratum::weight).sum();
        let [a, b] = strata().fold([0.0, 0.0], |[a, b], it| {
            [a + f64::from(it.a.runs()), b + f64::from(it.b.runs())]
        });
        (weight > 0.0).then(|| Self { weight, share_of_b: b / (a + b) })
    }

    /// Whether a test at the level `alpha` would have seen, with a power of 0.8, that a share rises from `share` by
    /// `rise`. Normal approximation of the exact test, whose critical value is corrected for the skewness of a sample
    /// without replacement (the first term of Cornish and Fisher 1938): without it, few hits are overrated.
    pub fn sees_rise(self, rise: f64, share: f64, alpha: f64, noise: Noise) -> bool {
        let variance = |share: f64| share * (1.0 - share);
        let (then, mixed) = (share + rise, share + self.share_of_b * rise);
        let of_b = (1.0 - self.share_of_b) * variance(then) + self.share_of_b * variance(share);
        // The third cumulant by the variance.
        let skew = (1.0 - 2.0 * self.share_of_b) * (1.0 - 2.0 * mixed);
        then <= 1.0 && self.sees(rise, [variance(mixed), of_b], skew, alpha, noise)
    }

    /// Whether a test at the level `alpha` would have seen, with a power of 0.8, that a mean falls by `fall`, if the
    /// values of a persona have this variance.
    pub fn sees_fall(self, fall: f64, variance: f64, alpha: f64, noise: Noise) -> bool {
        // The sides' means differ, which the test takes for variance.
        let between = self.share_of_b * (1.0 - self.share_of_b) * fall * fall;
        self.sees(fall, [variance + between, variance], 0.0, alpha, noise)
    }

    /// The smallest rise of a share that would have been seen; `None` if not even one to 1 would.
    pub fn smallest_rise(self, share: f64, alpha: f64, noise: Noise) -> Option<f64> {
        smallest(1.0, |rise| self.sees_rise(rise, share, alpha, noise))
    }

    /// The smallest fall of a mean rating that would have been seen; `None` if not even one from 5 to 1 would.
    pub fn smallest_fall(self, variance: f64, alpha: f64, noise: Noise) -> Option<f64> {
        smallest(4.0, |fall| self.sees_fall(fall, variance, alpha, noise))
    }

    /// `variances` are those of a run if nothing has changed, and if the difference is there. The noise widens both.
    fn sees(
        self,
        difference: f64,
        variances: [f64; 2],
        skew: f64,
        alpha: f64,
        noise: Noise,
    ) -> bool {
        let deviation = |variance: f64| (self.weight * variance * noise.factor()).sqrt();
        let [unchanged, changed] = variances.map(deviation);
        let z = upper_quantile(alpha);
        let threshold = z * unchanged + (z * z - 1.0) / 6.0 * skew + HALF_A_STEP;
        let above = self.weight * difference - threshold;
        if changed > 0.0 { upper_tail(-above / changed) >= POWER } else { above > 0.0 }
    }
}

/// The first of the differences up to `most` that is seen.
fn smallest(most: f64, sees: impl Fn(f64) -> bool) -> Option<f64> {
    let steps = (most * f64::from(STEPS)).round() as u32;
    (1..=steps).map(|step| f64::from(step) / f64::from(STEPS)).find(|difference| sees(*difference))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{chance::Chance, test::test},
        *,
    };

    const QUIET: Noise = Noise { lambda: None };

    /// Ten personas who use a tool on 40 % of 28 days of A and of 7 days of B, where it fails with these
    /// probabilities of 1,000.
    fn world(chance: &mut Chance, [a, b]: [usize; 2]) -> Vec<Stratum> {
        (0..10)
            .map(|_| {
                let mut side = |days, rate| {
                    let runs = (0..days).filter(|_| chance.below(10) < 4).count();
                    let hits = (0..runs).filter(|_| chance.below(1000) < rate).count();
                    [hits as u32, runs as u32]
                };
                Stratum::of_hits(side(28, a), side(7, b))
            })
            .collect()
    }

    /// The share of 600 worlds in which B is found.
    fn power(found: impl Fn(&mut Chance) -> bool) -> f64 {
        let mut chance = Chance::new(1);
        (0..600).filter(|_| found(&mut chance)).count() as f64 / 600.0
    }

    /// What [`world`] says on average.
    fn exposure() -> Exposure {
        Exposure { weight: 10.0 * 11.2 * 2.8 / 14.0, share_of_b: 0.2 }
    }

    #[test]
    fn the_exact_test_finds_the_smallest_rise_with_a_power_of_about_point_eight() {
        for (base, alpha) in [(20, 0.05), (20, 0.001), (100, 0.05), (100, 0.001), (300, 0.001)] {
            let rise = exposure().smallest_rise(base as f64 / 1000.0, alpha, QUIET).unwrap();
            let rates = [base, base + (rise * 1000.0).round() as usize];
            let power = power(|chance| test(&world(chance, rates)).unwrap().more.p <= alpha);
            assert!((power - POWER).abs() < 0.08, "{base} {alpha}: {rise} is found with {power}");
        }
    }

    #[test]
    fn the_exact_test_finds_the_smallest_fall_with_a_power_of_about_point_eight() {
        // Ratings of 3, 4 and 5, of which those of B are one less with the probability of the fall.
        let of_a =
            [3.0, 4.0, 5.0].map(|rating| (rating - 4.0_f64).powi(2)).iter().sum::<f64>() / 3.0;
        for alpha in [0.05, 0.001] {
            let fall = exposure().smallest_fall(of_a, alpha, QUIET).unwrap();
            let found = |chance: &mut Chance| {
                let mut side = |days, fall: f64| {
                    let runs = (0..days).filter(|_| chance.below(10) < 4).count();
                    let rating = |_| {
                        let falls = (chance.below(1000) as f64) < fall * 1000.0;
                        3 + chance.below(3) as u8 - u8::from(falls)
                    };
                    (0..runs).map(rating).collect::<Vec<_>>()
                };
                let persona = |_| Stratum::of(&side(28, 0.0), &side(7, fall));
                test(&(0..10).map(persona).collect::<Vec<_>>()).unwrap().less.p <= alpha
            };
            let power = power(found);
            assert!((power - POWER).abs() < 0.12, "{alpha}: {fall} is found with {power}");
        }
    }

    #[test]
    fn what_is_seen_grows_with_the_runs_and_shrinks_with_noise_and_strictness() {
        let more = Exposure { weight: 90.0, ..exposure() };
        let noisy = Noise { lambda: Some(3.0) };
        let rise = |it: Exposure, alpha, noise| it.smallest_rise(0.1, alpha, noise).unwrap();
        let fall = |it: Exposure, alpha, noise| it.smallest_fall(0.6, alpha, noise).unwrap();
        for smallest in [&rise as &dyn Fn(Exposure, f64, Noise) -> f64, &fall] {
            let here = smallest(exposure(), 0.01, QUIET);
            assert!(smallest(more, 0.01, QUIET) < here);
            assert!(here < smallest(exposure(), 0.001, QUIET));
            assert!(here < smallest(exposure(), 0.01, noisy));
        }
    }

    #[test]
    fn too_few_runs_see_nothing() {
        let one = Exposure::of(&[Stratum::of(&[0], &[0])]).unwrap();
        assert_eq!(one, Exposure { weight: 0.5, share_of_b: 0.5 });
        assert_eq!(one.smallest_rise(0.0, 0.05, QUIET), None);
        assert!(!exposure().sees_rise(0.1, 0.95, 0.05, QUIET), "no share is above 1");
        assert_eq!(Exposure::of(&[Stratum::of(&[1, 0], &[])]), None);
    }
}
