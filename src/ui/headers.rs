//! The headers that each answer under /ui has.

use axum::{
    Router,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware,
    response::Response,
};

/// A page loads what belongs to it from this daemon, has no script or style within, and is in no frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// Puts the headers on all answers of these routes, also where a guard in front of them refuses a request.
pub(crate) fn with_headers<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.route_layer(middleware::map_response(add))
}

/// An answer to a request for this path, which no route has made: with the headers if the path is one of the page.
pub(crate) fn for_path(path: &str, answer: Response) -> Response {
    let is_page = path
        .strip_prefix("/ui")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']));
    if is_page { protected(answer) } else { answer }
}

async fn add(answer: Response) -> Response {
    protected(answer)
}

fn protected(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    // A stored report has a policy of its own, with the hash of its style.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
