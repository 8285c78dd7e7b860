//! Exact comparisons of two sides, A and B, within personas.
//!
//! If nothing has changed, it is chance which of a persona's runs belong to which side: the labels of the sides can be
//! exchanged within a persona. All tests here follow from that alone. They need no assumption about how personas
//! differ, and none about normal distributions, except where a comment says so.
//!
//! `docs/insight.md` explains the method for people who use it.

mod chance;
mod distribution;
mod effect;
mod family;
mod histogram;
mod noise;
mod normal;
mod power;
mod stratum;
mod test;

pub use self::{
    effect::{Interval, difference, interval},
    family::{benjamini_hochberg, holm, is_at_most, testable},
    histogram::{Histogram, MOST},
    noise::{Noise, deviation},
    power::Exposure,
    stratum::Stratum,
    test::{MOST_EXACT, Tail, Test, of_full_change, test},
};
