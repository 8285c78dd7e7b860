//! The hash of a tool call's input. It is comparable with the hashes in the rows of the runner that this one
//! replaces.

use std::ops::Range;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::json_tokens::{ESCAPE, half_pairs, is_json, tokens};

/// The first 16 hex digits of the SHA-256 of what JavaScript's `JSON.stringify(JSON.parse(input))` returns.
///
/// That text differs from the input in white space, string escapes, the spelling of numbers, duplicate keys
/// (the last value, in the first place) and the order of keys (array-index keys first, ascending).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputHash(String);

impl InputHash {
    /// The hash of `raw`, one JSON value. `None` if it is not JSON or nests deeper than 3,000 levels.
    pub fn of_json(raw: &str) -> Option<Self> {
        let digest = Sha256::digest(stringify(raw)?);
        Some(Self(digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The 16 hex digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Deepest nesting that is read. JavaScript itself fails at a somewhat greater depth.
const MAX_DEPTH: usize = 3_000;

/// What JavaScript's `JSON.stringify(JSON.parse(raw))` returns; `None` if `raw` is not JSON or nests too
/// deep.
fn stringify(raw: &str) -> Option<String> {
    if !is_json(raw) {
        return None;
    }
    let mut out = String::with_capacity(raw.len());
    let mut open: Vec<Open> = Vec::new();
    // Offset of the last string in `out`, which may be a key.
    let mut string = 0;
    for (first, token) in tokens(raw) {
        let token = &raw[token];
        match first {
            b'{' | b'[' => {
                out.push_str(token);
                open.push(Open { begin: out.len(), members: Vec::new() });
                if open.len() > MAX_DEPTH {
                    return None;
                }
            }
            b':' => {
                let key = string..out.len();
                out.push_str(token);
                open.last_mut()?.members.push((key, out.len()..out.len()));
            }
            b',' | b'}' | b']' => {
                if let Some((_, value)) = open.last_mut()?.members.last_mut() {
                    value.end = out.len();
                }
                if first != b',' {
                    open.pop()?.arrange(&mut out);
                }
                out.push_str(token);
            }
            b'"' => {
                string = out.len();
                quote(token, &mut out)?;
            }
            b't' | b'f' | b'n' => out.push_str(token),
            _ => match token.parse().ok()? {
                f64::INFINITY | f64::NEG_INFINITY => out.push_str("null"),
                number => out.push_str(ryu_js::Buffer::new().format_finite(number)),
            },
        }
    }
    Some(out)
}

/// An object or array in the output whose end was not read yet.
struct Open {
    /// Offset of its content in the output.
    begin: usize,
    /// For an object: the ranges of each key and of its value in the output.
    members: Vec<(Range<usize>, Range<usize>)>,
}

impl Open {
    /// Writes an object's members in the order in which JavaScript enumerates them, if they were read in
    /// another one.
    fn arrange(self, out: &mut String) {
        let texts =
            self.members.iter().map(|(key, value)| (&out[key.clone()], &out[value.clone()]));
        // A key that occurs twice keeps its first place and its last value.
        let mut members: IndexMap<&str, &str> = texts.collect();
        let is_arranged = members.keys().all(|key| array_index(key).is_none());
        if is_arranged && members.len() == self.members.len() {
            return;
        }
        // The sort is stable: keys that are not array indices keep their order, after those that are.
        members.sort_by_cached_key(|key, _| array_index(key).unwrap_or(u32::MAX));
        let members = members.iter().map(|(key, value)| format!("{key}:{value}"));
        let arranged = members.collect::<Vec<_>>().join(",");
        out.replace_range(self.begin.., &arranged);
    }
}

/// The number of a key in quotes, if JavaScript treats the key as an array index: less than 2³² - 1 and in
/// canonical spelling, so neither "01" nor "+1". JavaScript enumerates such keys first, in numeric order.
fn array_index(key: &str) -> Option<u32> {
    let text = &key[1..key.len() - 1];
    text.parse().ok().filter(|index: &u32| *index < u32::MAX && index.to_string() == text)
}

/// Writes a JSON string as JSON.stringify does. Half of a surrogate pair is written as its escape; serde_json
/// quotes the text between in the same way as JavaScript.
fn quote(string: &str, out: &mut String) -> Option<()> {
    let end = string.len() - 1;
    let mut done = 1;
    out.push('"');
    for half in half_pairs(string).chain([end]) {
        let text: String = serde_json::from_str(&format!("\"{}\"", &string[done..half])).ok()?;
        let quoted = serde_json::to_string(&text).ok()?;
        out.push_str(&quoted[1..quoted.len() - 1]);
        done = end.min(half + ESCAPE);
        out.push_str(&string[half..done].to_ascii_lowercase());
    }
    out.push('"');
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Canonical texts and hashes, as Node computes them.
    #[test]
    fn canonical_texts_and_hashes_are_those_of_javascript() {
        for (raw, canonical, hash) in [
            ("{}", "{}", "44136fa355b3678a"),
            (
                r#"{"title":"Milch kaufen","done":false}"#,
                r#"{"title":"Milch kaufen","done":false}"#,
                "4cc029c9f15c1a93",
            ),
            (
                r#"{ "b" : 1.0, "2":"x", "1":"y", "a": [1e21, 1e-7, 0.000001, 123456789012345678901, -0, 100, 1.5e300] }"#,
                r#"{"1":"y","2":"x","b":1,"a":[1e+21,1e-7,0.000001,123456789012345680000,0,100,1.5e+300]}"#,
                "38b086e56c9e7ede",
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#, "493df656a590967c"),
            (
                r#"{"t":"\u00e4\u2028\ud83d\ude00\ud800 \/ \u0007\u007f"}"#,
                "{\"t\":\"ä\u{2028}😀\\ud800 / \\u0007\u{7f}\"}",
                "8531fdbbb702f276",
            ),
            (
                r#"{"4294967294":1,"4294967295":2,"01":3,"0":4}"#,
                r#"{"0":4,"4294967294":1,"4294967295":2,"01":3}"#,
                "1a8773ca13ae114c",
            ),
            ("[1e999,null,true]", "[null,null,true]", "1cc61e13539ce66b"),
            (
                r#"{"n":9007199254740993,"m":0.1,"k":5e-324}"#,
                r#"{"n":9007199254740992,"m":0.1,"k":5e-324}"#,
                "6dcfc080d4eb0c94",
            ),
            (r#"{"t":"\ud83d"}"#, r#"{"t":"\ud83d"}"#, "3c265f4d42b969ac"),
            (r#"{"t":"\uDE00x","\uD83D":1}"#, r#"{"t":"\ude00x","\ud83d":1}"#, "5a8f157bca71192b"),
            (r#"{"n":1e400}"#, r#"{"n":null}"#, "5b4da02351c1c209"),
            ("{\"t\":\"a\u{fffd}b\"}", "{\"t\":\"a\u{fffd}b\"}", "143c4c0844a34b4b"),
        ] {
            assert_eq!(stringify(raw).as_deref(), Some(canonical));
            assert_eq!(InputHash::of_json(raw).map(|h| h.0).as_deref(), Some(hash), "{raw}");
        }
    }

    #[test]
    fn deep_input_has_the_hash_javascript_gives_it() {
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let hash = |raw: &str| InputHash::of_json(raw).unwrap().0;
        assert_eq!(hash(&deep(1_000)), "e68ba67b8ae789ea");
        assert_eq!(hash(&format!(r#"{{"d":{}}}"#, deep(200))), "49009e8653a99edd");
        assert_eq!(InputHash::of_json(&deep(3_002)), None);
    }

    #[test]
    fn what_is_not_json_has_no_hash() {
        for raw in
            ["", "{", "[1,]", "{\"a\"}", "nul", "\"\n\"", "1 2", "-", "+1", "01", "1.", "\"\\x\""]
        {
            assert_eq!(InputHash::of_json(raw), None, "{raw:?}");
        }
        assert_eq!(InputHash::of_json(&"[".repeat(100_000)), None);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec(("[a-z0-9]{0,3}", inner), 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn white_space_and_escapes_do_not_matter_and_the_form_is_a_fixed_point(value in json()) {
            let compact = value.to_string();
            let canonical = stringify(&compact);
            prop_assert!(canonical.is_some());
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(&stringify(&pretty), &canonical);
            let again = stringify(canonical.as_deref().unwrap());
            prop_assert_eq!(&again, &canonical);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = InputHash::of_json(&text);
        }
    }
}
