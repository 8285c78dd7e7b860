//! The shape of Claude's answers: bodies, usage, headers.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::{
    request::ParsedRequest,
    script::{Scripted, fresh_id},
    validate::Refusal,
};

/// What the account may use per minute, and how much of it is left.
const LIMITS: [(&str, u64, u64); 4] = [
    ("requests", 1_000, 999),
    ("tokens", 2_400_000, 2_400_000),
    ("input-tokens", 2_000_000, 2_000_000),
    ("output-tokens", 400_000, 400_000),
];
/// Tokens a thinking block is billed with.
const THINKING_TOKENS: u64 = 40;
const BYTES_PER_TOKEN: usize = 4;

/// The answer to a valid request.
pub(super) fn served(request: &ParsedRequest, scripted: Scripted) -> Response {
    match scripted {
        Scripted::Raw { status, headers, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
            respond(status, headers.collect(), body)
        }
        Scripted::Message { content, stop_reason, stop_details } => {
            let usage = usage(request, &content);
            // Assembled as text, so that the content is served byte for byte.
            let body = format!(
                r#"{{"id":"{}","type":"message","role":"assistant","model":"{}","content":{content},"stop_reason":{},"stop_sequence":null,"stop_details":{stop_details},"container":null,"diagnostics":null,"usage":{usage}}}"#,
                fresh_id("msg"),
                request.model,
                Value::from(stop_reason),
            );
            let mut headers = common_headers(fresh_id("req"));
            headers.extend(rate_limit_headers());
            respond(StatusCode::OK, headers, body)
        }
    }
}

/// The answer to a request that breaks a rule.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let id = fresh_id("req");
    let body = json!({
        "type": "error",
        "error": {"type": refusal.kind, "message": refusal.message},
        "request_id": id,
    });
    respond(refusal.status, common_headers(id), body.to_string())
}

/// What the request cost. A prompt cache would move input tokens to the two cache counters here.
fn usage(request: &ParsedRequest, content: &str) -> Value {
    let blocks: Vec<Value> = serde_json::from_str(content).unwrap_or_default();
    let thoughts = blocks.iter().filter(|block| block["type"] == "thinking").count() as u64;
    let thinking_tokens = thoughts * THINKING_TOKENS;
    json!({
        "input_tokens": request.raw.len().div_ceil(BYTES_PER_TOKEN),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": content.len().div_ceil(BYTES_PER_TOKEN) as u64 + thinking_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
        "server_tool_use": null,
        "service_tier": "standard",
        "inference_geo": "global",
        "speed": "standard",
    })
}

fn common_headers(request_id: String) -> Vec<(String, String)> {
    vec![
        ("content-type".into(), "application/json".into()),
        ("request-id".into(), request_id),
        ("anthropic-organization-id".into(), "00000000-0000-4000-8000-000000000000".into()),
    ]
}

/// An account far from its limits.
fn rate_limit_headers() -> Vec<(String, String)> {
    let now = Timestamp::now();
    let reset = now.round(Unit::Second).unwrap_or(now).to_string();
    LIMITS
        .iter()
        .flat_map(|(kind, limit, remaining)| {
            [
                (format!("anthropic-ratelimit-{kind}-limit"), limit.to_string()),
                (format!("anthropic-ratelimit-{kind}-remaining"), remaining.to_string()),
                (format!("anthropic-ratelimit-{kind}-reset"), reset.clone()),
            ]
        })
        .collect()
}

fn respond(status: StatusCode, headers: Vec<(String, String)>, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
