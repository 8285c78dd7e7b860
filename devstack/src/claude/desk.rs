//! What the scripted Claude refuses, without a socket.

use axum::http::{HeaderMap, HeaderValue, header};

use super::{ParsedRequest, memory::Memory, validate};

const KEY: &str = "sk-ant-desk";

/// Checks requests as [`super::FakeClaude`] does, and remembers what was replied to them.
#[derive(Debug, Default)]
pub struct Desk(Memory);

impl Desk {
    /// Checks the body of a request.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn check(&self, body: &[u8]) -> Result<ParsedRequest, String> {
        let headers = HeaderMap::from_iter([
            (header::HeaderName::from_static("x-api-key"), HeaderValue::from_static(KEY)),
            (
                header::HeaderName::from_static("anthropic-version"),
                HeaderValue::from_static("2026-10-21"),
            ),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        validate::request(&headers, KEY, body, &self.0).map_err(|refusal| refusal.to_string())
    }

    /// This content was the reply to a request.
    pub fn replied(&mut self, to: &ParsedRequest, content: &str, stop_reason: Option<&str>) {
        self.0.remember(to, content, stop_reason);
    }
}
