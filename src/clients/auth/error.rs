//! The errors of a persona's requests to mana-auth.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::wire;
use crate::http::{Answer, HttpClient, Retryable, again_after, retry_after};

/// The shortest wait after a rate limit (docs/contracts/mana-auth.md).
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(10);

/// A request that is sent to mana-auth for a persona.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "AuthRequest::names describes them")]
pub enum AuthRequest {
    Login,
    SignIn,
    Spaces,
    Token,
    InitVault,
}

impl AuthRequest {
    /// The path, the metric label and the name in messages of this request.
    pub(super) fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Login => ("api/v1/auth/login", "login", "login"),
            Self::SignIn => ("api/auth/sign-in/email", "sign_in", "login (sign-in/email)"),
            Self::Spaces => {
                let name = "personal space (organization/list)";
                ("api/auth/organization/list", "organization_list", name)
            }
            Self::Token => ("api/auth/token", "token", "fresh JWT (token)"),
            Self::InitVault => ("api/v1/me/encryption-vault/init", "vault_init", "vault init"),
        }
    }

    pub(super) fn is_sign_in(self) -> bool {
        matches!(self, Self::Login | Self::SignIn)
    }
}

/// The result of a request to mana-auth.
pub type Result<T, E = AuthError> = std::result::Result<T, E>;

/// Why a persona has no access.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .step.names().2)]
pub struct AuthError {
    /// The request that failed.
    pub step: AuthRequest,
    /// Why the request failed.
    pub problem: Problem,
}

/// Why a request to mana-auth failed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The password is wrong or there is no such account; mana-auth does not say which. Five of these lock
    /// the account.
    #[error(
        "mana-auth answered 401 INVALID_CREDENTIALS: there is no such account, or its password is not the one \
         that PERSONA_SEED_SECRET gives"
    )]
    InvalidCredentials,
    /// The account's credentials were refused so often that one more refusal before this time would lock the
    /// account. The request was not sent.
    #[error(
        "not sent before {0}: mana-auth has refused this account four times (401 INVALID_CREDENTIALS), the \
         fifth within 15 minutes locks it for half an hour; is it deleted, or its password not the one that \
         PERSONA_SEED_SECRET gives?"
    )]
    RefusedTooOften(Timestamp),
    /// There were too many wrong passwords: the account is locked for this time.
    #[error("mana-auth answered 429 ACCOUNT_LOCKED for {} s", .0.as_secs())]
    AccountLocked(Duration),
    /// There were too many requests: the same request may succeed after this time at the earliest.
    #[error("mana-auth answered 429 (rate limit)")]
    RateLimited(Duration),
    /// mana-auth does not accept the session or the JWT for this request.
    #[error("mana-auth answered 401: {0}")]
    Unauthorized(String),
    /// Any other problem, and the wait after which the same request may succeed.
    #[error("{0}")]
    Other(String, Option<Duration>),
}

impl AuthError {
    /// An error that does not pass with time.
    pub(super) fn at(step: AuthRequest, what: impl Into<String>) -> Self {
        Self { step, problem: Problem::Other(what.into(), None) }
    }

    /// The error for a 200 whose content cannot be used.
    pub(super) fn unreadable(step: AuthRequest, detail: &str) -> Self {
        Self::at(step, format!("mana-auth answered 200, but {detail}"))
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self.problem, Problem::Unauthorized(_))
    }
}

impl Problem {
    /// The problem that an answer other than 200 reports.
    pub(super) fn of_answer(step: AuthRequest, answer: &Answer, http: &HttpClient) -> Self {
        let asked = retry_after(&answer.headers);
        match answer.status {
            StatusCode::UNAUTHORIZED if step.is_sign_in() => Self::InvalidCredentials,
            StatusCode::UNAUTHORIZED => Self::Unauthorized(http.detail(answer)),
            StatusCode::TOO_MANY_REQUESTS => match wire::lock_in(&answer.body, asked) {
                Some(lock) => Self::AccountLocked(lock),
                None => Self::RateLimited(asked.unwrap_or_default().max(RATE_LIMIT_WAIT)),
            },
            status => {
                let detail = http.detail(answer);
                let what = format!("mana-auth answered {}: {detail}", status.as_u16());
                Self::Other(what, again_after(status, asked))
            }
        }
    }
}

impl Retryable for AuthError {
    fn again_after(&self) -> Option<Duration> {
        match self.problem {
            Problem::RateLimited(wait) => Some(wait),
            Problem::Other(_, again_after) => again_after,
            _ => None,
        }
    }
}
