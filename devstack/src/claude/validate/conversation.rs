//! The order of messages: roles, pairing of calls and results, system messages (sections 2, 4, 5.3).

use std::collections::HashSet;

use serde_json::Value;

use super::{
    super::{
        memory::{Memory, Origin},
        model::Model,
    },
    Checked, Refusal,
    shape::{array, choice, object, required, under},
};

const MAX_MESSAGES: usize = 100_000;

/// Checks that each message has a role and a content and no other keys.
pub(super) fn check_shape(messages: &Value) -> Checked {
    let messages = array(messages, "messages")?;
    if messages.is_empty() {
        return Err(Refusal::invalid("messages", "at least one message is required"));
    }
    if messages.len() > MAX_MESSAGES {
        return Err(Refusal::invalid("messages", "at most 100000 messages are allowed"));
    }
    for (index, message) in messages.iter().enumerate() {
        let path = under("messages", index);
        let map = object(message, &path, &["role", "content"])?;
        choice(map, &path, "role", &["user", "assistant", "system"])?;
        let content = required(map, &path, "content")?;
        if !content.is_string() && !content.is_array() {
            let path = under(&path, "content");
            return Err(Refusal::invalid(&path, "Input should be a valid string or array"));
        }
    }
    Ok(())
}

/// Checks the order of the roles.
pub(super) fn check_order(
    messages: &[Value],
    origins: &[Option<Origin>],
    memory: &Memory,
    model: Model,
) -> Checked {
    let role = |index: usize| messages.get(index).and_then(|m| m["role"].as_str());
    if role(0) != Some("user") {
        return Err(Refusal::invalid("messages", "first message must use the \"user\" role"));
    }
    for index in (0..messages.len()).filter(|&index| role(index) == Some("system")) {
        let path = under("messages", index);
        if !model.mid_conversation_system {
            let message = format!("role 'system' is not supported by {}", model.id);
            return Err(Refusal::invalid(&path, &message));
        }
        let follows = matches!(role(index - 1), Some("user" | "system"));
        let precedes = matches!(role(index + 1), None | Some("assistant" | "system"));
        if !follows || !precedes {
            let message = "a system message must directly follow a user message and be the last \
                           one or be followed by an assistant message";
            return Err(Refusal::invalid(&path, message));
        }
    }
    let last = messages.len() - 1;
    if role(last) == Some("assistant") && !memory.is_paused(origins[last]) {
        let message = "This model does not support assistant message prefill. The conversation \
                       must end with a user message.";
        return Err(Refusal::invalid("messages", message));
    }
    if role(last) == Some("assistant") && ends_in_white_space(&messages[last]["content"]) {
        let message = "final assistant content cannot end with trailing whitespace";
        return Err(Refusal::invalid("messages", message));
    }
    for (index, message) in messages.iter().enumerate() {
        let content: Vec<&Value> = message["content"].as_array().into_iter().flatten().collect();
        let calls = ids(&content, "tool_use", "id");
        // Not even another assistant message may come between the calls and their results, although the API
        // would merge the two assistant messages.
        if !calls.is_empty() && role(index + 1) != Some("user") {
            return Err(unanswered(&under("messages", index), &calls));
        }
    }
    check_pairing(&merged(messages))
}

fn ends_in_white_space(content: &Value) -> bool {
    let last = content.as_array().and_then(|blocks| blocks.last());
    let text = match last {
        Some(block) if block["type"] == "text" => &block["text"],
        Some(_) => &Value::Null,
        None => content,
    };
    text.as_str().is_some_and(|text| text.ends_with(char::is_whitespace))
}

/// Adjacent messages of one role, as the API merges them.
struct Turn<'a> {
    role: &'a str,
    /// Index of the turn's first message.
    index: usize,
    blocks: Vec<&'a Value>,
}

fn merged(messages: &[Value]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        let blocks = match &message["content"] {
            Value::Array(blocks) => blocks.iter().collect(),
            text => vec![text],
        };
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, index, blocks }),
        }
    }
    turns
}

fn check_pairing(turns: &[Turn<'_>]) -> Checked {
    let mut seen = HashSet::new();
    let mut open: Vec<&str> = Vec::new();
    for turn in turns {
        let path = under("messages", turn.index);
        if turn.role == "user" {
            check_results(turn, &path, &open)?;
        }
        open = match turn.role {
            "assistant" => ids(&turn.blocks, "tool_use", "id"),
            _ => Vec::new(),
        };
        if let Some(twice) = open.iter().find(|id| !seen.insert(**id)) {
            let message = format!("`tool_use` ids must be unique: {twice}");
            return Err(Refusal::invalid(&path, &message));
        }
    }
    Ok(())
}

/// Checks that a user turn answers every open call exactly once, before any other block.
fn check_results(turn: &Turn<'_>, path: &str, open: &[&str]) -> Checked {
    let is_result = |block: &&Value| block["type"] == "tool_result";
    let leading: Vec<&Value> = turn.blocks.iter().copied().take_while(is_result).collect();
    let given = ids(&leading, "tool_result", "tool_use_id");
    let all = ids(&turn.blocks, "tool_result", "tool_use_id");
    if let Some(unknown) = all.iter().find(|id| !open.contains(id)) {
        let message = format!(
            "unexpected `tool_use_id` found in `tool_result` blocks: {unknown}. Each `tool_result` \
             block must have a corresponding `tool_use` block in the previous message."
        );
        return Err(Refusal::invalid(path, &message));
    }
    let mut answered = HashSet::new();
    if let Some(twice) = all.iter().find(|id| !answered.insert(**id)) {
        let message = format!(
            "each tool_use must have a single result. Found multiple `tool_result` blocks with id: \
             {twice}"
        );
        return Err(Refusal::invalid(path, &message));
    }
    let missing: Vec<&str> = open.iter().filter(|id| !given.contains(id)).copied().collect();
    if missing.is_empty() { Ok(()) } else { Err(unanswered(path, &missing)) }
}

fn unanswered(path: &str, missing: &[&str]) -> Refusal {
    let message = format!(
        "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message.",
        missing.join(", ")
    );
    Refusal::invalid(path, &message)
}

fn ids<'a>(blocks: &[&'a Value], kind: &str, key: &str) -> Vec<&'a str> {
    let of_kind = blocks.iter().filter(|block| block["type"] == kind);
    of_kind.filter_map(|block| block[key].as_str()).collect()
}
