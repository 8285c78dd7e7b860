//! The beginning of a text, as long as a page has room for it.

use crate::domain::printable;

/// No limit.
pub(super) const WHOLE: usize = usize::MAX / 4;

// The longest beginnings of texts of a kind in the page of a run, in bytes.
pub(super) const PROMPT: usize = 8_000;
pub(super) const WORDS: usize = 8_000;
pub(super) const INPUT: usize = 3_000;
pub(super) const RESULT: usize = 4_000;
pub(super) const QUESTION: usize = 6_000;
pub(super) const NOTES: usize = 4_000;
pub(super) const REMINDER: usize = 2_000;
pub(super) const HINT: usize = 1_000;

/// The beginning of a text of a peer, in printable characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) is_cut: bool,
}

impl Excerpt {
    /// The beginning of `text` that takes at most `most` bytes in a page.
    pub(super) fn of(text: &str, most: usize) -> Self {
        let text = text.trim_end();
        // A character takes a byte or more, but of the two characters of a line break only one is shown.
        let end = text.char_indices().nth(2 * most + 2).map(|(at, _)| at);
        let mut shown = printable(&text[..end.unwrap_or(text.len())]);
        let mut size = 0;
        let beyond = shown.char_indices().find(|(_, c)| {
            size += size_of(*c);
            size > most
        });
        let beyond = beyond.map(|(at, _)| at);
        shown.truncate(beyond.unwrap_or(shown.len()));
        Self { text: shown, is_cut: beyond.or(end).is_some() }
    }
}

/// How many bytes a character takes in a page, escaped.
fn size_of(c: char) -> usize {
    match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        '"' => "&quot;".len(),
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use maud::html;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_is_shown_whole() {
        let whole = Excerpt::of("a<b>\u{202e}ä\r\n", 30);
        assert_eq!(whole, Excerpt { text: "a<b>\\u{202e}ä".into(), is_cut: false });
        assert_eq!(Excerpt::of("", 0), Excerpt { text: String::new(), is_cut: false });
        assert_eq!(Excerpt::of("\"\"x", 7), Excerpt { text: "\"".into(), is_cut: true });
    }

    proptest! {
        #[test]
        fn an_excerpt_takes_no_more_room_than_it_may(text in "[ a&<>\"ä😀\u{202e}\r\n\0]{0,80}", most in 0usize..120) {
            let excerpt = Excerpt::of(&text, most);
            let written = html! { (excerpt.text) }.into_string();
            prop_assert!(written.len() <= most);
            let whole = printable(text.trim_end());
            prop_assert!(whole.starts_with(&excerpt.text));
            prop_assert_eq!(excerpt.is_cut, excerpt.text != whole);
        }
    }
}
