//! /health in every state of the daemon, and /metrics compared with what the peers received.

use std::collections::BTreeSet;

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour, recorder::Recorded};
use mana_persona_runner::{
    app::ProcessEnd,
    domain::derive_password,
    version::{COMMIT, VERSION},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{SEED_SECRET, Setup, path, patiently, persona};

/// The answer of /health in a default world, with these differences.
fn health(differences: Value) -> Value {
    let mut health = json!({
        "status": "ok", "service": "mana-persona-runner", "version": VERSION, "commit": COMMIT,
        "paused": false, "tickIntervalMs": 31_536_000_000_u64, "concurrency": 2,
        "tickLoop": "running",
    });
    for (key, value) in differences.as_object().unwrap() {
        health[key] = value.clone();
    }
    health
}

#[tokio::test]
async fn health_shows_the_settings_and_the_state_of_the_tick_loop() {
    let paused = || Setup::default().var("RUNNER_PAUSED", "true");
    let disabled = json!({"status": "degraded", "tickLoop": "disabled",
        "reason": "MANA_SERVICE_KEY is not set; ticks are disabled"});
    let states = [
        (Setup::default(), json!({})),
        (paused(), json!({"paused": true, "tickLoop": "paused"})),
        (
            Setup::default().var("TICK_INTERVAL_MS", 50_000).var("PERSONA_CONCURRENCY", 7),
            json!({"tickIntervalMs": 50_000, "concurrency": 7}),
        ),
        (Setup::default().var("MANA_SERVICE_KEY", ""), disabled),
        (Setup::default().var("RUNNER_ENV", "production"), json!({})),
    ];
    for (setup, differences) in states {
        let world = setup.start().await;
        assert_eq!(world.health().await, health(differences));
        assert_eq!(world.upstream_requests(), 0, "/health asks nobody");
    }
}

#[tokio::test]
async fn health_is_degraded_after_a_tick_without_a_list_and_heals_with_the_next() {
    let world = Setup::one(&["todo"]).idle().start().await;
    let refusal =
        Fault::status(401, r#"{"statusCode":401,"message":"Invalid or missing service key"}"#);
    world.peers.auth.served.faults.on(1, Method::GET, "/due", refusal);
    let (_, failed) = world.call(Method::POST, "/diag/tick").await;
    let degraded = json!({"status": "degraded", "reason": failed["error"]});
    assert_eq!(world.health().await, health(degraded));
    world.good_tick().await;
    assert_eq!(world.health().await, health(json!({})));
}

#[tokio::test]
async fn until_the_drain_has_ended_the_daemon_answers_that_it_is_stopping() {
    let mut world = Setup::one(&["todo"]).var("SHUTDOWN_GRACE_MS", 50_000).start().await;
    world.peers.claude.enqueue(Scripted::tools(&[("todo_list", json!({}))]));
    world.peers.claude.enqueue(Scripted::text("Fertig."));
    let released = CancellationToken::new();
    let faults = &world.peers.auth.served.faults;
    faults.on(1, Method::POST, "/actions", Fault::Hold(released.clone()));
    let drain = async {
        let posted =
            world.peers.auth.served.recorder.wait_for(1, |r| r.path().ends_with("/actions"));
        patiently("the post of the actions", posted).await;
        world.shutdown.stop();
        for _ in 0..3 {
            assert_eq!(world.health().await, health(json!({"status": "stopping"})));
        }
        assert_eq!(value(&world.metrics().await, "runs_in_flight", &[]), 1.0);
        let (status, _) = world.call(Method::POST, "/diag/tick").await;
        assert!(status.is_client_error() || status.is_server_error(), "{status}: nothing new");
        released.cancel();
    };
    let (_, ()) = tokio::join!(world.call(Method::POST, "/diag/tick"), drain);
    assert_eq!(world.ended().await, ProcessEnd::Drained);
    assert_eq!(world.actions().await.len(), 1, "what happened was handed in");
    assert!(world.peers.claude.requests().iter().all(|request| !request.is_rating()));
    let gone = crate::support::client().get(format!("{}/health", world.url)).send();
    assert!(patiently("a refused connection", gone).await.is_err());
}

/// The sum of all series of a family with these labels; `family` is given without the common prefix.
fn value(text: &str, family: &str, labels: &[(&str, &str)]) -> f64 {
    let name = format!("mana_persona_runner_{family}");
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.strip_prefix(&*name)?.rsplit_once(' ')?;
        let ours = series.is_empty() || series.starts_with('{');
        let labelled = labels.iter().all(|(k, v)| series.contains(&format!("{k}=\"{v}\"")));
        (ours && labelled).then(|| value.parse::<f64>().unwrap())
    });
    series.sum()
}

