//! Replies that a test prescribes for Claude.

use serde_json::{Value, json};
use uuid::Uuid;

/// One answer to a valid request.
#[derive(Clone, Debug)]
pub enum Scripted {
    /// A response with content blocks.
    Message {
        /// The content array as JSON text, served byte for byte.
        content: String,
        /// Why the reply ended; `None` is `null`.
        stop_reason: Option<String>,
        /// `stop_details`; `Null` in most replies.
        stop_details: Value,
    },
    /// Any other response, complete. It is billed no tokens and does not change the prompt cache.
    Raw {
        /// HTTP status of the answer.
        status: u16,
        /// Headers of the answer.
        headers: Vec<(&'static str, String)>,
        /// Body of the answer.
        body: String,
    },
}

impl Scripted {
    /// A reply of these content blocks with this stop reason.
    pub fn blocks(blocks: &[Value], stop_reason: &str) -> Self {
        Self::Message {
            content: Value::from(blocks).to_string(),
            stop_reason: Some(stop_reason.into()),
            stop_details: Value::Null,
        }
    }

    /// A final text, with the stop reason `end_turn`.
    pub fn text(text: &str) -> Self {
        Self::stop("end_turn", text)
    }

    /// A text with this stop reason.
    pub fn stop(stop_reason: &str, text: &str) -> Self {
        Self::blocks(&[text_block(text)], stop_reason)
    }

    /// A reply without content, with this stop reason.
    pub fn nothing(stop_reason: &str) -> Self {
        Self::blocks(&[], stop_reason)
    }

    /// Calls of these tools (wire name, input), all in one reply.
    pub fn tools(calls: &[(&str, Value)]) -> Self {
        let blocks: Vec<Value> =
            calls.iter().map(|(name, input)| tool_use_block(name, input.clone())).collect();
        Self::blocks(&blocks, "tool_use")
    }

    /// A call whose input was cut off by `max_tokens`; `input` is only the first part of it.
    pub fn truncated_tool_use(name: &str, input: Value) -> Self {
        Self::blocks(&[tool_use_block(name, input)], "max_tokens")
    }

    /// A rating answer: module, rating, notes.
    pub fn ratings(ratings: &[(&str, i64, &str)]) -> Self {
        let ratings: Vec<Value> = ratings
            .iter()
            .map(|(module, rating, notes)| {
                json!({"module": module, "notes": notes, "calls": [], "rating": rating})
            })
            .collect();
        Self::text(&json!({ "ratings": ratings }).to_string())
    }

    /// An error in the API's form, with these headers beside the usual ones. `code` is
    /// `error.details.error_code`.
    pub fn error(
        status: u16,
        kind: &str,
        code: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let request_id = fresh_id("req");
        let mut error = json!({"type": kind, "message": "as scripted"});
        if let Some(code) = code {
            error["details"] = json!({ "error_code": code });
        }
        let body = json!({"type": "error", "error": error, "request_id": request_id}).to_string();
        let usual = [("content-type", "application/json".to_owned()), ("request-id", request_id)];
        let given = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self::Raw { status, headers: usual.into_iter().chain(given).collect(), body }
    }

    /// A reply that ended with the stop reason `refusal` and this category.
    pub fn refusal(category: &str) -> Self {
        Self::Message {
            content: "[]".into(),
            stop_reason: Some("refusal".into()),
            stop_details: json!({"type": "refusal", "category": category, "explanation": null}),
        }
    }
}

pub(super) fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text, "citations": null})
}

pub(super) fn tool_use_block(name: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": fresh_id("toolu"), "name": name, "input": input,
        "caller": {"type": "direct"}})
}

/// A thinking block. `shown` is empty unless the client asked for the text.
pub(super) fn thinking_block(shown: &str) -> Value {
    json!({"type": "thinking", "thinking": shown, "signature": fresh_id("sig")})
}

/// An id that is different on each call.
pub(super) fn fresh_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::now_v7().simple())
}
