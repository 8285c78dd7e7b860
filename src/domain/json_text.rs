//! Repairs the JSON of peers before it is parsed, so that one invalid part does not make the whole
//! unreadable.
//!
//! JavaScript writes JSON that serde_json refuses: half of a surrogate pair, which a `slice` through an emoji
//! leaves, numbers beyond `f64`, and nesting without a limit. Such a part is replaced by U+FFFD or by `null`.
//! Bytes that are not UTF-8 become U+FFFD. A text that is not JSON stays as it is, and the parser refuses it.

use std::{borrow::Cow, ops::Range};

use serde::{
    Deserialize,
    de::{DeserializeOwned, Error, IgnoredAny},
};

use super::json_tokens::{ESCAPE, half_pairs, is_json, tokens};

/// Deepest nesting that is kept. serde_json reads up to 127 levels.
const MAX_DEPTH: usize = 120;
/// Without an exponent, a number beyond `f64` has more digits than this.
const LONG_NUMBER: usize = 300;
/// U+FFFD as a JSON escape. It is as long as the escape that it replaces.
const REPLACEMENT: &str = "\\ufffd";
const NULL: &str = "null";
/// The largest number of values that are replaced by `null`. A text with more of them is not worth the
/// memory.
const MAX_NULLS: usize = 100_000;
/// A text with this many invalid UTF-8 sequences is treated as empty: each of them would become three bytes.
const MAX_ODD_BYTES: usize = 100_000;
/// Weight of an object, where any other value weighs 1: parsed, an object takes that much more memory.
const OBJECT: usize = 10;
/// Largest weight of an ordinary answer, many times the weight of any known answer.
const ORDINARY: usize = 50_000;

/// A JSON text as it was received, and in a form that can be parsed.
#[derive(Debug)]
pub struct JsonText<'a> {
    received: Cow<'a, str>,
    /// The repaired text; empty if the received text needs no repair.
    readable: String,
    nulls: Vec<Null>,
    /// `None` if the text is not JSON, or if too many of its values would have to be replaced.
    weight: Option<usize>,
}

/// The end of a value that was replaced by `null`. All other replacements keep the length of the text.
#[derive(Debug)]
struct Null {
    /// The offset of the end in the received text.
    received: usize,
    /// The offset of the end in the readable text.
    readable: usize,
}

/// The received text that corresponds to a part of the readable text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The received text, with bytes that are not UTF-8 replaced as JavaScript replaces them.
    pub text: &'a str,
    /// Whether `text` differs from the readable text.
    pub is_odd: bool,
    /// Whether a value in `text` was nested too deep or out of range, and is `null` in the readable text.
    pub is_lossy: bool,
}

impl<'a> JsonText<'a> {
    /// Decodes and repairs `bytes`. A byte order mark at the beginning is dropped.
    pub fn of(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let invalid = bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty());
        let bytes = if invalid.take(MAX_ODD_BYTES).count() < MAX_ODD_BYTES { bytes } else { b"" };
        let received = String::from_utf8_lossy(bytes);
        let repair = if is_json(&received) { Repair::of(&received) } else { None };
        let weight = repair.as_ref().map(|repair| repair.weight);
        let (readable, nulls) = repair.map(|it| (it.readable, it.nulls)).unwrap_or_default();
        Self { received, readable, nulls, weight }
    }

    /// Parses the text, if its weight is at most `most`: an object weighs 10, any other value 1. Without a
    /// limit, a few megabytes of tiny values would take a gigabyte when they are parsed.
    ///
    /// # Errors
    /// When the text is not JSON, does not match `T`, or has a larger weight.
    pub fn read<'t, T: Deserialize<'t>>(&'t self, most: usize) -> serde_json::Result<T> {
        if self.weight.is_none() {
            // Gives the position of the syntax error, without building any values.
            serde_json::from_str::<IgnoredAny>(self.as_str())?;
        }
        if self.weight.is_none_or(|weight| weight > most) {
            return Err(serde_json::Error::custom("it holds more values than any such answer"));
        }
        serde_json::from_str(self.as_str())
    }

    /// The text in the form that can be parsed.
    pub fn as_str(&self) -> &str {
        if self.readable.is_empty() { &self.received } else { &self.readable }
    }

    /// The received text that corresponds to `part`, which must be a slice of [`Self::as_str`].
    pub fn received(&self, part: &str) -> Received<'_> {
        let begin = (part.as_ptr() as usize).saturating_sub(self.as_str().as_ptr() as usize);
        let end = begin + part.len();
        let before = |offset: usize| self.nulls.partition_point(|null| null.readable <= offset);
        // An offset has the same distance from the last null before it in both texts.
        let in_received = |offset: usize| match self.nulls[..before(offset)].last() {
            Some(null) => offset - null.readable + null.received,
            None => offset,
        };
        let text = self.received.get(in_received(begin)..in_received(end)).unwrap_or_default();
        Received { text, is_odd: text != part, is_lossy: before(begin) < before(end) }
    }
}

