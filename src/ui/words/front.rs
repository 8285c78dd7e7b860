//! Words of the first page.

use crate::domain::Language;

pub(in crate::ui) struct Words {
    pub(in crate::ui) title: &'static str,
}

const GERMAN: Words = Words { title: "Übersicht" };
const ENGLISH: Words = Words { title: "Overview" };

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}
