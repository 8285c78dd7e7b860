//! The form of Claude's answers: bodies, usage, headers.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    cache::Lookup,
    prompt::tokens_of,
    rate_limit::Exceeded,
    refusal::Refusal,
    request::ParsedRequest,
    script::{Scripted, fresh_id},
};

/// Output tokens that one thinking block is billed with.
const THINKING_TOKENS: u64 = 40;

/// Response headers as pairs of name and value.
pub(super) type Headers = Vec<(String, String)>;

/// The answer to a valid request; `headers` are the rate-limit headers.
pub(super) fn served(
    request: &ParsedRequest,
    scripted: Scripted,
    input: &Lookup,
    headers: Headers,
) -> Response {
    match scripted {
        Scripted::Raw { status, headers, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
            respond(status, headers.collect(), body)
        }
        Scripted::Message { content, stop_reason, stop_details } => {
            let usage = usage(input, &content);
            // Assembled as text, so that the content is sent byte for byte.
            let body = format!(
                r#"{{"id":"{}","type":"message","role":"assistant","model":"{}","content":{content},"stop_reason":{},"stop_sequence":null,"stop_details":{stop_details},"container":null,"diagnostics":null,"usage":{usage}}}"#,
                fresh_id("msg"),
                request.model,
                Value::from(stop_reason),
            );
            respond(StatusCode::OK, with_common(headers, fresh_id("req")), body)
        }
    }
}

/// The answer to a request that breaks a rule.
pub(super) fn refused(refusal: &Refusal, headers: Headers) -> Response {
    let id = fresh_id("req");
    let body = json!({
        "type": "error",
        "error": {"type": refusal.kind, "message": refusal.message},
        "request_id": id,
    });
    respond(refusal.status, with_common(headers, id), body.to_string())
}

/// The answer to a request that exceeds a rate limit.
pub(super) fn rate_limited(exceeded: &Exceeded, mut headers: Headers) -> Response {
    let message = format!(
        "This request would exceed your organization's rate limit of {} {} per minute",
        exceeded.limit, exceeded.what
    );
    headers.push(("retry-after".into(), exceeded.retry_after_seconds.to_string()));
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
    refused(&refusal, headers)
}

/// Sets these headers, replacing those with the same names.
pub(super) fn set_headers(
    response: &mut Response,
    headers: impl IntoIterator<Item = (String, String)>,
) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Tokens of an answer with this content, including its thinking.
pub(super) fn output_tokens(content: &str) -> u64 {
    tokens_of(content) + thinking_tokens(content)
}

fn thinking_tokens(content: &str) -> u64 {
    let blocks: Vec<Value> = serde_json::from_str(content).unwrap_or_default();
    blocks.iter().filter(|block| block["type"] == "thinking").count() as u64 * THINKING_TOKENS
}

fn usage(input: &Lookup, content: &str) -> Value {
    let (hour, written) = (input.written_for_an_hour, input.usage.written);
    json!({
        "input_tokens": input.usage.uncached,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": input.usage.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - hour,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": output_tokens(content),
        "output_tokens_details": {"thinking_tokens": thinking_tokens(content)},
        "server_tool_use": null,
        "service_tier": "standard",
        "inference_geo": "global",
        "speed": "standard",
    })
}

fn with_common(mut headers: Headers, request_id: String) -> Headers {
    let organization = "00000000-0000-4000-8000-000000000000".to_owned();
    headers.extend([
        ("content-type".into(), "application/json".into()),
        ("request-id".into(), request_id),
        ("anthropic-organization-id".into(), organization),
    ]);
    headers
}

fn respond(status: StatusCode, headers: Headers, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    set_headers(&mut response, headers);
    response
}
