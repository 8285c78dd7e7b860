//! The written form in which texts are compared and shown.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// `text` in NFC and on one line: each sequence of white space and control characters is one space, and none is
/// at the ends. Characters that turn the direction of text or are not visible are left out.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    match is_folded(text) {
        true if text.is_ascii() || text.chars().all(is_composed) => Cow::Borrowed(text),
        true => nfc.normalize(text),
        false => Cow::Owned(nfc.normalize(&folded(text)).into_owned()),
    }
}

/// Whether a text of such characters alone is in NFC. Others may be as well: this only saves the normalizer's time for
/// the letters of European languages and their punctuation.
fn is_composed(c: char) -> bool {
    matches!(c, '\0'..='\u{2ff}' | '‐'..='‧' | '‰'..='›')
}

fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().filter(|&c| !is_invisible(c)) {
        match is_space(c) {
            true if folded.is_empty() || folded.ends_with(' ') => {}
            true => folded.push(' '),
            false => folded.push(c),
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// Whether [`folded`] would not change `text`.
fn is_folded(text: &str) -> bool {
    // As if a space were before the text, so that a space at the beginning is a second one.
    let mut last = ' ';
    let is_fine = text.chars().all(|c| {
        let before = std::mem::replace(&mut last, c);
        match c {
            ' ' => before != ' ',
            '!'..='~' => true,
            _ => !is_blank(c),
        }
    });
    is_fine && (last != ' ' || text.is_empty())
}

/// Whether `c` says nothing at the beginning of a text.
pub(super) fn is_blank(c: char) -> bool {
    is_space(c) || is_invisible(c)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Marks of direction, and characters without a width that no script needs.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_count_as_composed_are_composed_next_to_each_other() {
        let nfc = ComposingNormalizerBorrowed::new_nfc();
        let composed: Vec<_> = ('\0'..='\u{ffff}').filter(|&c| is_composed(c)).collect();
        for &first in &composed {
            let pairs: String = composed.iter().flat_map(|&second| [first, second]).collect();
            assert!(nfc.is_normalized(&pairs), "{first:?}");
        }
    }
}
