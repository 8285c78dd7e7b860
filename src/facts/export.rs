//! Reads and writes an export: one [`Line`] a line of text, as JSON.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read, Write},
};

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::line::{Line, SCHEMA};

/// Longest line, in bytes. The longest line that is written is a catalog of 1,000 tools. Other programs may write
/// longer texts, of which a window keeps the beginning.
const LINE_BYTES: usize = 16 << 20;
/// Longest text about a bad line, in characters: serde's text repeats the value.
const PROBLEM: usize = 300;
/// The mark with which some editors begin a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What the first line is expected to be.
const EXPECTED_META: &str =
    r#"expected the line {"kind":"meta","schema":"facts/v1","tz":…} before all others"#;

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// A line is bad.
    #[error("line {number}: {problem}")]
    Line {
        /// The number of the line, from 1.
        number: u64,
        /// What is wrong with it and what was expected, in at most 300 characters. It may hold text of the line.
        problem: String,
    },
}

/// Reads the lines of an export one after the other and gives each to `take`, which says what it expected instead if
/// the line does not fit to those before. A mark of the byte order, a carriage
/// return at the end of a line, and blank lines at the end of the file are allowed.
///
/// # Errors
/// When the file cannot be read, when a line is longer than 16 MiB, is not UTF-8, is no JSON object or misses what
/// its kind needs, when its kind or one of its words is unknown, or when the first line is not the one of the meta
/// kind, with the schema facts/v1 and a time zone that is known, or when `take` refuses a line. `take` has got the lines
/// before the bad one.
pub fn read(
    mut input: impl BufRead,
    mut take: impl FnMut(Line) -> Result<(), String>,
) -> Result<(), ReadError> {
    let mut line = Vec::new();
    let mut blank = None;
    for number in 1.. {
        line.clear();
        let most = u64::try_from(LINE_BYTES + b"\n".len()).unwrap_or(u64::MAX);
        if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            let is_empty = number == 1 || blank == Some(1);
            return if is_empty { Err(bad(1, EXPECTED_META.into())) } else { Ok(()) };
        }
        if line.len() > LINE_BYTES && !line.ends_with(b"\n") {
            return Err(bad(number, format!("expected a line of at most {LINE_BYTES} bytes")));
        }
        let text = line.trim_ascii();
        let text =
            if number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        match (text.is_empty(), blank) {
            (true, _) => {
                blank.get_or_insert(number);
            }
            (false, Some(blank)) => {
                return Err(bad(blank, "expected a JSON object, but the line is empty".into()));
            }
            (false, None) => {
                let line = parse(text).and_then(|line| check(number, line));
                line.and_then(&mut take).map_err(|problem| bad(number, problem))?;
            }
        }
    }
    Ok(())
}

/// Writes `line` as one line of text. The same line has the same bytes at any time.
///
/// # Errors
/// When `output` cannot be written.
pub fn write(output: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *output, line)?;
    output.write_all(b"\n")
}

fn bad(number: u64, problem: String) -> ReadError {
    let problem = match problem.char_indices().nth(PROBLEM) {
        Some((end, _)) => format!("{}…", problem.get(..end).unwrap_or_default()),
        None => problem,
    };
    ReadError::Line { number, problem }
}

fn parse(text: &[u8]) -> Result<Line, String> {
    let text = str::from_utf8(text).map_err(|error| {
        format!("expected UTF-8, but byte {} of the line is not", error.valid_up_to() + 1)
    })?;
    if !text.starts_with('{') {
        return Err("expected a JSON object".into());
    }
    typed(text).map_err(|error| {
        let said = error.to_string();
        let (said, _) = said.rsplit_once(" at line ").unwrap_or((&said, ""));
        let what = if error.is_data() { "" } else { "expected a JSON object: " };
        format!("{what}{said}, at byte {} of the line", error.column())
    })
}

/// Reads a line in two steps: first its kind, then the fields of this kind. serde would read an enum with a tag by
/// way of a copy of all its values, and its errors would not tell the place.
fn typed(text: &str) -> serde_json::Result<Line> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(borrow)]
        kind: Cow<'a, str>,
    }
    let Tag { kind } = serde_json::from_str(text)?;
    Ok(match &*kind {
        "meta" => Line::Meta(serde_json::from_str(text)?),
        "catalog" => Line::Catalog(serde_json::from_str(text)?),
        "deployment" => Line::Deployment(serde_json::from_str(text)?),
        "persona" => Line::Persona(serde_json::from_str(text)?),
        "run" => Line::Run(serde_json::from_str(text)?),
        "call" => Line::Call(serde_json::from_str(text)?),
        "module" => Line::Module(serde_json::from_str(text)?),
        "issue" => Line::Issue(serde_json::from_str(text)?),
        "hit" => Line::Hit(serde_json::from_str(text)?),
        "tool" => Line::Tool(serde_json::from_str(text)?),
        "absence" => Line::Absence(serde_json::from_str(text)?),
        "tick" => Line::Tick(serde_json::from_str(text)?),
        "mute" => Line::Mute(serde_json::from_str(text)?),
        // serde's own error lists the kinds.
        _ => serde_json::from_str(text)?,
    })
}

/// Checks that the first line, and no other, is the meta line of a schema and a time zone that are known.
fn check(number: u64, line: Line) -> Result<Line, String> {
    match (&line, number) {
        (Line::Meta(meta), 1) if meta.schema != SCHEMA => {
            Err(format!("expected the schema {SCHEMA}, not {}", meta.schema))
        }
        (Line::Meta(meta), 1) if TimeZone::get(&meta.tz).is_err() => {
            Err(format!("expected an IANA time zone such as Europe/Berlin, not {}", meta.tz))
        }
        (Line::Meta(_), 1) => Ok(line),
        (Line::Meta(_), _) => Err("expected no second meta line".into()),
        (_, 1) => Err(EXPECTED_META.into()),
        _ => Ok(line),
    }
}

#[cfg(test)]
mod tests;
