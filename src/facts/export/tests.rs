use std::io::{BufReader, Cursor};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Cause, Label, Next, Outcome, UnratedWhy, WhyNotRun};

const META: &str = r#"{"kind":"meta","schema":"facts/v1","tz":"Europe/Berlin"}"#;
const TICK: &str = r#"{"kind":"tick","at":"2026-11-18T10:00:00Z"}"#;
const RUN: &str =
    r#"{"kind":"run","id":"r","persona":"p","at":"2026-11-18T10:00:00Z","outcome":"done"}"#;

/// The lines of a text.
fn lines(text: impl AsRef<[u8]>) -> Result<Vec<Line>, ReadError> {
    let mut lines = Vec::new();
    read(text.as_ref(), |line| {
        lines.push(line);
        Ok(())
    })?;
    Ok(lines)
}

/// The number and the problem of the bad line of a text.
fn refusal(text: impl AsRef<[u8]>) -> (u64, String) {
    match lines(text) {
        Err(ReadError::Line { number, problem }) => (number, problem),
        other => panic!("{other:?}"),
    }
}

/// One line of each kind, with these texts.
fn each_kind(text: &str, other: &str) -> Vec<Line> {
    let at = "2026-11-18T10:00:00.123Z";
    let lines = json!([
        {"kind": "meta", "schema": "facts/v1", "tz": "Europe/Berlin"},
        {"kind": "catalog", "id": text, "tools": [{"name": text, "hash": other}], "hidden": [other]},
        {"kind": "deployment", "id": "D-1", "version": text, "source": "release", "at": at},
        {"kind": "persona", "id": other, "label": text, "archetype": text, "cadence": "daily",
            "mix": {text: 0.5}},
        {"kind": "run", "id": text, "persona": other, "at": at, "endedAt": at, "slot": "2026-11-18",
            "serverTime": at, "deployment": "D-1", "deploymentEnd": null, "model": text, "effort": "low",
            "policy": text, "runner": text, "prompt": text, "catalog": text, "outcome": "done",
            "costUsd": 0.1},
        {"kind": "call", "run": text, "number": 1, "at": at, "tool": text, "module": other, "ok": false,
            "cause": "handler", "issue": "F-AAAA", "template": text, "inputHash": "ab", "latencyMs": 9,
            "tries": 2, "chars": 7, "cut": true, "limitOffered": true, "next": "again-ok", "quote": text},
        {"kind": "module", "run": text, "module": other, "rating": 4, "grounded": true,
            "unratedWhy": null, "notes": text, "calls": [1], "reads": 1, "writes": 2, "failed": 3,
            "deadEnd": true},
        {"kind": "issue", "id": "F-AAAA", "tool": null, "cause": "coded", "template": text,
            "first": {"at": at, "run": text, "call": 1, "deployment": "D-1"}},
        {"kind": "hit", "issue": "F-AAAA", "run": text, "calls": 2, "recovered": true, "tools": [text]},
        {"kind": "tool", "run": text, "tool": other, "calls": 3, "failed": 1, "deadEnd": false,
            "recovered": true},
        {"kind": "absence", "slot": "2026-11-18T14", "persona": text, "why": "other"},
        {"kind": "tick", "at": at},
        {"kind": "mute", "issue": "F-AAAA", "from": at, "until": at, "reason": text},
    ]);
    serde_json::from_value(lines).unwrap()
}

fn written(lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::new();
    lines.iter().for_each(|line| write(&mut text, line).unwrap());
    text
}

proptest! {
    #[test]
    fn what_is_written_is_read(one in any::<String>(), other in "(?s).{0,20}") {
        let all = each_kind(&one, &other);
        let text = written(&all);
        prop_assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), all.len());
        prop_assert_eq!(lines(&text).unwrap(), all);
    }
}

