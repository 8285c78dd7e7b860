//! The daemon's own HTTP: /health, /ready, /metrics, with a service key /control/* and, outside
//! production, /diag/*.

mod control;
mod crowd;
mod diag;
mod guard;
mod health;
mod observe;
mod ready;
pub mod serve;
mod shared;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    clock::Clock,
    domain::redact_emails,
    journal::Journal,
    metrics::Metrics,
    runner::{Budget, Control, LoginCheck, PausedBy, TickSlot},
    shutdown::Shutdown,
    telemetry,
};
pub use shared::Shared;

/// Requests to /diag and /control at once, in all.
const SLOW_REQUESTS: usize = 16;
/// Logins on demand at once.
const LOGINS: usize = 4;

/// What the routes need.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// Ticks, or what is missing for them.
    pub ticks: Ticks,
    /// Logins on demand.
    pub login_check: LoginCheck,
    /// Pauses, and the runs in flight.
    pub control: Control,
    /// The durable record of runs.
    pub journal: Journal,
    /// What may be spent.
    pub budget: Arc<Budget>,
    /// What opens /control; without it there is none.
    pub service_key: Option<SecretString>,
    /// The wall clock.
    pub clock: Clock,
    /// TICK_INTERVAL_MS.
    pub tick_interval: Duration,
    /// PERSONA_CONCURRENCY.
    pub concurrency: usize,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Them as text, or why there is none: one for all scrapes that wait, however many there are.
    pub metrics_page: Arc<Shared<Result<Bytes, String>>>,
    /// Stop and abort.
    pub shutdown: Shutdown,
    /// DIAG_HOSTS.
    pub diag_hosts: Arc<[String]>,
}

impl ServerState {
    /// What is wrong, in words for /health and /ready.
    fn trouble(&self) -> Option<String> {
        let trouble = match &self.ticks {
            Ticks::Ready(slot) => slot.trouble(),
            missing @ Ticks::Missing(_) => missing.missing().or_else(|| self.journal.trouble()),
        };
        trouble.map(|trouble| redact_emails(&trouble).into_owned())
    }

    /// Why no tick can do its work now, in words: something is wrong, or somebody wants it so.
    fn hindrance(&self) -> Option<String> {
        if self.shutdown.is_stopping() {
            return Some("the daemon is stopping".into());
        }
        self.trouble().or_else(|| {
            self.control.paused().map(|paused| match paused {
                PausedBy::Environment => "RUNNER_PAUSED is set".into(),
                PausedBy::Request(_) => "paused on request".into(),
            })
        })
    }
}

/// Whether ticks can run.
#[derive(Clone, Debug)]
pub enum Ticks {
    /// They can.
    Ready(TickSlot),
    /// These variables are not set.
    Missing(Vec<&'static str>),
}

impl Ticks {
    /// What is missing, in words.
    pub fn missing(&self) -> Option<String> {
        match self {
            Self::Ready(_) => None,
            Self::Missing(variables) => Some(format!(
                "{} not set; ticks are disabled",
                match variables.as_slice() {
                    [one] => format!("{one} is"),
                    several => format!("{} are", several.join(" and ")),
                }
            )),
        }
    }
}

/// The routes. In production there is no /diag, without a service key no /control.
pub fn router(state: ServerState, production: bool) -> Router {
    let mut router = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(ready::ready))
        .route("/metrics", get(metrics));
    let places = |number| {
        let places = Arc::new(Semaphore::new(number));
        middleware::from_fn_with_state(places, crowd::while_there_is_room)
    };
    let slow = places(SLOW_REQUESTS);
    // Of two layers the later one comes first: who may not come in takes no place.
    if !production {
        let login = get(diag::login).head(method_not_allowed).layer(places(LOGINS));
        let diag = Router::new()
            .route("/diag/login", login)
            .route("/diag/tick", post(diag::tick))
            .route_layer(slow.clone())
            .route_layer(middleware::from_fn_with_state(state.clone(), guard::local_callers_only));
        router = router.merge(diag);
    }
    if let Some(key) = state.service_key.clone() {
        let door = Arc::new(control::Door::new(key));
        let with_key_only = middleware::from_fn_with_state(door, control::with_key_only);
        router = router.merge(control::routes().route_layer(slow).route_layer(with_key_only));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.metrics.clone(), observe::observe))
        .with_state(state)
}

async fn metrics(State(state): State<ServerState>) -> Response {
    match state.metrics_page.get(|| render(&state)).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

fn render(state: &ServerState) -> Result<Bytes, String> {
    state.metrics.set_paused(state.control.paused().is_some());
    // As it is now and as /ready tells it, not as it was when the gauges were last brought up to date.
    state.metrics.set_journal_writable(state.journal.trouble().is_none());
    state.metrics.record_dropped_log_lines(telemetry::take_dropped_lines());
    state.metrics.render().map(Bytes::from).map_err(|error| format!("metrics: {error}"))
}

async fn not_found() -> Response {
    failure(StatusCode::NOT_FOUND, "no such route")
}

async fn method_not_allowed() -> Response {
    failure(StatusCode::METHOD_NOT_ALLOWED, "this route does not take this method")
}

/// `{ok:false,error}` with this status.
fn failure(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(json!({"ok": false, "error": error.into()}))).into_response()
}
