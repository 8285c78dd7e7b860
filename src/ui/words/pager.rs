//! Words of the links between the parts of a list.

use crate::domain::Language;

pub(in crate::ui) struct Words {
    pub(in crate::ui) newer: &'static str,
    pub(in crate::ui) older: &'static str,
    pub(in crate::ui) before: &'static str,
    pub(in crate::ui) after: &'static str,
    /// Between the number of the page and that of all pages.
    of: [&'static str; 2],
}

const GERMAN: Words = Words {
    newer: "← neuere",
    older: "ältere →",
    before: "← vorige Seite",
    after: "nächste Seite →",
    of: ["Seite", "von"],
};

const ENGLISH: Words = Words {
    newer: "← newer",
    older: "older →",
    before: "← previous page",
    after: "next page →",
    of: ["page", "of"],
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    pub(in crate::ui) fn place(&self, page: usize, pages: usize) -> String {
        let [noun, of] = self.of;
        format!("{noun} {page} {of} {pages}")
    }
}
