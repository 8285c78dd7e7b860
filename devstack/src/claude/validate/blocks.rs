//! Content blocks: which are allowed where, and what each must hold (sections 2–4).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    super::{memory::Origin, request::ParsedRequest},
    Checked, Refusal,
    call::{check_call, is_blank},
    media,
    shape::{
        any_object, array, choice, object, optional_bool, optional_string, required, string, under,
    },
};

const BLANK: &str = "text content blocks must contain non-whitespace text";

/// `system`: a text, or an array of text blocks.
pub(super) fn check_system(system: &Value) -> Checked {
    match system {
        Value::Null => Ok(()),
        Value::String(text) => not_blank(text, "system"),
        _ => array(system, "system")?
            .iter()
            .enumerate()
            .try_for_each(|(index, block)| check_system_text(block, &under("system", index))),
    }
}

fn check_system_text(block: &Value, path: &str) -> Checked {
    let map = object(block, path, &["type", "text", "cache_control"])?;
    choice(map, path, "type", &["text"])?;
    not_blank(string(map, path, "text")?, path)
}

/// Checks the content of every message. Replies that Claude itself served may contain other block types; of
/// these replies only the parts are checked that the API refuses even in its own replies.
pub(super) fn check_messages(request: &ParsedRequest, origins: &[Option<Origin>]) -> Checked {
    for (index, (message, origin)) in request.messages.iter().zip(origins).enumerate() {
        let path = format!("messages.{index}.content");
        let content = &message["content"];
        match (message["role"].as_str(), origin) {
            (_, Some(Origin::Served(_))) => check_served(content, &path)?,
            (_, Some(Origin::Foreign)) => check_assistant(content, &path)?,
            (Some("system"), _) => check_reminder(content, &path)?,
            _ => {
                if is_empty(content) && !has_words_beside(&request.messages, index) {
                    let path = under("messages", index);
                    return Err(Refusal::invalid(
                        &path,
                        "user messages must have non-empty content",
                    ));
                }
                check_user(content, &path, request)?;
            }
        }
    }
    Ok(())
}

fn is_empty(content: &Value) -> bool {
    content == "" || content.as_array().is_some_and(Vec::is_empty)
}

/// Whether an empty user message is adjacent to a user message with content, so that the two are merged.
fn has_words_beside(messages: &[Value], index: usize) -> bool {
    let is_user = |m: &&Value| m["role"] == "user";
    let before = messages[..index].iter().rev().take_while(is_user);
    let after = messages[index + 1..].iter().take_while(is_user);
    before.chain(after).any(|message| !is_empty(&message["content"]))
}

fn check_reminder(content: &Value, path: &str) -> Checked {
    if is_empty(content) {
        return Err(Refusal::invalid(path, "system messages must have non-empty content"));
    }
    match content {
        Value::String(text) => not_blank(text, path),
        _ => array(content, path)?
            .iter()
            .enumerate()
            .try_for_each(|(index, block)| check_system_text(block, &under(path, index))),
    }
}

fn check_user(content: &Value, path: &str, request: &ParsedRequest) -> Checked {
    match content {
        Value::String(text) if text.is_empty() => Ok(()),
        Value::String(text) => not_blank(text, path),
        _ => array(content, path)?.iter().enumerate().try_for_each(|(index, block)| {
            let path = under(path, index);
            let map = any_object(block, &path)?;
            match string(map, &path, "type")? {
                "text" => {
                    let text = check_text(block, &path)?;
                    not_blank(text, &path)
                }
                "tool_result" => check_tool_result(block, &path, request),
                _ => check_media(block, &path),
            }
        }),
    }
}

/// The text of a block that the client wrote. The caller decides whether it may be empty.
fn check_text<'a>(block: &'a Value, path: &str) -> Result<&'a str, Refusal> {
    let map = object(block, path, &["type", "text", "cache_control", "citations"])?;
    if map.get("citations").is_some_and(|citations| *citations != Value::Array(Vec::new())) {
        let path = under(path, "citations");
        return Err(Refusal::invalid(&path, "citations are not permitted in user text"));
    }
    string(map, path, "text")
}

fn check_tool_result(block: &Value, path: &str, request: &ParsedRequest) -> Checked {
    let keys = ["type", "tool_use_id", "content", "is_error", "cache_control"];
    let map = object(block, path, &keys)?;
    string(map, path, "tool_use_id")?;
    optional_bool(map, path, "is_error")?;
    let content = map.get("content");
    if map.get("is_error") == Some(&Value::Bool(true)) && content.is_none_or(is_empty) {
        return Err(Refusal::invalid(path, "content cannot be empty if is_error is true"));
    }
    let path = under(path, "content");
    match content {
        None => Ok(()),
        // A tool result may be empty.
        Some(Value::String(text)) if text.is_empty() => Ok(()),
        Some(Value::String(text)) => not_blank(text, &path),
        Some(parts) => array(parts, &path)?.iter().enumerate().try_for_each(|(index, part)| {
            let path = under(&path, index);
            match string(any_object(part, &path)?, &path, "type")? {
                "text" => not_blank(check_text(part, &path)?, &path),
                "tool_reference" => {
                    let map = object(part, &path, &["type", "tool_name", "cache_control"])?;
                    let name = string(map, &path, "tool_name")?;
                    match request.tool_names().contains(&name) {
                        true => Ok(()),
                        false => Err(Refusal::invalid(&path, "tool_reference to an unknown tool")),
                    }
                }
                _ => check_media(part, &path),
            }
        }),
    }
}

