//! The service from which later versions of the product serve due, actions and feedback: the same three
//! endpoints under another base, with other error bodies, a rate limit and no check against the users
//! (docs/contracts/mana-auth.md, last section).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::DATE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{Auth, refusal::Refused, service_path};

/// How the newer service behaves.
#[derive(Clone, Copy, Debug)]
pub struct NewerOptions {
    /// Requests to any path under /api that a caller may send in one fixed window.
    pub rate_limit: u32,
    /// Length of the window: 60 s, shorter in tests that wait for its end.
    pub window: SignedDuration,
}

impl Default for NewerOptions {
    fn default() -> Self {
        Self { rate_limit: 200, window: SignedDuration::from_secs(60) }
    }
}

struct Limiter {
    auth: Arc<Auth>,
    options: NewerOptions,
    /// By caller: the end of the current window and the number of requests in it.
    windows: Mutex<HashMap<String, (Timestamp, u32)>>,
}

/// The router of the whole service.
pub(super) fn router(auth: Arc<Auth>, options: NewerOptions) -> Router {
    let three = service_path::routes(auth.clone(), true)
        .fallback(jwt_gate)
        .method_not_allowed_fallback(jwt_gate)
        .layer(middleware::map_response(reworded));
    let limiter = Arc::new(Limiter { auth, options, windows: Mutex::default() });
    let api = Router::new()
        .nest("/v1/personas/internal", three)
        .fallback(jwt_gate)
        .layer(middleware::from_fn_with_state(limiter.clone(), limited));
    Router::new()
        .nest("/api", api)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(limiter, dated))
}

async fn not_found() -> Response {
    let body = json!({"error": "Not found", "status": 404});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// The answer of every other route: the runner never sends a JWT to this service.
async fn jwt_gate() -> Response {
    let body = json!({"error": "Missing authorization header", "status": 401});
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

/// Rewrites the errors of the three endpoints to the form of this service.
async fn reworded(response: Response) -> Response {
    let Some(Refused(message)) = response.extensions().get().copied() else { return response };
    let status = response.status();
    let body = match status {
        StatusCode::UNAUTHORIZED => json!({"error": "Invalid service key", "status": 401}),
        StatusCode::INTERNAL_SERVER_ERROR => json!({"error": message, "status": 500}),
        _ => json!({"error": message}),
    };
    (status, Json(body)).into_response()
}

/// Counts the request before anything else is checked.
async fn limited(
    State(limiter): State<Arc<Limiter>>,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    match limiter.count(&caller(request.headers())) {
        Some(refused) => Err(refused),
        None => Ok(next.run(request).await),
    }
}

/// The key that a request is counted under.
fn caller(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let forwarded = text("x-forwarded-for").and_then(|all| all.split(',').next());
    forwarded.or_else(|| text("x-real-ip")).unwrap_or("everybody").trim().to_owned()
}

impl Limiter {
    /// Counts a request; returns the refusal if it exceeds the limit.
    fn count(&self, caller: &str) -> Option<Response> {
        let now = self.auth.clock.now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(caller.to_owned()).or_insert((now + self.options.window, 0));
        if window.0 <= now {
            *window = (now + self.options.window, 0);
        }
        window.1 += 1;
        let limit = self.options.rate_limit;
        if window.1 <= limit {
            return None;
        }
        let reset = window.0.as_second() + i64::from(window.0.subsec_nanosecond() > 0);
        let headers = [
            ("x-ratelimit-limit", limit.to_string()),
            ("x-ratelimit-remaining", "0".to_owned()),
            ("x-ratelimit-reset", reset.to_string()),
        ];
        let body: Json<Value> = Json(json!({"error": "Too many requests"}));
        Some((StatusCode::TOO_MANY_REQUESTS, headers, body).into_response())
    }
}

/// Sets the Date of every answer from the peers' clock, because the reset time refers to that clock.
async fn dated(State(limiter): State<Arc<Limiter>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let now = limiter.auth.clock.now().to_zoned(TimeZone::UTC);
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}
