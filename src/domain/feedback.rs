//! A persona's rating of a module that it used.

use serde::{Deserialize, Serialize};

use super::{ModuleName, clip, redact_emails};

/// The module name in the row for an answer that could not be read.
pub(crate) const PARSE_MODULE: &str = "__parse";

/// Longest notes in a row, in UTF-16 units.
const MAX_NOTES: usize = 1000;

/// A rating from 1 (frustrating) to 5 (really helps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rating(u8);

impl Rating {
    /// The rating nearest to `value`, which is rounded and brought into the range 1 to 5. `None` for NaN.
    pub(crate) fn nearest(value: f64) -> Option<Self> {
        // The cast is exact for the whole numbers from 1.0 to 5.0.
        (!value.is_nan()).then(|| Self(value.round().clamp(1.0, 5.0) as u8))
    }

    /// The number, 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A row of `persona_feedback`: how a persona rates a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRating {
    /// The module that the persona rates.
    pub module: ModuleName,
    /// How the persona rates it.
    pub rating: Rating,
    /// The reason for the rating, at most 1,000 UTF-16 units.
    pub notes: Option<String>,
    /// Numbers of the tool calls that the rating rests on, from 1.
    pub calls: Vec<u32>,
}

impl ModuleRating {
    /// A rating with its reason. The notes are cut to the limit of the table.
    pub fn new(module: ModuleName, rating: Rating, notes: Option<&str>, calls: Vec<u32>) -> Self {
        let notes = notes
            .map(|notes| clip(&redact_emails(notes), MAX_NOTES))
            .filter(|notes| !notes.is_empty());
        Self { module, rating, notes, calls }
    }

    /// The row for an unreadable answer: a middling rating whose notes quote the answer.
    pub fn unreadable(answer: &str) -> Self {
        Self::new(ModuleName::new(PARSE_MODULE), Rating(3), Some(answer), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_are_rounded_and_brought_into_range() {
        let nearest = |value| Rating::nearest(value).map(Rating::get);
        assert_eq!(nearest(3.4), Some(3));
        assert_eq!(nearest(3.5), Some(4));
        assert_eq!(nearest(-7.0), Some(1));
        assert_eq!(nearest(f64::INFINITY), Some(5));
        assert_eq!(nearest(f64::NAN), None);
    }
}
