//! How many digits of a number are printed, so that machines whose last bits differ print the same.

/// A share, or a difference of shares, with four digits after the point.
pub(super) fn share(value: f64) -> f64 {
    rounded(value, 1e4)
}

/// A mean rating, or a difference of means, with one digit after the point.
pub(super) fn mean(value: f64) -> f64 {
    rounded(value, 10.0)
}

/// A mean rating with one digit after the point, not below `value` but for its last bits.
pub(super) fn mean_or_more(value: f64) -> f64 {
    mean((value * 10.0 - 1e-9).ceil() / 10.0)
}

/// The largest amount that is printed, in US dollars. Only a file that no daemon has written has a larger one.
const MOST_USD: f64 = 1e9;

/// US dollars with six digits after the point.
pub(super) fn usd(value: f64) -> f64 {
    rounded(value.clamp(-MOST_USD, MOST_USD), 1e6)
}

/// A p-value with six significant digits.
pub(super) fn p(value: f64) -> f64 {
    // A number that was formatted is a number.
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn rounded(value: f64, scale: f64) -> f64 {
    // The sum with 0 has no sign if it is 0.
    (value * scale).round() / scale + 0.0
}
