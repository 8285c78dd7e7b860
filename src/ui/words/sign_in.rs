//! Words of the login.

use crate::domain::Language;

pub(in crate::ui) struct Words {
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) key: &'static str,
    pub(in crate::ui) log_in: &'static str,
    /// Which key is meant.
    pub(in crate::ui) hint: &'static str,
    pub(in crate::ui) wrong: &'static str,
    /// Another page has sent the form.
    pub(in crate::ui) from_elsewhere: &'static str,
    wait: fn(u64) -> String,
}

const GERMAN: Words = Words {
    title: "Anmelden",
    key: "Schlüssel",
    log_in: "Anmelden",
    hint: "Der Schlüssel ist der Wert von UI_KEY. Die Anmeldung gilt zwölf Stunden.",
    wrong: "Das ist nicht der Schlüssel.",
    from_elsewhere: "Eine fremde Seite hat versucht, hier anzumelden. Bitte den Schlüssel hier eingeben.",
    wait: |seconds| {
        let second = if seconds == 1 { "Sekunde" } else { "Sekunden" };
        format!(
            "Zu viele falsche Schlüssel. Der nächste Versuch ist in {seconds} {second} möglich."
        )
    },
};

const ENGLISH: Words = Words {
    title: "Log in",
    key: "Key",
    log_in: "Log in",
    hint: "The key is the value of UI_KEY. A login lasts for twelve hours.",
    wrong: "That is not the key.",
    from_elsewhere: "Another site has tried to log in here. Please enter the key here.",
    wait: |seconds| {
        let second = if seconds == 1 { "second" } else { "seconds" };
        format!("Too many wrong keys. The next try is possible in {seconds} {second}.")
    },
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    /// How long to wait after too many wrong keys.
    pub(in crate::ui) fn wait(&self, seconds: u64) -> String {
        (self.wait)(seconds)
    }
}
