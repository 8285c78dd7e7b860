//! Words of the live page.

use crate::domain::Language;

pub(in crate::ui) struct Words {
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) in_flight: &'static str,
    pub(in crate::ui) nobody: &'static str,
    pub(in crate::ui) columns: [&'static str; 2],
    pub(in crate::ui) more: &'static str,
    pub(in crate::ui) calls: &'static str,
    pub(in crate::ui) no_calls: &'static str,
    pub(in crate::ui) ok: &'static str,
    pub(in crate::ui) failed: &'static str,
}

const GERMAN: Words = Words {
    title: "Live",
    in_flight: "Läufe, die gerade gehen",
    nobody: "Gerade läuft niemand.",
    columns: ["Persona", "Begonnen"],
    more: "Weitere Läufe stehen unter „Läufe“.",
    calls: "Die letzten Aufrufe",
    no_calls: "Es gibt noch keine Aufrufe. Neue erscheinen hier von selbst.",
    ok: "gelungen",
    failed: "gescheitert",
};

const ENGLISH: Words = Words {
    title: "Live",
    in_flight: "Runs in flight",
    nobody: "Nobody is running.",
    columns: ["Persona", "Begun"],
    more: "Further runs are under “Runs”.",
    calls: "The last calls",
    no_calls: "There are no calls yet. New ones appear here by themselves.",
    ok: "ok",
    failed: "failed",
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}
