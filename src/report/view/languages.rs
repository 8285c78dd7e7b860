//! The languages that have words.

use super::{english::English, german::German, words::Words};
use crate::domain::Language;

/// The words of a language.
pub(crate) fn words(language: Language) -> &'static dyn Words {
    match language {
        Language::German => &German,
        Language::English => &English,
    }
}
