//! How small a difference could have been seen.

use super::{
    noise::Noise,
    normal::{upper_quantile, upper_tail},
    stratum::Stratum,
};

/// The power with which a difference counts as one that would have been seen.
const POWER: f64 = 0.8;
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
    /// `rise`. Normal approximation of the exact test.
    pub fn sees_rise(self, rise: f64, share: f64, alpha: f64, noise: Noise) -> bool {
        let variance = |share: f64| share * (1.0 - share);
        let (then, mixed) = (share + rise, share + self.share_of_b * rise);
        let of_b = (1.0 - self.share_of_b) * variance(then) + self.share_of_b * variance(share);
        then <= 1.0 && self.sees(rise, [variance(mixed), of_b], alpha, noise)
    }

    /// Whether a test at the level `alpha` would have seen, with a power of 0.8, that a mean falls by `fall`, if the
    /// values of a persona have this variance.
    pub fn sees_fall(self, fall: f64, variance: f64, alpha: f64, noise: Noise) -> bool {
        self.sees(fall, [variance; 2], alpha, noise)
    }

    /// The smallest rise of a share that would have been seen; `None` if not even one to 1 would.
    pub fn smallest_rise(self, share: f64, alpha: f64, noise: Noise) -> Option<f64> {
        smallest(1.0, |rise| self.sees_rise(rise, share, alpha, noise))
    }

    /// The smallest fall of a mean rating that would have been seen; `None` if not even one from 5 to 1 would.
    pub fn smallest_fall(self, variance: f64, alpha: f64, noise: Noise) -> Option<f64> {
        smallest(4.0, |fall| self.sees_fall(fall, variance, alpha, noise))
    }

    /// `variances` are those of a run if nothing has changed, and if the difference is there.
    fn sees(self, difference: f64, variances: [f64; 2], alpha: f64, noise: Noise) -> bool {
        let [unchanged, changed] = variances.map(|variance| (self.weight * variance).sqrt());
        let threshold = upper_quantile(alpha) * noise.factor().sqrt() * unchanged;
        let above = self.weight * difference - threshold;
        if changed > 0.0 { upper_tail(-above / changed) >= POWER } else { above > 0.0 }
    }
}

/// The first of the differences up to `most` that is seen.
fn smallest(most: f64, sees: impl Fn(f64) -> bool) -> Option<f64> {
    let steps = (most * f64::from(STEPS)).round() as u32;
    (1..=steps).map(|step| f64::from(step) / f64::from(STEPS)).find(|difference| sees(*difference))
}
