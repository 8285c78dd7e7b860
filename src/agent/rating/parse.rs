//! Reads ratings from any answer of the model.
//!
//! The parser accepts white space, code fences, text around the JSON, missing notes and numbers as strings.
//! It returns only modules that were asked for, each once, with ratings from 1 to 5.

use serde_json::Value;

use crate::domain::{ModuleName, ModuleRating, Rating, Redactor, json_text};

/// How many bytes of an answer are read.
const MAX_ANSWER: usize = 64 << 10;
/// At how many positions the tolerant JSON reader is tried in one answer. Each try may read the whole rest.
const MAX_REPAIRS: usize = 64;

/// The ratings of the `asked` modules in `answer`, in their order. The first rating of a module counts. Notes
/// are redacted after parsing: redacting the answer before could damage the JSON where a secret is an
/// ordinary word.
pub fn parse_ratings(answer: &str, asked: &[ModuleName], redactor: &Redactor) -> Vec<ModuleRating> {
    let mut ratings: Vec<ModuleRating> = Vec::new();
    for value in json_values(answer).iter().flat_map(of_modules) {
        if let Some(rating) = read(value, asked, redactor)
            && ratings.iter().all(|earlier| earlier.module != rating.module)
        {
            ratings.push(rating);
        }
    }
    ratings
}

/// All JSON objects and arrays in the text. Values inside other values are not listed separately.
fn json_values(text: &str) -> Vec<Value> {
    let mut rest = &text[..text.floor_char_boundary(MAX_ANSWER)];
    let (mut values, mut repairs) = (Vec::new(), 0);
    while let Some(start) = rest.find(['{', '[']) {
        rest = &rest[start..];
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter();
        let strict = stream.next().and_then(Result::ok);
        let (value, length) = match strict {
            None if repairs < MAX_REPAIRS => {
                repairs += 1;
                let (text, length) = json_text::first_value(rest).unwrap_or_default();
                (serde_json::from_str(&text).ok(), length)
            }
            value => (value, stream.byte_offset()),
        };
        // If no value begins at this bracket, the next bracket is tried.
        rest = &rest[if value.is_some() { length } else { 1 }..];
        values.extend(value);
    }
    values
}

/// All objects in `value` that have the key `module`, at any depth.
fn of_modules(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(of_modules).collect(),
        Value::Object(members) if members.contains_key("module") => vec![value],
        Value::Object(members) => members.values().flat_map(of_modules).collect(),
        _ => Vec::new(),
    }
}

