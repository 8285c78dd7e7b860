//! /diag/login and /diag/tick: routes for development.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ServerState, failure};
use crate::{
    metrics::TickOutcome,
    runner::{Hindrance, PATIENCE_ON_REQUEST, TickError, TickSummary},
};

#[derive(Deserialize)]
pub(super) struct LoginQuery {
    #[serde(default)]
    email: String,
}

/// GET /diag/login: derives the password of an e-mail address, logs in and finds the personal space.
pub(super) async fn login(
    State(state): State<ServerState>,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Answer {
    let email = query.map(|Query(query)| query.email.trim().to_owned()).unwrap_or_default();
    if email.is_empty() {
        let usage = "email is missing; call /diag/login?email=persona.anna@mana.test";
        return Err(failure(StatusCode::BAD_REQUEST, usage));
    }
    let found = state.fleet.seed_secret.check_login(&email).await;
    let (user_id, space_id) = found.map_err(|error| failure(StatusCode::BAD_GATEWAY, error))?;
    Ok(Json(json!({ "ok": true, "email": email, "userId": user_id, "spaceId": space_id })))
}

/// POST /diag/tick: runs one tick now. The tick goes on if the caller disconnects.
pub(super) async fn tick(State(state): State<ServerState>) -> Answer {
    let Some(slot) = &state.slot else {
        let missing = state.reason(Hindrance::is_trouble).unwrap_or_default();
        return Err(failure(StatusCode::INTERNAL_SERVER_ERROR, missing));
    };
    if state.fleet.control.paused().is_some() {
        state.fleet.metrics.record_skipped_tick(TickOutcome::Paused);
        return Ok(paused());
    }
    if state.fleet.shutdown.is_stopping() {
        return Err(failure(StatusCode::SERVICE_UNAVAILABLE, TickError::Stopping));
    }
    if let Some(until) = slot.limited_until() {
        // The caller gets this reason also while a tick of the interval waits for the end of the rate limit.
        state.fleet.metrics.record_skipped_tick(TickOutcome::RateLimited);
        let error = format!(
            "no tick: the personas endpoint has a rate limit (429) and is not asked again before {until}"
        );
        return Err(failure(StatusCode::SERVICE_UNAVAILABLE, error));
    }
    let ended =
        slot.start(PATIENCE_ON_REQUEST).map_err(|taken| failure(StatusCode::CONFLICT, taken))?;
    match ended.await.ok().flatten() {
        Some(Ok(summary)) => Ok(Json(answer(&summary))),
        Some(Err(error @ TickError::Due(_))) => Err(failure(StatusCode::BAD_GATEWAY, error)),
        Some(Err(TickError::Hindered(Hindrance::Paused(_)))) => Ok(paused()),
        Some(Err(error)) => Err(failure(StatusCode::SERVICE_UNAVAILABLE, error)),
        None => Err(failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the tick was dropped before it ended; the log says why",
        )),
    }
}

fn paused() -> Json<Value> {
    let mut answer = answer(&TickSummary::default());
    answer["paused"] = true.into();
    Json(answer)
}

/// The body for a finished tick. It is built by one `json!`: assigning the parts afterwards would copy each
/// of them, and the list of failed runs may be long.
fn answer(summary: &TickSummary) -> Value {
    let because = summary.skipped.iter().map(|(why, number)| (why.as_str(), number));
    json!({
        "ok": true,
        "result": {
            "due": summary.due,
            "ranSuccessfully": summary.ran_successfully,
            "skipped": summary.all_skipped(),
            "skippedBecause": because.collect::<BTreeMap<_, _>>(),
            "putOff": summary.put_off,
            "undelivered": summary.undelivered,
            "failed": summary.failed,
            "durationMs": u64::try_from(summary.took.as_millis()).unwrap_or(u64::MAX),
            "costUsd": summary.cost.dollars(),
        },
    })
}
