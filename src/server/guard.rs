//! Protects /diag, and /ui where it needs no key, from web pages of another origin. People and programs that call this
//! server directly may use them.
//!
//! A page can make a browser send requests to this server, but it cannot hide their origin: the browser adds
//! the headers Origin, Sec-Fetch-Site and Referer. The header Host has the name that the request goes to, so
//! a rebound DNS name is visible there.
//!
//! With a GET for an image or a frame, browsers send Sec-Fetch-Site only to this machine's own names
//! (localhost, 127.0.0.0/8, ::1). To any other address, such as 0.0.0.0, they send no header that a page
//! could not suppress. Therefore other addresses are refused unless DIAG_HOSTS names them.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};

use super::{Failure, ServerState, failure};
use crate::config::{host_of_header, is_loopback};

pub(super) async fn local_callers_only(
    State(state): State<ServerState>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    match refusal(request.uri(), request.headers(), &state.fleet.config.diag_hosts) {
        Some(why) => Err(failure(StatusCode::FORBIDDEN, why)),
        None => Ok(next.run(request).await),
    }
}

/// Refuses requests from other machines, for pages that need no key. A proxy on this machine says that it passes on a
/// request of somebody else.
pub(super) async fn this_machine_only(
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let is_passed_on = ["forwarded", "x-forwarded-for", "via"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    if is_passed_on || !caller.ip().to_canonical().is_loopback() {
        let why = "without UI_KEY the page is there for this machine alone; set UI_KEY to reach it from elsewhere";
        return Err(failure(StatusCode::FORBIDDEN, why));
    }
    Ok(next.run(request).await)
}

/// Why a request is refused; `None` if it is allowed.
fn refusal(uri: &Uri, headers: &HeaderMap, further_hosts: &[String]) -> Option<String> {
    let host = headers.get(header::HOST).map_or("", |host| host.to_str().unwrap_or("?"));
    // A request line in absolute form has a host too.
    let named = uri.authority().map(|authority| authority.as_str());
    if ![host].into_iter().chain(named).all(|host| is_known_host(host, further_hosts)) {
        let expected = "Host must be localhost, an address of 127.0.0.0/8, ::1, or a name or address \
                        listed in DIAG_HOSTS, with any port";
        return Some(expected.into());
    }
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Some("more than one Host header".into());
    }
    let is_own = |name: &str, value: &str| match name {
        "Sec-Fetch-Site" => matches!(value, "same-origin" | "none"),
        _ => is_same_origin(value, host),
    };
    // A header may be present more than once. Each of its values must be allowed.
    let is_fine = |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.all(|value| value.to_str().is_ok_and(|value| is_own(name, value)))
    };
    let wrong = ["Sec-Fetch-Site", "Origin", "Referer"].into_iter().find(|name| !is_fine(name));
    wrong.map(|name| format!("requests from pages of another origin are refused ({name})"))
}

/// Whether a Host header (`name`, `name:port`, `1.2.3.4:port` or `[::1]:port`) names this machine by
/// localhost or a loopback address, or names a host of `further_hosts`.
fn is_known_host(host: &str, further_hosts: &[String]) -> bool {
    host_of_header(host).is_some_and(|name| is_loopback(&name) || further_hosts.contains(&name))
}

