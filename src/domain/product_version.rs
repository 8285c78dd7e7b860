//! The version of a build of the product.

use std::fmt;

use super::text::is_printable;

/// The version of a build of the product, as a deploy job or the product itself names it: 1 to 128 printable
/// characters without white space at the ends. Versions are compared for equality only, never ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductVersion(String);

/// The text cannot be a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version has 1 to 128 printable characters")]
pub struct ProductVersionError;

impl ProductVersion {
    /// The largest number of characters of a version.
    pub const MAX: usize = 128;

    /// Reads a version; white space at its ends does not belong to it.
    ///
    /// # Errors
    /// When the rest is empty, longer than [`Self::MAX`] characters, or has a line break, a control character or a
    /// character that is invisible or changes the direction of the text.
    pub fn parse(text: &str) -> Result<Self, ProductVersionError> {
        // A text that is too long is not looked through.
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().nth(Self::MAX).is_none();
        let is_version = fits && text.chars().all(is_printable);
        is_version.then(|| Self(text.to_owned())).ok_or(ProductVersionError)
    }

    /// The version as it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProductVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_any_short_line_of_printable_text() {
        let longest = "ü".repeat(ProductVersion::MAX);
        for text in ["7", "2026-11-18", "v1.2.3+build 7", "<b>`|`</b>", "版本", &longest] {
            assert_eq!(ProductVersion::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(ProductVersion::parse(" 1.0\r\n").unwrap().as_str(), "1.0");
    }

    #[test]
    fn a_text_that_could_break_an_output_is_no_version() {
        let long = "x".repeat(10_000);
        for text in ["", " \n", &long[..129], &long, "a\nb", "a\tb", "a\0", "\u{1b}[2J", "a\u{85}b"]
        {
            assert_eq!(ProductVersion::parse(text), Err(ProductVersionError), "{text:?}");
        }
        for hidden in
            "\u{202e}\u{2066}\u{200f}\u{200b}\u{feff}\u{2028}\u{ad}\u{61c}\u{e0041}".chars()
        {
            assert!(ProductVersion::parse(&format!("1{hidden}2")).is_err(), "{hidden:?}");
        }
    }
}
