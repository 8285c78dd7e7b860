//! Texts that occur often, each kept once.

use std::num::NonZeroU32;

use indexmap::IndexSet;

use super::QUOTE;
use crate::domain::one_line;

/// The number of a text in [`Names`]. Equal texts have equal numbers; the order of numbers says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(NonZeroU32);

/// Texts by number.
#[derive(Debug, Default)]
pub(super) struct Names(IndexSet<Box<str>>);

impl Names {
    /// The number of the first `most` characters of `text`.
    pub(super) fn add(&mut self, text: &str, most: usize) -> Name {
        let text = beginning(text, most);
        let index = match self.0.get_index_of(text) {
            Some(index) => index,
            None => self.0.insert_full(text.into()).0,
        };
        name(index)
    }

    /// The number of `text` as a quote, which is one line of at most [`QUOTE`] characters; `None` if nothing is
    /// left of the text.
    pub(super) fn add_quote(&mut self, text: Option<&str>) -> Option<Name> {
        // Sequences of white space and control characters become shorter.
        let text = one_line(beginning(text?, 16 * QUOTE));
        (!text.is_empty()).then(|| self.add(&text, QUOTE))
    }

    /// The number of `text`; `None` if no such text was added.
    pub(super) fn find(&self, text: &str) -> Option<Name> {
        self.0.get_index_of(text).map(name)
    }

    /// The text with this number.
    pub(super) fn text(&self, name: Name) -> &str {
        self.0.get_index(name.0.get() as usize - 1).map_or("", |text| text)
    }
}

/// Four billion texts do not fit into memory.
fn name(index: usize) -> Name {
    Name(NonZeroU32::MIN.saturating_add(index as u32))
}

/// The first `most` characters of `text`.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_number_and_long_ones_are_cut_between_characters() {
        let mut names = Names::default();
        let (list, add) = (names.add("todo.list", 128), names.add("todo.add", 128));
        assert_ne!(list, add);
        assert_eq!(names.add("todo.list", 128), list);
        let cut = names.add("äöü😀", 3);
        assert_eq!((names.text(list), names.text(cut)), ("todo.list", "äöü"));
    }
}
