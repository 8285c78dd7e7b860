//! Who may call /diag: people and programs on this machine's side, never a web page of another origin.
//!
//! A page can make a browser send requests here. It cannot hide where they come from: the browser
//! adds Origin and Sec-Fetch-Site, and Host holds the name the page was loaded under, which is how a
//! rebound DNS name shows.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};

use super::{ServerState, failure};

pub(super) async fn local_callers_only(
    State(state): State<ServerState>,
    request: Request,
    next: Next,
) -> Response {
    match refusal(request.uri(), request.headers(), &state.diag_hosts) {
        Some(why) => failure(StatusCode::FORBIDDEN, why),
        None => next.run(request).await,
    }
}

/// Why this request may not come in; `None` if it may.
fn refusal(uri: &Uri, headers: &HeaderMap, further_hosts: &[String]) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    // In absolute form the request line names a host too.
    let named = uri.authority().map(|authority| authority.as_str());
    if !is_known_host(host, further_hosts)
        || named.is_some_and(|named| !is_known_host(named, further_hosts))
    {
        return Some(
            "Host must be an IP address, localhost or a name listed in DIAG_HOSTS, with any port",
        );
    }
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Some("more than one Host header");
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Some("requests from pages of another origin are refused (Sec-Fetch-Site)");
    }
    if let Some(origin) = text(header::ORIGIN)
        && !is_same_origin(origin, host)
    {
        return Some("requests from pages of another origin are refused (Origin)");
    }
    None
}

/// `name`, `name:port`, `1.2.3.4:port` or `[::1]:port` of a host that is no stranger's.
fn is_known_host(host: &str, further_hosts: &[String]) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                return is_port(port);
            }
            _ => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let known =
        name == "localhost" || name.parse::<IpAddr>().is_ok() || further_hosts.contains(&name);
    known && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Whether a page of this origin was loaded from the host it now talks to.
fn is_same_origin(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn allowed(headers: &[(&'static str, &str)]) -> bool {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        refusal(&Uri::from_static("/diag/tick"), &map, &["runner.local".into()]).is_none()
    }

    #[test]
    fn known_hosts_come_in_under_any_port() {
        for host in [
            "localhost",
            "localhost:3070",
            "LOCALHOST:1",
            "127.0.0.1:3070",
            "10.1.2.3",
            "[::1]:3070",
            "[::1]",
            "runner.local:80",
            "Runner.Local",
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
        ] {
            assert_eq!(allowed(&[host, (name, value)]), allow, "{name}: {value}");
        }
    }
}
