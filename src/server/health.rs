//! GET /health: alive, and how the tick loop does.

use axum::{Json, extract::State};
use serde::Serialize;

use super::{ServerState, Ticks};
use crate::version::{COMMIT, VERSION};

/// Answer of /health; always 200 while the daemon serves.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    commit: &'static str,
    paused: bool,
    tick_interval_ms: u64,
    concurrency: usize,
    tick_loop: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn health(State(state): State<ServerState>) -> Json<Health> {
    let reason = state.trouble();
    let status = match &reason {
        _ if state.shutdown.is_stopping() => "stopping",
        Some(_) => "degraded",
        None => "ok",
    };
    let is_paused = state.control.paused().is_some();
    let tick_loop = match &state.ticks {
        Ticks::Missing(_) => "disabled",
        Ticks::Ready(_) if is_paused => "paused",
        Ticks::Ready(_) => "running",
    };
    Json(Health {
        status,
        service: env!("CARGO_PKG_NAME"),
        version: VERSION,
        commit: COMMIT,
        paused: is_paused,
        tick_interval_ms: u64::try_from(state.tick_interval.as_millis()).unwrap_or(u64::MAX),
        concurrency: state.concurrency,
        tick_loop,
        reason,
    })
}