#[test]
fn null_is_what_a_missing_field_is_in_each_optional_field_of_each_kind() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/schema/facts-v1.json")).unwrap();
    let read = |line: &Value| typed(&line.to_string()).map_err(|error| error.to_string());
    for line in each_kind("a", "b") {
        let line = serde_json::to_value(&line).unwrap();
        let kind = &schema["$defs"][line["kind"].as_str().unwrap()];
        let required = kind["required"].as_array().unwrap();
        for (field, of) in kind["properties"].as_object().unwrap() {
            if required.contains(&json!(field)) {
                continue;
            }
            let (mut missing, mut null) = (line.clone(), line.clone());
            missing.as_object_mut().unwrap().shift_remove(field);
            null[field] = Value::Null;
            assert_eq!(read(&null), read(&missing), "{field} of {line}");
            assert!(read(&null).is_ok(), "{field} of {line}: {:?}", read(&null));
            let allows_null =
                ["type", "enum", "anyOf"].iter().any(|key| of[key].to_string().contains("null"));
            assert!(allows_null, "the schema: {field} of {line}");
        }
    }
}

#[test]
fn hostile_texts_stay_one_line_each() {
    let hostile = "<script>alert(1)</script>|`x`\u{202e}\0\n\r\u{2028}\u{feff}";
    let all = each_kind(hostile, hostile);
    assert_eq!(lines(written(&all)).unwrap(), all);
}

