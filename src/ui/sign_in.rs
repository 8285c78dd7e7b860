//! /ui/login and /ui/logout: a browser gets a cookie for the key, and gives it back.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header::SET_COOKIE},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::html;
use url::form_urlencoded;

use super::{
    Page, Place, Ui,
    access::{
        Next, Try, has_cookie, log_out, method_not_allowed, too_many, unauthorized, whole_seconds,
    },
    asked::Asked,
    frame, words,
};

/// The path of the login, also for the routes that lead to it.
const LOGIN: &str = "/ui/login";

/// The routes of login and logout.
pub(super) fn routes() -> Router<Arc<Ui>> {
    let refuse = |allowed| async move || method_not_allowed(allowed);
    Router::new()
        .route(LOGIN, get(show).post(log_in).fallback(refuse("GET, HEAD, POST")))
        .route("/ui/logout", post(leave).fallback(refuse("POST")))
}

/// GET /ui/login: the form. Who is logged in already is led on.
async fn show(State(ui): State<Arc<Ui>>, uri: Uri, headers: HeaderMap) -> Response {
    let (asked, _) = Asked::of(&uri, Vec::new(), &headers, ui.language);
    let next = Next::of(asked.parameter("next").unwrap_or_default());
    if ui.access.admits(&headers) {
        return Redirect::to(next.as_str()).into_response();
    }
    // Where a link on another site is followed, the browser keeps the cookie back (SameSite=Strict). A request that a
    // page of ours causes has it.
    let is_last = asked.parameter("own").is_some() || has_cookie(&headers);
    let again = (is_from_elsewhere(&headers) && !is_last).then(|| asked.login(&next, true));
    form(&asked, &next, None, again.as_deref())
}

/// POST /ui/login: tries the key of the form.
async fn log_in(
    State(ui): State<Arc<Ui>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (asked, _) = Asked::of(&uri, Vec::new(), &headers, ui.language);
    let field = |name: &str| {
        form_urlencoded::parse(&body).find(|(known, _)| known == name).map(|(_, value)| value)
    };
    let next = field("next");
    let next = Next::of(next.as_deref().or(asked.parameter("next")).unwrap_or_default());
    let words = words::sign_in::words(asked.language);
    if is_from_elsewhere(&headers) {
        // Otherwise any page could use up the tries of those who visit it.
        let form = form(&asked, &next, Some(words.from_elsewhere), None);
        return (StatusCode::FORBIDDEN, form).into_response();
    }
    let key = field("key").unwrap_or_default();
    match ui.access.try_key(key.trim().as_bytes(), caller.ip()) {
        Try::Right => {
            let to_next = Redirect::to(next.as_str());
            let Some(cookie) = ui.access.log_in(&headers) else { return to_next.into_response() };
            tracing::info!(caller = %caller.ip(), "somebody has logged in to /ui");
            ([(SET_COOKIE, cookie)], to_next).into_response()
        }
        Try::Wrong => {
            let form = form(&asked, &next, Some(words.wrong), None);
            unauthorized((StatusCode::UNAUTHORIZED, form).into_response())
        }
        Try::TooMany(wait) => {
            let form = form(&asked, &next, Some(&words.wait(whole_seconds(wait))), None);
            too_many(wait, (StatusCode::TOO_MANY_REQUESTS, form).into_response())
        }
    }
}

/// POST /ui/logout: takes the cookie away.
async fn leave(headers: HeaderMap) -> Response {
    let to_login = Redirect::to(LOGIN);
    if is_from_elsewhere(&headers) {
        return to_login.into_response();
    }
    // Otherwise a browser may keep the page that was left, and show it when somebody goes back.
    let clear = (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));
    ([(SET_COOKIE, log_out(&headers)), clear], to_login).into_response()
}

/// Whether a browser says that a page of another site has caused the request. Origin says nothing here: our policy
/// for Referer makes it `null` for our own forms too.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site"))
}

/// The page with the form. `again`: the browser loads this address at once.
///
/// The form has no action, so it is sent to the address of the page. So what follows a `#` there, which no server sees,
/// stays until the browser is at the page that was asked for.
fn form(asked: &Asked, next: &Next, error: Option<&str>, again: Option<&str>) -> Response {
    let words = words::sign_in::words(asked.language);
    let main = html! {
        @if let Some(error) = error { p.trouble #error role="alert" { (error) } }
        form.filter method="post" {
            input type="hidden" name="next" value=(next.as_str());
            label {
                (words.key)
                input type="password" name="key" autocomplete="current-password" required autofocus
                    aria-describedby=[error.map(|_| "error")] aria-invalid=[error.map(|_| "true")];
            }
            button { (words.log_in) }
        }
        p.note { (words.hint) }
    };
    let page = Page { place: Place::Login, title: words.title.to_owned(), main, live: None };
    frame::answer_and_load(asked, page, again)
}
