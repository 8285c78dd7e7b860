//! Words of the days that a page is about.

use crate::domain::Language;

pub(in crate::ui) struct Words {
    /// What stands before numbers of days.
    pub(in crate::ui) last: &'static str,
    unit: &'static str,
}

const GERMAN: Words = Words { last: "die letzten", unit: "Tage" };
const ENGLISH: Words = Words { last: "the last", unit: "days" };

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    pub(in crate::ui) fn days(&self, count: u32) -> String {
        format!("{count} {}", self.unit)
    }
}
