//! Words of the list of reports.

use crate::{domain::Language, journal::PostState};

pub(in crate::ui) struct Words {
    language: Language,
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) note: &'static str,
    pub(in crate::ui) none: &'static str,
    /// The week, the language, when it was written, the post to the webhook, other forms, the same week as known today.
    pub(in crate::ui) columns: [&'static str; 6],
    pub(in crate::ui) today: &'static str,
}

const GERMAN: Words = Words {
    language: Language::German,
    title: "Berichte",
    note: "Jeder Bericht steht hier so, wie er geschrieben wurde. Was über dieselbe Woche heute bekannt ist, zeigt die letzte \
           Spalte.",
    none: "Es ist noch kein Bericht geschrieben.",
    columns: ["Woche", "Sprache", "Geschrieben", "An den Webhook", "Auch als", "Dieselbe Woche"],
    today: "Stand von heute",
};

const ENGLISH: Words = Words {
    language: Language::English,
    title: "Reports",
    note: "Each report is here as it was written. The last column leads to what is known about the same week today.",
    none: "No report has been written yet.",
    columns: ["Week", "Language", "Written", "To the webhook", "Also as", "The same week"],
    today: "as known today",
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    /// The language of a report.
    pub(in crate::ui) fn language(&self, language: Language) -> &'static str {
        match (self.language, language) {
            (Language::German, Language::German) => "Deutsch",
            (Language::German, Language::English) => "Englisch",
            (Language::English, Language::German) => "German",
            (Language::English, Language::English) => "English",
        }
    }

    /// How far a report was posted to the webhook.
    pub(in crate::ui) fn post(&self, post: PostState) -> &'static str {
        let [german, english] = match post {
            PostState::None => ["–", "–"],
            PostState::Waiting => ["noch nicht angekommen", "not arrived yet"],
            PostState::Delivered => ["angekommen", "arrived"],
            PostState::Refused => ["abgelehnt", "refused"],
        };
        match self.language {
            Language::German => german,
            Language::English => english,
        }
    }
}
