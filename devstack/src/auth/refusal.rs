//! The error answers of mana-auth.

use aws_lc_rs::error::Unspecified;
use axum::{
    Extension, Json, Router,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::guard;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// User path: the body is not an e-mail and a password.
    Validation,
    /// login: unknown user or wrong password.
    InvalidCredentials,
    /// sign-in/email: unknown user or wrong password.
    InvalidEmailOrPassword,
    /// The e-mail is locked after too many failures; holds the seconds until it is unlocked.
    AccountLocked(i64),
    /// login: too many sign-ins of this caller.
    RateLimited,
    /// sign-in/email: too many sign-ins of this caller.
    RateLimitedSignIn,
    /// User path: the request carries no valid session.
    Unauthorized,
    /// Service path: the key is missing or wrong.
    ServiceKey,
    /// Service path: the body is invalid; holds the message.
    BadRequest(&'static str),
    /// Service path: no persona has this user id.
    UnknownPersona,
    /// An unexpected error: the answer is a 500.
    Internal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Validation => {
                let body = json!({"error": "VALIDATION", "message": "email and password required"});
                (StatusCode::BAD_REQUEST, Json(body)).into_response()
            }
            Self::InvalidCredentials => {
                let body =
                    json!({"error": "INVALID_CREDENTIALS", "message": "Invalid credentials"});
                (StatusCode::UNAUTHORIZED, Json(body)).into_response()
            }
            Self::InvalidEmailOrPassword => {
                let message = "Invalid email or password";
                let body = json!({"code": "INVALID_EMAIL_OR_PASSWORD", "message": message});
                (StatusCode::UNAUTHORIZED, Json(body)).into_response()
            }
            Self::AccountLocked(seconds) => {
                let body = json!({"error": "ACCOUNT_LOCKED", "retryAfterSec": seconds});
                let header = [(RETRY_AFTER, seconds.to_string())];
                (StatusCode::TOO_MANY_REQUESTS, header, Json(body)).into_response()
            }
            Self::RateLimited => {
                let body = json!({"error": "RATE_LIMITED"});
                (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response()
            }
            Self::RateLimitedSignIn => {
                let header = [("x-retry-after", guard::WINDOW_SECONDS.to_string())];
                (header, Self::RateLimited).into_response()
            }
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, Json(json!({"code": "UNAUTHORIZED"}))).into_response()
            }
            Self::ServiceKey => service(StatusCode::UNAUTHORIZED, "Invalid or missing service key"),
            Self::BadRequest(message) => service(StatusCode::BAD_REQUEST, message),
            Self::UnknownPersona => service(StatusCode::NOT_FOUND, "Persona not found"),
            Self::Internal => service(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        }
    }
}

/// The message of a refusal of the service path, kept for a service that sends it in another form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub &'static str);

/// An error answer in the form of the service path.
fn service(status: StatusCode, message: &'static str) -> Response {
    let body = json!({"statusCode": status.as_u16(), "message": message});
    (status, Extension(Refused(message)), Json(body)).into_response()
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::debug!(%error, "mana-auth answers 500");
        Self::Internal
    }
}

impl From<Unspecified> for Refusal {
    fn from(_: Unspecified) -> Self {
        Self::Internal
    }
}

/// Adds the answer for unknown routes. The service treats a wrong method as an unknown route too.
pub(super) fn with_not_found<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    async fn not_found() -> impl IntoResponse {
        (StatusCode::NOT_FOUND, "404 Not Found")
    }
    router.fallback(not_found).method_not_allowed_fallback(not_found)
}
