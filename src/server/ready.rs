//! GET /ready: whether ticks can run now.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::ServerState;

/// 200, or 503 with the reason.
pub(super) async fn ready(State(state): State<ServerState>) -> Response {
    match state.hindrance() {
        None => Json(json!({"ready": true})).into_response(),
        Some(reason) => {
            let body = Json(json!({"ready": false, "reason": reason}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}
