//! /diag/login and /diag/tick: trying things out during development.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ServerState, Ticks, failure};
use crate::{
    metrics::TickOutcome,
    runner::{Patience, TickError, TickSummary},
};

#[derive(Deserialize)]
pub(super) struct LoginQuery {
    #[serde(default)]
    email: String,
}

/// Derives the password, logs in and finds the personal space.
pub(super) async fn login(
    State(state): State<ServerState>,
    query: Result<Query<LoginQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let email = query.map(|Query(query)| query.email.trim().to_owned()).unwrap_or_default();
    if email.is_empty() {
        let usage = "email is missing; call /diag/login?email=persona.anna@mana.test";
        return failure(StatusCode::BAD_REQUEST, usage);
    }
    match state.login_check.run(&email).await {
        Ok(found) => Json(json!({
            "ok": true, "email": email, "userId": found.user_id, "spaceId": found.space_id,
        }))
        .into_response(),
        Err(error) => failure(StatusCode::BAD_GATEWAY, error.to_string()),
    }
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TickResult {
    due: usize,
    ran_successfully: usize,
    skipped: usize,
    skipped_because: BTreeMap<&'static str, usize>,
    put_off: usize,
    undelivered: usize,
    failed: Vec<FailedPersona>,
    duration_ms: u64,
    cost_usd: f64,
}

#[derive(Serialize)]
struct FailedPersona {
    persona: String,
    error: String,
}

impl From<TickSummary> for TickResult {
    fn from(summary: TickSummary) -> Self {
        let skipped = summary.all_skipped();
        let failed = summary.failed.into_iter();
        let because = summary.skipped.iter().map(|(why, number)| (why.as_str(), *number));
        Self {
            due: summary.due,
            ran_successfully: summary.ran_successfully,
            skipped,
            skipped_because: because.collect(),
            put_off: summary.put_off,
            undelivered: summary.undelivered,
            failed: failed.map(|f| FailedPersona { persona: f.persona, error: f.error }).collect(),
            duration_ms: u64::try_from(summary.took.as_millis()).unwrap_or(u64::MAX),
            cost_usd: summary.cost.dollars(),
        }
    }
}

/// Runs one tick now. It goes on if the caller hangs up.
pub(super) async fn tick(State(state): State<ServerState>) -> Response {
    let slot = match &state.ticks {
        Ticks::Ready(slot) => slot,
        missing @ Ticks::Missing(_) => {
            let missing = missing.missing().unwrap_or_default();
            return failure(StatusCode::INTERNAL_SERVER_ERROR, missing);
        }
    };
    if state.control.paused().is_some() {
        state.metrics.record_skipped_tick(TickOutcome::Paused);
        return paused();
    }
    if state.shutdown.is_stopping() {
        return failure(StatusCode::SERVICE_UNAVAILABLE, TickError::Stopping.to_string());
    }
    if let Some(until) = slot.limited_until() {
        // Also while a tick of the interval waits for it: whoever asks wants to know.
        state.metrics.record_skipped_tick(TickOutcome::RateLimited);
        let error = format!(
            "no tick: the personas endpoint has a rate limit (429) and is not asked again before {until}"
        );
        return failure(StatusCode::SERVICE_UNAVAILABLE, error);
    }
    let ended = match slot.start(Patience::Asked) {
        Ok(ended) => ended,
        Err(taken) => return failure(StatusCode::CONFLICT, taken.to_string()),
    };
    match ended.await {
        Ok(Ok(summary)) => {
            Json(json!({"ok": true, "result": TickResult::from(summary)})).into_response()
        }
        Ok(Err(error @ TickError::Due(_))) => failure(StatusCode::BAD_GATEWAY, error.to_string()),
        Ok(Err(TickError::Paused)) => paused(),
        Ok(Err(error)) => failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(_) => failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the tick was dropped before it ended; the log says why",
        ),
    }
}

fn paused() -> Response {
    let nothing = TickResult::default();
    Json(json!({"ok": true, "result": nothing, "paused": true})).into_response()
}
