//! The service path: which personas are due, and the actions and ratings that a runner posts.

use std::sync::{Arc, PoisonError};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Auth, Delivery, Listing,
    batch::{Actions, Feedback},
    refusal::{self, Refusal},
    store::iso,
};

/// The three endpoints as mana-auth serves them. Every path below their base requires the key.
pub(super) fn router(auth: Arc<Auth>) -> Router {
    refusal::with_not_found(routes(auth.clone(), false))
        .layer(middleware::from_fn_with_state(auth, check_key))
}

/// The three endpoints, relative to their base. `with_deleted`: /due lists personas of deleted users too.
pub(super) fn routes(auth: Arc<Auth>, with_deleted: bool) -> Router {
    let due = move |auth| due(auth, with_deleted);
    Router::new()
        .route("/due", get(due))
        .route("/{user_id}/actions", post(actions))
        .route("/{user_id}/feedback", post(feedback))
        .route_layer(middleware::from_fn_with_state(auth.clone(), check_key))
        .with_state(auth)
}

async fn check_key(
    State(auth): State<Arc<Auth>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let key = request.headers().get("x-service-key");
    if key.is_some_and(|key| key == auth.options.service_key.as_str()) {
        Ok(next.run(request).await)
    } else {
        Err(Refusal::ServiceKey)
    }
}

async fn due(State(auth): State<Arc<Auth>>, with_deleted: bool) -> Result<Json<Value>, Refusal> {
    let now = auth.clock.calendar();
    let due = auth.store.due(now, with_deleted).await?;
    let users = due.iter().map(|due| due.persona.user_id.clone()).collect();
    let listing = Listing { server_time: now, users };
    auth.listings.lock().unwrap_or_else(PoisonError::into_inner).push(listing);
    let mut personas: Vec<Value> = due
        .into_iter()
        .map(|due| {
            json!({
                "userId": due.persona.user_id,
                "email": due.email,
                "archetype": due.persona.archetype,
                "systemPrompt": due.persona.system_prompt,
                "moduleMix": due.persona.module_mix,
                "tickCadence": due.persona.tick_cadence,
                "lastActiveAt": due.persona.last_active_at.map(iso),
            })
        })
        .collect();
    personas.extend_from_slice(&auth.raw_due_rows.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Json(json!({"personas": personas, "serverTime": iso(now)})))
}

async fn actions(
    State(auth): State<Arc<Auth>>,
    Path(user_id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let batch = Actions::parse(&body)?;
    known(&auth, &user_id).await?;
    let now = auth.clock.calendar();
    let written = batch.write(&auth.store, &user_id, now).await?;
    let delivery = Delivery { at: now, user: user_id, tick_id: batch.tick_id().to_owned() };
    auth.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
    Ok(Json(json!({"ok": true, "written": written})))
}

async fn feedback(
    State(auth): State<Arc<Auth>>,
    Path(user_id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let batch = Feedback::parse(&body)?;
    known(&auth, &user_id).await?;
    let written = batch.write(&auth.store, &user_id, auth.clock.calendar()).await?;
    Ok(Json(json!({"ok": true, "written": written})))
}

/// Returns an error if no persona has this user id.
async fn known(auth: &Auth, user_id: &str) -> Result<(), Refusal> {
    if auth.store.has_persona(user_id).await? { Ok(()) } else { Err(Refusal::UnknownPersona) }
}