/// Whether the page with this URL or origin was loaded from `host`, the host of the request.
fn is_same_origin(page: &str, host: &str) -> bool {
    page.parse::<Uri>().is_ok_and(|page| {
        let authority = page.authority().map(|authority| authority.as_str());
        matches!(page.scheme_str(), Some("http" | "https"))
            && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::HeaderName, middleware, routing::get};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    fn allowed(headers: &[(&'static str, &str)]) -> bool {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let listed = ["runner.local", "192.168.1.7", "fd00::7"].map(str::to_owned);
        refusal(&Uri::from_static("/diag/tick"), &map, &listed).is_none()
    }

    #[tokio::test]
    async fn pages_without_a_key_are_for_this_machine_alone() {
        let guard = middleware::from_fn(this_machine_only);
        let routes = Router::new().route("/ui", get(async || "")).route_layer(guard);
        let routes = TowerToHyperService::new(routes);
        for (caller, passed_on, status) in [
            ("127.0.0.1:1", None, 200),
            ("127.200.0.1:1", None, 200),
            ("[::1]:1", None, 200),
            ("[::ffff:127.0.0.1]:1", None, 200),
            ("10.0.0.1:1", None, 403),
            ("172.17.0.1:1", None, 403),
            ("0.0.0.0:1", None, 403),
            ("[fe80::1]:1", None, 403),
            ("[2001:db8::1]:1", None, 403),
            ("[::ffff:10.0.0.1]:1", None, 403),
            ("127.0.0.1:1", Some("x-forwarded-for"), 403),
            ("127.0.0.1:1", Some("forwarded"), 403),
            ("127.0.0.1:1", Some("via"), 403),
        ] {
            let mut request = Request::builder().uri("/ui");
            if let Some(name) = passed_on {
                request = request.header(name, "127.0.0.1");
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(caller.parse::<SocketAddr>().unwrap()));
            let answer = routes.call(request).await.unwrap();
            assert_eq!(answer.status(), status, "{caller} {passed_on:?}");
        }
    }

    #[test]
    fn known_hosts_come_in_under_any_port() {
        for host in [
            "localhost",
            "localhost:3070",
            "LOCALHOST:1",
            "localhost.:3070",
            "127.0.0.1:3070",
            "127.255.255.254",
            "127.0.0.1.",
            "[::1]:3070",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:1",
            "runner.local:80",
            "Runner.Local",
            "192.168.1.7:3070",
            "[fd00::7]:3070",
            "[FD00:0::0007]",
        ] {
            assert!(allowed(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn strangers_hosts_stay_out() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:3070",
            "localhost:port",
            "[::1",
            "[localhost]:1",
            "localhost:1:2",
            "user@localhost",
            // Addresses that may reach this machine, but to which browsers do not send Sec-Fetch-Site.
            "0.0.0.0",
            "0.0.0.0:3070",
            "[::]:3070",
            "[::ffff:0.0.0.0]",
            "[::ffff:127.0.0.1]:3070",
            "[::ffff:192.168.1.7]",
            "10.1.2.3",
            "192.168.1.8:3070",
            "[fd00::8]",
            "169.254.1.1",
            // Spellings that some parsers take for addresses.
            "2130706433",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "127.1",
            "127.0.0.01",
            "0",
            "::1",
            "fd00::7",
            "[127.0.0.1]",
            "[::1%25lo]",
            "[::1]x",
            "[::1]:",
            "[::1]]:1",
            "[[::1]]",
            "localhost..",
            "app.localhost",
        ] {
            assert!(!allowed(&[("host", host)]), "{host:?}");
        }
        assert!(!allowed(&[]));
        assert!(!allowed(&[("host", "localhost"), ("host", "evil.example")]));
        let absolute = Uri::from_static("http://evil.example/diag/tick");
        let headers = HeaderMap::from_iter([(header::HOST, "localhost".parse().unwrap())]);
        assert!(refusal(&absolute, &headers, &[]).is_some());
    }

    #[test]
    fn pages_of_another_origin_stay_out() {
        let host = ("host", "localhost:3070");
        for (name, value, allow) in [
            ("origin", "http://localhost:3070", true),
            ("origin", "https://localhost:3070", true),
            ("origin", "http://localhost:5173", false),
            ("origin", "https://evil.example", false),
            ("origin", "null", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
            ("referer", "http://localhost:3070", true),
            ("referer", "http://localhost:3070/diag/login?email=a@b", true),
            ("referer", "http://LOCALHOST:3070/#x", true),
            ("referer", "http://localhost:3071/", false),
            ("referer", "http://localhost/", false),
            ("referer", "http://127.0.0.1:3070/", false),
            ("referer", "http://runner.local:3070/", false),
            ("referer", "https://evil.example/localhost:3070", false),
            ("referer", "http://localhost:3070@evil.example/", false),
            ("referer", "http://localhost:3070.evil.example/", false),
            ("referer", "http://evil.example?http://localhost:3070", false),
            ("referer", "file:///tmp/page.html", false),
            ("referer", "about:blank", false),
            ("referer", "", false),
        ] {
            assert_eq!(allowed(&[host, (name, value)]), allow, "{name}: {value}");
        }
        for (name, good, bad) in [
            ("origin", "http://localhost:3070", "https://evil.example"),
            ("sec-fetch-site", "none", "cross-site"),
            ("referer", "http://localhost:3070/", "https://evil.example/"),
        ] {
            for values in [[good, bad], [bad, good]] {
                let mut headers = HeaderMap::from_iter([(header::HOST, host.1.parse().unwrap())]);
                for value in values {
                    headers.append(name, value.parse().unwrap());
                }
                let uri = Uri::from_static("/diag/tick");
                assert!(refusal(&uri, &headers, &[]).is_some(), "{name}: {values:?}");
            }
        }
    }
}
