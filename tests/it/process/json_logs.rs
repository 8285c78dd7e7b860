//! LOG_FORMAT=json: every line is one object with the same five keys, in all cases.

use std::{net::TcpListener, panic::catch_unwind, process::Stdio};

use jiff::Timestamp;
use mana_persona_runner::{
    config::{LogConfig, LogFormat},
    domain::Redactor,
    telemetry,
};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::process::Command;
use tracing::Instrument;

use super::daemon::{Daemon, finish};
use crate::support::{Setup, patiently, start_peers};

/// The fields of one log line that has the five keys.
#[derive(Debug)]
pub(super) struct Line {
    pub level: String,
    pub msg: String,
    pub data: Map<String, Value>,
}

/// The lines of an output; each line must be one record.
pub(super) fn lines(output: &str) -> Vec<Line> {
    output.lines().map(line).collect()
}

fn line(text: &str) -> Line {
    let record: Map<String, Value> = serde_json::from_str(text).unwrap_or_else(|error| {
        panic!("{error}: {text}");
    });
    let keys: Vec<_> = record.keys().map(String::as_str).collect();
    assert_eq!(keys, ["ts", "level", "service", "msg", "data"], "{text}");
    let field = |key: &str| record[key].as_str().unwrap_or_else(|| panic!("{key}: {text}"));
    let time: Timestamp = field("ts").parse().unwrap();
    assert_eq!(field("ts"), format!("{time:.3}"), "RFC 3339 with milliseconds");
    assert!(["trace", "debug", "info", "warn", "error"].contains(&field("level")), "{text}");
    assert_eq!(field("service"), "mana-persona-runner");
    let data = record["data"].as_object().unwrap_or_else(|| panic!("data: {text}")).clone();
    Line { level: field("level").into(), msg: field("msg").into(), data }
}

#[tokio::test]
async fn every_line_of_a_run_is_a_record_that_names_tick_run_and_persona() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, users) = start_peers(setup.peers, &setup.personas).await;
    let vars = [("LOG_FORMAT", "json".into()), ("RUST_LOG", "debug".into())];
    let daemon = Daemon::start(&peers, &vars).await;
    let (status, _) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK);
    daemon.signal("TERM").await;
    let ended = daemon.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines = lines(&ended.stdout);
    for row in peers.auth.actions().await {
        let of_run: Vec<_> = lines
            .iter()
            .filter(|line| line.data.get("run.id") == Some(&json!(row.tick_id)))
            .collect();
        assert!(of_run.iter().any(|line| line.msg == "run ended"), "{of_run:#?}");
        for line in of_run {
            assert_eq!(line.data["persona.id"], json!(row.persona_id), "{line:?}");
            assert_eq!(line.data["tick.number"], json!(1), "{line:?}");
        }
    }
    let of_tick = lines.iter().find(|line| line.msg == "tick ended").unwrap();
    assert_eq!(
        (of_tick.data["tick.number"].as_u64(), of_tick.data["tick.due"].as_u64()),
        (Some(1), Some(2))
    );
    assert!(!of_tick.data.contains_key("run.id"), "{of_tick:?}");
    assert!(!users.is_empty() && lines.iter().any(|line| line.level == "debug"));
}

#[tokio::test]
async fn a_start_that_fails_says_why_in_records_on_standard_error() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases = [
        (
            &[("PORT", "hush"), ("TZ", "hush"), ("LOG_FORMAT", " json ")][..],
            &["PORT", "TZ"][..],
            78,
        ),
        (&[("RUST_LOG", "hush=hush=hush")], &["RUST_LOG"], 78),
        (
            &[("RUNNER_ENV", "production")],
            &["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY", "PERSONA_SEED_SECRET"],
            78,
        ),
        (&[("PORT", &port)], &[&port], 1),
        (&[("PORT", "0"), ("PRICING_FILE", "no/such/file")], &["PRICING_FILE"], 78),
    ];
    for (vars, named, code) in cases {
        let vars = [&[("LOG_FORMAT", "json")][..], vars].concat();
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        let ended = finish(vars, &[]).await;
        assert_eq!(ended.code, Some(code), "{named:?}: {}", ended.stderr);
        // All lines that were logged before the end are in the output.
        let has_begun = lines(&ended.stdout).iter().any(|line| line.msg == "starting");
        assert_eq!(has_begun, !ended.stderr.contains("bad configuration"), "{}", ended.stderr);
        let records = lines(&ended.stderr);
        assert_eq!(records.len(), named.len(), "{records:#?}");
        for (line, name) in records.iter().zip(named) {
            assert!(line.level == "error" && line.msg.contains(name), "{line:?} of {name}");
            assert!(!line.msg.contains("hush"), "{line:?}");
            assert!(code == 1 || line.data.get("variable").is_none_or(|v| v == name), "{line:?}");
        }
    }
}

#[tokio::test]
async fn a_log_format_that_is_not_known_is_refused_in_records() {
    use std::os::unix::ffi::OsStrExt;

    let odd = std::ffi::OsStr::from_bytes(b"\xffjson");
    for format in ["JSON".as_ref(), "logfmt".as_ref(), odd] {
        let ended = finish([("LOG_FORMAT".into(), format.to_owned())], &[]).await;
        assert_eq!(ended.code, Some(78));
        let records = lines(&ended.stderr);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0].data["variable"], "LOG_FORMAT");
    }
}

/// Environment variable that is set in the process that must panic.
const PANICS: &str = "IT_PANICS_IN_JSON";

/// The daemon has no switch for a panic, so this test runs itself again in a process that sets up logging as
/// the daemon does.
#[tokio::test]
async fn a_panic_is_a_record_too_and_shows_no_secret() {
    if std::env::var_os(PANICS).is_some() {
        let config = LogConfig { format: LogFormat::Json, filter: "info".into() };
        let last_lines = telemetry::init(&config, Redactor::new(["123456789"])).unwrap();
        // Spans of other crates are not logged.
        let id = tracing::field::Empty;
        let run = tracing::info_span!(target: "mana_persona_runner::runner", "run", persona.id = "p-1", run.id = id);
        let task = async {
            tracing::Span::current().record("run.id", "r-1");
            panic!("of \"123456789\" and anna@mana.test\nin two lines: {}", 123_456_789);
        };
        assert!(tokio::spawn(task.instrument(run)).await.unwrap_err().is_panic());
        assert!(catch_unwind(|| std::panic::panic_any(7)).is_err());
        drop(last_lines);
        // The test harness adds no output.
        std::process::exit(0);
    }
    let own_name = std::thread::current().name().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &own_name, "--nocapture", "--test-threads=2"])
        .env(PANICS, "1")
        .stdin(Stdio::null())
        .output();
    let output = patiently("the panicking process", output).await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let records = text.strip_prefix("\nrunning 1 test\n").unwrap_or_else(|| panic!("{text}"));
    let lines = lines(records);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.level == "error" && line.msg.starts_with("panic: ")));
    let expected = "panic: of \"[redacted]\" and [redacted]\nin two lines: [redacted]";
    assert_eq!(lines[0].msg, expected);
    assert_eq!(lines[0].data["run.id"], "r-1");
    assert_eq!(lines[0].data["persona.id"], "p-1");
    let place = lines[0].data["panic.location"].as_str().unwrap();
    assert!(place.contains("json_logs.rs:"), "{place}");
    assert_eq!(lines[1].msg, "panic: no message");
}
