//! Stopping in the middle of the work: nothing new begins, and what happened is posted.

use std::time::{Duration, Instant};

use devstack::{
    claude::Scripted,
    fault::Fault,
    mcp::{Behaviour, McpOptions},
    recorder::Recorded,
};
use mana_persona_runner::app::ProcessEnd;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Setup, World, failure_of, patiently};

type Matcher = fn(&Recorded) -> bool;

fn posts(end: &'static str) -> impl Fn(&Recorded) -> bool {
    move |request| request.method == Method::POST && request.path().ends_with(end)
}

/// Whether a request to Claude contains tool results.
fn shows_results(request: &Recorded) -> bool {
    String::from_utf8_lossy(&request.body).contains("\"tool_result\"")
}

/// Whether a request to Claude asks for ratings.
fn asks_for_ratings(request: &Recorded) -> bool {
    request.json()["output_config"]["format"].is_object()
}

/// The result of the tick during which the daemon stopped.
async fn result_of(tick: JoinHandle<(StatusCode, Value)>) -> Value {
    let (status, mut body) = patiently("the tick's answer", tick).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body["result"].take()
}

/// Tool name and result of every audit row.
async fn actions_of(world: &World) -> Vec<(String, String)> {
    world.actions().await.into_iter().map(|row| (row.tool_name, row.result)).collect()
}

fn action(tool: &str, result: &str) -> (String, String) {
    (tool.to_owned(), result.to_owned())
}

/// Anna alone. The server never ends the streams of her calls, and a stop has time for its last requests even
/// on a machine that stalls.
fn anna() -> Setup {
    Setup::many(&["anna"])
        .short_days()
        .var("SHUTDOWN_GRACE_MS", 60_000)
        .peers(|peers| peers.mcp = McpOptions { idle_timeout: None, ..peers.mcp.clone() })
}

/// Makes Claude call two tools in one reply.
fn two_calls(world: &World) {
    let calls = [
        ("habits_list", json!({})),
        ("habits_create", json!({"title": "Lesen", "frequency": "daily"})),
    ];
    world.peers.claude.enqueue(Scripted::tools(&calls));
}

#[tokio::test]
async fn an_idle_daemon_stops_at_once() {
    let mut world = anna().start().await;
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert_eq!(world.peers.auth.served.recorder.all().len(), 0);
}

