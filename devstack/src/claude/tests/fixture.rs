//! A raw HTTP client, and small valid requests as a starting point.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Clock;

use super::super::{ClaudeOptions, FakeClaude};

/// A client of a scripted Claude that sends any body, valid or not.
pub(super) struct Client {
    pub claude: FakeClaude,
    /// The server's clock, which is stopped.
    pub clock: Clock,
    http: reqwest::Client,
}

/// An answer that was read completely.
pub(super) struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Client {
    pub(super) async fn start() -> Self {
        Self::with(ClaudeOptions::default()).await
    }

    pub(super) async fn with(options: ClaudeOptions) -> Self {
        let clock = Clock::system();
        clock.set_speed(0.0);
        clock.set("2026-11-20T09:00:00Z".parse().unwrap());
        let claude = FakeClaude::start(options, clock.clone()).await.unwrap();
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { claude, clock, http }
    }

    /// A POST with valid headers.
    pub(super) async fn post(&self, body: impl Into<String>) -> Answer {
        self.send(self.request("/v1/messages", SOUND).body(body.into())).await
    }

    pub(super) fn request(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.claude.url());
        headers
            .iter()
            .fold(self.http.post(url), |request, (name, value)| request.header(*name, *value))
    }

    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, json }
    }

    /// Checks that this body is accepted.
    pub(super) async fn accepts(&self, body: Value) -> Answer {
        let answer = self.post(body.to_string()).await;
        assert_eq!(answer.status, 200, "{body}\n{}", answer.text);
        answer
    }

    /// Checks that this body is refused with 400 and a message that begins with `message`.
    pub(super) async fn refuses(&self, body: Value, message: &str) {
        let before = self.claude.violations().len();
        let answer = self.post(body.to_string()).await;
        assert_eq!(answer.status, 400, "expected {message:?} for {body}\n{}", answer.text);
        assert_eq!(answer.json["type"], "error");
        assert_eq!(answer.json["error"]["type"], "invalid_request_error");
        let said = answer.json["error"]["message"].as_str().unwrap();
        assert!(said.starts_with(message), "expected {message:?}, got {said:?} for {body}");
        assert_eq!(answer.json["request_id"], answer.headers["request-id"].to_str().unwrap());
        let violations = self.claude.violations();
        assert_eq!(violations.len(), before + 1);
        assert_eq!(violations[before], format!("400 invalid_request_error: {said}"));
    }
}

pub(super) const SOUND: &[(&str, &str)] = &[
    ("x-api-key", "sk-ant-devstack"),
    ("anthropic-version", "2026-10-21"),
    ("content-type", "application/json"),
];

/// The smallest valid request.
pub(super) fn base() -> Value {
    json!({
        "model": "claude-haiku-5-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hallo"}],
    })
}

/// The smallest valid request with this key at its top level.
pub(super) fn with(key: &str, value: Value) -> Value {
    let mut body = base();
    body[key] = value;
    body
}

/// The smallest valid request for `model` with this key at its top level.
pub(super) fn with_model(model: &str, key: &str, value: Value) -> Value {
    let mut body = with(key, value);
    body["model"] = model.into();
    body
}

/// The smallest valid request with these messages.
pub(super) fn talk(messages: Value) -> Value {
    with("messages", messages)
}

/// A user message of these blocks.
pub(super) fn user(blocks: Value) -> Value {
    json!({"role": "user", "content": blocks})
}

/// An assistant message of these blocks.
pub(super) fn assistant(blocks: Value) -> Value {
    json!({"role": "assistant", "content": blocks})
}

pub(super) fn tool(name: &str) -> Value {
    json!({"name": name, "description": "d", "input_schema": {"type": "object", "properties": {}}})
}

pub(super) fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "todo_list", "input": {}})
}

pub(super) fn tool_result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "ok"})
}
