//! The hash of a tool call's input, comparable with the rows of the runner this one replaces.

use std::{collections::HashMap, fmt, fmt::Write, iter::Peekable, ops::Range, str::Chars};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use sha2::{Digest, Sha256};

/// First 16 hex digits of the SHA-256 of what JavaScript's `JSON.stringify(JSON.parse(input))` gives.
///
/// That differs from the raw text in white space, string escapes, number spelling, duplicate keys
/// (last value, first place) and key order (array-index keys first, ascending).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputHash(String);

impl InputHash {
    /// The hash of `raw`, one JSON value. `None` if it is not JSON or nests deeper than 3,000 levels.
    pub fn of_json(raw: &str) -> Option<Self> {
        let digest = Sha256::digest(stringify(raw)?);
        let mut hex = String::with_capacity(16);
        for byte in &digest[..8] {
            write!(hex, "{byte:02x}").ok()?;
        }
        Some(Self(hex))
    }

    /// The 16 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InputHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Deepest nesting that is read; JavaScript itself gives up somewhat above it.
const MAX_DEPTH: usize = 3_000;
/// Largest array index of JavaScript: keys up to it are enumerated first, in numeric order.
const MAX_ARRAY_INDEX: u64 = u32::MAX as u64 - 1;

/// What `JSON.stringify(JSON.parse(raw))` gives.
fn stringify(raw: &str) -> Option<String> {
    let mut parser = Parser { chars: raw.chars().peekable() };
    let mut out = String::with_capacity(raw.len());
    parser.value(&mut out)?;
    parser.skip_white_space();
    parser.chars.next().is_none().then_some(out)
}

/// Reads JSON and writes its canonical form. Strings are kept as UTF-16 code units, as JavaScript
/// keeps them, because a lone surrogate is legal there.
struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
}

/// An object or array whose end was not read yet.
struct Open {
    close: char,
    /// Where its content begins in what is written.
    begin: usize,
    /// Of an object: each key with the place of its value.
    members: Vec<(Vec<u16>, Range<usize>)>,
}

