//! The compiled binary as a process: arguments, signals, exit codes, environment and logs.

mod bad_start;
mod command_line;
pub(crate) mod daemon;
mod json_logs;
mod memory;
mod secrets;
mod stalled_logs;

use std::net::TcpListener;

use devstack::{Devstack, claude::Scripted, fault::Fault, mcp::Behaviour, recorder::Recorded};
use mana_persona_runner::{
    config::DEV_SEED_SECRET,
    journal::Journal,
    version::{COMMIT, VERSION},
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::support::{Setup, patiently, start_peers, variables};
use daemon::{Daemon, finish};

/// Whether a request to Claude contains tool results.
fn shows_results(request: &Recorded) -> bool {
    String::from_utf8_lossy(&request.body).contains("\"tool_result\"")
}

#[tokio::test]
async fn every_signal_ends_an_idle_daemon_with_exit_code_0_and_a_last_line() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    for name in ["TERM", "INT", "HUP"] {
        let daemon = Daemon::start(&peers, &[]).await;
        daemon.signal(name).await;
        let ended = daemon.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}: {}", ended.stdout);
        assert!(ended.stdout.ends_with(" drained\n"), "{name}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn either_signal_in_mid_run_lets_the_actions_be_posted_and_exits_with_0() {
    for name in ["TERM", "INT"] {
        let setup = Setup::many(&["anna"]).short_days();
        let (peers, users) = start_peers(setup.peers, &setup.personas).await;
        peers.claude.served.faults.inject(9, Fault::Hang, shows_results);
        let vars = [("TICK_INTERVAL_MS", "50".into()), ("SHUTDOWN_GRACE_MS", "60000".into())];
        let daemon = Daemon::start(&peers, &vars).await;
        let recorder = &peers.claude.served.recorder;
        patiently("mid-run", recorder.wait_for(1, shows_results)).await;
        daemon.signal(name).await;
        assert_eq!(daemon.ended().await.code, Some(0), "{name}");
        let actions = peers.auth.actions().await;
        assert!(!actions.is_empty() && actions.iter().all(|row| row.persona_id == users[0]));
        assert_eq!(peers.auth.feedback().await, []);
        session_is_ended(&peers).await;
    }
}

#[tokio::test]
async fn a_signal_while_a_session_is_being_opened_leaves_none_behind() {
    let setup = Setup::many(&["anna"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let lists = |r: &Recorded| r.json()["method"] == "tools/list";
    peers.mcp.served.faults.inject(9, Fault::Hang, lists);
    let vars = [("TICK_INTERVAL_MS", "50".into()), ("SHUTDOWN_GRACE_MS", "60000".into())];
    let daemon = Daemon::start(&peers, &vars).await;
    let recorder = &peers.mcp.served.recorder;
    patiently("the tool list", recorder.wait_for(1, lists)).await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
    session_is_ended(&peers).await;
}

/// Waits for the DELETE: the daemon may have ended before mana-mcp has handled its last request.
async fn session_is_ended(peers: &Devstack) {
    let deletes = |r: &Recorded| r.method == Method::DELETE && r.status.is_some();
    patiently("the DELETE", peers.mcp.served.recorder.wait_for(1, deletes)).await;
    assert_eq!(peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_second_signal_or_the_end_of_the_grace_forces_the_end_with_exit_code_1() {
    for (grace, second) in [("300000", Some("INT")), ("1000", None)] {
        let setup = Setup::many(&["anna"]).short_days();
        let (peers, _) = start_peers(setup.peers, &setup.personas).await;
        let posts = |r: &Recorded| r.method == Method::POST && r.path().ends_with("/actions");
        peers.auth.served.faults.inject(9, Fault::Hang, posts);
        let vars = [("TICK_INTERVAL_MS", "50".into()), ("SHUTDOWN_GRACE_MS", grace.into())];
        let daemon = Daemon::start(&peers, &vars).await;
        patiently("the post", peers.auth.served.recorder.wait_for(1, posts)).await;
        daemon.signal("TERM").await;
        if let Some(name) = second {
            patiently("stopping", async {
                while daemon.call(Method::GET, "/health").await.1["status"] != "stopping" {}
            })
            .await;
            daemon.signal(name).await;
        }
        assert_eq!(daemon.ended().await.code, Some(1), "grace {grace}");
    }
}

#[tokio::test]
async fn every_bad_value_is_named_at_once_and_none_is_shown() {
    let bad = [
        ("PORT", "65536-hush"),
        ("HOST", "hush"),
        ("MANA_AUTH_URL", "ftp://hush"),
        ("MANA_PERSONAS_URL", "http://hush:hush@h"),
        ("MANA_MCP_URL", "hush"),
        ("ANTHROPIC_BASE_URL", "https://h/?key=hush"),
        ("MANA_SERVICE_KEY", "hush\u{7}"),
        ("ANTHROPIC_API_KEY", "hush hush"),
        ("ANTHROPIC_EFFORT", "hush"),
        ("TICK_INTERVAL_MS", "0"),
        ("PERSONA_CONCURRENCY", "0"),
        ("PERSONA_MAX_TURNS", "-1"),
        ("PERSONA_TIMEOUT_MS", "1.5"),
        ("PERSONA_TOOL_TIMEOUT_MS", "1e3"),
        ("RUN_BACKOFF_MS", "hush"),
        ("SHUTDOWN_GRACE_MS", "8s"),
        ("RUNNER_PAUSED", "hush"),
        ("RUNNER_ENV", "hush"),
        ("NODE_ENV", "hush"),
        ("TZ", "Hush/Hush"),
        ("DIAG_HOSTS", "http://hush"),
        ("LOG_FORMAT", "hush"),
        ("RUST_LOG", "hush=hush=hush"),
    ];
    // The health check needs only the variables for the address.
    for (arguments, needed) in [(&[][..], &bad[..]), (&["--healthcheck"], &bad[..2])] {
        let vars = bad.map(|(name, value)| (name.into(), value.into()));
        let ended = finish(vars, arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
        assert_eq!(ended.stderr.lines().count(), needed.len(), "{}", ended.stderr);
        for (name, _) in needed {
            let about = ended.stderr.lines().filter(|line| line.contains(&format!("{name}:")));
            assert_eq!(about.count(), 1, "{name} in: {}", ended.stderr);
        }
        assert!(!ended.stderr.to_lowercase().contains("hush"), "{}", ended.stderr);
    }
}

type Vars = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn production_refuses_to_start_without_its_secrets() {
    let complete = [
        ("MANA_SERVICE_KEY", "service-key"),
        ("ANTHROPIC_API_KEY", "api-key"),
        ("PERSONA_SEED_SECRET", "seed-secret"),
    ];
    let cases: [(Vars, &[&str]); 5] = [
        (&[("MANA_SERVICE_KEY", "")], &["MANA_SERVICE_KEY"]),
        (&[("ANTHROPIC_API_KEY", " ")], &["ANTHROPIC_API_KEY"]),
        (&[("PERSONA_SEED_SECRET", "")], &["PERSONA_SEED_SECRET"]),
        (&[("PERSONA_SEED_SECRET", DEV_SEED_SECRET)], &["PERSONA_SEED_SECRET"]),
        (
            &[("MANA_SERVICE_KEY", ""), ("ANTHROPIC_API_KEY", ""), ("PERSONA_SEED_SECRET", "")],
            &["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY", "PERSONA_SEED_SECRET"],
        ),
    ];
    let environments: [Vars; 4] = [
        &[("RUNNER_ENV", "production")],
        &[("NODE_ENV", "production")],
        &[("RUNNER_ENV", "development"), ("NODE_ENV", "production")],
        &[("RUNNER_ENV", "production"), ("NODE_ENV", "test")],
    ];
    for (changed, named) in cases {
        for environment in environments {
            let vars = [&complete[..], environment, changed].concat();
            // Later variables replace earlier ones, as in any environment.
            let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
            let ended = finish(vars, &[]).await;
            assert_eq!(ended.code, Some(78), "{changed:?}, {environment:?}: {}", ended.stderr);
            for (name, _) in complete {
                assert_eq!(ended.stderr.contains(name), named.contains(&name), "{}", ended.stderr);
            }
            assert!(!ended.stderr.contains(DEV_SEED_SECRET));
        }
    }
}

#[tokio::test]
async fn there_is_no_diag_in_production_however_production_is_set() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    for (runner, node) in [("production", ""), ("", "production"), ("development", "production")] {
        let vars = [("RUNNER_ENV", runner.into()), ("NODE_ENV", node.into())];
        let daemon = Daemon::start(&peers, &vars).await;
        for (method, path) in [(Method::POST, "/diag/tick"), (Method::GET, "/diag/login?email=a@b")]
        {
            let (status, _) = daemon.call(method, path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{runner}/{node} {path}");
        }
        assert_eq!(daemon.call(Method::GET, "/health").await.1["status"], "ok");
        // The next daemon needs the journal of this one.
        daemon.signal("TERM").await;
        assert_eq!(daemon.ended().await.code, Some(0));
    }
    assert_eq!(peers.auth.served.recorder.all().len(), 0);
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line_and_a_failure() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let vars = [("PORT".into(), address.port().to_string().into())];
    let ended = finish(vars, &[]).await;
    assert_eq!(ended.code, Some(1));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(matches!(lines[..], [line] if line.contains(&address.to_string())), "{lines:?}");
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_with_exit_code_78_and_left_as_it_is() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    Journal::open(peers.data_folder()).await.unwrap().close().await;
    let file = peers.data_folder().join("journal.db");
    let url = format!("sqlite://{}", file.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 SELECT 1000, 'newer', 1, x'00', 0";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let before = std::fs::read(&file).unwrap();
    let ended = finish(variables(&peers, &[]), &[]).await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("newer version") && ended.stderr.contains("1000"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn the_healthcheck_tells_a_healthy_daemon_from_anything_else() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    let daemon = Daemon::start(&peers, &[]).await;
    let absent = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let port_of = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    for (port, healthy) in [
        (port_of(&daemon.url), true),
        (absent.to_string(), false),
        // A server that is not the daemon: its /health is a 404.
        (port_of(peers.auth.url()), false),
    ] {
        let vars = [("PORT".into(), (&port).into()), ("TZ".into(), "No/Where".into())];
        let ended = finish(vars, &["--healthcheck"]).await;
        assert_eq!(ended.code, Some(if healthy { 0 } else { 1 }), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), usize::from(!healthy), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn the_version_and_the_usage_need_no_environment() {
    let ended = finish([("PORT".into(), "bad".into())], &["--version"]).await;
    let expected = format!("mana-persona-runner {VERSION} ({COMMIT})\n");
    assert_eq!((ended.code, ended.stdout), (Some(0), expected));
    for arguments in [&["--nonsense"][..], &["--version", "now"], &["run"]] {
        let ended = finish([], arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(ended.stderr.contains("--healthcheck"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn missing_keys_disable_the_loop_with_one_warning_that_names_them() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    let keys = ["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"];
    for missing in [&keys[..1], &keys[1..], &keys] {
        let mut vars = vec![("TICK_INTERVAL_MS", "20".to_owned())];
        vars.extend(missing.iter().map(|name| (*name, String::new())));
        let daemon = Daemon::start(&peers, &vars).await;
        let (status, health) = daemon.call(Method::GET, "/health").await;
        assert_eq!((status, &health["tickLoop"]), (StatusCode::OK, &json!("disabled")));
        let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        daemon.signal("TERM").await;
        let ended = daemon.ended().await;
        assert_eq!(ended.code, Some(0));
        let warnings: Vec<_> =
            ended.stdout.lines().filter(|line| line.contains(" WARN ")).collect();
        assert_eq!(warnings.len(), 1, "{}", ended.stdout);
        for text in [&health["reason"].to_string(), &body["error"].to_string(), warnings[0]] {
            let named: Vec<_> = keys.into_iter().filter(|name| text.contains(name)).collect();
            assert_eq!(named, missing, "{text}");
        }
    }
    assert_eq!(peers.auth.served.recorder.all().len(), 0);
}

#[tokio::test]
async fn every_log_line_is_one_record_whatever_peers_and_model_say() {
    let forged = "x\n2026-01-01T00:00:00Z ERROR forged: line\r\n{\"level\":\"ERROR\"}\u{1b}[31m\0";
    for format in ["text", "json"] {
        let setup = Setup::many(&["anna", "ben"]).short_days();
        let (peers, users) = start_peers(setup.peers, &setup.personas).await;
        let calls = [(forged, json!({"a": forged})), ("habits_list", json!({}))];
        peers.claude.enqueue(Scripted::tools(&calls));
        peers.mcp.override_tool("habits.list", 1, Behaviour::IsError(forged.into()));
        let feedback = format!("/{}/feedback", users[0]);
        let fault = Fault::status(500, forged);
        peers.auth.served.faults.on(1, Method::POST, &feedback, fault);
        let fault = Fault::status(400, forged);
        peers.claude.served.faults.inject(1, fault, |r| r.json()["tools"].is_null());
        let vars = [("LOG_FORMAT", format.into()), ("RUST_LOG", "trace".into())];
        let daemon = Daemon::start(&peers, &vars).await;
        let (status, _) = daemon.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::OK);
        daemon.signal("TERM").await;
        let ended = daemon.ended().await;
        assert!(ended.stdout.lines().count() > 20, "{}", ended.stdout);
        for line in ended.stdout.lines() {
            assert!(!line.contains(['\u{1b}', '\0']), "{line:?}");
            if format == "json" {
                assert_eq!(json_logs::lines(line).len(), 1, "{line}");
            } else {
                let (time, _) = line.split_once(' ').unwrap();
                assert!(time.parse::<jiff::Timestamp>().is_ok(), "no record begins here: {line}");
                assert!(!time.starts_with("2026-01-01"), "a forged record: {line}");
            }
        }
    }
}
