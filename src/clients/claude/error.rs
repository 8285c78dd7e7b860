//! The errors of requests to Claude.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Bill, NotPaid};
use crate::{
    domain::json_text,
    http::{Answer, HttpClient, HttpError, Retryable, again_after, retry_after},
};

/// Error codes of a 429 that does not pass with time (docs/contracts/anthropic-messages.md, section 6).
const SPEND_LIMITS: [&str; 2] = ["enforced_spend_limit_reached", "contract_spend_limit_reached"];

/// Error code of an account that is on hold.
const ON_HOLD: &str = "organization_on_hold";

/// The result of a request to Claude.
pub type Result<T, E = ClaudeError> = std::result::Result<T, E>;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClaudeError {
    /// Claude answered with a status other than 200.
    #[error("Claude answered {status} {kind}: {message}", status = status.as_u16())]
    Refused {
        /// The HTTP status of the answer.
        status: StatusCode,
        /// `error.type`, with `details.error_code` if there is one; `unknown` for a body that is not
        /// Claude's.
        kind: String,
        /// `error.details.error_code`, if there is one.
        code: Option<String>,
        /// The message in the body, redacted and cut.
        message: String,
        /// The wait after which the same request may succeed.
        again_after: Option<Duration>,
    },
    /// All use of the model has stopped for now, for this reason.
    #[error("the model is not used for now: {0}")]
    Stopped(String),
    /// The wait for a permit to send would take longer than the run may wait.
    #[error("Claude's limits leave no time for another request in this run")]
    WaitedEnough,
    /// The run's account does not allow the request.
    #[error(transparent)]
    NotPaid(#[from] NotPaid),
    /// Claude answered 200 with a body that is no reply.
    #[error("Claude answered 200, but not with a message: {0}")]
    Unreadable(String),
    /// There was no complete answer.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl ClaudeError {
    /// The error for an answer other than 200. A proxy in between may send a body in a format of its own.
    pub(super) fn from_answer(answer: &Answer, http: &HttpClient) -> Self {
        let body: Value = json_text::parse(&answer.body).unwrap_or_default();
        let error = &body["error"];
        let code = error["details"]["error_code"].as_str().map(str::to_owned);
        let (kind, message) = match error["type"].as_str() {
            Some(kind) => (kind, http.snippet(error["message"].as_str().unwrap_or("").as_bytes())),
            None => ("unknown", http.detail(answer)),
        };
        let code_in_kind = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        let kind = http.snippet(format!("{kind}{code_in_kind}").as_bytes());
        let again_after = by_sdks(answer.status, &answer.headers, code.as_deref());
        Self::Refused { status: answer.status, kind, code, message, again_after }
    }

    /// The status, if Claude answered with an error.
    pub fn status(&self) -> Option<StatusCode> {
        let Self::Refused { status, .. } = self else { return None };
        Some(*status)
    }

    /// Whether Claude refused the request itself (400) and not the account that sent it. A refused request
    /// that carries thinking may be accepted without the thinking (section 5.4).
    pub(crate) fn is_bad_request(&self) -> bool {
        self.status() == Some(StatusCode::BAD_REQUEST) && self.lasting().is_none()
    }

    /// The index, in the request's list, of the tool that a refusal of the request names: `tools.3.…`.
    pub(crate) fn named_tool(&self) -> Option<usize> {
        let Self::Refused { message, .. } = self else { return None };
        let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        message.match_indices("tools.").find_map(|(at, path)| {
            let number = &message[at + path.len()..];
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            // The cache marker belongs to this program, whichever tool carries it.
            let is_of_tool = !number[end..].starts_with(".cache_control");
            let is_path = !message[..at].ends_with(in_word) && is_of_tool;
            is_path.then(|| number[..end].parse().ok()).flatten()
        })
    }

    /// Whether the same request may be answered at another time. A request that Claude refuses for its
    /// content (400, 413) never is.
    pub(crate) fn may_pass(&self) -> bool {
        let of_itself = matches!(self, Self::Refused { .. } | Self::Http(_));
        !of_itself || self.again_after().is_some() || self.lasting().is_some()
    }

    /// How a request that ended with this error is billed.
    pub(super) fn bill(&self) -> Bill<'_> {
        match self {
            Self::Refused { .. } => Bill::Free,
            Self::Http(error) if error.was_not_sent() => Bill::Free,
            _ => Bill::Lost,
        }
    }

    /// The reason not to send anything for now, if the failure does not pass with time: a key, an account, a
    /// model or a spend limit (docs/contracts/anthropic-messages.md, section 6). `None` for any other
    /// failure.
    pub(super) fn lasting(&self) -> Option<String> {
        let Self::Refused { status, code, .. } = self else { return None };
        let code = code.as_deref().unwrap_or_default();
        let lasts =
            matches!(status.as_u16(), 401..=404) || SPEND_LIMITS.contains(&code) || code == ON_HOLD;
        lasts.then(|| self.to_string())
    }
}

