//! Who may see the page: whoever has logged in with UI_KEY, and programs that send it. Without UI_KEY the page needs no
//! key; then `server` keeps strangers out.

mod cookie;
mod next;
mod tries;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next as Inner,
    response::{IntoResponse, Redirect, Response},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{Ui, asked::Asked};
use crate::{clock::Clock, config::PageConfig};
use cookie::Cookies;
pub(super) use next::Next;
use tries::Tries;
pub(super) use tries::Try;

/// Who may see the page.
#[derive(Debug)]
pub(super) struct Access {
    /// `None`: there is no key.
    lock: Option<Lock>,
    clock: Clock,
}

#[derive(Debug)]
struct Lock {
    key: SecretString,
    cookies: Cookies,
    tries: Tries,
}

impl Access {
    pub(super) fn new(page: &PageConfig, clock: Clock) -> Self {
        let lock = |key: &SecretString| Lock {
            key: key.clone(),
            cookies: Cookies::new(key),
            tries: Tries::default(),
        };
        Self { lock: page.key.as_ref().map(lock), clock }
    }

    /// Whether there is a key, so that people log in.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Whether a request with these headers comes from a browser that is logged in, or needs not be.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let has_cookie = |lock: &Lock| lock.cookies.admit(headers, self.clock.now());
        self.lock.as_ref().is_none_or(has_cookie)
    }

    /// Tries a key for a caller.
    pub(super) fn try_key(&self, key: &[u8], caller: IpAddr) -> Try {
        let Some(lock) = &self.lock else { return Try::Right };
        lock.tries.note(caller, key.ct_eq(lock.key.expose_secret().as_bytes()).into())
    }

    /// The value of Set-Cookie for a browser that has given the right key. `None` if no cookie is needed.
    pub(super) fn log_in(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let lock = self.lock.as_ref()?;
        Some(lock.cookies.give(self.clock.now(), cookie::is_secure(headers)))
    }
}

/// The value of Set-Cookie that logs a browser out.
pub(super) fn log_out(headers: &HeaderMap) -> HeaderValue {
    cookie::take_away(cookie::is_secure(headers))
}

/// Whether a request has a cookie of a login, whether it still holds or not.
pub(super) fn has_cookie(headers: &HeaderMap) -> bool {
    cookie::values(headers).next().is_some()
}

/// Lets a request through to the pages if its caller may see them. Who reads them in a browser is led to the login;
/// programs are told.
pub(super) async fn guard(
    State(ui): State<Arc<Ui>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
    inner: Inner,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed("GET, HEAD");
    }
    let headers = request.headers();
    if ui.access.admits(headers) {
        return inner.run(request).await;
    }
    let has_authorization = headers.contains_key(header::AUTHORIZATION);
    match bearer(headers).map(|key| ui.access.try_key(key, caller.ip())) {
        Some(Try::Right) => return inner.run(request).await,
        Some(Try::TooMany(wait)) => {
            let error =
                "too many wrong keys were given for the page; Retry-After says when to try again";
            return too_many(wait, refusal(StatusCode::TOO_MANY_REQUESTS, error));
        }
        Some(Try::Wrong) | None => {}
    }
    let (asked, _) = Asked::of(request.uri(), Vec::new(), headers, ui.language);
    let is_program = has_authorization
        || asked.is_json
        || asked.wants_stream
        || request.uri().path().ends_with(".md");
    if is_program {
        let error =
            "the page needs the key of UI_KEY: log in at /ui/login, or send it as a bearer token";
        return unauthorized(refusal(StatusCode::UNAUTHORIZED, error));
    }
    let address = request.uri().path_and_query().map_or("", |address| address.as_str());
    Redirect::to(&asked.login(&Next::of(address), false)).into_response()
}

/// The bearer token of a request. `None` if there is no Authorization header, another scheme, or more than one.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (given.next()?.as_bytes().trim_ascii(), given.next()) else { return None };
    let (scheme, key) = value.split_at_checked(b"Bearer".len())?;
    let is_whole = key.first().is_none_or(|byte| *byte == b' ');
    (is_whole && scheme.eq_ignore_ascii_case(b"Bearer")).then(|| key.trim_ascii())
}

/// Tells how to give a key, as every answer with the status 401 must.
pub(super) fn unauthorized(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Tells how long to wait before another try.
pub(super) fn too_many(wait: Duration, mut answer: Response) -> Response {
    answer.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait).into());
    answer
}

/// A wait in seconds, rounded up: a try after it counts.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The answer where a route does not take a method. The text lists those that it takes.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    let error = "this route does not take this method";
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, error);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"ok": false, "error": error}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer_of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).map(|key| String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn a_bearer_token_is_the_one_authorization_of_a_request() {
        for value in ["Bearer k", "bearer k", "BEARER   k", " Bearer k "] {
            assert_eq!(bearer_of(&[value]).as_deref(), Some("k"), "{value:?}");
        }
        for empty in ["Bearer", "Bearer "] {
            assert_eq!(bearer_of(&[empty]).as_deref(), Some(""));
        }
        assert_eq!(bearer_of(&["Bearer a b"]).as_deref(), Some("a b"));
        for other in ["", "k", "Basic k", "Bearerk", "Bear", "Bearer=k", "Bearer,k"] {
            assert_eq!(bearer_of(&[other]), None, "{other:?}");
        }
        assert_eq!(bearer_of(&[]), None);
        assert_eq!(bearer_of(&["Bearer k", "Bearer k"]), None);
        assert_eq!(bearer_of(&["Basic x", "Bearer k"]), None);
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
