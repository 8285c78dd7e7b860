//! The errors of requests to mana-mcp, and what an error means for its request.

use std::time::Duration;

use crate::http::{HttpError, Retryable};

/// The result of a request to mana-mcp.
pub(crate) type Outcome<T> = Result<T, McpError>;

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", self.certainty().1)]
pub struct McpError {
    /// What became of the request.
    pub fate: Fate,
    /// What happened instead of a result.
    pub reason: String,
    /// The HTTP status, if the server refused the request with one.
    pub status: Option<u16>,
}

/// What became of a request that has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server answered with a JSON-RPC error.
    Rejected,
    /// The server certainly did not run the request, and will not run it.
    NotRun,
    /// The server certainly did not run the request, and may run it later: after this wait, if the server
    /// names one.
    Busy(Option<Duration>),
    /// The server could not be reached, so it did not run the request.
    Away,
    /// The server no longer knows the session, so it did not run the request. Another session is needed.
    SessionLost,
    /// The server does not accept the JWT, so it did not run the request. A fresh JWT is needed, and with it
    /// another session.
    Unauthorized,
    /// The server lists no tools, so there is nothing that a persona could do.
    NoTools,
    /// The request may or may not have run.
    Unknown,
    /// A read was not answered, although it was sent several times.
    Unanswered,
    /// The answer was too long and was not read. The next answer would be as long.
    Oversized,
}

impl McpError {
    pub(super) fn new(fate: Fate, reason: impl Into<String>) -> Self {
        Self { fate, reason: reason.into(), status: None }
    }

    /// The error of a request that the server certainly did not run and will not run.
    pub(crate) fn not_run(reason: impl Into<String>) -> Self {
        Self::new(Fate::NotRun, reason)
    }

    /// The error of a request that may or may not have run.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::new(Fate::Unknown, reason)
    }

    pub(super) fn too_long(limit: usize) -> Self {
        let most = format!("longer than {} MB", limit >> 20);
        Self::new(Fate::Oversized, format!("the answer of mana-mcp is {most} and was not read"))
    }

    /// Whether the server certainly did nothing for the request.
    pub(crate) fn was_not_run(&self) -> bool {
        self.certainty().0
    }

    /// Whether the server certainly did nothing for the request, and the words for that at the beginning of
    /// the message.
    fn certainty(&self) -> (bool, &'static str) {
        match self.fate {
            Fate::NotRun | Fate::Busy(_) | Fate::Away | Fate::SessionLost => (true, "not run: "),
            Fate::Unauthorized | Fate::NoTools => (true, "not run: "),
            Fate::Unknown => (false, "outcome unknown: "),
            Fate::Rejected | Fate::Unanswered | Fate::Oversized => (false, ""),
        }
    }

    /// This error as that of a step of the setup. Such a step changes nothing, so it may be sent again if its
    /// outcome is unknown. The reason names the step.
    pub(super) fn of_setup(self, step: &'static str) -> Self {
        let fate = match self.fate {
            Fate::Busy(_) | Fate::Unknown => Fate::Busy(None),
            Fate::Away | Fate::NoTools => self.fate,
            _ => Fate::NotRun,
        };
        Self { fate, reason: format!("{step}: {}", self.reason), ..self }
    }
}

impl From<HttpError> for McpError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(..) => Self::new(Fate::Away, error.to_string()),
            HttpError::TooLarge(_, limit) => Self::too_long(limit),
            _ => Self::unknown(error.to_string()),
        }
    }
}

impl Retryable for McpError {
    fn again_after(&self) -> Option<Duration> {
        if let Fate::Busy(wait) = self.fate { Some(wait.unwrap_or_default()) } else { None }
    }
}