/// The different values of a label in a family.
fn label_values(text: &str, family: &str, label: &str) -> BTreeSet<String> {
    let name = format!("mana_persona_runner_{family}{{");
    let key = format!("{label}=\"");
    text.lines()
        .filter(|line| line.starts_with(&name))
        .filter_map(|line| Some(line.split_once(&key)?.1.split_once('"')?.0.to_owned()))
        .collect()
}

#[tokio::test]
async fn after_a_tick_the_metrics_match_what_the_peers_received() {
    let personas = ["anna", "ben", "kai"].map(|name| persona(name, &["todo", "habits"])).to_vec();
    let world = Setup { personas, ..Setup::default() }.start().await;
    world.peers.auth.seed(&[persona("eve", &["todo"])], |_| "own".into()).await.unwrap();
    world.peers.mcp.override_tool("todo.list", 1, Behaviour::IsError("no list".into()));
    let busy = || Fault::status(503, "busy");
    world.peers.auth.served.faults.on(1, Method::GET, "/due", busy());
    world.peers.auth.served.faults.on(1, Method::POST, "/feedback", Fault::HandledThenReset);
    world.peers.claude.served.faults.on(1, Method::POST, "/v1/messages", busy());
    let result = world.tick().await;
    assert_eq!(result["ranSuccessfully"], 3, "{result}");

    let text = world.metrics().await;
    let metric = |family: &str, labels: &[(&str, &str)]| value(&text, family, labels) as usize;
    assert_eq!(metric("ticks_total", &[("outcome", "completed")]), 1);
    assert_eq!(metric("ticks_total", &[]), 1);
    assert_eq!(metric("tick_duration_seconds_count", &[]), 1);
    assert_eq!(metric("due_personas", &[]), 4);
    assert_eq!(metric("due_personas", &[("cadence", "daily")]), 4);
    assert_eq!(metric("runs_total", &[("outcome", "ok"), ("stage", "done")]), 3);
    assert_eq!(metric("runs_total", &[("outcome", "failed"), ("stage", "login")]), 1);
    assert_eq!(metric("runs_total", &[]), 4);
    assert_eq!(metric("run_duration_seconds_count", &[]), 4);
    assert_eq!(metric("runs_in_flight", &[]), 0);
    assert_eq!(metric("run_backoffs_total", &[]), 1);

    // Every request that a peer received was counted under its operation, and repeated requests as such.
    let seen = |requests: &[Recorded], end: &str| {
        requests.iter().filter(|r| r.path().ends_with(end)).count()
    };
    let requests = |peer, operation| {
        metric("http_client_requests_total", &[("peer", peer), ("operation", operation)])
    };
    let auth = world.peers.auth.served.recorder.all();
    for (peer, operation, end, repeats) in [
        ("mana-auth", "login", path::LOGIN, 0),
        ("mana-auth", "sign_in", path::SIGN_IN, 0),
        ("mana-auth", "organization_list", path::SPACES, 0),
        ("mana-auth", "token", path::TOKEN, 0),
        ("mana-personas", "fetch_due", "/due", 1),
        ("mana-personas", "post_actions", "/actions", 0),
        ("mana-personas", "post_feedback", "/feedback", 1),
    ] {
        let labels = [("peer", peer), ("operation", operation)];
        assert!(seen(&auth, end) > repeats, "{operation}");
        assert_eq!(requests(peer, operation), seen(&auth, end), "{operation}");
        let durations = metric("http_client_request_duration_seconds_count", &labels);
        assert_eq!(durations, seen(&auth, end), "{operation}");
        assert_eq!(metric("http_client_retries_total", &labels), repeats, "{operation}");
    }
    let mcp = world.peers.mcp.served.recorder.all();
    for (operation, method) in
        [("initialize", "initialize"), ("tools_list", "tools/list"), ("tools_call", "tools/call")]
    {
        let seen = mcp.iter().filter(|r| r.json()["method"] == method).count();
        assert!(seen >= 3 && requests("mana-mcp", operation) == seen, "{operation}: {seen}");
    }
    assert_eq!(requests("mana-mcp", "delete_session"), 3);
    let asked = world.peers.claude.served.recorder.all().len();
    assert_eq!(requests("anthropic", "messages"), asked);
    let refused = [("peer", "anthropic"), ("outcome", "5xx")];
    assert_eq!(metric("http_client_requests_total", &refused), 1);
    assert_eq!(metric("http_client_retries_total", &[("peer", "anthropic")]), 1);

    let answered = world.peers.claude.requests().len();
    assert_eq!(metric("claude_request_duration_seconds_count", &[]), answered);
    assert_eq!(metric("claude_stop_reasons_total", &[]), answered);
    // Three personas, each with one closing reply and one rating.
    assert_eq!(metric("claude_stop_reasons_total", &[("stop_reason", "end_turn")]), 6);

    let calls = world.peers.mcp.calls();
    let tools: BTreeSet<_> = calls.iter().map(|call| call.tool.as_str()).collect();
    for tool in &tools {
        for (outcome, is_error) in [("ok", false), ("error", true)] {
            let of_tool = calls.iter().filter(|call| call.tool == **tool);
            let seen = of_tool.filter(|call| call.is_error == Some(is_error)).count();
            let counted = metric("tool_calls_total", &[("tool", tool), ("outcome", outcome)]);
            assert_eq!(counted, seen, "{tool} {outcome}");
        }
    }
    assert_eq!(metric("tool_calls_total", &[]), calls.len());
    assert!(metric("tool_calls_total", &[("outcome", "error")]) >= 1);
    assert_eq!(metric("tool_call_duration_seconds_count", &[]), calls.len());
    assert_eq!(metric("rows_posted_total", &[("kind", "actions")]), world.actions().await.len());
    assert_eq!(metric("rows_posted_total", &[("kind", "feedback")]), world.feedback().await.len());
}

