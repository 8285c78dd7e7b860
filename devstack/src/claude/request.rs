//! A valid request in the form that tests and the scripted persona use.

use serde_json::Value;

use super::model::{self, Model};

/// A request that passed every check.
#[derive(Clone, Debug)]
pub struct ParsedRequest {
    /// The body as it arrived.
    pub raw: String,
    /// The body as JSON.
    pub body: Value,
    /// Id of the model that the request names.
    pub model: String,
    /// The request's `max_tokens`, in tokens.
    pub max_tokens: u64,
    /// The text of the system blocks, joined by line breaks.
    pub system: String,
    /// The offered tools; empty if the request offers none.
    pub tools: Vec<Value>,
    /// The messages, in order.
    pub messages: Vec<Value>,
}

/// The part of a `tool_result` block that tests look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutcome {
    /// Id of the call that this result answers.
    pub tool_use_id: String,
    /// Whether the result reports a failed call.
    pub is_error: bool,
    /// The text of the result, without its other blocks.
    pub text: String,
}

impl ParsedRequest {
    /// Builds the view of a body that passed the checks.
    pub(super) fn new(raw: &str, body: Value) -> Self {
        let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
        Self {
            raw: raw.to_owned(),
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            max_tokens: body["max_tokens"].as_u64().unwrap_or_default(),
            system: text_of(&body["system"]),
            tools: list("tools"),
            messages: list("messages"),
            body,
        }
    }

    /// Wire names of the offered tools.
    pub fn tool_names(&self) -> Vec<&str> {
        self.tools.iter().filter_map(|tool| tool["name"].as_str()).collect()
    }

    /// Whether the request asks for ratings: it offers no tools, and has a JSON schema for the answer or
    /// contains the word "bewerte".
    pub fn is_rating(&self) -> bool {
        self.tools.is_empty()
            && (self.body["output_config"]["format"].is_object()
                || self.last_user_text().to_lowercase().contains("bewerte"))
    }

    /// Text of the first user message.
    pub fn first_user_text(&self) -> String {
        self.with_role("user").next().map(text_of).unwrap_or_default()
    }

    /// Text of the last user message; tool results are not included.
    pub fn last_user_text(&self) -> String {
        self.with_role("user").last().map(text_of).unwrap_or_default()
    }

    /// The text since the last reply, from `system` messages and from user text beside tool results; empty
    /// before the first reply.
    pub fn last_hints(&self) -> String {
        if self.turn() == 0 {
            return String::new();
        }
        let newest = self.messages.rsplit(|message| message["role"] == "assistant").next();
        let texts = newest.unwrap_or_default().iter().map(|message| text_of(&message["content"]));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Number of replies in the history.
    pub fn turn(&self) -> usize {
        self.with_role("assistant").count()
    }

    /// Every tool result in the history, in order.
    pub fn tool_results(&self) -> Vec<ToolOutcome> {
        self.with_role("user").flat_map(outcomes).collect()
    }

    /// The tool results of the last user message.
    pub fn last_tool_results(&self) -> Vec<ToolOutcome> {
        self.with_role("user").last().map(outcomes).unwrap_or_default()
    }

    /// Every tool call in the history, in order: id, wire name, input.
    pub fn tool_calls(&self) -> Vec<(&str, &str, &Value)> {
        self.with_role("assistant")
            .filter_map(Value::as_array)
            .flatten()
            .filter(|block| block["type"] == "tool_use")
            .filter_map(|block| {
                Some((block["id"].as_str()?, block["name"].as_str()?, &block["input"]))
            })
            .collect()
    }

    /// Whether the model begins its reply to this request with a thinking block.
    pub(super) fn thinks(&self) -> bool {
        // Forced calls have no thinking block (contract, section 0).
        if matches!(self.body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
            return false;
        }
        match self.body["thinking"]["type"].as_str() {
            Some("disabled") => false,
            Some("between_tools") => self.turn() > 0,
            Some(_) => true,
            None => self.model().is_some_and(|model| model.binds_thinking),
        }
    }

    pub(super) fn model(&self) -> Option<Model> {
        model::find(&self.model)
    }

    /// The contents of the messages with this role.
    fn with_role(&self, role: &'static str) -> impl Iterator<Item = &Value> {
        self.messages.iter().filter(move |m| m["role"] == role).map(|m| &m["content"])
    }
}

/// The text of a string or of the text blocks of an array.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks
                .iter()
                .filter(|block| block["type"] == "text")
                .filter_map(|block| block["text"].as_str())
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn outcomes(content: &Value) -> Vec<ToolOutcome> {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    blocks
        .iter()
        .filter(|block| block["type"] == "tool_result")
        .map(|block| ToolOutcome {
            tool_use_id: block["tool_use_id"].as_str().unwrap_or_default().to_owned(),
            is_error: block["is_error"] == true,
            text: text_of(&block["content"]),
        })
        .collect()
}