/// Parses the JSON of a peer, with the limit for ordinary answers.
///
/// # Errors
/// When `bytes` are not JSON, do not match `T`, or have a larger weight than an ordinary answer.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    JsonText::of(bytes).read(ORDINARY)
}

/// The JSON value at the beginning of `text`, repaired, and its length in `text`. `None` if there is none.
pub fn first_value(text: &str) -> Option<(String, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let end = values.byte_offset();
    let value = JsonText::of(&text.as_bytes()[..end]);
    value.weight.map(|_| (value.as_str().to_owned(), end))
}

/// The repair of a JSON text.
struct Repair<'j> {
    json: &'j str,
    /// The end of the last part of `json` that was replaced; 0 if there is none.
    done: usize,
    /// The repaired text, during the repair as far as `done`; empty if nothing was replaced.
    readable: String,
    nulls: Vec<Null>,
    weight: usize,
}

impl<'j> Repair<'j> {
    /// Repairs `json`, which must be valid JSON. `None` if more than [`MAX_NULLS`] values are to be replaced.
    fn of(json: &'j str) -> Option<Self> {
        let (readable, nulls) = Default::default();
        let mut repair = Self { json, done: 0, readable, nulls, weight: 0 };
        let (mut depth, mut too_deep) = (0, 0);
        for (first, token) in tokens(json) {
            match first {
                b',' => {}
                // The string before a colon is a key, and a key has no weight of its own.
                b':' => repair.weight -= 1,
                b'{' | b'[' => {
                    repair.weight += if first == b'{' { OBJECT } else { 1 };
                    if depth == MAX_DEPTH {
                        too_deep = token.start;
                    }
                    depth += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    if depth == MAX_DEPTH {
                        repair.replace_by_null(too_deep..token.end);
                    }
                }
                // A part of a value that is replaced as a whole.
                _ if depth > MAX_DEPTH => repair.weight += 1,
                _ => {
                    repair.weight += 1;
                    for half in half_pairs(&json[token.clone()]).map(|half| token.start + half) {
                        repair.replace(half..half + ESCAPE, REPLACEMENT);
                    }
                    if is_out_of_range(&json[token.clone()]) {
                        repair.replace_by_null(token);
                    }
                }
            }
            if repair.nulls.len() > MAX_NULLS {
                return None;
            }
        }
        if repair.done > 0 {
            repair.readable.push_str(&json[repair.done..]);
        }
        Some(repair)
    }

    fn replace(&mut self, part: Range<usize>, replacement: &str) {
        self.readable.push_str(&self.json[self.done..part.start]);
        self.readable.push_str(replacement);
        self.done = part.end;
    }

    fn replace_by_null(&mut self, value: Range<usize>) {
        let received = value.end;
        self.replace(value, NULL);
        self.nulls.push(Null { received, readable: self.readable.len() });
    }
}

