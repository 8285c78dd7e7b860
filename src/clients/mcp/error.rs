//! What can go wrong with a request to mana-mcp, and what that means for the request.

use std::time::Duration;

use crate::http::{HttpError, Retryable, Verdict};

/// What came of a request.
pub(crate) type Outcome<T> = Result<T, McpError>;

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", self.sense().1)]
pub struct McpError {
    /// What became of the request.
    pub fate: Fate,
    /// What happened instead of a result.
    pub reason: String,
}

/// What became of a request that has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server answered with a JSON-RPC error.
    Rejected,
    /// The server certainly did not run it, and will not.
    NotRun,
    /// The server certainly did not run it, and may do so later: after so long, where it says so.
    Busy(Option<Duration>),
    /// The server could not be reached, so it did not run it.
    Away,
    /// The server no longer knows the session, so it did not run it. Another session is needed.
    SessionLost,
    /// The server does not accept the JWT, so it did not run it. A fresh one is needed, and with it another
    /// session.
    Unauthorized,
    /// The server lists no tool: there is nothing a persona could do.
    NoTools,
    /// It may or may not have run.
    Unknown,
    /// A read was not answered, however often it was asked for.
    Unanswered,
    /// It was answered at such length that the answer was not read. The next one would be as long.
    Oversized,
}

impl McpError {
    pub(super) fn new(fate: Fate, reason: impl Into<String>) -> Self {
        Self { fate, reason: reason.into() }
    }

    /// The server certainly did not run it, and will not.
    pub(crate) fn not_run(reason: impl Into<String>) -> Self {
        Self::new(Fate::NotRun, reason)
    }

    /// It may or may not have run.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::new(Fate::Unknown, reason)
    }

    pub(super) fn too_long(limit: usize) -> Self {
        let most = format!("longer than {} MB", limit >> 20);
        Self::new(Fate::Oversized, format!("the answer of mana-mcp is {most} and was not read"))
    }

    /// Whether the server certainly did nothing for it.
    pub(crate) fn was_not_run(&self) -> bool {
        self.sense().0
    }

    /// Whether the server certainly did nothing for it, and how that is told.
    fn sense(&self) -> (bool, &'static str) {
        match self.fate {
            Fate::NotRun | Fate::Busy(_) | Fate::Away | Fate::SessionLost => (true, "not run: "),
            Fate::Unauthorized | Fate::NoTools => (true, "not run: "),
            Fate::Unknown => (false, "outcome unknown: "),
            Fate::Rejected | Fate::Unanswered | Fate::Oversized => (false, ""),
        }
    }

    /// The same of a step of the setup, which changes nothing and may be made again where its outcome is
    /// unknown. The reason names the step.
    pub(super) fn of_setup(self, step: &'static str) -> Self {
        let fate = match self.fate {
            Fate::Busy(_) | Fate::Unknown => Fate::Busy(None),
            Fate::Away | Fate::NoTools => self.fate,
            _ => Fate::NotRun,
        };
        Self::new(fate, format!("{step}: {}", self.reason))
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
    fn verdict(&self) -> Verdict {
        let Fate::Busy(retry_after) = self.fate else { return Verdict::Final };
        Verdict::Transient { retry_after }
    }
}
