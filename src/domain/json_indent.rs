//! Lays a JSON text out for people.

use std::iter;

use super::{
    is_printable,
    json_tokens::{is_json, tokens},
};

/// Longest text that stays on one line, in characters.
const ONE_LINE: usize = 90;
/// From this depth on, values are not indented further: indentation would be most of the text.
const DEEPEST: usize = 16;

/// A JSON object or array in which each value has a line of its own, unless all of it is short. Nothing but white space
/// and the spelling of printable characters is changed: numbers, the order of members and equal names stay. `None` if
/// the text is something else.
pub(crate) fn indented_json(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) || !is_json(text) {
        return None;
    }
    let short = laid_out(text, |_| None);
    if short.chars().count() <= ONE_LINE {
        return Some(short);
    }
    Some(laid_out(text, |depth| Some(format!("\n{}", "  ".repeat(depth.min(DEEPEST))))))
}

/// The tokens of `json`, with a line break before each value of an object or array and before their ends. `line` is
/// that line break with the indentation of a depth; `None` if all of it stands on one line.
fn laid_out(json: &str, line: impl Fn(usize) -> Option<String>) -> String {
    let (mut out, mut depth) = (String::with_capacity(json.len()), 0_usize);
    let mut before = b' ';
    for (first, range) in tokens(json) {
        let (is_begin, is_end) = (matches!(first, b'{' | b'['), matches!(first, b'}' | b']'));
        depth = depth.saturating_sub(is_end.into());
        match before {
            // An empty object or array stays on one line.
            b'{' | b'[' if is_end => {}
            b'{' | b'[' => out.extend(line(depth)),
            b',' => out.push_str(line(depth).as_deref().unwrap_or(" ")),
            b':' => out.push(' '),
            _ if is_end => out.extend(line(depth)),
            _ => {}
        }
        match first {
            b'"' => spell_out(&json[range], &mut out),
            _ => out.push_str(&json[range]),
        }
        depth += usize::from(is_begin);
        before = first;
    }
    out
}

/// Writes a JSON string with its printable characters in the place of their escapes `\uXXXX`.
fn spell_out(string: &str, out: &mut String) {
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (meant, length) = match character(escape) {
            Some((c, length)) if is_printable(c) && !matches!(c, '"' | '\\') => (Some(c), length),
            // An escape of one character, or half of one that needs two.
            _ => (None, 2.min(escape.len())),
        };
        out.extend(meant);
        if meant.is_none() {
            out.push_str(&escape[..length]);
        }
        rest = &escape[length..];
    }
    out.push_str(rest);
}

/// The character of the escapes `\uXXXX` at the beginning of the text, and their length in bytes.
fn character(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let units = iter::once(unit(0)?).chain(unit(6));
    let c = char::decode_utf16(units).next()?.ok()?;
    Some((c, 6 * c.len_utf16()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_long_value_has_a_line_for_each_part_and_a_short_one_has_one_line() {
        let short = r#"{"a" :1,"b":[ ],"a":[1 , {"c":null}]}"#;
        assert_eq!(indented_json(short).unwrap(), r#"{"a": 1, "b": [], "a": [1, {"c": null}]}"#);
        let long = format!(r#"{{"a":[],"b":[1e999,{{}}],"c":"{}"}}"#, "x".repeat(90));
        let expected = format!(
            "{{\n  \"a\": [],\n  \"b\": [\n    1e999,\n    {{}}\n  ],\n  \"c\": \"{}\"\n}}",
            "x".repeat(90)
        );
        assert_eq!(indented_json(&long).unwrap(), expected);
    }

    #[test]
    fn printable_characters_are_spelled_out_and_all_others_stay_as_they_are() {
        let text =
            r#"["Gr\u00fc\u00dfe \ud83d\ude00 \ud83d \u0022 \u005c \n \u202e \\u00e4 \u0007"]"#;
        let expected = r#"["Grüße 😀 \ud83d \u0022 \u005c \n \u202e \\u00e4 \u0007"]"#;
        assert_eq!(indented_json(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_object_and_no_array_is_left_alone() {
        for text in ["", "7", "\"a\"", "{", "[1] 2", "todo: {}", "{\"a\": 1"] {
            assert_eq!(indented_json(text), None, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let lines = indented_json(&deep).unwrap();
        assert!(lines.lines().all(|line| line.len() <= 2 * DEEPEST + 2), "{lines}");
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(|n| json!(n)),
            "[\\PC\"\\\\\n]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map("[a-z\"\u{e4}]{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(value in values(), text in "[\\[{\"\\\\u0-9a-f:,}\\]]{0,40}") {
            for text in [value.to_string(), format!("{value:#}"), text] {
                if let Some(laid_out) = indented_json(&text) {
                    let [before, after] =
                        [&text, &laid_out].map(|text| serde_json::from_str::<Value>(text).ok());
                    prop_assert_eq!(before, after);
                }
            }
        }
    }
}
