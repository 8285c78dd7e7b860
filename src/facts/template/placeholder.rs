//! Placeholders: a name in single angle quotes, such as `‹title›`.

use std::borrow::Cow;

pub(super) const OPEN: char = '‹';
pub(super) const CLOSE: char = '›';
/// Longest name, in characters.
pub(super) const LONGEST_NAME: usize = 16;
/// The length that every placeholder counts with where a template is cut, so that the cut does not depend on the
/// texts that were replaced.
pub(super) const COUNTED: usize = LONGEST_NAME + 2;
/// A placeholder can replace a text of four characters. What is left of the name then is all that tells
/// placeholders apart in a fingerprint.
const CANONICAL_NAME: usize = 2;

/// Length in bytes of the placeholder at the beginning of `text`; `None` if there is none.
pub(super) fn at_start(text: &str) -> Option<usize> {
    let name = text.strip_prefix(OPEN)?;
    let length = name.bytes().take(LONGEST_NAME + 1).take_while(|&byte| is_of_name(byte)).count();
    let is_closed = (1..=LONGEST_NAME).contains(&length) && name[length..].starts_with(CLOSE);
    is_closed.then_some(OPEN.len_utf8() + length + CLOSE.len_utf8())
}

pub(super) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.*-".contains(&byte)
}

/// `template` with the names of its placeholders cut to two characters: the same for all texts that the
/// placeholders replace.
pub(crate) fn canonical(template: &str) -> Cow<'_, str> {
    if !template.contains(OPEN) {
        return Cow::Borrowed(template);
    }
    let mut short = String::with_capacity(template.len());
    let mut at = 0;
    while let Some(c) = template[at..].chars().next() {
        let length = at_start(&template[at..]);
        if let Some(length) = length {
            let name = &template[at + OPEN.len_utf8()..at + length - CLOSE.len_utf8()];
            short.push(OPEN);
            short.push_str(&name[..name.len().min(CANONICAL_NAME)]);
            short.push(CLOSE);
        } else {
            short.push(c);
        }
        at += length.unwrap_or(c.len_utf8());
    }
    Cow::Owned(short)
}
