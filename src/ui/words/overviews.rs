//! Words about how old a page is.

use crate::domain::{Language, printable_line};

pub(in crate::ui) struct Words(Language);

pub(in crate::ui) fn words(language: Language) -> Words {
    Words(language)
}

impl Words {
    /// When it was computed; the facts have changed since.
    pub(in crate::ui) fn as_of(&self, time: &str) -> String {
        match self.0 {
            Language::German => format!("Stand: {time}. Seitdem ist Neues dazugekommen."),
            Language::English => format!("As of {time}. There is news since."),
        }
    }

    /// Why it could not be computed again.
    pub(in crate::ui) fn failed(&self, why: &str) -> String {
        let why = printable_line(why);
        match self.0 {
            Language::German => format!("Es konnte nicht neu berechnet werden: {why}"),
            Language::English => format!("It could not be computed again: {why}"),
        }
    }
}
