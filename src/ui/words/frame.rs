//! Words of the frame, and of pages about trouble.

use crate::{
    domain::{Language, printable_line},
    journal::JournalError,
    ui::{Place, trouble::Trouble},
};

pub(in crate::ui) struct Words {
    language: Language,
    /// The name of the program.
    pub(in crate::ui) product: &'static str,
    pub(in crate::ui) skip: &'static str,
    pub(in crate::ui) navigation: &'static str,
    places: [&'static str; 8],
    pub(in crate::ui) log_out: &'static str,
    pub(in crate::ui) reload: &'static str,
    pub(in crate::ui) footer: &'static str,
    pub(in crate::ui) shows_keys: &'static str,
    pub(in crate::ui) keys: &'static str,
    pub(in crate::ui) close: &'static str,
    /// Each key (or several, separated by spaces) and what it does.
    pub(in crate::ui) key_list: &'static [(&'static str, &'static str)],
}

const GERMAN: Words = Words {
    language: Language::German,
    product: "Persona-Runner",
    skip: "Zum Inhalt",
    navigation: "Hauptnavigation",
    places: [
        "Übersicht",
        "Was weh tut",
        "Module",
        "Personas",
        "Läufe",
        "Vergleich",
        "Live",
        "Berichte",
    ],
    log_out: "Abmelden",
    reload: "Neu laden",
    footer: "Diese Seiten zeigen nur an; sie ändern nichts.",
    shows_keys: "zeigt die Tasten.",
    keys: "Tasten",
    close: "Schließen",
    key_list: &[
        ("j k", "nächster, voriger Eintrag"),
        ("Enter", "Eintrag öffnen"),
        ("[ ]", "vorige, nächste Seite"),
        ("e", "nächster Fehler"),
        ("/", "zum Filter"),
        ("?", "diese Hilfe"),
    ],
};

const ENGLISH: Words = Words {
    language: Language::English,
    product: "Persona runner",
    skip: "Skip to content",
    navigation: "Main navigation",
    places: [
        "Overview",
        "What hurts",
        "Modules",
        "Personas",
        "Runs",
        "Comparison",
        "Live",
        "Reports",
    ],
    log_out: "Log out",
    reload: "Reload",
    footer: "These pages only show; they change nothing.",
    shows_keys: "shows the keys.",
    keys: "Keys",
    close: "Close",
    key_list: &[
        ("j k", "next, previous item"),
        ("Enter", "open the item"),
        ("[ ]", "previous, next page"),
        ("e", "next error"),
        ("/", "go to the filter"),
        ("?", "this help"),
    ],
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    pub(in crate::ui) fn place(&self, place: Place) -> &'static str {
        self.places.get(place as usize).copied().unwrap_or_default()
    }

    /// The title and the text of a page that cannot be shown.
    pub(in crate::ui) fn trouble(&self, trouble: &Trouble) -> (String, String) {
        let is_german = self.language == Language::German;
        let (title, text) = match trouble {
            Trouble::NotFound if is_german => {
                ("Nicht gefunden", "Das gibt es hier nicht, oder nicht mehr.".to_owned())
            }
            Trouble::NotFound => {
                ("Not found", "There is no such thing here, or no longer.".to_owned())
            }
            Trouble::Parameter(name) if is_german => (
                "Unlesbare Adresse",
                format!("Der Parameter „{name}“ in der Adresse ist nicht lesbar."),
            ),
            Trouble::Parameter(name) => (
                "Unreadable address",
                format!("The parameter “{name}” of the address cannot be read."),
            ),
            Trouble::NotYet if is_german => (
                "Noch nicht berechnet",
                "Das wird gerade berechnet. Bitte in ein paar Sekunden neu laden.".to_owned(),
            ),
            Trouble::NotYet => (
                "Not computed yet",
                "This is being computed. Please reload in a few seconds.".to_owned(),
            ),
            Trouble::Journal(JournalError::Slow(..)) if is_german => (
                "Zu langsam",
                "Das Lesen dauerte länger als zwei Sekunden und wurde abgebrochen.".to_owned(),
            ),
            Trouble::Journal(JournalError::Slow(..)) => {
                ("Too slow", "Reading took longer than two seconds and was stopped.".to_owned())
            }
            Trouble::Journal(error) if is_german => (
                "Nicht lesbar",
                format!("Das Journal ist nicht lesbar: {}", printable_line(&error.to_string())),
            ),
            Trouble::Journal(error) => (
                "Unreadable",
                format!("The journal cannot be read: {}", printable_line(&error.to_string())),
            ),
            Trouble::Other(why) if is_german => ("Nicht berechnet", printable_line(why)),
            Trouble::Other(why) => ("Not computed", printable_line(why)),
        };
        (title.to_owned(), text)
    }
}
