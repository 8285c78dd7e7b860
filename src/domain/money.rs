//! Amounts of money, and the tokens and costs of model replies.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

/// Picodollars in a dollar. A token of the cheapest kind costs some thousands of picodollars, so sums are
/// exact.
const PER_DOLLAR: f64 = 1e12;

/// An amount of US dollars in whole picodollars; never negative. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Usd(u64);

impl Usd {
    /// An amount of zero.
    pub const ZERO: Self = Self(0);
    /// The largest amount, about 18 million dollars.
    pub const MAX: Self = Self(u64::MAX);

    /// The amount nearest to `dollars`; `None` if it is negative or not a number.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        // The cast saturates, so an absurdly large amount becomes `MAX`.
        (dollars >= 0.0).then(|| Self((dollars * PER_DOLLAR).round() as u64))
    }

    /// The amount of this many cents.
    pub(crate) const fn from_cents(cents: u32) -> Self {
        Self(cents as u64 * (PER_DOLLAR as u64 / 100))
    }

    /// An amount from the number of picodollars that is stored.
    pub fn from_picodollars(picodollars: u64) -> Self {
        Self(picodollars)
    }

    /// The amount in picodollars.
    pub fn picodollars(self) -> u64 {
        self.0
    }

    /// The amount less `other`; zero if `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount in dollars.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }

    /// The price of `count` tokens, where this amount is the price of a million tokens.
    #[must_use]
    pub fn per_million(self, count: u64) -> Self {
        let total = u128::from(self.0) * u128::from(count) / 1_000_000;
        Self(u64::try_from(total).unwrap_or(u64::MAX))
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.4}", self.dollars())
    }
}

/// The tokens of one model reply and its prompt, by the prices that apply to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Prompt tokens that were neither read from the prompt cache nor written to it.
    pub input: u64,
    /// Output tokens, thinking included.
    pub output: u64,
    /// Prompt tokens that were read from the prompt cache.
    pub cache_read: u64,
    /// Prompt tokens that were written to the prompt cache for 5 minutes.
    pub cache_write_5m: u64,
    /// Prompt tokens that were written to the prompt cache for an hour.
    pub cache_write_1h: u64,
}

impl Tokens {
    /// The tokens of the whole prompt.
    pub fn prompt(&self) -> u64 {
        let written = self.cache_write_5m.saturating_add(self.cache_write_1h);
        self.input.saturating_add(self.cache_read).saturating_add(written)
    }

    /// The tokens of the conversation once the reply is part of it.
    pub fn context(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }
}

/// What one model reply cost, by kind of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Cost of the uncached prompt tokens.
    pub input: Usd,
    /// Cost of the output tokens.
    pub output: Usd,
    /// Cost of the prompt tokens read from the cache.
    pub cache_read: Usd,
    /// Cost of the prompt tokens written to the cache, for 5 minutes or for an hour.
    pub cache_write: Usd,
}

impl Cost {
    /// The sum of the four costs.
    pub fn total(&self) -> Usd {
        self.input + self.output + self.cache_read + self.cache_write
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_never_wrap() {
        let dime = Usd::from_dollars(0.10).unwrap();
        assert_eq!(dime.per_million(1_000_000), dime);
        assert_eq!(dime.per_million(1).dollars(), 1e-7);
        assert_eq!(Usd(u64::MAX) + dime, Usd(u64::MAX));
        assert_eq!(dime.per_million(u64::MAX), Usd(u64::MAX).min(dime.per_million(u64::MAX)));
        assert_eq!(Usd::from_dollars(-1.0), None);
        assert_eq!(Usd::from_dollars(f64::NAN), None);
        assert_eq!(Usd::from_dollars(0.25).unwrap().to_string(), "$0.2500");
    }
}