#[tokio::test]
async fn token_metrics_match_the_models_bills_by_kind() {
    let world = Setup::one(&["todo"]).start().await;
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": "Heute nichts."}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7, "cache_read_input_tokens": 500,
            "cache_creation_input_tokens": 30},
    });
    let headers = vec![("content-type", "application/json".to_owned())];
    world.peers.claude.enqueue(Scripted::Raw { status: 200, headers, body: body.to_string() });
    world.good_tick().await;
    let text = world.metrics().await;
    for (kind, count) in
        [("input", 11.0), ("output", 7.0), ("cache_read", 500.0), ("cache_write", 30.0)]
    {
        assert_eq!(value(&text, "claude_tokens_total", &[("kind", kind)]), count, "{kind}");
    }
}

#[tokio::test]
async fn the_labels_of_the_server_are_bounded_whatever_it_is_asked() {
    let world = Setup::default().start().await;
    let client = crate::support::client();
    for n in 0..30 {
        for method in ["GET", "POST", "PUT", "PURGE", &format!("M{n}")] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = client.request(method, format!("{}/made/up/{n}?q={n}", world.url));
            let answer = patiently("an unknown route", request.send()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        }
    }
    let (status, _) = world.call(Method::DELETE, "/health").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    world.health().await;
    world.call(Method::GET, "/diag/login").await;
    world.good_tick().await;

    let text = world.metrics().await;
    let counted = |method, route, status| {
        let labels = [("method", method), ("route", route), ("status", status)];
        value(&text, "http_server_requests_total", &labels) as usize
    };
    assert_eq!(counted("GET", "unmatched", "404"), 30);
    assert_eq!(counted("POST", "unmatched", "404"), 30);
    assert_eq!(counted("other", "unmatched", "404"), 90);
    assert_eq!(counted("other", "/health", "405"), 1);
    assert_eq!(counted("GET", "/health", "200"), 1);
    assert_eq!(counted("GET", "/diag/login", "400"), 1);
    assert_eq!(counted("POST", "/diag/tick", "200"), 1);
    let of_health = [("method", "GET"), ("route", "/health")];
    assert_eq!(value(&text, "http_server_request_duration_seconds_count", &of_health), 1.0);
    let routes = label_values(&text, "http_server_requests_total", "route");
    let known = ["/diag/login", "/diag/tick", "/health", "unmatched"];
    assert_eq!(routes, known.map(str::to_owned).into());
    let methods = label_values(&text, "http_server_requests_total", "method");
    assert_eq!(methods, ["GET", "POST", "other"].map(str::to_owned).into());
}

