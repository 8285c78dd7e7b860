//! What can go wrong with a session and a call, and what it means for the call.

use std::time::Duration;

use crate::http::retry::{Retryable, Verdict};

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
    /// The space id or the JWT cannot be sent.
    #[error("initialize: the space id or the JWT does not fit in a header")]
    Headers,
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
    /// A read was not answered, however often it was asked for.
    #[error("{reason}")]
    Unanswered {
        /// What happened instead of an answer.
        reason: String,
    },
    /// It was answered at such length that the answer was not read. The next one would be as long.
    #[error("the answer of mana-mcp is longer than {} MB and was not read", limit >> 20)]
    Oversized {
        /// The most that is read, in bytes.
        limit: usize,
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
        match self {
            Self::NotRun { .. }
            | Self::Away { .. }
            | Self::SessionLost
            | Self::Unauthorized { .. } => true,
            Self::Rejected { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Unanswered { .. }
            | Self::Oversized { .. } => false,
        }
    }

    /// What it means for a request of the setup, which changes nothing: whether it may succeed when it is
    /// sent again.
    pub(super) fn of_setup(self, step: &'static str) -> McpError {
        let (reason, transient) = match self {
            Self::Away { reason } => return McpError::Away { step, reason },
            Self::NotRun { reason, transient, .. } => (reason, transient),
            Self::OutcomeUnknown { reason } | Self::Unanswered { reason } => (reason, true),
            Self::Unauthorized { reason } => (reason, false),
            Self::SessionLost => (SESSION_LOST.into(), false),
            other @ (Self::Rejected { .. } | Self::Oversized { .. }) => (other.to_string(), false),
        };
        McpError::Failed { step, reason, transient }
    }
}