#[test]
fn a_mark_of_the_byte_order_carriage_returns_and_blank_lines_at_the_end_are_allowed() {
    let expected = lines(format!("{META}\n{TICK}\n")).unwrap();
    assert_eq!(expected.len(), 2);
    for text in [
        format!("{META}\n{TICK}"),
        format!("\u{feff}{META}\r\n{TICK}\r\n"),
        format!("{META}\n{TICK}\n\n \r\n\n"),
        format!(" {META}\n\t{TICK} \n"),
    ] {
        assert_eq!(lines(&text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn the_first_line_says_what_the_export_is_and_no_other_does() {
    let unknown = |meta: &str| {
        let (number, problem) = refusal(format!("{meta}\n{TICK}\n"));
        assert_eq!(number, 1, "{problem}");
        problem
    };
    for text in ["", "\n", "\n\n\n"] {
        assert_eq!(refusal(text), (1, EXPECTED_META.into()), "{text:?}");
    }
    assert_eq!(unknown(RUN), EXPECTED_META);
    assert!(unknown(&META.replace("v1", "v2")).ends_with("schema facts/v1, not facts/v2"));
    assert!(unknown(&META.replace("Berlin", "Atlantis")).ends_with("not Europe/Atlantis"));
    assert!(unknown(r#"{"kind":"meta","schema":"facts/v1"}"#).contains("missing field `tz`"));
    assert_eq!(refusal(format!("{META}\n{TICK}\n{META}\n")).0, 3);
}

#[test]
fn a_bad_line_is_named_with_what_was_expected() {
    for (bad, expected) in [
        ("[1]", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("{", "expected a JSON object: EOF while parsing"),
        ("{\"kind\":\"tick\"}}", "expected a JSON object: trailing characters"),
        ("{\"kind\":\"tick\" \"at\":1}", "expected `,` or `}`, at byte 16 of the line"),
        ("{\"at\":1}", "missing field `kind`"),
        ("{\"kind\":7}", "invalid type: integer `7`, expected a string"),
        ("{\"kind\":\"tock\"}", "unknown variant `tock`, expected one of `meta`, `catalog`"),
        ("{\"kind\":\"tick\"}", "missing field `at`"),
        ("{\"kind\":\"tick\",\"at\":\"noon\"}", "expected 0-9 but got n, at byte 26 of the line"),
        ("{\"kind\":\"tick\",\"at\":\"\\ud800\"}", "unexpected end of hex escape"),
        ("{\"kind\":\"a\0b\"}", "control character"),
        (&RUN.replace("done", "fun"), "expected one of done, turns, cost"),
        (&RUN.replace("\"r\"", "[]"), "invalid type: sequence, expected a string, at byte 19"),
        (
            &RUN.replace("\"r\"", &format!("{:?}", "r".repeat(257))),
            "expected an id of at most 256 characters, at byte",
        ),
        (
            r#"{"kind":"tool","run":"r","tool":"t","calls":1.5}"#,
            "expected a whole number from 0 to 4294967295, not 1.5, at byte",
        ),
        (
            r#"{"kind":"absence","slot":"s","persona":"p","why":"tired"}"#,
            "expected one of slot-used, held-back",
        ),
    ] {
        let (number, problem) = refusal(format!("{META}\n{TICK}\n{bad}\n{TICK}\n"));
        assert_eq!(number, 3, "{bad}: {problem}");
        assert!(problem.contains(expected), "{bad}: {problem}");
    }
    let invalid = [META.as_bytes(), b"\n{\"kind\":\"tick\",\"x\":\"\xff\"}\n"].concat();
    assert_eq!(refusal(invalid), (2, "expected UTF-8, but byte 21 of the line is not".into()));
    let (number, problem) = refusal(format!("{META}\n\n\n{TICK}\n"));
    assert_eq!((number, &*problem), (2, "expected a JSON object, but the line is empty"));
}

#[test]
fn a_line_is_as_long_as_it_may_be_and_no_longer() {
    let body = TICK.trim_end_matches('}');
    let inside = |spaces: usize| format!("{body}{}}}", " ".repeat(spaces));
    let after = |spaces: usize| format!("{TICK}{}", " ".repeat(spaces));
    let most = LINE_BYTES - TICK.len();
    for tick in [inside(most), after(most)] {
        assert_eq!(lines(format!("{META}\n{tick}\n")).unwrap().len(), 2);
        assert_eq!(lines(format!("{META}\n{tick}")).unwrap().len(), 2);
    }
    for tick in [inside(most + 1), after(most + 1), inside(40_000_000), after(40_000_000)] {
        let expected = (2, "expected a line of at most 16777216 bytes".to_owned());
        assert_eq!(refusal(format!("{META}\n{tick}\n{TICK}\n")), expected);
    }
}

#[test]
fn a_problem_is_short_however_long_the_value() {
    let kind = "ä".repeat(100_000);
    let (_, problem) = refusal(format!("{META}\n{{\"kind\":\"{kind}\"}}\n"));
    assert_eq!(problem.chars().count(), PROBLEM + 1);
}

/// A file that cannot be read any further.
struct Unreadable;

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn each_line_is_handed_over_before_the_next_one_is_read() {
    let text = format!("{META}\n{TICK}\n{TICK}\n");
    let mut input = BufReader::new(Cursor::new(text).chain(Unreadable));
    let mut taken = 0;
    let read = read(&mut input, |_| {
        taken += 1;
        Ok(())
    });
    assert!(matches!(read, Err(ReadError::Input(_))), "{read:?}");
    assert_eq!(taken, 3);
}

#[test]
fn a_line_that_does_not_fit_is_a_bad_line() {
    let text = format!("{META}\n{TICK}\n{RUN}\n");
    let read = read(text.as_bytes(), |line| match line {
        Line::Run(_) => Err("expected something else".into()),
        _ => Ok(()),
    });
    assert_eq!(read.unwrap_err().to_string(), "line 3: expected something else");
}

/// The words of an enum that the schema lists for a property of a kind of line.
fn words(schema: &Value, kind: &str, property: &str) -> Vec<String> {
    let words = &schema["$defs"][kind]["properties"][property]["enum"];
    let words = words.as_array().unwrap_or_else(|| panic!("{kind}.{property}"));
    words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn all<L: Label>() -> Vec<&'static str> {
    L::ALL.iter().map(|label| label.as_str()).collect()
}

#[test]
fn the_schema_lists_every_kind_and_every_word() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/schema/facts-v1.json")).unwrap();
    assert_eq!(words(&schema, "call", "cause"), all::<Cause>());
    assert_eq!(words(&schema, "issue", "cause"), all::<Cause>());
    assert_eq!(words(&schema, "call", "next"), all::<Next>());
    assert_eq!(words(&schema, "run", "outcome"), all::<Outcome>());
    assert_eq!(words(&schema, "module", "unratedWhy"), all::<UnratedWhy>());
    assert_eq!(words(&schema, "absence", "why"), all::<WhyNotRun>());
    for line in each_kind("a", "b") {
        let line = serde_json::to_value(&line).unwrap();
        let kind = line["kind"].as_str().unwrap();
        let properties = schema["$defs"][kind]["properties"].as_object().unwrap();
        let mut known: Vec<_> = properties.keys().collect();
        let mut printed: Vec<_> = line.as_object().unwrap().keys().collect();
        known.sort();
        printed.sort();
        assert_eq!(printed, known, "{kind}");
    }
}
