//! Access to /diag: requests from web pages of another origin are refused.

use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Setup, World, patiently};

const TICK: &str = "POST /diag/tick HTTP/1.1";
const LOGIN: &str = "GET /diag/login?email=persona.anna@mana.test HTTP/1.1";

/// Sends these lines unchanged; returns the whole answer.
async fn send(world: &World, lines: &[&str]) -> String {
    let address = world.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!("{}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", lines.join("\r\n"));
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    patiently("the answer", socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn status_of(answer: &str) -> StatusCode {
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}"));
    status.parse().unwrap()
}

/// Ticks are paused, so that a request that is accepted costs nothing.
async fn paused() -> World {
    let hosts = "runner.local, Other.Test, 192.168.1.7, fd00::7";
    Setup::one(&["todo"]).var("RUNNER_PAUSED", "true").var("DIAG_HOSTS", hosts).start().await
}

#[tokio::test]
async fn requests_under_foreign_names_or_origins_are_refused_before_anything_is_sent() {
    let world = Setup::one(&["todo"]).start().await;
    let strangers: &[&[&str]] = &[
        // Names that may have been rebound to this address (DNS rebinding).
        &["Host: evil.example"],
        &["Host: evil.example:3070"],
        &["Host: localhost.evil.example"],
        &["Host: 127.0.0.1.evil.example"],
        &["Host: runner.local"],
        &["Host: localhost@evil.example"],
        &["Host:"],
        &["Host: localhost", "Host: evil.example"],
        &["Host: evil.example", "Host: localhost"],
        // Addresses of this machine for which browsers send fewer headers.
        &["Host: 0.0.0.0"],
        &["Host: 0.0.0.0:3070"],
        &["Host: [::]:3070"],
        &["Host: [::ffff:127.0.0.1]:3070"],
        &["Host: 192.168.1.7"],
        &["Host: 2130706433"],
        &["Host: 0177.0.0.1"],
        &["Host: 127.1"],
        // Requests from pages of another origin.
        &["Host: localhost", "Referer: https://evil.example/page"],
        &["Host: localhost:3070", "Referer: http://localhost:5173/"],
        &["Host: localhost", "Referer: http://localhost@evil.example/"],
        &["Host: localhost", "Referer: http://localhost/", "Referer: https://evil.example/"],
        &["Host: localhost", "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"],
        &["Host: localhost", "Origin: https://evil.example"],
        &["Host: localhost:3070", "Origin: http://localhost:5173"],
        &["Host: localhost", "Origin: null"],
        &["Host: localhost", "Origin: localhost"],
        &["Host: 127.0.0.1", "Origin: http://localhost"],
        &["Host: localhost", "Sec-Fetch-Site: cross-site"],
        &["Host: localhost", "Sec-Fetch-Site: same-site"],
        &["Host: localhost", "Sec-Fetch-Site: none", "Origin: https://evil.example"],
        &["Host: localhost", "Sec-Fetch-Site: cross-site", "Origin: http://localhost"],
    ];
    for request in [TICK, LOGIN] {
        for headers in strangers {
            let answer = send(&world, &[&[request], *headers].concat()).await;
            let refused = matches!(status_of(&answer).as_u16(), 400 | 403);
            assert!(refused, "{request} {headers:?}: {answer}");
        }
    }
    for line in [
        "POST http://evil.example/diag/tick HTTP/1.1",
        "POST http://evil.example:1/diag/tick HTTP/1.1",
        "POST http://0.0.0.0:1/diag/tick HTTP/1.1",
    ] {
        let answer = send(&world, &[line, "Host: localhost"]).await;
        assert_eq!(status_of(&answer), StatusCode::FORBIDDEN, "{line}");
    }
    for line in [TICK, "POST /diag/tick HTTP/1.0"] {
        let refused = matches!(status_of(&send(&world, &[line]).await).as_u16(), 400 | 403);
        assert!(refused, "{line} without Host");
    }
    assert_eq!(world.upstream_requests(), 0);
}

#[tokio::test]
async fn the_same_requests_are_accepted_from_this_machine_and_from_listed_names() {
    let world = paused().await;
    let known: &[&[&str]] = &[
        &["Host: localhost"],
        &["Host: LocalHost:1"],
        &["Host: 127.0.0.1:3070"],
        &["Host: 127.1.2.3"],
        &["Host: localhost."],
        &["Host: 192.168.1.7"],
        &["Host: 192.168.1.7:3070"],
        &["Host: [FD00::0007]:3070"],
        &["Host: [::1]:3070"],
        &["Host: runner.local"],
        &["Host: Runner.Local:8080"],
        &["Host: other.test:1"],
        &["Host: localhost:3070", "Origin: http://localhost:3070"],
        &["Host: runner.local", "Origin: https://runner.local"],
        &["Host: localhost", "Sec-Fetch-Site: same-origin", "Origin: http://localhost"],
        &["Host: localhost", "Sec-Fetch-Site: none"],
        &["Host: localhost:3070", "Referer: http://localhost:3070/"],
        &["Host: runner.local", "Referer: http://runner.local/diag/login?email=a"],
    ];
    for headers in known {
        let answer = send(&world, &[&[TICK], *headers].concat()).await;
        assert_eq!(status_of(&answer), StatusCode::OK, "{headers:?}: {answer}");
        let answer = send(&world, &[&["GET /diag/login HTTP/1.1"], *headers].concat()).await;
        assert_eq!(status_of(&answer), StatusCode::BAD_REQUEST, "{headers:?}: {answer}");
    }
}

#[tokio::test]
async fn a_cors_preflight_is_not_approved() {
    let world = paused().await;
    let preflight = [
        "OPTIONS /diag/tick HTTP/1.1",
        "Host: localhost:3070",
        "Origin: https://evil.example",
        "Access-Control-Request-Method: POST",
        "Sec-Fetch-Site: cross-site",
    ];
    let answer = send(&world, &preflight).await;
    assert!(status_of(&answer).is_client_error(), "{answer}");
    assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
}

#[tokio::test]
async fn health_and_metrics_answer_under_any_name() {
    let world = paused().await;
    for path in ["/health", "/metrics"] {
        let line = format!("GET {path} HTTP/1.1");
        let headers = ["Host: mana-persona-runner:3070", "Origin: https://grafana.example"];
        let answer = send(&world, &[&[&*line], &headers[..]].concat()).await;
        assert_eq!(status_of(&answer), StatusCode::OK, "{path}: {answer}");
    }
}
