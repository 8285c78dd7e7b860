//! /control: what an operator can do at run time, in production too, with the service key.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{ServerState, Ticks, diag, failure};
use crate::{
    domain::{RunId, clip, one_line},
    journal::{JournalError, PauseMode},
    runner::{Cancelled, PausedBy},
};

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 300;
/// Between warnings of wrong keys: whoever tries them is to be seen, and is not to fill the log.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The routes; [`with_key_only`] belongs before them.
pub(super) fn routes() -> Router<ServerState> {
    Router::new()
        .route("/control/status", get(status))
        .route("/control/pause", post(pause))
        .route("/control/drain", post(drain))
        .route("/control/resume", post(resume))
        .route("/control/tick", post(tick))
        .route("/control/runs/{id}/cancel", post(cancel))
}

/// What opens /control, and who was refused.
#[derive(Debug)]
pub(super) struct Door {
    key: SecretString,
    /// When the last warning was, and how many were refused since.
    refused: Mutex<(Option<Instant>, u64)>,
}

impl Door {
    pub(super) fn new(key: SecretString) -> Self {
        Self { key, refused: Mutex::default() }
    }

    /// How many refused callers were not told of since the last warning, where it is time for another one.
    fn refuse(&self) -> Option<u64> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (warned, untold) = *refused;
        let is_time = warned.is_none_or(|at| at.elapsed() >= WARNING_PAUSE);
        *refused = if is_time { (Some(Instant::now()), 0) } else { (warned, untold + 1) };
        is_time.then_some(untold)
    }
}

/// Lets callers in that have this key.
pub(super) async fn with_key_only(
    State(door): State<Arc<Door>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get("x-service-key").map(|key| key.as_bytes());
    if bool::from(given.unwrap_or_default().ct_eq(door.key.expose_secret().as_bytes())) {
        return next.run(request).await;
    }
    if let Some(untold) = door.refuse() {
        let key = if given.is_none() { "no" } else { "a wrong" };
        tracing::warn!(
            %caller,
            not_told = untold,
            "/control was called with {key} X-Service-Key; such calls are told once a minute"
        );
    }
    failure(StatusCode::UNAUTHORIZED, "X-Service-Key is missing or wrong")
}

#[derive(Default, Deserialize)]
struct PauseRequest {
    reason: Option<String>,
}

async fn pause(
    state: State<ServerState>,
    caller: ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    stop_ticks(state, caller, &body, PauseMode::Pause).await
}

async fn drain(
    state: State<ServerState>,
    caller: ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    stop_ticks(state, caller, &body, PauseMode::Drain).await
}

async fn stop_ticks(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    body: &[u8],
    mode: PauseMode,
) -> Response {
    let request = match body.trim_ascii() {
        b"" => PauseRequest::default(),
        body => match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(_) => {
                let usage = r#"the body, if any, must be JSON such as {"reason":"deploy"}"#;
                return failure(StatusCode::BAD_REQUEST, usage);
            }
        },
    };
    let reason = request.reason.map(|reason| clip(&one_line(&reason), MAX_REASON));
    tracing::info!(%caller, ?mode, reason, "paused on request");
    let paused = state.control.pause(mode, reason, caller.ip().to_string()).await;
    answer(&state, paused.map(|()| json!({"ok": true, "paused": true})))
}

async fn resume(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
) -> Response {
    tracing::info!(%caller, "resumed on request");
    let resumed = state.control.resume().await;
    if let (Ok(true), Ticks::Ready(slot)) = (&resumed, &state.ticks) {
        slot.recover();
    }
    answer(
        &state,
        resumed.map(|goes_on| match goes_on {
            true => json!({"ok": true, "paused": false}),
            false => json!({"ok": true, "paused": true, "reason": "RUNNER_PAUSED is set"}),
        }),
    )
}

async fn tick(state: State<ServerState>, ConnectInfo(caller): ConnectInfo<SocketAddr>) -> Response {
    tracing::info!(%caller, "a tick is asked for");
    diag::tick(state).await
}

async fn cancel(
    State(state): State<ServerState>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    Path(run): Path<String>,
) -> Response {
    let Ok(run) = RunId::parse(&run) else {
        return failure(StatusCode::BAD_REQUEST, "that is not the id of a run");
    };
    let cancelled = state.control.cancel(run).await;
    if matches!(cancelled, Ok(Cancelled::Nothing)) {
        return failure(StatusCode::NOT_FOUND, "no such run is in flight or unfinished");
    }
    tracing::info!(%caller, run.id = %run, "a run is cancelled on request");
    if let (Ok(Cancelled::Waiting), Ticks::Ready(slot)) = (&cancelled, &state.ticks) {
        slot.recover();
    }
    answer(&state, cancelled.map(|_| json!({"ok": true})))
}

async fn status(State(state): State<ServerState>) -> Response {
    let now = state.clock.now();
    let depth = match state.journal.outbox_depth().await {
        Ok(depth) => depth,
        Err(error) => return answer(&state, Err(error)),
    };
    let (today, month) = match state.journal.fleet_spending(now).await {
        Ok(spent) => spent,
        Err(error) => return answer(&state, Err(error)),
    };
    let paused = state.control.paused().map(|paused| match paused {
        PausedBy::Environment => json!({"by": "RUNNER_PAUSED"}),
        PausedBy::Request(pause) => json!(pause),
    });
    let runs = state.control.in_flight().into_iter().map(|(id, run)| {
        json!({
            "id": id.to_string(), "personaId": run.persona.as_str(),
            "slot": run.slot.as_str(), "since": run.since,
        })
    });
    let (is_busy, trouble) = match &state.ticks {
        Ticks::Ready(slot) => (slot.is_busy(), slot.trouble()),
        missing @ Ticks::Missing(_) => (false, missing.missing()),
    };
    let caps = state.budget.caps();
    let oldest_age = depth.oldest.map(|oldest| now.duration_since(oldest).as_millis().max(0));
    Json(json!({
        "ok": true,
        "paused": paused,
        "tickInFlight": is_busy,
        "runs": runs.collect::<Vec<Value>>(),
        "outbox": {
            "actions": depth.actions, "feedback": depth.feedback, "dead": depth.dead,
            "oldestAgeMs": oldest_age.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        },
        "budget": {
            "todayUsd": today.dollars(), "dailyCapUsd": caps.daily.map(|cap| cap.dollars()),
            "monthUsd": month.dollars(), "monthlyCapUsd": caps.monthly.map(|cap| cap.dollars()),
            "exhausted": state.budget.exhausted(),
        },
        "trouble": trouble,
    }))
    .into_response()
}

fn answer(state: &ServerState, result: Result<Value, JournalError>) -> Response {
    match result {
        Ok(body) => Json(body).into_response(),
        Err(error) => {
            let paused = state.control.paused().is_some();
            let held = if paused { "paused" } else { "not paused" };
            let error = format!("{error}; this process is {held}, a restart may not know of it");
            failure(StatusCode::INTERNAL_SERVER_ERROR, error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refused_callers_are_told_of_once_a_minute_and_counted_in_between() {
        let door = Door::new("service-key".into());
        assert_eq!(door.refuse(), Some(0));
        for _ in 0..50 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(door.refuse(), None);
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(door.refuse(), Some(50));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!((door.refuse(), door.refuse()), (Some(0), None));
    }
}
