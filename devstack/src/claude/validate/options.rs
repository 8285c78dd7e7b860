//! Section 2 without tools and messages: keys, limits, thinking, effort and the format of the answer.

use serde_json::{Map, Value};

use super::{
    super::model::{Model, Thinking},
    Checked, Refusal, schema,
    shape::{any_object, array, choice, object, optional_bool, required, string, under},
};

const KEYS: [&str; 16] = [
    "model",
    "max_tokens",
    "system",
    "tools",
    "tool_choice",
    "messages",
    "cache_control",
    "output_config",
    "thinking",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "inference_geo",
    "speed",
    "diagnostics",
];
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];
const MODEL_MAX_TOKENS: u64 = 128_000;
/// Above this value a client must stream, which this server does not simulate.
const MAX_TOKENS_WITHOUT_STREAM: u64 = 21_333;
const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// Checks the top-level settings that do not depend on the model.
pub(super) fn check_top_level(body: &Value) -> Checked {
    let map = any_object(body, "body")?;
    for key in SAMPLING {
        if map.contains_key(key) {
            return Err(Refusal::invalid(key, "sampling parameters are not supported"));
        }
    }
    object(body, "", &KEYS)?;
    if let Some((key, _)) = map.iter().find(|(_, value)| value.is_null()) {
        return Err(Refusal::invalid(key, "Input should not be null"));
    }
    string(map, "", "model")?;
    check_max_tokens(required(map, "", "max_tokens")?)?;
    required(map, "", "messages")?;
    optional_bool(map, "", "stream")?;
    if map.get("stream") == Some(&Value::Bool(true)) {
        return Err(Refusal::invalid("stream", "streaming is not supported here"));
    }
    if let Some(metadata) = map.get("metadata") {
        string(object(metadata, "metadata", &["user_id"])?, "metadata", "user_id")?;
    }
    for (key, allowed) in [
        ("service_tier", ["auto", "standard_only"]),
        ("inference_geo", ["global", "us"]),
        ("speed", ["standard", "fast"]),
    ] {
        if map.contains_key(key) {
            choice(map, "", key, &allowed)?;
        }
    }
    if let Some(sequences) = map.get("stop_sequences") {
        for (index, sequence) in array(sequences, "stop_sequences")?.iter().enumerate() {
            if sequence.as_str().is_none_or(|text| text.trim().is_empty()) {
                let path = under("stop_sequences", index);
                return Err(Refusal::invalid(
                    &path,
                    "each stop sequence must contain non-whitespace",
                ));
            }
        }
    }
    if let Some(diagnostics) = map.get("diagnostics") {
        let diagnostics = object(diagnostics, "diagnostics", &["previous_message_id"])?;
        if !required(diagnostics, "diagnostics", "previous_message_id")?.is_null() {
            string(diagnostics, "diagnostics", "previous_message_id")?;
        }
    }
    Ok(())
}

fn check_max_tokens(value: &Value) -> Checked {
    match value.as_u64() {
        None => Err(Refusal::invalid("max_tokens", "Input should be a valid integer")),
        Some(tokens) if tokens > MODEL_MAX_TOKENS => {
            let message = format!("{tokens} > {MODEL_MAX_TOKENS}, the maximum of the model");
            Err(Refusal::invalid("max_tokens", &message))
        }
        Some(tokens) if tokens > MAX_TOKENS_WITHOUT_STREAM => {
            let message = format!("more than {MAX_TOKENS_WITHOUT_STREAM} needs streaming");
            Err(Refusal::invalid("max_tokens", &message))
        }
        Some(_) => Ok(()),
    }
}

/// Checks `thinking` and `output_config` against what the model accepts.
pub(super) fn check_model_settings(body: &Value, model: Model) -> Checked {
    let effort = match body.get("output_config") {
        Some(config) => check_output_config(config, model)?,
        None => None,
    };
    match body.get("thinking") {
        Some(thinking) => check_thinking(thinking, body, effort, model),
        None => Ok(()),
    }
}

/// Checks `output_config` and returns the effort, if one is set.
fn check_output_config(config: &Value, model: Model) -> Result<Option<&str>, Refusal> {
    let path = "output_config";
    let config = object(config, path, &["effort", "format"])?;
    if let Some(format) = config.get("format") {
        let path = "output_config.format";
        let format = object(format, path, &["type", "schema"])?;
        choice(format, path, "type", &["json_schema"])?;
        let path = "output_config.format.schema";
        schema::check_limited(required(format, "output_config.format", "schema")?, path)?;
    }
    if !config.contains_key("effort") {
        return Ok(None);
    }
    if model.thinking == Thinking::Budget {
        return Err(Refusal::invalid(path, "This model does not support the effort parameter."));
    }
    choice(config, path, "effort", &EFFORTS).map(Some)
}

fn check_thinking(value: &Value, body: &Value, effort: Option<&str>, model: Model) -> Checked {
    let path = "thinking";
    let thinking = any_object(value, path)?;
    let types = ["adaptive", "disabled", "between_tools", "enabled"];
    let kind = choice(thinking, path, "type", &types)?;
    let accepted = match model.thinking {
        Thinking::AdaptiveOrDisabled | Thinking::Optional => ["adaptive", "disabled"].as_slice(),
        Thinking::AdaptiveOrBetweenTools => &["adaptive", "between_tools"],
        Thinking::Adaptive => &["adaptive"],
        Thinking::Budget => &["enabled", "disabled"],
    };
    if !accepted.contains(&kind) {
        let message = format!("'{kind}' is not supported by {}", model.id);
        return Err(Refusal::invalid("thinking.type", &message));
    }
    if matches!(kind, "disabled" | "between_tools") && matches!(effort, Some("xhigh" | "max")) {
        let message = format!("'{kind}' is not supported at this effort");
        return Err(Refusal::invalid("thinking.type", &message));
    }
    match kind {
        "adaptive" => {
            object(value, path, &["type", "display"])?;
            check_display(thinking)
        }
        "enabled" => {
            object(value, path, &["type", "budget_tokens", "display"])?;
            check_display(thinking)?;
            check_budget(thinking, body)
        }
        _ => object(value, path, &["type"]).map(drop),
    }
}

fn check_display(thinking: &Map<String, Value>) -> Checked {
    if thinking.contains_key("display") {
        choice(thinking, "thinking", "display", &["summarized", "omitted"])?;
    }
    Ok(())
}

fn check_budget(thinking: &Map<String, Value>, body: &Value) -> Checked {
    let path = "thinking.budget_tokens";
    let budget = required(thinking, "thinking", "budget_tokens")?.as_u64();
    if budget.is_none_or(|tokens| tokens < 1_024) {
        return Err(Refusal::invalid(path, "Input should be greater than or equal to 1024"));
    }
    if budget >= body["max_tokens"].as_u64() {
        return Err(Refusal::invalid(path, "`max_tokens` must be greater than the budget"));
    }
    Ok(())
}
