//! The daemon's own HTTP server: /health, /ready and /metrics, /control/* if a service key is set, /diag/* outside
//! production, and the page /ui.

mod control;
mod diag;
mod guard;
pub(crate) mod serve;
mod shared;

use std::{fmt::Display, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    domain::redact_emails,
    metrics::Metrics,
    runner::{Fleet, Hindrance, Ticks},
    telemetry,
    ui::{self, Ui},
    version::{COMMIT, VERSION},
};
pub(crate) use shared::Shared;

/// How many requests to /diag and /control are served at once, all routes together.
const SLOW_REQUESTS: usize = 16;
/// How many requests to /diag/login are served at once.
const LOGINS: usize = 4;

/// The state that all routes share.
#[derive(Clone, Debug)]
pub(crate) struct ServerState {
    /// Starts ticks. `None` if a key that ticks need is not set.
    pub slot: Option<Arc<Ticks>>,
    pub fleet: Arc<Fleet>,
    /// The metrics as text, or the error of encoding them. All scrapes that wait at the same time share one
    /// page.
    pub metrics_page: Arc<Shared<Result<Bytes, String>>>,
}

impl ServerState {
    /// The first hindrance of ticks that `filter` accepts, as text without e-mail addresses, because anybody
    /// may read it.
    fn reason(&self, filter: impl Fn(&Hindrance) -> bool) -> Option<String> {
        let first = self.fleet.hindrances().find(filter)?;
        Some(redact_emails(&first.to_string()).into_owned())
    }
}

/// Builds the routes. In production there is no /diag, and without UI_KEY no /ui; without a service key there is no
/// /control.
pub(crate) fn router(state: ServerState) -> Router {
    let mut router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics));
    let permits = |number| {
        let permits = Arc::new(Semaphore::new(number));
        middleware::from_fn_with_state(permits, limit_concurrency)
    };
    let slow = permits(SLOW_REQUESTS);
    // The layer that is added last runs first. So a request that is not allowed takes no permit.
    if !state.fleet.config.environment.is_production() {
        let login = get(diag::login).head(method_not_allowed).layer(permits(LOGINS));
        let diag = Router::new()
            .route("/diag/login", login)
            .route("/diag/tick", post(diag::tick))
            .route_layer(slow.clone())
            .route_layer(middleware::from_fn_with_state(state.clone(), guard::local_callers_only));
        router = router.merge(diag);
    }
    if let Some(key) = state.fleet.config.peers.service_key.clone() {
        let key_check = Arc::new(control::KeyCheck::new(key));
        let with_key_only = middleware::from_fn_with_state(key_check, control::with_key_only);
        router = router.merge(control::routes().route_layer(slow).route_layer(with_key_only));
    }
    let has_key = state.fleet.config.page.key.is_some();
    if has_key || !state.fleet.config.environment.is_production() {
        let mut pages = ui::routes(Arc::new(Ui::new(state.fleet.clone())));
        if !has_key {
            pages = pages.route_layer(middleware::from_fn(guard::this_machine_only)).route_layer(
                middleware::from_fn_with_state(state.clone(), guard::local_callers_only),
            );
        }
        router = router.merge(ui::with_headers(pages));
    }
    router
        .fallback(async || failure(StatusCode::NOT_FOUND, "no such route"))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.fleet.metrics.clone(), observe))
        .with_state(state)
}

/// Records metrics of a request to this daemon. The label is the route and never the path, so that callers
/// cannot create label values.
async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status().as_u16();
    metrics.record_server_request(method.as_str(), route, status, started.elapsed());
    response
}

/// Serves a request only if a permit is free, and holds the permit until the request is answered or given up.
/// So slow requests leave connections for /health.
async fn limit_concurrency(
    State(permits): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let _permit = permits.try_acquire().map_err(|_| {
        let error =
            "too many requests of this kind are under way; try again when one of them has ended";
        failure(StatusCode::TOO_MANY_REQUESTS, error)
    })?;
    Ok(next.run(request).await)
}

/// GET /health: the state of the tick loop. The status is 200 as long as the daemon serves requests.
async fn health(State(state): State<ServerState>) -> Json<Value> {
    let reason = state.reason(Hindrance::is_trouble);
    let status = match &reason {
        _ if state.fleet.shutdown.is_stopping() => "stopping",
        Some(_) => "degraded",
        None => "ok",
    };
    let is_paused = state.fleet.control.paused().is_some();
    let tick_loop = match &state.slot {
        None => "disabled",
        Some(_) if is_paused => "paused",
        Some(_) => "running",
    };
    let tick = &state.fleet.config.tick;
    let mut health = json!({
        "status": status,
        "service": env!("CARGO_PKG_NAME"),
        "version": VERSION,
        "commit": COMMIT,
        "paused": is_paused,
        "tickIntervalMs": u64::try_from(tick.interval.as_millis()).unwrap_or(u64::MAX),
        "concurrency": tick.concurrency,
        "tickLoop": tick_loop,
    });
    if let Some(reason) = reason {
        health["reason"] = reason.into();
    }
    Json(health)
}

/// GET /ready: 200 if ticks can do their work now, otherwise 503 with the reason.
async fn ready(State(state): State<ServerState>) -> (StatusCode, Json<Value>) {
    match state.reason(|_| true) {
        None => (StatusCode::OK, Json(json!({"ready": true}))),
        Some(reason) => {
            let body = json!({"ready": false, "reason": reason});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

async fn metrics(State(state): State<ServerState>) -> Result<impl IntoResponse, Failure> {
    let page = state.metrics_page.get(|| render(&state)).await;
    let text = page.map_err(|error| failure(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn render(state: &ServerState) -> Result<Bytes, String> {
    let Fleet { metrics, control, journal, .. } = &*state.fleet;
    metrics.scheduling.paused.set(control.paused().is_some().into());
    // The gauge shows the current state, as /ready does, not the state at the last periodic update of the
    // gauges.
    metrics.delivery.journal_writable.set(journal.trouble().is_none().into());
    metrics.process.log_lines_dropped.inc_by(telemetry::take_dropped_lines() as f64);
    metrics.render().map(Bytes::from).map_err(|error| format!("metrics: {error}"))
}

async fn method_not_allowed() -> Failure {
    failure(StatusCode::METHOD_NOT_ALLOWED, "this route does not take this method")
}

/// The result of a route: a JSON body with status 200, or a failure.
type Answer = Result<Json<Value>, Failure>;

/// A status and the body `{ok:false,error}`.
type Failure = (StatusCode, Json<Value>);

fn failure(status: StatusCode, error: impl Display) -> Failure {
    (status, Json(json!({"ok": false, "error": error.to_string()})))
}
