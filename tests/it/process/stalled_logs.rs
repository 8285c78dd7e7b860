//! A log that is not read or cannot be written must not block the daemon.

use std::time::Duration;

use devstack::Devstack;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::daemon::{Daemon, Reader};
use crate::support::{Setup, start_peers};

/// Number of days whose lines are more than a pipe holds.
const DAYS: usize = 4;
const LOST: &str = "mana_persona_runner_log_lines_dropped_total ";

/// A daemon with the most detailed log, and its ten personas.
async fn verbose_daemon(reader: Reader, format: &str) -> (Devstack, Daemon) {
    let names: Vec<_> = (0..10).map(|n| format!("p{n}")).collect();
    let setup = Setup::many(&names).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let vars = [
        ("PERSONA_CONCURRENCY", "10".into()),
        ("LOG_FORMAT", format.to_owned()),
        ("RUST_LOG", "trace".into()),
    ];
    let daemon = Daemon::start_for(reader, &peers, &vars).await;
    (peers, daemon)
}

async fn has_a_good_day(daemon: &Daemon) {
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["result"]["ranSuccessfully"], json!(10), "{body}");
    assert_eq!(daemon.call(Method::GET, "/health").await.1["status"], "ok");
}

#[tokio::test]
async fn a_reader_that_stalls_holds_up_neither_ticks_nor_health_nor_the_end() {
    for format in ["json", "text"] {
        let (peers, daemon) = verbose_daemon(Reader::Stalls, format).await;
        for _ in 0..DAYS {
            has_a_good_day(&daemon).await;
            peers.clock.advance(Duration::from_secs(24 * 60 * 60));
        }
        daemon.signal("TERM").await;
        let ended = daemon.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "it was not forced");
        assert!(
            !ended.stdout.contains("drained"),
            "the pipe was full, the last lines found no room"
        );
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_is_seen_in_a_metric_only() {
    let (_peers, daemon) = verbose_daemon(Reader::Leaves, "json").await;
    has_a_good_day(&daemon).await;
    let lost = async || {
        let metrics = daemon.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(LOST)).unwrap();
        value.parse::<f64>().unwrap()
    };
    crate::support::patiently("lost lines", async { while lost().await < 100.0 {} }).await;
    assert!(lost().await >= 100.0, "a scrape takes nothing away");
    daemon.signal("TERM").await;
    let ended = daemon.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