/// Whether `token` is a number that does not fit in an `f64`.
fn is_out_of_range(token: &str) -> bool {
    let is_number = token.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    is_number
        && (token.len() > LONG_NUMBER || token.contains(['e', 'E']))
        && serde_json::from_str::<f64>(token).is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn readable(text: &str) -> String {
        JsonText::of(text.as_bytes()).as_str().to_owned()
    }

    #[test]
    fn a_text_that_weighs_too_much_is_not_parsed_and_invalid_json_gives_a_syntax_error() {
        let read = |text: &str, most| JsonText::of(text.as_bytes()).read::<Value>(most).is_ok();
        for (text, weight) in [
            ("1", 1),
            ("{}", 10),
            ("[]", 1),
            (r#"[1,"a,{[",null,[true]]"#, 6),
            (r#"{"a":{"b":1},"c":[{}]}"#, 32),
        ] {
            assert!(read(text, weight) && !read(text, weight - 1), "{text}");
        }
        let many = format!("[{}1]", "{},".repeat(100_000));
        assert!(parse::<Value>(many.as_bytes()).unwrap_err().to_string().contains("more values"));
        // The weight counts only if the text is JSON. The syntax error at the end is found without building
        // values.
        let error = parse::<Value>(&many.as_bytes()[..many.len() - 1]).unwrap_err();
        assert!(error.is_eof(), "{error}");
        let odd = [b"\"".as_slice(), &[0xff; MAX_ODD_BYTES], b"\""].concat();
        assert!(parse::<Value>(&odd).is_err());
        assert!(parse::<Value>(&[&odd[..MAX_ODD_BYTES], b"\""].concat()).is_ok());
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn half_a_surrogate_pair_becomes_a_replacement_character_wherever_it_stands() {
        for (odd, read) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00""#, r#""\ufffd""#),
            (r#"{"\uD83d":"a\ud83dz"}"#, r#"{"\ufffd":"a\ufffdz"}"#),
            // The results are those of JavaScript's toWellFormed.
            (
                r#""\ud83d\ud83d\ude00 \ude00 \\ud83d \ud83dA \uDBFF""#,
                r#""\ufffd\ud83d\ude00 \ufffd \\ud83d \ufffdA \ufffd""#,
            ),
            (r#""\ud83d\n\ude00\"""#, r#""\ufffd\n\ufffd\"""#),
            (r#"["\ud83d\u0041","\\\ud83d"]"#, r#"["\ufffd\u0041","\\\ufffd"]"#),
        ] {
            assert_eq!(readable(odd), read);
            assert!(serde_json::from_str::<Value>(read).is_ok(), "{read}");
        }
    }

    #[test]
    fn invalid_utf_8_becomes_replacement_characters_and_a_byte_order_mark_is_dropped() {
        assert_eq!(
            JsonText::of(b"{\"a\":\"\xffz\xf0\x9f\x98\"}").as_str(),
            "{\"a\":\"\u{fffd}z\u{fffd}\"}"
        );
        assert_eq!(JsonText::of(b"\xef\xbb\xbf{}").as_str(), "{}");
    }

    #[test]
    fn a_value_too_deep_or_out_of_range_becomes_null() {
        for (odd, read) in [
            ("[1e400,-1E+999,1e308,0e999,5e-999]", "[null,null,1e308,0e999,5e-999]"),
            (r#"{"maximum":1e400,"a":"1e400"}"#, r#"{"maximum":null,"a":"1e400"}"#),
            (&format!("[{},7]", "9".repeat(400)), "[null,7]"),
            ("1e400", "null"),
            (
                &format!(r#"{{"a":{},"b":1}}"#, nested(200)),
                &format!(r#"{{"a":{}null{},"b":1}}"#, "[".repeat(119), "]".repeat(119)),
            ),
        ] {
            assert_eq!(readable(odd), read);
        }
        assert_eq!(readable(&nested(120)), nested(120));
        assert!(serde_json::from_str::<Value>(&readable(&nested(100_000))).is_ok());
        assert_eq!(readable("[1.7976931348623157e308]"), "[1.7976931348623157e308]");
    }

    #[test]
    fn a_text_that_is_no_json_stays_as_it_is() {
        for text in [
            "",
            "<html>\"\\ud83d\"</html>",
            "{\"a\":\"\\ud83d\"",
            "[1e400,]",
            "[1e400}",
            "{\"a\" 1e400}",
            "\"\\ud83d",
            "\"\\",
            "\"\\u",
            "[\"\\ud83d\"] x",
            "{1e400:2}",
            "nul",
            "[",
            "]",
            "[01e400]",
        ] {
            assert_eq!(readable(text), text);
        }
        for inner in [r#""\d""#, "\"\t\"", "01", "1e", "tru", r#"{"a":1 "b":2}"#] {
            let text = nested(250);
            let text = format!("{}{inner}{}", &text[..250], &text[250..]);
            assert_eq!(readable(&text), text);
        }
        assert!(parse::<Value>(&nested(50_000).as_bytes()[..60_000]).is_err());
    }

    #[test]
    fn the_received_text_is_found_for_every_part() {
        let text = r#"{"x":"\ud83d","deep":1e400,"a":{"t":"\ud83d"},"b":[1e400,[]],"c":"plain"}"#;
        let json = JsonText::of(text.as_bytes());
        let part = |piece: &str| {
            let at = json.as_str().find(piece).unwrap();
            json.received(&json.as_str()[at..at + piece.len()])
        };
        let received = |text, is_odd, is_lossy| Received { text, is_odd, is_lossy };
        assert_eq!(part(r#"{"t":"\ufffd"}"#), received(r#"{"t":"\ud83d"}"#, true, false));
        assert_eq!(part("[null,[]]"), received("[1e400,[]]", true, true));
        assert_eq!(part("\"plain\""), received("\"plain\"", false, false));
        assert_eq!(part("null"), received("1e400", true, true));
    }

    #[test]
    fn the_first_value_of_a_text_is_found() {
        let (value, length) = first_value(r#"{"a":"\ud83d"} and [more"#).unwrap();
        assert_eq!((&*value, length), (r#"{"a":"\ufffd"}"#, 14));
        assert!(first_value("{so} it goes").is_none());
    }

    /// A JSON value with parts that need repair.
    fn odd_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1e400".to_owned()),
            Just("-12.5e-3".to_owned()),
            r#"([a-z ]|\\u[dD][89abcdefABCDEF][0-9a-fA-F]{2}|\\u0041|\\n|\\\\|\\"){0,6}"#
                .prop_map(|text| format!("\"{text}\"")),
            (118usize..124).prop_map(nested),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec((r#"([a-z]|\\u[dD]83[dD]){0,3}"#, inner), 0..6).prop_map(
                    |members| {
                        let members =
                            members.iter().map(|(key, value)| format!("\"{key}\":{value}"));
                        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                    }
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn invalid_json_is_repaired_and_a_second_repair_changes_nothing(text in odd_json()) {
            let once = readable(&text);
            prop_assert!(serde_json::from_str::<Value>(&once).is_ok(), "{text} became {once}");
            prop_assert_eq!(&readable(&once), &once);
            let json = JsonText::of(text.as_bytes());
            prop_assert_eq!(json.received(json.as_str()).text, &text);
        }

        #[test]
        fn strings_become_what_javascript_makes_well_formed(units in prop::collection::vec(
            prop_oneof![Just(0x5c_u16), Just(0x22), Just(0x61), 0xd7fe_u16..0xe002], 0..12,
        )) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read: String = serde_json::from_str(&readable(&format!("\"{escaped}\""))).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let json = JsonText::of(&bytes);
            prop_assert_eq!(&readable(json.as_str()), json.as_str());
        }

        #[test]
        fn a_text_is_only_changed_if_the_result_is_json(text in r#"[\[\]{}",:\\ue0-9dD ]{0,40}"#) {
            let once = readable(&text);
            prop_assert!(once == text || serde_json::from_str::<Value>(&once).is_ok());
            prop_assert!(serde_json::from_str::<Value>(&text).is_err() || once == text);
        }
    }
}
