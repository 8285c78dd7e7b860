//! Splits a JSON text into tokens without recursion, because a peer may nest its values as deep as it likes.

use std::{iter::from_fn, ops::Range};

use serde::de::IgnoredAny;

/// Length of an escape such as `\ud83d`, in bytes.
pub(super) const ESCAPE: usize = 6;

/// Whether `text` is one JSON value, of any depth, and nothing else.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The tokens of `json`: the first byte and the range of each.
pub(super) fn tokens(json: &str) -> impl Iterator<Item = (u8, Range<usize>)> {
    let bytes = json.as_bytes();
    let mut end = 0;
    from_fn(move || {
        let begin = end + bytes[end..].iter().position(|byte| !byte.is_ascii_whitespace())?;
        end = begin + 1;
        match bytes[begin] {
            b'"' => loop {
                end += memchr::memchr2(b'"', b'\\', bytes.get(end..)?)?;
                if bytes[end] == b'"' {
                    end += 1;
                    break;
                }
                end += 2;
            },
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {}
            // A number, or one of the words `true`, `false` and `null`.
            _ => {
                let is_part = |byte: &u8| !byte.is_ascii_whitespace() && !b",]}".contains(byte);
                end += bytes[end..].iter().take_while(|byte| is_part(byte)).count();
            }
        }
        Some((bytes[begin], begin..end))
    })
}

/// Offsets of the escapes in a JSON string that stand for half of a surrogate pair, which a `slice` through
/// an emoji leaves.
pub(super) fn half_pairs(string: &str) -> impl Iterator<Item = usize> {
    let bytes = string.as_bytes();
    let mut at = 0;
    from_fn(move || {
        loop {
            let begin = at + memchr::memchr(b'\\', bytes.get(at..)?)?;
            let first = unit(bytes, begin);
            at = begin + first.map_or(2, |_| ESCAPE);
            match (first, unit(bytes, at)) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => at += ESCAPE,
                (Some(0xd800..0xe000), _) => return Some(begin),
                _ => {}
            }
        }
    })
}

/// The UTF-16 unit of the escape `\uXXXX` at the offset `at`; `None` if there is no such escape.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digit = |n: u16, b: &u8| Some(n << 4 | char::from(*b).to_digit(16)? as u16);
    digits.iter().try_fold(0, digit)
}