/// Checks images, documents and search results; refuses other types.
fn check_media(block: &Value, path: &str) -> Checked {
    let map = any_object(block, path)?;
    match map.get("type").and_then(Value::as_str) {
        Some("image") => {
            object(block, path, &["type", "source", "cache_control"])?;
            check_image(required(map, path, "source")?, path)
        }
        Some("document") => {
            let keys = ["type", "source", "title", "context", "citations", "cache_control"];
            object(block, path, &keys)?;
            optional_string(map, path, "title")?;
            optional_string(map, path, "context")?;
            check_document(required(map, path, "source")?, path)
        }
        Some("search_result") => {
            let keys = ["type", "source", "title", "content", "citations", "cache_control"];
            object(block, path, &keys)?;
            string(map, path, "source")?;
            string(map, path, "title")?;
            let texts = under(path, "content");
            array(required(map, path, "content")?, &texts)?.iter().enumerate().try_for_each(
                |(index, part)| {
                    let path = under(&texts, index);
                    not_blank(check_text(part, &path)?, &path)
                },
            )
        }
        kind => Err(unknown_tag(kind, path)),
    }
}

/// Checks an image source; `block` is the path of the block that contains it.
fn check_image(source: &Value, block: &str) -> Checked {
    let path = &under(block, "source");
    let map = any_object(source, path)?;
    match choice(map, path, "type", &["base64", "url", "file"])? {
        "base64" => {
            object(source, path, &["type", "media_type", "data"])?;
            let media_type = choice(map, path, "media_type", &media::IMAGES)?;
            media::check_image(&decode(map, path)?, media_type, block)
        }
        kind => check_link(source, path, kind),
    }
}

fn check_document(source: &Value, block: &str) -> Checked {
    let path = &under(block, "source");
    let map = any_object(source, path)?;
    match choice(map, path, "type", &["base64", "text", "content", "url", "file"])? {
        "base64" => {
            object(source, path, &["type", "media_type", "data"])?;
            choice(map, path, "media_type", &["application/pdf"])?;
            media::check_pdf(&decode(map, path)?, block)
        }
        "text" => {
            object(source, path, &["type", "media_type", "data"])?;
            choice(map, path, "media_type", &["text/plain"])?;
            string(map, path, "data").map(drop)
        }
        "content" => {
            object(source, path, &["type", "content"])?;
            required(map, path, "content").map(drop)
        }
        kind => check_link(source, path, kind),
    }
}

/// Checks a source that refers to the bytes by URL or file id.
fn check_link(source: &Value, path: &str, kind: &str) -> Checked {
    let key = if kind == "url" { "url" } else { "file_id" };
    string(object(source, path, &["type", key])?, path, key).map(drop)
}

fn decode(map: &Map<String, Value>, path: &str) -> Result<Vec<u8>, Refusal> {
    let data = string(map, path, "data")?;
    match STANDARD.decode(data) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Refusal::invalid(&under(path, "data"), "Input should be valid base64")),
    }
}

/// Checks an assistant message that this server never served.
fn check_assistant(content: &Value, path: &str) -> Checked {
    match content {
        Value::String(text) => not_blank(text, path),
        _ => array(content, path)?.iter().enumerate().try_for_each(|(index, block)| {
            let path = under(path, index);
            let map = any_object(block, &path)?;
            match string(map, &path, "type")? {
                "text" => {
                    object(block, &path, &["type", "text", "citations", "cache_control"])?;
                    not_blank(string(map, &path, "text")?, &path)
                }
                "tool_use" => check_tool_use(block, &path),
                // Only the server can create a valid signature; the check of thinking blocks reports the
                // error.
                "thinking" => {
                    object(block, &path, &["type", "thinking", "signature"])?;
                    string(map, &path, "thinking")?;
                    string(map, &path, "signature").map(drop)
                }
                "redacted_thinking" => {
                    string(object(block, &path, &["type", "data"])?, &path, "data").map(drop)
                }
                kind => Err(unknown_tag(Some(kind), &path)),
            }
        }),
    }
}

/// Checks an assistant message that this server has served.
fn check_served(content: &Value, path: &str) -> Checked {
    array(content, path)?.iter().enumerate().try_for_each(|(index, block)| {
        let path = under(path, index);
        let map = any_object(block, &path)?;
        match string(map, &path, "type")? {
            "text" => not_blank(string(map, &path, "text")?, &path),
            "tool_use" => check_call(map, &path),
            _ => Ok(()),
        }
    })
}

fn check_tool_use(block: &Value, path: &str) -> Checked {
    let keys = ["type", "id", "name", "input", "caller", "toolset_name", "cache_control"];
    check_call(object(block, path, &keys)?, path)
}

fn not_blank(text: &str, path: &str) -> Checked {
    match text {
        "" => Err(Refusal::invalid(path, "text content blocks must be non-empty")),
        _ if is_blank(text) => Err(Refusal::invalid(path, BLANK)),
        _ => Ok(()),
    }
}

fn unknown_tag(kind: Option<&str>, path: &str) -> Refusal {
    let message = format!(
        "Input tag '{}' found using 'type' does not match any of the expected tags",
        kind.unwrap_or_default()
    );
    Refusal::invalid(path, &message)
}