fn read(value: &Value, asked: &[ModuleName], redactor: &Redactor) -> Option<ModuleRating> {
    let name = value["module"].as_str()?.trim();
    let module = asked
        .iter()
        .find(|module| module.as_str().trim() == name)
        .or_else(|| asked.iter().find(|m| m.as_str().trim().eq_ignore_ascii_case(name)))?;
    let rating = Rating::nearest(number(&value["rating"])?)?;
    let calls = value["calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let calls = calls.iter().filter_map(|call| u32::try_from(call.as_u64()?).ok()).collect();
    let notes = value["notes"].as_str().map(|notes| redactor.redact(notes));
    Some(ModuleRating::new(module.clone(), rating, notes.as_deref(), calls))
}

/// A number, or the number at the beginning of a string: `4`, `"4"`, `"4,5"`, `"4/5"`, `"4 (gut)"`.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let text = text.trim().replacen(',', ".", 1);
            let unsigned = text.strip_prefix('-').unwrap_or(&text);
            let rest = unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            text[..text.len() - rest.len()].trim_end_matches('.').parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked() -> Vec<ModuleName> {
        ["todo", "notes", "newsResearch"].map(ModuleName::new).to_vec()
    }

    fn parse(answer: &str) -> Vec<(String, u8, Option<String>)> {
        let ratings = parse_ratings(answer, &asked(), &Redactor::default()).into_iter();
        ratings.map(|r| (r.module.as_str().to_owned(), r.rating.get(), r.notes)).collect()
    }

    fn plain(answer: &str) -> Vec<(String, u8)> {
        parse(answer).into_iter().map(|(module, rating, _)| (module, rating)).collect()
    }

    #[test]
    fn notes_lose_secrets_before_they_are_cut_and_names_of_the_shape_stay() {
        let redactor = Redactor::new(["module", "rating", "newsResearch", "s3cret-password"]);
        let notes = format!("{}s3cret-password", "x".repeat(990));
        let answer = serde_json::json!({"ratings": [
            {"module": "newsResearch", "rating": 4, "notes": "the module hides s3cret-password"},
            {"module": "todo", "rating": 2, "notes": notes},
        ]});
        let ratings = parse_ratings(&answer.to_string(), &asked(), &redactor);
        let notes: Vec<_> = ratings.iter().map(|r| r.notes.as_deref().unwrap()).collect();
        assert_eq!(notes[0], "the [redacted] hides [redacted]");
        assert_eq!(notes[1], format!("{}[redacted]", "x".repeat(990)));
    }

    #[test]
    fn the_asked_for_shape_is_read_whole() {
        let answer = r#"{"ratings":[{"module":"todo","notes":"Gut.","calls":[1,3],"rating":4},
            {"module":"notes","notes":"Naja.","calls":[2],"rating":2}]}"#;
        let ratings = parse_ratings(answer, &asked(), &Redactor::default());
        assert_eq!(ratings[0].calls, [1, 3]);
        assert_eq!(
            parse(answer),
            [("todo".into(), 4, Some("Gut.".into())), ("notes".into(), 2, Some("Naja.".into()))]
        );
    }

    #[test]
    fn fences_prose_and_white_space_do_not_matter() {
        for answer in [
            "```json\n{\"ratings\":[{\"module\":\"todo\",\"rating\":4}]}\n```",
            "Klar! [siehe oben] Hier {meine} Antwort: {\"ratings\":[{\"module\":\" todo \",\"rating\":4}]} Tschüss }",
            "[{\"module\":\"todo\",\"rating\":4}]",
            "{\"module\":\"todo\",\"rating\":4}",
            "{\"ergebnis\":{\"ratings\":[{\"module\":\"Todo\",\"rating\":4}]}}",
            // Values that JavaScript reads and serde_json does not.
            r#"{"ratings":[{"module":"todo","rating":4,"notes":"a\ud83d"}],"x":1e400}"#,
            &format!(
                r#"{{"ratings":[{{"module":"todo","rating":4}}],"x":{}1{}}}"#,
                "[".repeat(300),
                "]".repeat(300)
            ),
            // An answer that is cut off in the middle. Its complete ratings count.
            "{\"ratings\":[{\"module\":\"todo\",\"rating\":4},{\"module\":\"no",
        ] {
            assert_eq!(plain(answer), [("todo".to_owned(), 4)], "{answer}");
        }
    }

    #[test]
    fn numbers_come_in_many_forms() {
        for (rating, read) in [
            ("4", Some(4)),
            ("4.4", Some(4)),
            ("4.5", Some(5)),
            ("\"4\"", Some(4)),
            ("\" 3,6 \"", Some(4)),
            ("\"4/5\"", Some(4)),
            ("\"2 (eher nicht)\"", Some(2)),
            ("0", Some(1)),
            ("-3", Some(1)),
            ("\"-3\"", Some(1)),
            ("99", Some(5)),
            ("null", None),
            ("\"\"", None),
            ("\"gut\"", None),
            ("true", None),
            ("[4]", None),
        ] {
            let answer = format!("{{\"ratings\":[{{\"module\":\"todo\",\"rating\":{rating}}}]}}");
            assert_eq!(plain(&answer).first().map(|(_, rating)| *rating), read, "{rating}");
        }
    }

    #[test]
    fn unknown_and_repeated_modules_are_dropped() {
        let answer = r#"{"ratings":[{"module":"mail","rating":1},{"module":"todo","rating":5},
            {"module":"todo","rating":1},{"rating":3},{"module":7,"rating":3}]}"#;
        assert_eq!(plain(answer), [("todo".to_owned(), 5)]);
    }

    #[test]
    fn nothing_readable_gives_nothing() {
        for answer in ["", "Keine Lust.", "{", "{\"ratings\":null}", "[[[", "{\"ratings\":[]}"] {
            assert!(plain(answer).is_empty(), "{answer}");
        }
        assert!(plain(&"[".repeat(200_000)).is_empty());
        assert!(plain(&"{\"a\":".repeat(50_000)).is_empty());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_and_only_asked_modules_and_1_to_5_come_out(
            answer in prop_oneof![
                ".{0,200}",
                "[\\[\\]{}\":,a-z0-9. -]{0,200}",
                r#"(\{"ratings":\[)?(\{"module":"(todo|notes|x)","rating":"?-?[0-9]{1,20}(\.[0-9]+)?"?\},?){0,5}(\]\})?"#,
            ]
        ) {
            let ratings = parse_ratings(&answer, &asked(), &Redactor::default());
            let mut modules: Vec<_> = ratings.iter().map(|r| r.module.clone()).collect();
            prop_assert!(modules.iter().all(|module| asked().contains(module)));
            prop_assert!(ratings.iter().all(|r| (1..=5).contains(&r.rating.get())));
            modules.sort();
            modules.dedup();
            prop_assert_eq!(modules.len(), ratings.len());
        }
    }
}
