//! Tools and `tool_choice` (section 2).

use std::collections::HashSet;

use serde_json::Value;

use super::{
    super::model::Model,
    Checked, Refusal, schema,
    shape::{
        any_object, array, choice, object, optional_bool, optional_string, required, string, under,
    },
};

const KEYS: [&str; 10] = [
    "name",
    "description",
    "input_schema",
    "cache_control",
    "strict",
    "defer_loading",
    "input_examples",
    "allowed_callers",
    "eager_input_streaming",
    "type",
];
/// Some endpoints accept 128 characters; 64 work everywhere, so clients must keep to 64.
const NAME_PATTERN: &str = "^[a-zA-Z0-9_-]{1,64}$";
const MAX_STRICT_TOOLS: usize = 20;
const MAX_OPTIONAL: usize = 24;
const MAX_UNIONS: usize = 16;

pub(super) fn check(body: &Value, model: Model) -> Checked {
    let tools = match body.get("tools") {
        Some(tools) => array(tools, "tools")?,
        None => &[],
    };
    let mut names = HashSet::new();
    let (mut strict, mut weight) = (0, schema::Weight::default());
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools.{index}.custom");
        if !names.insert(check_tool(tool, &path)?) {
            return Err(Refusal::invalid("tools", "Tool names must be unique."));
        }
        if tool["strict"] == true {
            let path = under(&path, "input_schema");
            let added = schema::check_limited(&tool["input_schema"], &path)?;
            strict += 1;
            weight.optional += added.optional;
            weight.unions += added.unions;
        }
    }
    if strict > MAX_STRICT_TOOLS || weight.optional > MAX_OPTIONAL || weight.unions > MAX_UNIONS {
        return Err(Refusal::invalid("tools", "too many strict tools or parameters of them"));
    }
    match body.get("tool_choice") {
        Some(choice) => check_choice(choice, &names, body, model),
        None => Ok(()),
    }
}

/// Checks one tool and returns its name.
fn check_tool<'a>(tool: &'a Value, path: &str) -> Result<&'a str, Refusal> {
    let map = object(tool, path, &KEYS)?;
    if map.contains_key("type") {
        choice(map, path, "type", &["custom"])?;
    }
    let name = string(map, path, "name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let message = format!("String should match pattern '{NAME_PATTERN}'");
        return Err(Refusal::invalid(&under(path, "name"), &message));
    }
    optional_string(map, path, "description")?;
    for key in ["strict", "defer_loading", "eager_input_streaming"] {
        optional_bool(map, path, key)?;
    }
    for key in ["input_examples", "allowed_callers"] {
        if let Some(list) = map.get(key) {
            array(list, &under(path, key))?;
        }
    }
    schema::check_input(required(map, path, "input_schema")?, &under(path, "input_schema"))?;
    Ok(name)
}

fn check_choice(value: &Value, names: &HashSet<&str>, body: &Value, model: Model) -> Checked {
    let path = "tool_choice";
    let types = ["auto", "any", "tool", "none"];
    let kind = choice(any_object(value, path)?, path, "type", &types)?;
    let keys = match kind {
        "tool" => ["type", "disable_parallel_tool_use", "name"].as_slice(),
        "none" => &["type"],
        _ => &["type", "disable_parallel_tool_use"],
    };
    let map = object(value, path, keys)?;
    optional_bool(map, path, "disable_parallel_tool_use")?;
    if kind != "none" && names.is_empty() {
        let message = "tool_choice may only be specified while providing tools";
        return Err(Refusal::invalid(path, message));
    }
    if kind == "tool" {
        let name = string(map, path, "name")?;
        if !names.contains(name) {
            let message = format!("Tool '{name}' not found in provided tools");
            return Err(Refusal::invalid(path, &message));
        }
    }
    if matches!(kind, "any" | "tool") {
        if !model.forced_tools {
            let message = format!("forced tool use is not supported by {}", model.id);
            return Err(Refusal::invalid(path, &message));
        }
        if body["thinking"]["type"] == "enabled" {
            let message = "Thinking may not be enabled when tool_choice forces tool use.";
            return Err(Refusal::invalid(path, message));
        }
    }
    Ok(())
}
