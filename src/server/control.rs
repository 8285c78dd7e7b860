//! /control: the routes for operators, in production too. They need the service key.

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
    routing::{get, post},
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{Answer, Failure, ServerState, diag, failure};
use crate::{
    domain::{ProductVersion, RunId, clip, one_line, printable_line},
    journal::{JournalError, PauseMode},
    runner::{Cancelled, Hindrance, PausedBy},
};

/// Longest stored reason of a pause, in characters.
const MAX_REASON: usize = 300;
/// Longest stored note about a release, in UTF-16 units.
const MAX_NOTE: usize = 300;
/// The shortest time between two warnings of wrong keys. Attempts must be visible in the log, but must not
/// fill it.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The routes of /control. The caller must put [`with_key_only`] in front of them.
pub(super) fn routes() -> Router<ServerState> {
    let stops = |mode| post(move |state, caller, body| stop_ticks(state, caller, body, mode));
    Router::new()
        .route("/control/status", get(status))
        .route("/control/pause", stops(PauseMode::Pause))
        .route("/control/drain", stops(PauseMode::Drain))
        .route("/control/resume", post(resume))
        .route("/control/release", post(release))
        .route("/control/tick", post(tick))
        .route("/control/runs/{id}/cancel", post(cancel))
}

/// The service key, and the count of refused callers.
#[derive(Debug)]
pub(super) struct KeyCheck {
    key: SecretString,
    /// The time of the last warning, and the number of callers refused since then.
    refused: Mutex<(Option<Instant>, u64)>,
}

impl KeyCheck {
    pub(super) fn new(key: SecretString) -> Self {
        Self { key, refused: Mutex::default() }
    }

    /// Counts a refused caller. If another warning is due, returns how many callers were refused without a
    /// warning since the last one; otherwise `None`.
    fn refuse(&self) -> Option<u64> {
        let (warned, unreported) = &mut *self.refused.lock();
        if warned.is_some_and(|at| at.elapsed() < WARNING_PAUSE) {
            *unreported += 1;
            return None;
        }
        *warned = Some(Instant::now());
        Some(mem::take(unreported))
    }
}

/// Refuses requests without the service key.
pub(super) async fn with_key_only(
    State(key_check): State<Arc<KeyCheck>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let given = request.headers().get("x-service-key").map(|key| key.as_bytes());
    if bool::from(given.unwrap_or_default().ct_eq(key_check.key.expose_secret().as_bytes())) {
        return Ok(next.run(request).await);
    }
    if let Some(unreported) = key_check.refuse() {
        let key = if given.is_none() { "no" } else { "a wrong" };
        tracing::warn!(
            %caller,
            not_told = unreported,
            "/control was called with {key} X-Service-Key; such calls are told once a minute"
        );
    }
    Err(failure(StatusCode::UNAUTHORIZED, "X-Service-Key is missing or wrong"))
}

#[derive(Deserialize)]
struct PauseRequest {
    reason: Option<String>,
}

async fn stop_ticks(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    body: Bytes,
    mode: PauseMode,
) -> Answer {
    let body = Some(body.trim_ascii()).filter(|body| !body.is_empty()).unwrap_or(b"{}");
    let PauseRequest { reason } = serde_json::from_slice(body).map_err(|_| {
        let usage = r#"the body, if any, must be JSON such as {"reason":"deploy"}"#;
        failure(StatusCode::BAD_REQUEST, usage)
    })?;
    let reason = reason.map(|reason| clip(&one_line(&reason), MAX_REASON));
    tracing::info!(%caller, ?mode, reason, "paused on request");
    let paused = state.fleet.control.pause(mode, reason, caller.ip().to_string()).await;
    state.fleet.note_halts().await;
    paused.map_err(unwritten(&state))?;
    Ok(Json(json!({"ok": true, "paused": true})))
}

async fn resume(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
) -> Answer {
    tracing::info!(%caller, "resumed on request");
    let resumed = state.fleet.control.resume().await;
    state.fleet.note_halts().await;
    if !resumed.map_err(unwritten(&state))? {
        let body = json!({"ok": true, "paused": true, "reason": "RUNNER_PAUSED is set"});
        return Ok(Json(body));
    }
    if let Some(slot) = &state.slot {
        slot.recover();
    }
    Ok(Json(json!({"ok": true, "paused": false})))
}

