use std::{iter::Peekable, str::Chars};

use mana_persona_runner::domain::{InputHash, JsonText, json_text::first_value};
use serde_json::{Map, Value};

/// Deepest nesting that is kept.
const MAX_DEPTH: usize = 120;
/// Texts with deeper nesting are not compared.
const MAX_COMPARED_DEPTH: usize = 500;

/// Text that JavaScript accepts as JSON is read as JavaScript reads it, with its strings made well formed;
/// text that it does not accept is not read; and text that can be read unchanged is not changed.
pub fn surrogate_repair(text: &[u8]) {
    let json = JsonText::of(text);
    let readable = json.as_str();
    let received = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    assert_eq!(json.received(readable).text, received);
    // A second byte order mark at the front would be removed by the second reading.
    if !readable.starts_with('\u{feff}') {
        assert_eq!(JsonText::of(readable.as_bytes()).as_str(), readable, "read again");
    }

    let read = serde_json::from_str::<Value>(readable);
    let mut model = Model { rest: received.chars().peekable(), depth: 0, is_changed: false };
    match model.document() {
        Ok(expected) => {
            assert_eq!(read.unwrap(), expected);
            assert!(InputHash::of_json(&received).is_some());
            assert_eq!(readable != received, model.is_changed, "{readable}");
            let (first, length) = first_value(received.trim_start_matches(SPACE)).unwrap();
            assert_eq!(first.trim(), readable.trim_matches(SPACE));
            assert_eq!(length, received.trim_matches(SPACE).len());
        }
        Err(Problem::NoJson) => {
            assert!(read.is_err(), "no JSON, and read as {readable}");
            assert_eq!(InputHash::of_json(&received), None);
        }
        Err(Problem::TooDeep) => {}
    }
}

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

enum Problem {
    NoJson,
    TooDeep,
}

type Read<T> = Result<T, Problem>;

/// A model of JavaScript's JSON.parse with strings as UTF-16, and of toWellFormed for each string. Values
/// that this program does not keep are null: numbers beyond f64, which JavaScript reads as Infinity, and
/// values that are nested too deeply.
struct Model<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
    /// Whether the result differs from the received text.
    is_changed: bool,
}

impl Model<'_> {
    fn document(&mut self) -> Read<Value> {
        let value = self.value()?;
        self.skip();
        self.rest.peek().map_or(Ok(value), |_| Err(Problem::NoJson))
    }

    fn skip(&mut self) {
        while self.rest.next_if(|c| SPACE.contains(c)).is_some() {}
    }

    fn take(&mut self, wanted: char) -> Read<()> {
        self.rest.next_if_eq(&wanted).map(drop).ok_or(Problem::NoJson)
    }

    fn word(&mut self, word: &str, value: Value) -> Read<Value> {
        word.chars().try_for_each(|c| self.take(c))?;
        Ok(value)
    }

    fn value(&mut self) -> Read<Value> {
        self.skip();
        match self.rest.peek().copied().ok_or(Problem::NoJson)? {
            '{' | '[' => {
                self.depth += 1;
                if self.depth > MAX_COMPARED_DEPTH {
                    return Err(Problem::TooDeep);
                }
                let value =
                    if self.rest.next() == Some('{') { self.object() } else { self.array() };
                self.depth -= 1;
                let is_kept = self.depth < MAX_DEPTH;
                self.is_changed |= !is_kept;
                value.map(|value| if is_kept { value } else { Value::Null })
            }
            '"' => self.string().map(Value::String),
            't' => self.word("true", true.into()),
            'f' => self.word("false", false.into()),
            'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn array(&mut self) -> Read<Value> {
        let mut items = Vec::new();
        self.skip();
        while self.rest.next_if_eq(&']').is_none() {
            if !items.is_empty() {
                self.take(',')?;
            }
            items.push(self.value()?);
            self.skip();
        }
        Ok(items.into())
    }

    fn object(&mut self) -> Read<Value> {
        let mut members = Map::new();
        let mut is_first = true;
        self.skip();
        while self.rest.next_if_eq(&'}').is_none() {
            if !std::mem::take(&mut is_first) {
                self.take(',')?;
                self.skip();
            }
            let key = self.string()?;
            self.skip();
            self.take(':')?;
            let value = self.value()?;
            members.insert(key, value);
            self.skip();
        }
        Ok(members.into())
    }

    fn number(&mut self) -> Read<Value> {
        let mut text = String::new();
        text.extend(self.rest.next_if_eq(&'-'));
        let is_zero = self.rest.peek() == Some(&'0');
        self.digits(&mut text)?;
        if is_zero && text.trim_start_matches('-').len() > 1 {
            return Err(Problem::NoJson);
        }
        if let Some(point) = self.rest.next_if_eq(&'.') {
            text.push(point);
            self.digits(&mut text)?;
        }
        if let Some(e) = self.rest.next_if(|c| matches!(c, 'e' | 'E')) {
            text.push(e);
            text.extend(self.rest.next_if(|c| matches!(c, '+' | '-')));
            self.digits(&mut text)?;
        }
        let number: f64 = text.parse().unwrap();
        // serde_json refuses numbers slightly below the largest f64.
        let read = serde_json::from_str(&text).ok();
        assert!(read.is_some() || number.abs() > 1.797e308, "{text}");
        self.is_changed |= read.is_none();
        Ok(read.filter(|_| number.is_finite()).unwrap_or_default())
    }

    fn digits(&mut self, text: &mut String) -> Read<()> {
        let before = text.len();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            text.push(digit);
        }
        if text.len() > before { Ok(()) } else { Err(Problem::NoJson) }
    }

    fn string(&mut self) -> Read<String> {
        self.take('"')?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            match self.rest.next().ok_or(Problem::NoJson)? {
                '"' => break,
                '\\' => units.push(self.escape()?),
                control if control < ' ' => return Err(Problem::NoJson),
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        let well_formed = |unit: Result<char, _>| {
            self.is_changed |= unit.is_err();
            unit.unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        Ok(char::decode_utf16(units).map(well_formed).collect())
    }

    fn escape(&mut self) -> Read<u16> {
        Ok(match self.rest.next().ok_or(Problem::NoJson)? {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            same @ ('"' | '\\' | '/') => same as u16,
            'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.rest.next().and_then(|c| c.to_digit(16));
                    unit = unit << 4 | digit.ok_or(Problem::NoJson)? as u16;
                }
                unit
            }
            _ => return Err(Problem::NoJson),
        })
    }
}
