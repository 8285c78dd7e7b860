//! What came of a run.

use std::time::Duration;

use crate::{
    clients::auth::{AuthError, Problem, Step},
    domain::{RunId, Usd, one_line},
    metrics::{RunOutcome, Stage, WhyNotRun},
};

/// How long wrong credentials hold a persona back: five of them lock the account, and only a
/// configuration can heal it (contracts/mana-auth.md).
const INVALID_CREDENTIALS_HOLD: Duration = Duration::from_secs(1_800);

/// What came of a run.
#[derive(Debug)]
pub struct RunReport {
    /// Identity of the run.
    pub run: RunId,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Whether it was cancelled before it had got back to where an earlier process had left it.
    pub cancelled_on_the_way: bool,
    /// Where it ended.
    pub stage: Stage,
    /// What went wrong, if anything.
    pub error: Option<String>,
    /// Whether the persona got access.
    pub logged_in: bool,
    /// Whether the login was refused for its credentials (not for a lock).
    pub credentials_refused: bool,
    /// For whose lack of money nothing was done, if so.
    pub broke: Option<WhyNotRun>,
    /// Tool calls made.
    pub calls: usize,
    /// Ratings given.
    pub ratings: usize,
    /// Whether rows wait in the outbox.
    pub undelivered: bool,
    /// What its model requests cost in this process.
    pub cost: Usd,
    /// How long it waited for Claude's limits.
    pub waited: Duration,
}

impl RunReport {
    pub(super) fn log(&self, took: Duration) {
        let took_ms = took.as_millis() as u64;
        match &self.error {
            None => tracing::info!(
                run.calls = self.calls,
                run.ratings = self.ratings,
                run.cost = %self.cost,
                run.undelivered = self.undelivered,
                took_ms,
                "run ended"
            ),
            // Told once a day, or once a tick where it is everybody's trouble.
            Some(error) if self.credentials_refused => {
                tracing::info!(took_ms, "run did not end well: {}", one_line(error))
            }
            // On one line, whatever a peer put into it.
            Some(error) => tracing::warn!(
                run.calls = self.calls,
                run.ratings = self.ratings,
                run.cost = %self.cost,
                run.undelivered = self.undelivered,
                took_ms,
                "run did not end well: {}",
                one_line(error)
            ),
        }
    }
}

/// Why a run ended early.
#[derive(Debug)]
pub(super) struct Failure {
    pub stage: Stage,
    pub error: String,
    /// Whether it was stopped from outside, which is nobody's failure.
    pub stopped: bool,
    /// Whether it only waits for mana-mcp, which is nobody's failure either.
    pub put_off: bool,
    /// The least the persona is to be held back for.
    pub hold: Option<Duration>,
    pub credentials_refused: bool,
}

impl Failure {
    pub(super) fn at(stage: Stage, error: impl ToString) -> Self {
        let error = error.to_string();
        Self {
            stage,
            error,
            stopped: false,
            put_off: false,
            hold: None,
            credentials_refused: false,
        }
    }

    pub(super) fn stopped(stage: Stage) -> Self {
        Self { stopped: true, ..Self::at(stage, "stopped before its end") }
    }

    /// Mana-mcp is away.
    pub(super) fn put_off(stage: Stage, why: impl ToString) -> Self {
        let error = format!("put off until mana-mcp is there again: {}", why.to_string());
        Self { put_off: true, ..Self::at(stage, error) }
    }

    pub(super) fn of_auth(error: &AuthError) -> Self {
        let stage = match error.step {
            Step::Spaces => Stage::Space,
            _ => Stage::Login,
        };
        let (hold, credentials_refused) = match error.problem {
            Problem::InvalidCredentials | Problem::RefusedTooOften(_) => {
                (Some(INVALID_CREDENTIALS_HOLD), true)
            }
            Problem::AccountLocked(lock) => (Some(lock), false),
            _ => (None, false),
        };
        Self { hold, credentials_refused, ..Self::at(stage, error) }
    }
}