/// [`Retryable::again_after`] by the rule of the official SDKs: 408, 409, 429 and 5xx are sent again, unless a header says otherwise.
fn by_sdks(status: StatusCode, headers: &HeaderMap, code: Option<&str>) -> Option<Duration> {
    let may_pass = match headers.get("x-should-retry").map(|value| value.as_bytes()) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ if code.is_some_and(|code| SPEND_LIMITS.contains(&code)) => false,
        _ if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT) => true,
        _ => again_after(status, None).is_some(),
    };
    may_pass.then(|| retry_after(headers).unwrap_or_default())
}

impl Retryable for ClaudeError {
    fn again_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { again_after, .. } => *again_after,
            Self::Unreadable(_) => Some(Duration::ZERO),
            Self::Http(source) => source.again_after(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(status: u16, headers: &[(&'static str, &str)], code: Option<&str>) -> bool {
        let headers =
            headers.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        by_sdks(status, &headers.collect(), code).is_some()
    }

    #[test]
    fn retries_follow_status_then_code_then_header() {
        for status in [408, 409, 429, 500, 503, 504, 529] {
            assert!(retries(status, &[], None), "{status}");
            assert!(!retries(status, &[("x-should-retry", "false")], None), "{status}");
        }
        for status in [400, 401, 402, 403, 404, 413, 422] {
            assert!(!retries(status, &[], None), "{status}");
            assert!(retries(status, &[("x-should-retry", "true")], None), "{status}");
        }
        for code in SPEND_LIMITS {
            assert!(!retries(429, &[], Some(code)), "{code}");
        }
        assert!(retries(429, &[], Some("ramp_limit_exceeded")));
    }

    #[test]
    fn a_refusal_names_a_tool_by_its_index() {
        let named = |message: &str| {
            let (status, again_after) = (StatusCode::BAD_REQUEST, None);
            let (kind, message) = ("invalid_request_error".to_owned(), message.to_owned());
            ClaudeError::Refused { status, kind, code: None, message, again_after }.named_tool()
        };
        assert_eq!(named("tools.12.custom.input_schema: JSON schema is invalid"), Some(12));
        assert_eq!(named("error from upstream: \"tools.0: no\""), Some(0));
        assert_eq!(named("tools.0"), Some(0));
        for nothing in [
            "tools: Tool names must be unique.",
            "tools.x",
            "tools.32.cache_control: Extra inputs are not permitted",
            "messages.1.tools.2",
            "my_tools.1",
            "tools.99999999999999999999999",
            "messages.1.content.0: Could not process image",
        ] {
            assert_eq!(named(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_timeout_a_lost_connection_and_an_unreadable_body_are_tried_again_like_a_5xx() {
        let (peer, detail) = ("claude", String::new());
        let again = |error: ClaudeError| error.again_after().is_some();
        let after = Duration::from_secs(120);
        assert!(again(HttpError::Timeout(peer, after).into()));
        assert!(again(HttpError::Unreachable(peer, detail.clone()).into()));
        assert!(again(HttpError::Interrupted(peer, detail.clone()).into()));
        assert!(again(ClaudeError::Unreadable("EOF".into())));
        assert!(!again(HttpError::TooLarge(peer, 1).into()));
        assert!(!again(HttpError::Unsendable(peer, detail).into()));
    }
}
