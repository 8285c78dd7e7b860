//! Checks a tool's arguments against its schema, with the part of JSON Schema that the catalog uses. Unknown
//! keywords are ignored, as JSON Schema requires.

use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use serde_json::{Map, Value};

/// One error in the arguments.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Issue {
    /// Path of the value, with dots: `subtasks.0.title`. Empty for the arguments as a whole.
    pub path: String,
    pub message: String,
}

/// All errors in `value`; empty if it satisfies `schema`.
pub(super) fn issues(schema: &Map<String, Value>, value: &Value) -> Vec<Issue> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Map<String, Value>, value: &Value, path: &str, found: &mut Vec<Issue>) {
    let mut report = |message: String| found.push(Issue { path: path.to_owned(), message });
    if let Some(expected) = schema.get("type").filter(|expected| !has_type(value, expected)) {
        let message = format!("Invalid input: expected {expected}, received {}", name_of(value));
        // Further checks would only repeat this error.
        return report(message.replace('"', ""));
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        report(format!("Invalid option: expected one of {}", allowed.join("|")));
    }
    match value {
        Value::String(text) => {
            length(schema, "Length", text.chars().count(), &mut report);
            let well_formed = match schema.get("format").and_then(Value::as_str) {
                Some("date") => text.parse::<Date>().is_ok() && text.len() == "YYYY-MM-DD".len(),
                Some("date-time") => text.parse::<Timestamp>().is_ok(),
                _ => true,
            };
            if !well_formed {
                report(format!("Invalid {}", schema["format"].as_str().unwrap_or_default()));
            }
        }
        Value::Number(number) => {
            let limit = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
            let number = number.as_f64().unwrap_or(f64::NAN);
            if let Some(least) = limit("minimum").filter(|least| number < *least) {
                report(format!("Too small: expected number to be >={least}"));
            }
            if let Some(most) = limit("maximum").filter(|most| number > *most) {
                report(format!("Too big: expected number to be <={most}"));
            }
        }
        Value::Array(items) => {
            length(schema, "Items", items.len(), &mut report);
            if let Some(Value::Object(schema)) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check(schema, item, &join(path, &index.to_string()), found);
                }
            }
        }
        Value::Object(fields) => object(schema, fields, path, found),
        Value::Null | Value::Bool(_) => {}
    }
}

fn object(
    schema: &Map<String, Value>,
    fields: &Map<String, Value>,
    path: &str,
    found: &mut Vec<Issue>,
) {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(Issue { path: join(path, name), message: "Required".into() });
        }
    }
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (name, value) in fields {
        match properties.get(name) {
            Some(Value::Object(schema)) => check(schema, value, &join(path, name), found),
            None if closed => found.push(Issue {
                path: path.to_owned(),
                message: format!("Unrecognized key: {name}"),
            }),
            _ => {}
        }
    }
}

/// Checks a length against `minLength`/`maxLength` or `minItems`/`maxItems`; `of` is the end of the keyword.
fn length(schema: &Map<String, Value>, of: &str, length: usize, report: &mut impl FnMut(String)) {
    let limit = |bound: &str| schema.get(&format!("{bound}{of}")).and_then(Value::as_u64);
    if let Some(least) = limit("min").filter(|least| (length as u64) < *least) {
        report(format!("Too small: expected {least} or more, received {length}"));
    }
    if let Some(most) = limit("max").filter(|most| length as u64 > *most) {
        report(format!("Too big: expected {most} or fewer, received {length}"));
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `expected` is the value of `type`: a name or a list of names.
fn has_type(value: &Value, expected: &Value) -> bool {
    match expected {
        Value::Array(any) => any.iter().any(|expected| has_type(value, expected)),
        Value::String(name) => match name.as_str() {
            // In JSON Schema a float without a fraction is an integer.
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            name => name == name_of(value),
        },
        _ => true,
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(schema: &Value, value: &Value) -> Vec<String> {
        issues(schema.as_object().unwrap(), value).into_iter().map(|issue| issue.path).collect()
    }

    #[test]
    fn arguments_that_satisfy_the_schema_have_no_issues() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"type": ["string", "null"]},
                "on": {"type": "string", "format": "date"},
                "at": {"type": "string", "format": "date-time"}}});
        let value = json!({"a": 1.0, "b": null, "on": "2026-11-23", "at": "2026-11-23T09:00:00Z"});
        assert_eq!(paths(&schema, &value), Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_is_reported_where_it_was_broken() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {
                "kind": {"type": "string", "enum": ["x", "y"]},
                "text": {"type": "string", "minLength": 2, "maxLength": 3},
                "number": {"type": "number", "minimum": 0, "maximum": 1},
                "whole": {"type": "integer"},
                "on": {"type": "string", "format": "date"},
                "list": {"type": "array", "maxItems": 2, "items": {"type": "object",
                    "required": ["t"], "properties": {"t": {"type": "string"}},
                    "additionalProperties": false}}}});
        for (value, path) in [
            (json!([]), ""),
            (json!({}), "a"),
            (json!({"a": 1, "kind": "z"}), "kind"),
            (json!({"a": 1, "kind": 1}), "kind"),
            (json!({"a": 1, "text": "ä"}), "text"),
            (json!({"a": 1, "text": "abcd"}), "text"),
            (json!({"a": 1, "number": 1.5}), "number"),
            (json!({"a": 1, "number": -1}), "number"),
            (json!({"a": 1, "whole": 1.5}), "whole"),
            (json!({"a": 1, "on": "23.11.2026"}), "on"),
            (json!({"a": 1, "on": "2026-11-23T00:00:00"}), "on"),
            (json!({"a": 1, "list": [{"t": ""}, {}]}), "list.1.t"),
            (json!({"a": 1, "list": [{"t": "", "u": 1}]}), "list.0"),
            (json!({"a": 1, "list": [{"t": ""}, {"t": ""}, {"t": ""}]}), "list"),
        ] {
            let schema = match value.get("a") {
                // `a` itself may have any value.
                Some(_) => {
                    let mut schema = schema.clone();
                    schema["properties"]["a"] = json!({});
                    schema
                }
                None => schema.clone(),
            };
            assert_eq!(paths(&schema, &value), [path], "{value}");
        }
        let unknown = json!({"type": "object", "additionalProperties": false});
        assert_eq!(paths(&unknown, &json!({"b": 1})), [""]);
    }
}