#[derive(Deserialize)]
struct ReleaseRequest {
    version: String,
    note: Option<String>,
}

async fn release(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Answer {
    let request: ReleaseRequest = serde_json::from_slice(&body).map_err(|_| {
        let usage = r#"the body must be JSON such as {"version":"1.2.3","note":"new todo list"}"#;
        failure(StatusCode::BAD_REQUEST, usage)
    })?;
    let version = ProductVersion::parse(&request.version)
        .map_err(|error| failure(StatusCode::BAD_REQUEST, error))?;
    let note = request.note.map(|note| clip(&printable_line(&note), MAX_NOTE));
    let note = note.as_deref().filter(|note| !note.is_empty());
    tracing::info!(%caller, %version, "a release of the product");
    let released = state.fleet.release(&version, note).await;
    let released = released.map_err(|error| failure(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let deployment = json!({"id": released.id(), "version": released.version});
    Ok(Json(json!({"ok": true, "deployment": deployment})))
}

async fn tick(state: State<ServerState>, ConnectInfo(caller): ConnectInfo<SocketAddr>) -> Answer {
    tracing::info!(%caller, "a tick is asked for");
    diag::tick(state).await
}

async fn cancel(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    Path(run): Path<String>,
) -> Answer {
    let run = RunId::parse(&run)
        .map_err(|_| failure(StatusCode::BAD_REQUEST, "that is not the id of a run"))?;
    let cancelled = state.fleet.control.cancel(run).await;
    if matches!(cancelled, Ok(Cancelled::Nothing)) {
        let error = "no such run is in flight or unfinished";
        return Err(failure(StatusCode::NOT_FOUND, error));
    }
    tracing::info!(%caller, run.id = %run, "a run is cancelled on request");
    let cancelled = cancelled.map_err(unwritten(&state))?;
    if let (Cancelled::Waiting, Some(slot)) = (cancelled, &state.slot) {
        slot.recover();
    }
    Ok(Json(json!({"ok": true})))
}

async fn status(State(state): State<ServerState>) -> Answer {
    let now = state.fleet.clock.now();
    let depth = state.fleet.journal.outbox_depth().await.map_err(unwritten(&state))?;
    let (today, month) =
        state.fleet.journal.fleet_spending(now).await.map_err(unwritten(&state))?;
    let paused = state.fleet.control.paused().map(|paused| match paused {
        PausedBy::Environment => json!({"by": "RUNNER_PAUSED"}),
        PausedBy::Request(pause) => json!(pause),
    });
    let runs = state.fleet.control.in_flight().into_iter().map(|(id, run)| {
        json!({
            "id": id.to_string(), "personaId": run.persona.as_str(),
            "slot": run.slot.as_str(), "since": run.since,
        })
    });
    let age = |since| u64::try_from(now.duration_since(since).as_millis()).unwrap_or_default();
    let caps = &state.fleet.budget.caps;
    Ok(Json(json!({
        "ok": true,
        "paused": paused,
        "tickInFlight": state.slot.as_ref().is_some_and(|slot| slot.is_busy()),
        "runs": runs.collect::<Vec<Value>>(),
        "outbox": {
            "actions": depth.actions, "feedback": depth.feedback, "dead": depth.dead,
            "oldestAgeMs": depth.oldest.map(age),
        },
        "budget": {
            "todayUsd": today.dollars(), "dailyCapUsd": caps.daily.map(|cap| cap.dollars()),
            "monthUsd": month.dollars(), "monthlyCapUsd": caps.monthly.map(|cap| cap.dollars()),
            "exhausted": state.fleet.budget.exhausted(),
        },
        "trouble": state.reason(Hindrance::is_trouble),
    })))
}

/// The failure for a journal that cannot be read or written.
fn unwritten(state: &ServerState) -> impl Fn(JournalError) -> Failure {
    move |error| {
        let held = if state.fleet.control.paused().is_some() { "paused" } else { "not paused" };
        let error = format!("{error}; this process is {held}, a restart may not know of it");
        failure(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refused_callers_are_told_of_once_a_minute_and_counted_in_between() {
        let key_check = KeyCheck::new("service-key".into());
        assert_eq!(key_check.refuse(), Some(0));
        for _ in 0..50 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(key_check.refuse(), None);
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(key_check.refuse(), Some(50));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!((key_check.refuse(), key_check.refuse()), (Some(0), None));
    }
}
