//! What every request passes, or every one of a kind: counting, and a bound on how many there are at once.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use tokio::{sync::Semaphore, time::Instant};

use super::{Failure, failure};
use crate::metrics::Metrics;

/// Counts requests to this daemon, by route and never by path.
pub(super) async fn observe(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status().as_u16();
    metrics.record_server_request(method.as_str(), route, status, started.elapsed());
    response
}

/// Lets a request that may take its time in where there is a place for it, and holds the place until it is
/// answered or given up: such requests leave connections for /health.
pub(super) async fn while_there_is_room(
    State(places): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let _place = places.try_acquire().map_err(|_| {
        let error =
            "too many requests of this kind are under way; try again when one of them has ended";
        failure(StatusCode::TOO_MANY_REQUESTS, error)
    })?;
    Ok(next.run(request).await)
}
