//! GET /health: alive, and how the tick loop does. GET /ready: whether ticks can do their work now.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::ServerState;
use crate::{
    runner::Hindrance,
    version::{COMMIT, VERSION},
};

/// Always 200 while the daemon serves.
pub(super) async fn health(State(state): State<ServerState>) -> Json<Value> {
    let reason = state.reason(Hindrance::is_trouble);
    let status = match &reason {
        _ if state.shutdown.is_stopping() => "stopping",
        Some(_) => "degraded",
        None => "ok",
    };
    let is_paused = state.control.paused().is_some();
    let tick_loop = match &state.slot {
        None => "disabled",
        Some(_) if is_paused => "paused",
        Some(_) => "running",
    };
    let tick = &state.config.tick;
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

/// 200, or 503 with the reason.
pub(super) async fn ready(State(state): State<ServerState>) -> (StatusCode, Json<Value>) {
    match state.reason(|_| true) {
        None => (StatusCode::OK, Json(json!({"ready": true}))),
        Some(reason) => {
            let body = json!({"ready": false, "reason": reason});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}
