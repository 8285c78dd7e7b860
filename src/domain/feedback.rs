//! What a persona thinks of a module it used.

use serde::{Deserialize, Serialize};

use super::{ModuleName, clip, redact_emails};

/// The module name of the mark that stands for an answer nobody could read.
pub(crate) const PARSE_MODULE: &str = "__parse";

/// Longest notes in a row, in UTF-16 units.
const MAX_NOTES: usize = 1000;

/// 1 (frustrating) to 5 (really helps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rating(u8);

impl Rating {
    /// The rating nearest to `value`: rounded, then brought into 1 to 5. `None` for NaN.
    pub(crate) fn nearest(value: f64) -> Option<Self> {
        // Within 1.0..=5.0 the cast is exact.
        (!value.is_nan()).then(|| Self(value.round().clamp(1.0, 5.0) as u8))
    }

    /// The number, 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A row of `persona_feedback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRating {
    /// The module.
    pub module: ModuleName,
    /// How the persona rates it.
    pub rating: Rating,
    /// Why, ≤ 1,000 characters.
    pub notes: Option<String>,
    /// Numbers (from 1) of the calls the rating rests on.
    pub calls: Vec<u32>,
}

impl ModuleRating {
    /// A rating with its reason, the notes cut to the table's limit.
    pub fn new(module: ModuleName, rating: Rating, notes: Option<&str>, calls: Vec<u32>) -> Self {
        let notes = notes
            .map(|notes| clip(&redact_emails(notes), MAX_NOTES))
            .filter(|notes| !notes.is_empty());
        Self { module, rating, notes, calls }
    }

    /// The mark of an unreadable answer: a middling rating whose notes say what came back.
    pub fn unreadable(came_back: &str) -> Self {
        Self::new(ModuleName::new(PARSE_MODULE), Rating(3), Some(came_back), Vec::new())
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
