//! Checks of a value's shape, with the API's error messages.

use serde_json::{Map, Value};

use super::{Checked, Refusal};

/// The object at `path`; keys other than `keys` are refused.
pub(super) fn object<'a>(
    value: &'a Value,
    path: &str,
    keys: &[&str],
) -> Result<&'a Map<String, Value>, Refusal> {
    let map = any_object(value, path)?;
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(Refusal::invalid(&under(path, key), "Extra inputs are not permitted")),
        None => Ok(map),
    }
}

/// The object at `path`, with any keys.
pub(super) fn any_object<'a>(
    value: &'a Value,
    path: &str,
) -> Result<&'a Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| Refusal::invalid(path, "Input should be an object"))
}

/// The array at `path`.
pub(super) fn array<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], Refusal> {
    let array = value.as_array().map(Vec::as_slice);
    array.ok_or_else(|| Refusal::invalid(path, "Input should be a valid array"))
}

/// The value of a required key.
pub(super) fn required<'a>(
    map: &'a Map<String, Value>,
    path: &str,
    key: &str,
) -> Result<&'a Value, Refusal> {
    map.get(key).ok_or_else(|| Refusal::invalid(&under(path, key), "Field required"))
}

/// The string value of a required key.
pub(super) fn string<'a>(
    map: &'a Map<String, Value>,
    path: &str,
    key: &str,
) -> Result<&'a str, Refusal> {
    let value = required(map, path, key)?.as_str();
    value.ok_or_else(|| Refusal::invalid(&under(path, key), "Input should be a valid string"))
}

/// The string value of a required key; it must be one of `allowed`.
pub(super) fn choice<'a>(
    map: &'a Map<String, Value>,
    path: &str,
    key: &str,
    allowed: &[&str],
) -> Result<&'a str, Refusal> {
    match required(map, path, key)?.as_str() {
        Some(value) if allowed.contains(&value) => Ok(value),
        _ => {
            let message = format!("Input should be '{}'", allowed.join("', '"));
            Err(Refusal::invalid(&under(path, key), &message))
        }
    }
}

/// Checks that the value of an optional key is a string.
pub(super) fn optional_string(map: &Map<String, Value>, path: &str, key: &str) -> Checked {
    if map.contains_key(key) {
        string(map, path, key)?;
    }
    Ok(())
}

/// Checks that the value of an optional key is a boolean.
pub(super) fn optional_bool(map: &Map<String, Value>, path: &str, key: &str) -> Checked {
    match map.get(key) {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(_) => Err(Refusal::invalid(&under(path, key), "Input should be a valid boolean")),
    }
}

/// The path of `key` in the value at `path`, with a dot between the two.
pub(super) fn under(path: &str, key: impl std::fmt::Display) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}
