//! Finds the texts of a call's own input in the text of its failure.

use std::{borrow::Cow, cmp::Reverse, fmt, ops::Range};

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{
    clean::clean,
    placeholder::{self, CLOSE, LONGEST_NAME, OPEN, is_of_name},
};
use crate::domain::JsonText;

/// Shortest text of the input that is replaced, in characters.
const SHORTEST: usize = 4;
/// The name of an input that is a text itself.
const ROOT: &str = "input";

/// `line` with the strings of `input`, a JSON text, replaced by their paths: those of at least [`SHORTEST`]
/// characters that begin and end at word boundaries, the longest first. A placeholder is never longer than what it
/// replaces.
pub(super) fn replace<'l>(line: &'l str, input: &str) -> Cow<'l, str> {
    let starts = Starts::of(line);
    let mut leaves = starts.leaves(input);
    leaves.sort_by_key(|leaf| (Reverse(leaf.length), leaf.starts.start));
    // The same text at several paths: the first path counts.
    leaves.dedup_by_key(|leaf| (leaf.length, leaf.starts.start));
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    let mut covered = starts.placeholders;
    for leaf in leaves {
        for &(_, start) in &starts.sorted[leaf.starts] {
            let end = start + leaf.length;
            // What is already covered is at least as long, so that it covers an end of whatever it overlaps.
            if !covered[start] && !covered[end - 1] && is_boundary(line, end) {
                covered[start..end].fill(true);
                let name = &leaf.name[..leaf.name.len().min(line[start..end].chars().count() - 2)];
                found.push((start..end, format!("{OPEN}{name}{CLOSE}")));
            }
        }
    }
    if found.is_empty() {
        return Cow::Borrowed(line);
    }
    found.sort_by_key(|(range, _)| range.start);
    let mut replaced = String::with_capacity(line.len());
    let mut done = 0;
    for (range, placeholder) in found {
        replaced.push_str(&line[done..range.start]);
        replaced.push_str(&placeholder);
        done = range.end;
    }
    replaced.push_str(&line[done..]);
    Cow::Owned(replaced)
}

/// A string of the input that occurs in the line.
struct Leaf {
    /// In bytes.
    length: usize,
    /// Where it occurs: a range of [`Starts::sorted`].
    starts: Range<usize>,
    /// The name of its placeholder, in full length.
    name: String,
}

/// The places of a line where a text of the input may begin.
struct Starts<'l> {
    line: &'l str,
    /// Sorted by the text that begins there, so that each text of the input is found by a binary search. With the
    /// first bytes of the text, which nearly always decide.
    sorted: Vec<(u64, usize)>,
    /// For each byte, whether it is part of a placeholder.
    placeholders: Vec<bool>,
}

impl<'l> Starts<'l> {
    fn of(line: &'l str) -> Self {
        let mut placeholders = vec![false; line.len()];
        for (at, _) in line.match_indices(OPEN) {
            let length = placeholder::at_start(&line[at..]).unwrap_or_default();
            placeholders[at..at + length].fill(true);
        }
        let mut sorted = Vec::with_capacity(line.len() / 4);
        let mut is_after_word = false;
        for (at, c) in line.char_indices() {
            let is_in_word = is_word(c);
            if c != ' ' && !(is_after_word && is_in_word) && !placeholders[at] {
                sorted.push((first_bytes(&line[at..]), at));
            }
            is_after_word = is_in_word;
        }
        sorted.sort_unstable_by_key(|&(first, at)| (first, &line[at..]));
        Self { line, sorted, placeholders }
    }

    /// The strings of `input` that occur in the line, in the order of the input.
    fn leaves(&self, input: &str) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        if self.sorted.is_empty() {
            return leaves;
        }
        let mut look = |text: &str, path: &str| leaves.extend(self.leaf(text, path));
        if walk(input, &mut look).is_err() {
            // A text that is not JSON stays as it is, and has no strings but those before the error.
            let _ = walk(JsonText::of(input.as_bytes()).as_str(), &mut look);
        }
        leaves
    }

    fn leaf(&self, text: &str, path: &str) -> Option<Leaf> {
        let text = clean(text);
        let is_long_enough = text.chars().nth(SHORTEST - 1).is_some();
        if !is_long_enough || text.len() > self.line.len() || text.contains(OPEN) {
            return None;
        }
        let wanted = (first_bytes(&text), &*text);
        let first = self.sorted.partition_point(|&(first, at)| (first, &self.line[at..]) < wanted);
        let rest = &self.sorted[first..];
        let count = rest.partition_point(|&(_, at)| self.line[at..].starts_with(&*text));
        if count == 0 {
            return None;
        }
        Some(Leaf { length: text.len(), starts: first..first + count, name: name(path) })
    }
}

/// The first eight bytes of `text`, ordered as texts without NUL are.
fn first_bytes(text: &str) -> u64 {
    let mut first = [0; 8];
    let length = text.len().min(first.len());
    first[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

/// Whether a word may begin or end at the offset `at`, which is behind a character.
fn is_boundary(line: &str, at: usize) -> bool {
    let is_before = line[..at].chars().next_back().is_some_and(is_word);
    !(is_before && line[at..].chars().next().is_some_and(is_word))
}

/// Placeholders and the mark of a cut count as parts of words: a word that touches one may be a part of another.
fn is_word(c: char) -> bool {
    // The first arms only save the time of the tables of Unicode.
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric() || c == '_',
        '…' | OPEN | CLOSE => true,
        _ => c.is_alphanumeric(),
    }
}

/// The end of `path` that a placeholder has room for, from the beginning of a key.
fn name(path: &str) -> String {
    let path = if path.is_empty() { ROOT } else { path };
    let safe =
        |c: char| u8::try_from(c).ok().filter(|&byte| is_of_name(byte)).map_or('_', char::from);
    let mut name: String = path.chars().map(safe).collect();
    if name.len() > LONGEST_NAME {
        let key = name[name.len() - LONGEST_NAME - 1..]
            .find('.')
            .map(|dot| name.len() - LONGEST_NAME + dot);
        let key =
            key.or_else(|| name.rfind('.').map(|dot| dot + 1)).filter(|&key| key < name.len());
        name.drain(..key.unwrap_or_default());
        name.truncate(LONGEST_NAME);
    }
    name
}

/// Calls `look` with each string of `json` and its path: keys, and `*` for the items of an array.
fn walk(json: &str, look: &mut dyn FnMut(&str, &str)) -> Result<(), serde_json::Error> {
    Walk { path: &mut String::new(), look }
        .deserialize(&mut serde_json::Deserializer::from_str(json))
}

struct Walk<'w> {
    path: &'w mut String,
    look: &'w mut dyn FnMut(&str, &str),
}

impl Walk<'_> {
    fn step(&mut self) -> Walk<'_> {
        Walk { path: self.path, look: self.look }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.look)(text, self.path);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let above = self.path.len();
        push(self.path, "*");
        while items.next_element_seed(self.step())?.is_some() {}
        self.path.truncate(above);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let above = self.path.len();
        while members.next_key_seed(Key(self.path))?.is_some() {
            members.next_value_seed(self.step())?;
            self.path.truncate(above);
        }
        Ok(())
    }
}

/// Adds a key to a path.
struct Key<'w>(&'w mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        push(self.0, key);
        Ok(())
    }
}

fn push(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    // A longer key than a placeholder has room for need not be copied at each level.
    path.push_str(&key[..key.floor_char_boundary(LONGEST_NAME)]);
}
