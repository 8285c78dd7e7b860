//! The checks of the scripted Claude without a socket.

use axum::http::{HeaderMap, HeaderValue, header};

use super::{ParsedRequest, memory::Memory, validate};

const KEY: &str = "sk-ant-desk";

/// Checks requests as [`super::FakeClaude`] does, and remembers the replies to them.
#[derive(Debug, Default)]
pub struct Desk(Memory);

impl Desk {
    /// Checks the body of a request.
    ///
    /// # Errors
    /// The message of the refusal.
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

    /// Records `content` as the reply to the request `to`.
    pub fn replied(&mut self, to: &ParsedRequest, content: &str, stop_reason: Option<&str>) {
        self.0.remember(to, content, stop_reason);
    }
}
