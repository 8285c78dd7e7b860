//! What can go wrong between a persona and mana-auth.

use std::{fmt, time::Duration};

use http::StatusCode;
use jiff::Timestamp;

use super::wire;
use crate::{
    domain::json_text,
    http::{
        Answer, HttpClient, HttpError, retry,
        retry::{Retryable, Verdict},
    },
};

/// How long an account is locked when mana-auth does not say (contracts/mana-auth.md).
const LOCKED_FOR: Duration = Duration::from_secs(1_800);
/// The least to wait after a rate limit (contracts/mana-auth.md).
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(10);

/// One request of the user path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// POST /api/v1/auth/login
    Login,
    /// POST /api/auth/sign-in/email
    SignIn,
    /// GET /api/auth/organization/list
    Spaces,
    /// GET /api/auth/token
    Token,
    /// POST /api/v1/me/encryption-vault/init
    InitVault,
}

impl Step {
    /// Metric label, and the name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SignIn => "sign_in",
            Self::Spaces => "organization_list",
            Self::Token => "token",
            Self::InitVault => "vault_init",
        }
    }

    pub(super) fn is_sign_in(self) -> bool {
        matches!(self, Self::Login | Self::SignIn)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "login",
            Self::SignIn => "login (sign-in/email)",
            Self::Spaces => "personal space (organization/list)",
            Self::Token => "fresh JWT (token)",
            Self::InitVault => "vault init",
        })
    }
}

/// Why a persona has no access.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Wrong password or no such account; mana-auth does not say which. Five of these lock it.
    #[error(
        "{step}: mana-auth answered 401 INVALID_CREDENTIALS: there is no such account, or its password is \
         not the one that PERSONA_SEED_SECRET gives"
    )]
    InvalidCredentials {
        /// The request.
        step: Step,
    },
    /// Its credentials were refused so often of late that one more would lock it; it was not sent.
    #[error(
        "{step}: not sent before {until}: mana-auth has refused this account four times (401 \
         INVALID_CREDENTIALS), the fifth within 15 minutes locks it for half an hour; is it deleted, or its \
         password not the one that PERSONA_SEED_SECRET gives?"
    )]
    RefusedTooOften {
        /// The request.
        step: Step,
        /// When it may be tried again.
        until: Timestamp,
    },
    /// Too many wrong passwords.
    #[error("{step}: mana-auth answered 429 ACCOUNT_LOCKED for {} s", .retry_after.as_secs())]
    AccountLocked {
        /// The request.
        step: Step,
        /// How long the account stays locked.
        retry_after: Duration,
    },
    /// Too many requests.
    #[error("{step}: mana-auth answered 429 (rate limit)")]
    RateLimited {
        /// The request.
        step: Step,
        /// How long to wait, at least.
        retry_after: Duration,
    },
    /// The rate limit leaves no time for it; it was not sent.
    #[error("{step}: not sent, mana-auth's rate limit allows it only in {} s", .wait.as_secs())]
    TooLate {
        /// The request.
        step: Step,
        /// How long it would have to wait.
        wait: Duration,
    },
    /// Any other status but 200.
    #[error("{step}: mana-auth answered {status}: {detail}", status = status.as_u16())]
    Refused {
        /// The request.
        step: Step,
        /// HTTP status.
        status: StatusCode,
        /// Beginning of the body.
        detail: String,
        /// How long the answer asks to wait.
        retry_after: Option<Duration>,
    },
    /// A 200 that cannot be used.
    #[error("{step}: mana-auth answered 200, but {detail}")]
    Unreadable {
        /// The request.
        step: Step,
        /// What is wrong with it.
        detail: String,
    },
    /// The account has no space of type `personal`.
    #[error(
        "personal space: none of the account's {listed} spaces is of type personal; \
         sign-up should have created one"
    )]
    NoPersonalSpace {
        /// How many spaces there are.
        listed: usize,
    },
    /// No answer.
    #[error("{step}: {source}")]
    Http {
        /// The request.
        step: Step,
        /// Why.
        source: HttpError,
    },
}

impl AuthError {
    pub(super) fn unreadable(step: Step, detail: &str) -> Self {
        Self::Unreadable { step, detail: detail.to_owned() }
    }

    /// Reads an answer that is not 200.
    pub(super) fn from_answer(step: Step, answer: &Answer, http: &HttpClient) -> Self {
        let asked = crate::http::retry_after(&answer.headers);
        let refusal: wire::Refusal = json_text::parse(&answer.body).unwrap_or_default();
        match answer.status {
            StatusCode::UNAUTHORIZED if step.is_sign_in() => Self::InvalidCredentials { step },
            StatusCode::TOO_MANY_REQUESTS if refusal.is_lockout() => Self::AccountLocked {
                step,
                retry_after: asked.or(refusal.retry_after()).unwrap_or(LOCKED_FOR),
            },
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited {
                step,
                retry_after: asked.unwrap_or_default().max(RATE_LIMIT_WAIT),
            },
            status => {
                let detail = http.detail(answer);
                Self::Refused { step, status, detail, retry_after: asked }
            }
        }
    }

    /// Whether credentials that were accepted elsewhere are not accepted here.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED, .. })
    }

    /// The request that failed.
    pub fn step(&self) -> Step {
        match self {
            Self::InvalidCredentials { step }
            | Self::RefusedTooOften { step, .. }
            | Self::AccountLocked { step, .. }
            | Self::RateLimited { step, .. }
            | Self::TooLate { step, .. }
            | Self::Refused { step, .. }
            | Self::Unreadable { step, .. }
            | Self::Http { step, .. } => *step,
            Self::NoPersonalSpace { .. } => Step::Spaces,
        }
    }
}

impl Retryable for AuthError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::RateLimited { retry_after, .. } => {
                Verdict::Transient { retry_after: Some(*retry_after) }
            }
            Self::Refused { status, retry_after, .. } => retry::of_status(*status, *retry_after),
            Self::Http { source, .. } if source.is_transient() => {
                Verdict::Transient { retry_after: None }
            }
            _ => Verdict::Final,
        }
    }
}
