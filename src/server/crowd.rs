//! A bound on requests that may take their time, so that they leave connections for /health.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use tokio::sync::Semaphore;

use super::failure;

/// Lets a request in where there is a place for it, and holds the place until it is answered or given up.
pub(super) async fn while_there_is_room(
    State(places): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = places.try_acquire() else {
        let error =
            "too many requests of this kind are under way; try again when one of them has ended";
        return failure(StatusCode::TOO_MANY_REQUESTS, error);
    };
    next.run(request).await
}
