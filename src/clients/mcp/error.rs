//! What can go wrong with a session and a call, and what it means for the call.

use std::time::Duration;

use http::StatusCode;
use rmcp::{
    service::ClientInitializeError, transport::streamable_http_client::StreamableHttpError,
};

use crate::http::{
    retry::{Retryable, Verdict},
    root_cause,
};

const SESSION_LOST: &str = "mana-mcp no longer knows the session (404)";

/// Why a session could not be opened or its tools not be listed.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The handshake or a page of the tool list failed.
    #[error("{step}: {reason}")]
    Failed {
        /// `initialize` or `tools/list`.
        step: &'static str,
        /// What happened.
        reason: String,
        /// Whether it may succeed later.
        transient: bool,
    },
    /// The server could not be reached, so it has seen nothing of it.
    #[error("{step}: {reason}")]
    Away {
        /// `initialize` or `tools/list`.
        step: &'static str,
        /// What happened.
        reason: String,
    },
    /// The space id cannot be sent.
    #[error("initialize: the space id does not fit in a header")]
    SpaceId,
    /// Nobody waited for the session any more.
    #[error("initialize: given up by a shutdown or the end of the run's time")]
    GivenUp,
    /// The server speaks a revision of the protocol that this client does not.
    #[error("initialize: mana-mcp speaks MCP {0}, which this runner does not")]
    Revision(String),
    /// The tool list is longer or larger than any real one, or does not end.
    #[error("tools/list: {0}")]
    Oversized(&'static str),
    /// No tools: there is nothing a persona could do.
    #[error("tools/list: mana-mcp lists no tools")]
    NoTools,
}

impl Retryable for McpError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed { transient: true, .. } => Verdict::Transient { retry_after: None },
            _ => Verdict::Final,
        }
    }
}

/// Why a tool call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server answered with a JSON-RPC error.
    #[error("JSON-RPC error {code}: {message}")]
    Rejected {
        /// Its code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// The server certainly did not run it.
    #[error("not run: {reason}")]
    NotRun {
        /// Why.
        reason: String,
        /// Whether it may run later.
        transient: bool,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server could not be reached, so it did not run it.
    #[error("not run: {reason}")]
    Away {
        /// What happened instead.
        reason: String,
    },
    /// The server no longer knows the session, so it did not run it. Another session is needed.
    #[error("not run: {SESSION_LOST}")]
    SessionLost,
    /// The server does not accept the JWT, so it did not run it. A fresh one is needed, and with it
    /// another session.
    #[error("not run: {reason}")]
    Unauthorized {
        /// What it says.
        reason: String,
    },
    /// It may or may not have run.
    #[error("outcome unknown: {reason}")]
    OutcomeUnknown {
        /// What happened instead of an answer.
        reason: String,
    },
}

impl Retryable for CallError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotRun { transient: true, retry_after, .. } => {
                Verdict::Transient { retry_after: *retry_after }
            }
            _ => Verdict::Final,
        }
    }
}

impl CallError {
    /// Whether the server certainly did nothing for it.
    pub fn was_not_run(&self) -> bool {
        !matches!(self, Self::Rejected { .. } | Self::OutcomeUnknown { .. })
    }

    /// The same with every text from outside cleaned.
    pub(super) fn cleaned(self, clean: impl Fn(&str) -> String) -> Self {
        match self {
            Self::NotRun { reason, transient, retry_after } => {
                Self::NotRun { reason: clean(&reason), transient, retry_after }
            }
            Self::Away { reason } => Self::Away { reason: clean(&reason) },
            Self::Unauthorized { reason } => Self::Unauthorized { reason: clean(&reason) },
            Self::OutcomeUnknown { reason } => Self::OutcomeUnknown { reason: clean(&reason) },
            other => other,
        }
    }