#[tokio::test]
async fn the_exposition_is_prometheus_text_with_every_family_named_and_explained() {
    let world = Setup::one(&["todo"]).start().await;
    world.good_tick().await;
    let answer = crate::support::client().get(format!("{}/metrics", world.url)).send();
    let answer = patiently("/metrics", answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.headers()["content-type"], content_type);
    let text = answer.text().await.unwrap();
    let explained = |kind: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
    };
    let families = explained("# TYPE ");
    assert_eq!(families, explained("# HELP "));
    for family in &families {
        let ours = family.starts_with("mana_persona_runner_");
        assert!(ours || family.starts_with("process_"), "{family}");
    }
    for family in ["resident_memory_bytes", "cpu_seconds_total", "open_fds"] {
        assert!(families.contains(&format!("process_{family}")), "{family}");
    }
    let build = [("version", VERSION), ("commit", COMMIT)];
    assert_eq!(value(&text, "build_info", &build), 1.0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let number = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        assert!(number.is_some(), "{line}");
    }
}

#[tokio::test]
async fn the_metrics_hold_nothing_personal_and_no_secret() {
    let world = Setup::catalog().idle().var("PERSONA_CONCURRENCY", 10).start().await;
    let email = "persona.eve@mana.test";
    world.peers.auth.seed(&[persona("eve", &["todo"])], |_| "own".into()).await.unwrap();
    world.peers.auth.served.faults.on(1, Method::GET, path::TOKEN, Fault::status(403, email));
    world.peers.claude.enqueue(Scripted::tools(&[("made_up_by_eve", json!({"who": email}))]));
    world.tick().await;
    world.call(Method::GET, &format!("/diag/login?email={email}")).await;
    let text = world.metrics().await;

    let mut secrets: Vec<String> = world.users.clone();
    secrets
        .extend(["@mana.test", "persona.", "made_up", "eyJ", "session_token"].map(str::to_owned));
    secrets.extend([SEED_SECRET, "devstack-service-key", "sk-ant-"].map(str::to_owned));
    secrets.push(derive_password(SEED_SECRET, "persona.anna@mana.test"));
    secrets.extend(world.actions().await.into_iter().map(|row| row.tick_id));
    secrets.extend(
        world.initializes().iter().filter_map(|r| r.header("x-mana-space").map(str::to_owned)),
    );
    secrets.extend(world.peers.environment().iter().map(|(_, value)| value.clone()));
    assert!(secrets.len() > 30, "rows and sessions were looked at");
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret:?} in /metrics");
    }
}
