//! What can go wrong between a persona and mana-auth.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::wire;
use crate::http::{Answer, HttpClient, Retryable, Verdict, retry_after};

/// The least to wait after a rate limit (docs/contracts/mana-auth.md).
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(10);

/// One request of the user path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "AuthRequest::sheet describes them")]
pub enum AuthRequest {
    Login,
    SignIn,
    Spaces,
    Token,
    InitVault,
}

impl AuthRequest {
    /// Its path, its metric label, and what it is called in messages.
    pub(super) fn sheet(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Login => ("api/v1/auth/login", "login", "login"),
            Self::SignIn => ("api/auth/sign-in/email", "sign_in", "login (sign-in/email)"),
            Self::Spaces => {
                let told = "personal space (organization/list)";
                ("api/auth/organization/list", "organization_list", told)
            }
            Self::Token => ("api/auth/token", "token", "fresh JWT (token)"),
            Self::InitVault => ("api/v1/me/encryption-vault/init", "vault_init", "vault init"),
        }
    }

    pub(super) fn is_sign_in(self) -> bool {
        matches!(self, Self::Login | Self::SignIn)
    }
}

/// What came of a request to mana-auth.
pub type Result<T, E = AuthError> = std::result::Result<T, E>;

/// Why a persona has no access.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .step.sheet().2)]
pub struct AuthError {
    /// The request that failed.
    pub step: AuthRequest,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a request to mana-auth.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Wrong password or no such account; mana-auth does not say which. Five of these lock it.
    #[error(
        "mana-auth answered 401 INVALID_CREDENTIALS: there is no such account, or its password is not the one \
         that PERSONA_SEED_SECRET gives"
    )]
    InvalidCredentials,
    /// Its credentials were refused so often of late that one more would lock it, before this time; it was
    /// not sent.
    #[error(
        "not sent before {0}: mana-auth has refused this account four times (401 INVALID_CREDENTIALS), the \
         fifth within 15 minutes locks it for half an hour; is it deleted, or its password not the one that \
         PERSONA_SEED_SECRET gives?"
    )]
    RefusedTooOften(Timestamp),
    /// Too many wrong passwords: the account is locked for so long.
    #[error("mana-auth answered 429 ACCOUNT_LOCKED for {} s", .0.as_secs())]
    AccountLocked(Duration),
    /// Too many requests: it may pass after so long, at least.
    #[error("mana-auth answered 429 (rate limit)")]
    RateLimited(Duration),
    /// A session or JWT that was accepted elsewhere is not accepted here.
    #[error("mana-auth answered 401: {0}")]
    Unauthorized(String),
    /// Anything else, and whether it may pass.
    #[error("{0}")]
    Other(String, Verdict),
}

impl AuthError {
    /// What will not pass.
    pub(super) fn at(step: AuthRequest, what: impl Into<String>) -> Self {
        Self { step, problem: Problem::Other(what.into(), Verdict::Final) }
    }

    /// A 200 that cannot be used.
    pub(super) fn unreadable(step: AuthRequest, detail: &str) -> Self {
        Self::at(step, format!("mana-auth answered 200, but {detail}"))
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self.problem, Problem::Unauthorized(_))
    }
}

impl Problem {
    /// Reads an answer that is not 200.
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
                Self::Other(what, Verdict::of_status(status, asked))
            }
        }
    }
}

impl Retryable for AuthError {
    fn verdict(&self) -> Verdict {
        match self.problem {
            Problem::RateLimited(wait) => Verdict::Transient { retry_after: Some(wait) },
            Problem::Other(_, verdict) => verdict,
            _ => Verdict::Final,
        }
    }
}
