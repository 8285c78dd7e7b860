//! JSON Schemas: the rules for a tool's input schema, and the limits of structured outputs and strict tools.

use serde_json::{Map, Value};

use super::{
    Checked, Refusal, draft,
    shape::{any_object, under},
};

/// Keywords that the grammar of structured outputs does not support.
const UNSUPPORTED: [&str; 13] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "not",
];

/// Pattern for the names of the top-level properties of an input; nested properties may have any name.
const KEY_PATTERN: &str = "^[a-zA-Z0-9_.-]{1,64}$";
const COMBINATORS: [&str; 3] = ["oneOf", "allOf", "anyOf"];

/// Keywords whose value is a schema, a list of schemas, or schemas by name.
const INNER: [&str; 2] = ["items", "contains"];
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const BY_NAME: [&str; 3] = ["properties", "$defs", "definitions"];

/// Checks a tool's `input_schema`: an object schema for an object.
pub(super) fn check_input(schema: &Value, path: &str) -> Checked {
    let map = any_object(schema, path)?;
    if map.get("type").and_then(Value::as_str) != Some("object") {
        return Err(Refusal::invalid(&under(path, "type"), "Input should be 'object'"));
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object)
        && !properties.keys().all(|key| is_key(key))
    {
        let message = format!("Property keys should match pattern '{KEY_PATTERN}'");
        return Err(Refusal::invalid(&under(path, "properties"), &message));
    }
    if COMBINATORS.iter().any(|combinator| map.contains_key(*combinator)) {
        let message = "input_schema does not support oneOf, allOf, or anyOf at the top level";
        return Err(Refusal::invalid(path, message));
    }
    if !draft::is_schema(schema) {
        let message = "JSON schema is invalid. It must match JSON Schema draft 2020-12 \
                       (https://json-schema.org/draft/2020-12).";
        return Err(Refusal::invalid(path, message));
    }
    Ok(())
}

fn is_key(key: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !key.is_empty() && key.len() <= 64 && key.chars().all(fits)
}

/// The amounts that a strict schema adds to the limits of its request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// Number of properties that are not required.
    pub optional: usize,
    /// Number of parameters with more than one type.
    pub unions: usize,
}

/// Checks a schema that the answer or a strict tool's input must satisfy.
pub(super) fn check_limited(schema: &Value, path: &str) -> Result<Weight, Refusal> {
    any_object(schema, path)?;
    let mut weight = Weight::default();
    walk(schema, path, &mut weight)?;
    check_references(schema, schema, path, &mut Vec::new())?;
    Ok(weight)
}

fn walk(schema: &Value, path: &str, weight: &mut Weight) -> Checked {
    let Some(map) = schema.as_object() else { return Ok(()) };
    if let Some(keyword) = UNSUPPORTED.into_iter().find(|keyword| map.contains_key(*keyword)) {
        let message = format!("property '{keyword}' is not supported");
        return Err(Refusal::invalid(path, &message));
    }
    if map.get("minItems").is_some_and(|n| !matches!(n.as_u64(), Some(0 | 1))) {
        return Err(Refusal::invalid(
            path,
            "'minItems' values other than 0 or 1 are not supported",
        ));
    }
    let is_object = has_type(map, "object") || map.contains_key("properties");
    if is_object && map.get("additionalProperties") != Some(&Value::Bool(false)) {
        let message = "For 'object' type, 'additionalProperties' must be explicitly set to false";
        return Err(Refusal::invalid(path, message));
    }
    if map.contains_key("anyOf")
        || map.contains_key("oneOf")
        || map.get("type").is_some_and(Value::is_array)
    {
        weight.unions += 1;
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        let required = map.get("required").and_then(Value::as_array);
        let is_required = |name: &String| required.is_some_and(|r| r.iter().any(|n| n == name));
        weight.optional += properties.keys().filter(|name| !is_required(name)).count();
    }
    for (inner, name) in inner_schemas(map) {
        walk(inner, &under(path, name), weight)?;
    }
    Ok(())
}

/// Refuses references to other documents and schemas that contain themselves.
fn check_references<'a>(
    schema: &'a Value,
    root: &'a Value,
    path: &str,
    open: &mut Vec<&'a str>,
) -> Checked {
    let Some(map) = schema.as_object() else { return Ok(()) };
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        let Some(target) = target else {
            return Err(Refusal::invalid(path, &format!("'$ref' {reference} cannot be resolved")));
        };
        if reference == "#" || open.contains(&reference) {
            return Err(Refusal::invalid(path, "recursive schemas are not supported"));
        }
        open.push(reference);
        check_references(target, root, path, open)?;
        open.pop();
    }
    for (inner, name) in inner_schemas(map) {
        // Definitions are checked where they are referenced.
        if !name.starts_with("$defs") && !name.starts_with("definitions") {
            check_references(inner, root, &under(path, name), open)?;
        }
    }
    Ok(())
}

/// The schemas directly inside a schema, with their relative paths.
fn inner_schemas(map: &Map<String, Value>) -> Vec<(&Value, String)> {
    let mut found = Vec::new();
    for keyword in INNER {
        found.extend(map.get(keyword).map(|schema| (schema, keyword.to_owned())));
    }
    for keyword in LISTS {
        let list = map.get(keyword).and_then(Value::as_array).into_iter().flatten();
        found.extend(list.enumerate().map(|(i, schema)| (schema, format!("{keyword}.{i}"))));
    }
    for keyword in BY_NAME {
        let named = map.get(keyword).and_then(Value::as_object).into_iter().flatten();
        found.extend(named.map(|(name, schema)| (schema, format!("{keyword}.{name}"))));
    }
    found
}

fn has_type(map: &Map<String, Value>, name: &str) -> bool {
    match map.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}
