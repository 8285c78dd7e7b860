//! The rules of the contract under which the real API refuses a request.

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{
    memory::Memory,
    model,
    refusal::{Checked, Refusal},
    request::ParsedRequest,
};

mod blocks;
mod cache;
pub(super) mod call;
mod conversation;
mod draft;
mod headers;
mod media;
mod options;
mod schema;
mod shape;
mod tools;

/// "32 MB", taken as 32 million bytes, the stricter reading.
const BODY_LIMIT: usize = 32_000_000;

/// Checks one request against every rule of the contract.
///
/// # Errors
/// The first broken rule.
pub(super) fn request(
    headers: &HeaderMap,
    api_key: &str,
    body: &[u8],
    memory: &Memory,
) -> Result<ParsedRequest, Refusal> {
    if body.len() > BODY_LIMIT {
        let message = "Request exceeds the maximum size".to_owned();
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
    }
    headers::check(headers, api_key)?;
    let unreadable = |error: String| {
        // The real API's message for an unpaired surrogate; for other errors its message is similar to this
        // one.
        let what = if error.contains("hex escape") {
            format!("no low surrogate in string: {error}")
        } else {
            error
        };
        let message = format!("The request body is not valid JSON: {what}");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    };
    let raw = std::str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
    let body: Value = serde_json::from_str(raw).map_err(|error| unreadable(error.to_string()))?;

    options::check_top_level(&body)?;
    let request = ParsedRequest::new(raw, body);
    let model = model::find(&request.model)
        .ok_or_else(|| Refusal::not_found(format!("model: {}", request.model)))?;
    options::check_model_settings(&request.body, model)?;
    tools::check(&request.body, model)?;
    conversation::check_shape(&request.body["messages"])?;
    let origins = memory.trace(raw)?;
    blocks::check_system(&request.body["system"])?;
    blocks::check_messages(&request, &origins)?;
    media::check_sizes(&request.messages)?;
    conversation::check_order(&request.messages, &origins, memory, model)?;
    cache::check(&request)?;
    memory.check_thinking(&request.body, &request.messages, &origins, model.binds_thinking)?;
    Ok(request)
}