    /// What it means for a request of the setup, which changes nothing: why it failed, and whether it
    /// may succeed when it is sent again.
    pub(super) fn into_setup_failure(self) -> (String, bool) {
        match self {
            Self::NotRun { reason, transient, .. } => (reason, transient),
            Self::OutcomeUnknown { reason } | Self::Away { reason } => (reason, true),
            Self::Unauthorized { reason } => (reason, false),
            Self::SessionLost => (SESSION_LOST.into(), false),
            rejected @ Self::Rejected { .. } => (rejected.to_string(), false),
        }
    }
}

/// What a transport error says about the request it belongs to: a refusal at the door means that it
/// did not run, a broken answer leaves it open (contracts/mcp-client.md, section 5).
pub(super) fn describe_transport(error: &StreamableHttpError<reqwest::Error>) -> CallError {
    let not_run = |reason: String, transient, retry_after| CallError::NotRun {
        reason,
        transient,
        retry_after,
    };
    match error {
        StreamableHttpError::Client(error) if error.is_connect() => {
            CallError::Away { reason: away(error) }
        }
        StreamableHttpError::Client(error) => CallError::OutcomeUnknown {
            reason: format!("the connection to mana-mcp broke ({})", root_cause(error)),
        },
        StreamableHttpError::HttpStatus(error) => {
            let reason = format!("mana-mcp answered {}", error.status);
            let retry_after = error
                .retry_after
                .as_deref()
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs);
            match StatusCode::from_u16(error.status) {
                Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                    not_run(reason, true, retry_after)
                }
                Ok(StatusCode::UNAUTHORIZED) => CallError::Unauthorized { reason },
                Ok(status) if status.is_client_error() => not_run(reason, false, None),
                _ => CallError::OutcomeUnknown { reason },
            }
        }
        StreamableHttpError::UnexpectedServerResponse(text) if text.starts_with("HTTP 401") => {
            CallError::Unauthorized { reason: format!("mana-mcp answered {text}") }
        }
        StreamableHttpError::UnexpectedServerResponse(text) if is_client_error(text) => {
            not_run(format!("mana-mcp answered {text}"), false, None)
        }
        StreamableHttpError::AuthRequired(_) => {
            CallError::Unauthorized { reason: "mana-mcp answered 401".into() }
        }
        StreamableHttpError::InsufficientScope(_) => {
            not_run("mana-mcp answered 403".into(), false, None)
        }
        StreamableHttpError::SessionExpired => CallError::SessionLost,
        other => CallError::OutcomeUnknown { reason: other.to_string() },
    }
}

fn away(error: &reqwest::Error) -> String {
    format!("mana-mcp cannot be reached ({})", root_cause(error))
}

/// Why a handshake did not reach the server, if it did not.
pub(super) fn why_away(error: &ClientInitializeError) -> Option<String> {
    let ClientInitializeError::TransportError { error, .. } = error else { return None };
    match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::Client(error)) if error.is_connect() => Some(away(error)),
        _ => None,
    }
}

/// rmcp keeps a status without a challenge header only in this text (contracts/mcp-client.md, 4.1).
fn is_client_error(text: &str) -> bool {
    text.strip_prefix("HTTP 4")
        .is_some_and(|rest| rest.bytes().take(2).filter(u8::is_ascii_digit).count() == 2)
}

pub(super) fn describe_initialize(error: &ClientInitializeError) -> (String, bool) {
    match error {
        ClientInitializeError::TransportError { error, .. } => {
            match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
                Some(error) => describe_setup(error),
                None => (root_cause(&*error.error), true),
            }
        }
        ClientInitializeError::JsonRpcError(error) => {
            (format!("JSON-RPC error {}: {}", error.code.0, error.message), false)
        }
        ClientInitializeError::ConnectionClosed(reason) => {
            (format!("the connection closed ({reason})"), true)
        }
        other => (other.to_string(), false),
    }
}

/// What a transport error says about a request of the setup, which changes nothing and may be sent
/// again unless the server would say the same once more.
pub(super) fn describe_setup(error: &StreamableHttpError<reqwest::Error>) -> (String, bool) {
    let (reason, transient) = describe_transport(error).into_setup_failure();
    (reason, transient && !matches!(error, StreamableHttpError::ResponseBodyTooLarge { .. }))
}
