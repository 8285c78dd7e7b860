//! The rules for every tool call and every text.

use serde_json::{Map, Value};

use super::{
    Checked, Refusal,
    shape::{any_object, required, string, under},
};

/// Checks the fields that every call needs, whether Claude or the client wrote it.
pub(in crate::claude) fn check_call(map: &Map<String, Value>, path: &str) -> Checked {
    let id = string(map, path, "id")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() || !id.chars().all(fits) {
        let message = "String should match pattern '^[a-zA-Z0-9_-]+$'";
        return Err(Refusal::invalid(&under(path, "id"), message));
    }
    if !is_name(string(map, path, "name")?) {
        let message = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'";
        return Err(Refusal::invalid(&under(path, "name"), message));
    }
    any_object(required(map, path, "input")?, &under(path, "input")).map(drop)
}

/// Whether `name` is allowed as a tool's name.
pub(in crate::claude) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=128).contains(&name.len()) && name.chars().all(fits)
}

/// Whether the text is empty or only Unicode white space.
pub(in crate::claude) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