impl Parser<'_> {
    /// One value, without recursion: how deep others nest is not for them to decide.
    fn value(&mut self, out: &mut String) -> Option<()> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.skip_white_space();
            match *self.chars.peek()? {
                bracket @ ('{' | '[') => {
                    self.chars.next();
                    out.push(bracket);
                    let close = if bracket == '{' { '}' } else { ']' };
                    self.skip_white_space();
                    if self.chars.next_if_eq(&close).is_none() {
                        open.push(Open { close, begin: out.len(), members: Vec::new() });
                        self.key(open.last_mut()?, out)?;
                        if open.len() > MAX_DEPTH {
                            return None;
                        }
                        continue;
                    }
                    out.push(close);
                }
                '"' => quote(&self.string()?, out),
                't' => self.literal("true", out)?,
                'f' => self.literal("false", out)?,
                'n' => self.literal("null", out)?,
                _ => self.number(out)?,
            }
            loop {
                let Some(inner) = open.last_mut() else { return Some(()) };
                if let Some((_, value)) = inner.members.last_mut() {
                    value.end = out.len();
                }
                self.skip_white_space();
                match self.chars.next()? {
                    ',' => {
                        out.push(',');
                        self.key(inner, out)?;
                        break;
                    }
                    c if c == inner.close => {
                        inner.arrange(out);
                        out.push(c);
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    /// The key of a member, where it is one that comes next.
    fn key(&mut self, open: &mut Open, out: &mut String) -> Option<()> {
        if open.close == '}' {
            self.skip_white_space();
            let key = self.string()?;
            self.skip_white_space();
            self.expect(':')?;
            quote(&key, out);
            out.push(':');
            open.members.push((key, out.len()..out.len()));
        }
        Some(())
    }

    fn string(&mut self) -> Option<Vec<u16>> {
        self.expect('"')?;
        let mut units = Vec::new();
        loop {
            match self.chars.next()? {
                '"' => return Some(units),
                '\\' => units.push(self.escape()?),
                c if c < ' ' => return None,
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        Some(match self.chars.next()? {
            'b' => 0x08,
            't' => 0x09,
            'n' => 0x0a,
            'f' => 0x0c,
            'r' => 0x0d,
            'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    unit = unit * 16 + self.chars.next()?.to_digit(16)?;
                }
                u16::try_from(unit).ok()?
            }
            c @ ('"' | '\\' | '/') => u16::try_from(u32::from(c)).ok()?,
            _ => return None,
        })
    }

    fn number(&mut self, out: &mut String) -> Option<()> {
        let mut text = String::new();
        while let Some(c) =
            self.chars.next_if(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'))
        {
            text.push(c);
        }
        serde_json::from_str::<IgnoredAny>(&text).ok()?;
        write_number(text.parse().ok()?, out)
    }

    fn literal(&mut self, word: &str, out: &mut String) -> Option<()> {
        for c in word.chars() {
            self.expect(c)?;
        }
        out.push_str(word);
        Some(())
    }

    fn expect(&mut self, c: char) -> Option<()> {
        self.chars.next_if_eq(&c).map(drop)
    }

    fn skip_white_space(&mut self) {
        while self.chars.next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }
}

impl Open {
    /// Writes an object's members as JavaScript enumerates them, where that is not how they were read.
    fn arrange(&self, out: &mut String) {
        let mut places: HashMap<&[u16], usize> = HashMap::new();
        let mut members: Vec<(&[u16], &Range<usize>)> = Vec::new();
        for (key, value) in &self.members {
            match places.get(&**key) {
                Some(&place) => members[place].1 = value,
                None => {
                    places.insert(key, members.len());
                    members.push((key, value));
                }
            }
        }
        let is_index = |(key, _): &(&[u16], _)| array_index(key).is_some();
        if members.len() == self.members.len() && !members.iter().any(is_index) {
            return;
        }
        // The sort is stable: keys that are no index keep their order, behind those that are.
        members.sort_by_key(|(key, _)| array_index(key).unwrap_or(u64::MAX));
        let mut arranged = String::with_capacity(out.len() - self.begin);
        for (n, (key, value)) in members.into_iter().enumerate() {
            if n > 0 {
                arranged.push(',');
            }
            quote(key, &mut arranged);
            arranged.push(':');
            arranged.push_str(&out[value.clone()]);
        }
        out.truncate(self.begin);
        out.push_str(&arranged);
    }
}

/// The number a key stands for, if JavaScript treats it as an array index.
fn array_index(key: &[u16]) -> Option<u64> {
    let text = String::from_utf16(key).ok()?;
    let index = text.parse::<u64>().ok().filter(|&index| index <= MAX_ARRAY_INDEX)?;
    // Only the canonical spelling counts: not "01", not "+1".
    (index.to_string() == text).then_some(index)
}

/// Writes a string as JSON.stringify quotes it.
fn quote(units: &[u16], out: &mut String) {
    out.push('"');
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok('"') => out.push_str("\\\""),
            Ok('\\') => out.push_str("\\\\"),
            Ok('\u{8}') => out.push_str("\\b"),
            Ok('\t') => out.push_str("\\t"),
            Ok('\n') => out.push_str("\\n"),
            Ok('\u{c}') => out.push_str("\\f"),
            Ok('\r') => out.push_str("\\r"),
            Ok(c) if c < ' ' => push_unit(u16::try_from(u32::from(c)).unwrap_or_default(), out),
            Ok(c) => out.push(c),
            Err(lone) => push_unit(lone.unpaired_surrogate(), out),
        }
    }
    out.push('"');
}

fn push_unit(unit: u16, out: &mut String) {
    out.push_str(&format!("\\u{unit:04x}"));
}

/// Writes a number as JavaScript's Number::toString does; what is not finite becomes null.
fn write_number(value: f64, out: &mut String) -> Option<()> {
    if !value.is_finite() {
        out.push_str("null");
        return Some(());
    }
    if value == 0.0 {
        out.push('0');
        return Some(());
    }
    // Rust's exponent form gives the shortest digits that read back as the same number, as
    // JavaScript's does; only their arrangement differs.
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e')?;
    let digits = mantissa.replace('.', "");
    let count = i32::try_from(digits.len()).ok()?;
    let point = exponent.parse::<i32>().ok()? + 1;
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or_default());
    if value < 0.0 {
        out.push('-');
    }
    if (count..=21).contains(&point) {
        *out += &digits;
        *out += &zeros(point - count);
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).ok()?);
        write!(out, "{whole}.{fraction}").ok()?;
    } else if (-5..=0).contains(&point) {
        write!(out, "0.{}{digits}", zeros(-point)).ok()?;
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        write!(out, "{first}{dot}{rest}e{:+}", point - 1).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Canonical text and hash, as Node gives them.
    #[test]
    fn known_answers_of_javascript() {
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