#[tokio::test]
async fn a_pending_request_to_claude_is_dropped_and_what_happened_is_posted_without_rating() {
    let mut world = anna().start().await;
    two_calls(&world);
    let claude = &world.peers.claude.served;
    claude.faults.inject(9, Fault::Hang, shows_results);
    let tick = world.begin_tick();
    patiently("the second request", claude.recorder.wait_for(1, shows_results)).await;
    assert_eq!(world.stop().await, ProcessEnd::Drained);

    let error = result_of(tick).await;
    assert!(failure_of(&error, "anna").unwrap().contains("stopped"), "{error}");
    let expected = [action("habits.list", "ok"), action("habits.create", "ok")];
    assert_eq!(actions_of(&world).await, expected);
    assert_eq!(world.feedback().await, []);
    assert_eq!(world.peers.claude.served.recorder.all().len(), 2, "nothing more was paid for");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_run_stopped_before_its_first_call_posts_nothing() {
    let mut world = anna().start().await;
    let claude = &world.peers.claude.served;
    claude.faults.inject(9, Fault::Hang, |_| true);
    let tick = world.begin_tick();
    patiently("the first request", claude.recorder.wait_for(1, |_| true)).await;
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert!(failure_of(&result_of(tick).await, "anna").unwrap().contains("stopped"));
    assert_eq!(actions_of(&world).await, [], "it is still due, as it has done nothing");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_running_call_may_finish_and_no_other_begins() {
    let mut world = anna().var("SHUTDOWN_GRACE_MS", 60_000).start().await;
    two_calls(&world);
    world.peers.mcp.override_tool("habits.list", 1, Behaviour::Delay(Duration::from_millis(700)));
    let tick = world.begin_tick();
    patiently("the call", world.peers.mcp.wait_for_calls(1, |_| true)).await;
    let before = Instant::now();
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert!(before.elapsed() < Duration::from_secs(28), "it did not wait for its share to pass");
    assert!(failure_of(&result_of(tick).await, "anna").unwrap().contains("stopped"));
    assert_eq!(actions_of(&world).await, [action("habits.list", "ok")]);
    assert_eq!(world.peers.mcp.calls().len(), 1, "the second call was not begun");
    assert_eq!(world.feedback().await, []);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_running_call_gets_half_the_grace_and_then_counts_as_outcome_unknown() {
    let grace = Duration::from_secs(12);
    let mut world = anna()
        .var("SHUTDOWN_GRACE_MS", grace.as_millis())
        .var("PERSONA_TOOL_TIMEOUT_MS", 60_000)
        .start()
        .await;
    two_calls(&world);
    world.peers.mcp.override_tool("habits.create", 1, Behaviour::NeverAnswers);
    let tick = world.begin_tick();
    patiently("both calls", world.peers.mcp.wait_for_calls(2, |_| true)).await;
    let before = Instant::now();
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert!(before.elapsed() >= grace / 2, "its share is half the grace: {:?}", before.elapsed());
    assert!(failure_of(&result_of(tick).await, "anna").unwrap().contains("stopped"));
    let rows = world.actions().await;
    let expected = [action("habits.list", "ok"), action("habits.create", "error")];
    assert_eq!(actions_of(&world).await, expected);
    let message = rows[1].error_message.as_deref().unwrap();
    assert!(message.contains("outcome unknown"), "{message}");
    assert_eq!(world.feedback().await, []);
}

#[tokio::test]
async fn a_pending_rating_is_dropped_and_the_actions_stay() {
    let mut world = anna().start().await;
    let claude = &world.peers.claude.served;
    claude.faults.inject(9, Fault::Hang, asks_for_ratings);
    let tick = world.begin_tick();
    patiently("the rating", claude.recorder.wait_for(1, asks_for_ratings)).await;
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert!(failure_of(&result_of(tick).await, "anna").unwrap().contains("stopped"));
    assert!(!actions_of(&world).await.is_empty());
    assert_eq!(world.feedback().await, []);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn rows_being_posted_are_posted_to_the_end() {
    for end in ["/actions", "/feedback"] {
        let mut world = anna().start().await;
        let auth = &world.peers.auth.served;
        auth.faults.on(2, Method::POST, end, Fault::HandledThenReset);
        let tick = world.begin_tick();
        patiently("the first attempt", auth.recorder.wait_for(1, posts(end))).await;
        assert_eq!(world.stop().await, ProcessEnd::Drained, "{end}");
        let result = result_of(tick).await;
        assert_eq!(world.peers.auth.served.recorder.matching(posts(end)).len(), 3, "{end}");
        assert!(!actions_of(&world).await.is_empty(), "{end}");
        // The rating would follow the actions, but a stop leaves it out.
        assert_eq!(world.feedback().await.is_empty(), end == "/actions");
        assert_eq!(failure_of(&result, "anna").is_some(), end == "/actions", "{result}");
        assert_eq!(world.peers.mcp.open_sessions(), 0);
    }
}

#[tokio::test]
async fn free_work_before_the_main_turn_is_dropped_and_leaves_no_session_behind() {
    let steps: [(&str, Matcher); 4] = [
        ("/due", |r| r.path().ends_with("/due")),
        ("login", |r| r.path().ends_with("/auth/login")),
        ("space", |r| r.path().ends_with("/organization/list")),
        ("tools/list", |r| r.json()["method"] == "tools/list"),
    ];
    for (step, matches) in steps {
        let mut world = anna().start().await;
        for served in [&world.peers.auth.served, &world.peers.mcp.served] {
            served.faults.inject(1, Fault::Hang, matches);
        }
        let tick = world.begin_tick();
        let (auth, mcp) =
            (world.peers.auth.served.recorder.clone(), world.peers.mcp.served.recorder.clone());
        patiently(step, async {
            tokio::select! {
                _ = auth.wait_for(1, matches) => {}
                _ = mcp.wait_for(1, matches) => {}
            }
        })
        .await;
        assert_eq!(world.stop().await, ProcessEnd::Drained, "{step}");
        let (status, body) = patiently("the answer", tick).await.unwrap();
        let expected = if step == "/due" { 503 } else { 200 };
        assert_eq!(status.as_u16(), expected, "{step}: {body}");
        assert_eq!(world.peers.claude.served.recorder.all().len(), 0, "{step}");
        assert_eq!(actions_of(&world).await, [], "{step}");
        assert_eq!(world.peers.mcp.open_sessions(), 0, "{step}");
    }
}

#[tokio::test]
async fn a_handshake_that_breaks_off_leaves_no_session_behind() {
    let confirms = |r: &Recorded| r.json()["method"] == "notifications/initialized";
    for fault in [Fault::status(500, "{}"), Fault::Reset] {
        let world = anna().start().await;
        world.peers.mcp.served.faults.inject(1, fault.clone(), confirms);
        world.good_tick().await;
        assert_eq!(world.peers.mcp.open_sessions(), 0, "{fault:?}");
    }
    let mut world = anna().start().await;
    let mcp = &world.peers.mcp.served;
    mcp.faults.inject(1, Fault::Hang, confirms);
    let tick = world.begin_tick();
    patiently("the handshake", mcp.recorder.wait_for(1, confirms)).await;
    assert_eq!(world.peers.mcp.open_sessions(), 1);
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert!(failure_of(&result_of(tick).await, "anna").unwrap().contains("stopped"));
    assert_eq!(world.peers.mcp.open_sessions(), 0, "by a stop");
}

#[tokio::test]
async fn personas_whose_turn_has_not_come_are_not_started() {
    let names = ["anna", "ben", "cleo", "dora", "emil"];
    let mut world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 2).start().await;
    let claude = &world.peers.claude.served;
    claude.faults.inject(9, Fault::Hang, |_| true);
    let tick = world.begin_tick();
    patiently("two runs", claude.recorder.wait_for(2, |_| true)).await;
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    let result = result_of(tick).await;
    assert_eq!((&result["due"], &result["ranSuccessfully"]), (&json!(5), &json!(0)));
    assert_eq!((&result["skipped"], result["failed"].as_array().unwrap().len()), (&json!(3), 2));
    assert_eq!(result["skippedBecause"], json!({"runner-down": 3}));
    for name in &names[2..] {
        let logins = world.peers.auth.logins(&format!("persona.{name}@mana.test")).await;
        assert_eq!((logins.login, logins.sign_in_email), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn until_the_drain_has_ended_health_says_stopping_and_ticks_are_refused() {
    let mut world = anna().var("SHUTDOWN_GRACE_MS", 300_000).start().await;
    two_calls(&world);
    world.peers.mcp.override_tool("habits.list", 1, Behaviour::NeverAnswers);
    let tick = world.begin_tick();
    patiently("the call", world.peers.mcp.wait_for_calls(1, |_| true)).await;
    assert_eq!(world.call(Method::GET, "/health").await.1["status"], "ok");
    world.shutdown.stop();
    for _ in 0..3 {
        let (status, health) = world.call(Method::GET, "/health").await;
        assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("stopping")));
        let (status, body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!((status, &body["ok"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    }
    assert!(world.metrics().await.contains("mana_persona_runner_runs_in_flight 1"));
    assert!(!tick.is_finished());
    world.shutdown.abort();
    assert_eq!(world.ended().await, ProcessEnd::Forced);
}

#[tokio::test]
async fn a_forced_end_drops_everything_at_once() {
    let mut world = anna().var("SHUTDOWN_GRACE_MS", 300_000).start().await;
    world.peers.auth.served.faults.on(9, Method::POST, "/actions", Fault::Hang);
    let tick = world.begin_tick();
    let posting = world.peers.auth.served.recorder.clone();
    patiently("the post", posting.wait_for(1, posts("/actions"))).await;
    world.shutdown.stop();
    world.shutdown.abort();
    assert_eq!(world.ended().await, ProcessEnd::Forced);
    // The client gets an error or finds the connection closed.
    if let Ok((status, body)) = patiently("the answer", tick).await {
        assert_ne!(status, StatusCode::OK, "{body}");
    }
    assert_eq!(actions_of(&world).await, []);
}

#[tokio::test]
async fn the_end_of_the_grace_forces_the_end() {
    let grace = Duration::from_millis(1_500);
    let mut world = anna().var("SHUTDOWN_GRACE_MS", grace.as_millis()).start().await;
    world.peers.auth.served.faults.on(9, Method::POST, "/actions", Fault::Hang);
    let tick = world.begin_tick();
    let posting = world.peers.auth.served.recorder.clone();
    patiently("the post", posting.wait_for(1, posts("/actions"))).await;
    let before = Instant::now();
    assert_eq!(world.stop().await, ProcessEnd::Forced);
    assert!(before.elapsed() >= grace, "{:?}", before.elapsed());
    drop(tick);
}
