//! How a run ends when Claude fails: requests are retried where this may help, and nothing is paid for twice.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use devstack::{
    auth::ActionRow,
    claude::Scripted,
    fault::Fault,
    mcp::{Behaviour, ToolSet},
    recorder::Recorded,
};
use serde_json::{Value, json};

use crate::{
    script::{habits_list, make_due, only_failure, outcomes, play, posts, rpc},
    support::{Setup, World, persona},
};

/// A failure of Claude and how often it occurs.
struct Case {
    name: &'static str,
    fault: Fault,
    times: usize,
}

fn case(name: &'static str, times: usize, fault: Fault) -> Case {
    Case { name, fault, times }
}

/// An error in the API's form.
fn error(kind: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": "not now"}, "request_id": "req_1"})
        .to_string()
}

fn refused(status: u16) -> Fault {
    Fault::status(status, error("some_error"))
}

fn with_header(status: u16, name: &'static str, value: &str) -> Fault {
    let headers = vec![("content-type", "application/json".into()), (name, value.into())];
    Fault::Respond { status, headers, body: error("some_error") }
}

/// Whether a request belongs to the persona of this name.
fn about(name: &str, request: &Recorded) -> bool {
    let prompt = persona(name, &[]).system_prompt;
    request.json()["system"][0]["text"] == prompt
}

/// A day of two calls for every persona; the request with `replies` replies before it meets the case's fault.
/// Each case has its own persona, so that the cases wait for their retries at the same time.
async fn spoilt_days(cases: &[Case], replies: usize) -> (World, Value) {
    let personas = cases.iter().map(|case| persona(case.name, &["habits"])).collect();
    let setup = Setup { personas, ..Setup::default() }.var("PERSONA_CONCURRENCY", cases.len());
    // One tool is enough and keeps the requests small.
    let tools = ToolSet::Only(vec!["habits.list".into()]);
    let world = setup.peers(|peers| peers.mcp.tools = tools).start().await;
    for Case { name, fault, times } in cases {
        let name = *name;
        world.peers.claude.served.faults.inject(*times, fault.clone(), move |request| {
            // A reply and its results are two messages, after the first user message.
            let messages = request.json()["messages"].as_array().map_or(0, Vec::len);
            about(name, request)
                && messages == 1 + 2 * replies
                && !request.json()["tools"].is_null()
        });
    }
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 | 1 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Genug.")),
    });
    let result = world.tick().await;
    assert_eq!(result["due"], cases.len());
    (world, result)
}

/// Number of requests that reached Claude's socket for this persona.
fn requests_of(world: &World, name: &str) -> usize {
    world.peers.claude.served.recorder.matching(|request| about(name, request)).len()
}

async fn actions_of(world: &World, nth: usize) -> Vec<ActionRow> {
    let rows = world.actions().await.into_iter();
    rows.filter(|row| row.persona_id == world.users[nth]).collect()
}

/// The error that the tick reports for this persona, if its run failed.
fn failure_of<'a>(result: &'a Value, name: &str) -> Option<&'a str> {
    let failed = result["failed"].as_array().unwrap().iter();
    let email = persona(name, &[]).email;
    failed.filter(|entry| entry["persona"] == email).find_map(|entry| entry["error"].as_str())
}

/// Number of requests of a day without faults: two with calls, a closing one, a rating.
const WHOLE_DAY: usize = 4;

#[tokio::test]
async fn transient_failures_are_retried_and_the_day_continues_unchanged() {
    let html = Fault::Respond { status: 200, headers: vec![], body: "<html>proxy</html>".into() };
    let no_message = Fault::status(200, r#"{"type":"message","content":"none"}"#);
    let cases = [
        case("a408", 1, refused(408)),
        case("a409", 1, refused(409)),
        case("a429", 2, refused(429)),
        case("a429after", 1, Fault::retry_after(429, 2, error("rate_limit_error"))),
        case("a429ms", 1, with_header(429, "retry-after-ms", "1700")),
        case("a500", 2, refused(500)),
        case("a503", 1, Fault::status(503, "upstream connect error")),
        case("a504", 1, refused(504)),
        case("a529", 1, refused(529)),
        case("areset", 1, Fault::Reset),
        case("alost", 1, Fault::HandledThenReset),
        case("acut", 1, Fault::CutBody(60)),
        case("ashort", 1, Fault::EndBody(60)),
        case("ahtml", 1, html),
        case("ashape", 1, no_message),
        case("atold", 2, with_header(400, "x-should-retry", "true")),
    ];
    for replies in [0, 2] {
        let (world, result) = spoilt_days(&cases, replies).await;
        assert_eq!(result["failed"], json!([]), "{result}");
        for (nth, Case { name, times, .. }) in cases.iter().enumerate() {
            let actions = actions_of(&world, nth).await;
            assert_eq!(outcomes(&actions), [("habits.list", "ok"); 2], "{name}");
            assert_eq!(requests_of(&world, name), WHOLE_DAY + times, "{name}");
        }
        assert_eq!(world.feedback().await.len(), cases.len());
        assert_eq!(world.peers.mcp.calls().len(), 2 * cases.len(), "no tool ran twice");
        // Two cases name a wait that is longer than the runner's own first pause.
        assert!(result["durationMs"].as_u64().unwrap() >= 2_000, "{result}");
    }
}

#[tokio::test]
async fn a_metric_shows_what_a_run_waited_for_claudes_limits_in_all() {
    let cases = [
        case("cafter", 1, with_header(429, "retry-after-ms", "900")),
        // Pauses of half a second and one second, each shortened by up to a quarter.
        case("cown", 2, refused(529)),
    ];
    for (case, at_least) in cases.into_iter().zip([0.9, 1.125]) {
        let (world, result) = spoilt_days(&[case], 1).await;
        assert_eq!(result["failed"], json!([]), "{result}");
        assert_eq!(world.metric("run_claude_wait_seconds_count").await, Some(1.0));
        let waited = world.metric("run_claude_wait_seconds_sum").await.unwrap();
        assert!(waited >= at_least && waited <= 10.0, "{waited}");
    }
    let (world, _) = spoilt_days(&[case("cnone", 0, Fault::Reset)], 1).await;
    assert_eq!(world.metric("run_claude_wait_seconds_count").await, Some(1.0));
    let none = world.metric(r#"run_claude_wait_seconds_bucket{le="0.5"}"#).await;
    assert_eq!(none, Some(1.0), "a run without limits waits for nothing");
}

/// Failures that end one run and no other, with the error text and the number of attempts.
fn endings() -> Vec<(Case, &'static str, usize)> {
    vec![
        (case("b400", 9, refused(400)), "400 some_error: not now", 1),
        (case("b413", 9, Fault::status(413, "<html>too large</html>")), "413", 1),
        (case("b422", 9, refused(422)), "422", 1),
        (case("b301", 9, with_header(301, "location", "http://127.0.0.1:9/")), "301", 1),
        (case("bday", 9, Fault::retry_after(529, 86_400, error("overloaded_error"))), "529", 1),
        (case("btold", 9, with_header(529, "x-should-retry", "false")), "529", 1),
        (case("b429", 9, refused(429)), "429", 3),
        (case("b500", 9, refused(500)), "500", 3),
        (case("b529", 9, refused(529)), "529", 3),
        (case("breset", 9, Fault::Reset), "connection", 3),
        (case("bhtml", 9, Fault::status(200, "<html>")), "not with a message", 3),
    ]
}

#[tokio::test]
async fn a_failure_for_good_before_any_call_posts_nothing_and_backs_off() {
    let (cases, expected): (Vec<_>, Vec<_>) =
        endings().into_iter().map(|(case, says, attempts)| (case, (says, attempts))).unzip();
    let (world, result) = spoilt_days(&cases, 0).await;
    assert_eq!(result["failed"].as_array().unwrap().len(), cases.len());
    for (Case { name, .. }, (says, attempts)) in cases.iter().zip(expected) {
        let error = failure_of(&result, name).unwrap();
        assert!(error.contains(says), "{name}: {error}");
        assert_eq!(requests_of(&world, name), attempts, "{name}");
    }
    assert_eq!(posts(&world, "/actions").len() + posts(&world, "/feedback").len(), 0);
    assert_eq!(rpc(&world, "tools/call").len(), 0);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    let next = world.tick().await;
    assert_eq!((&next["skipped"], &next["failed"]), (&json!(cases.len()), &json!([])), "{next}");
    let backed_off = world.metric("run_backoffs_total").await;
    assert_eq!(backed_off, Some(cases.len() as f64));
}

#[tokio::test]
async fn a_failure_for_good_after_calls_posts_them_with_the_reason_in_one_batch() {
    let (cases, expected): (Vec<_>, Vec<_>) =
        endings().into_iter().map(|(case, says, attempts)| (case, (says, attempts))).unzip();
    let (world, result) = spoilt_days(&cases, 2).await;
    for (nth, (Case { name, .. }, (says, attempts))) in cases.iter().zip(expected).enumerate() {
        let error = failure_of(&result, name).unwrap();
        assert!(error.contains(says), "{name}: {error}");
        assert_eq!(requests_of(&world, name), 2 + attempts, "{name}");
        let actions = actions_of(&world, nth).await;
        let expected = [("habits.list", "ok"), ("habits.list", "ok"), ("__run", "error")];
        assert_eq!(outcomes(&actions), expected, "{name}");
        let reason = actions[2].error_message.as_deref().unwrap();
        assert!(reason.contains(says), "{name}: {reason}");
    }
    assert_eq!(posts(&world, "/actions").len(), cases.len(), "one batch each");
    assert_eq!(posts(&world, "/feedback").len(), 0);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    let next = world.tick().await;
    assert_eq!(next["due"], 0, "every one of them left its mark");
}

#[tokio::test]
async fn a_retry_that_would_pass_the_end_of_the_runs_time_is_not_waited_for() {
    let world = Setup::one(&["habits"]).var("PERSONA_TIMEOUT_MS", 40_000).start().await;
    let wait = Fault::retry_after(529, 59, error("overloaded_error"));
    world.peers.claude.served.faults.inject(9, wait, |_| true);
    let result = world.tick().await;
    assert!(only_failure(&result).contains("529"), "{result}");
    assert_eq!(world.peers.claude.served.recorder.all().len(), 1);
}

#[tokio::test]
async fn the_end_of_the_runs_time_while_claude_hangs_is_a_failure_that_keeps_what_happened() {
    const ACTED: (&str, &str) = ("habits.list", "ok");
    // In the first reply, after a call, and in the rating turn.
    tokio::join!(hangs(0, &[]), hangs(1, &[ACTED, ("__run", "error")]), hangs(2, &[ACTED]));
}

/// A run whose n-th request to Claude, counted from 0, is never answered, and the rows that it leaves.
async fn hangs(nth: usize, rows: &[(&str, &str)]) {
    let world = Setup::one(&["habits"]).var("PERSONA_TIMEOUT_MS", 12_000).start().await;
    let seen = AtomicUsize::new(0);
    world
        .peers
        .claude
        .served
        .faults
        .inject(usize::MAX, Fault::Hang, move |_| seen.fetch_add(1, SeqCst) >= nth);
    let day = [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")];
    let result = play(&world, day).await;
    let error = only_failure(&result);
    assert!(error.contains("PERSONA_TIMEOUT_MS"), "{nth}: {error}");
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), rows, "{nth}");
    if let Some(reason) = actions.iter().find_map(|row| row.error_message.as_deref()) {
        assert!(reason.contains("PERSONA_TIMEOUT_MS"), "{reason}");
    }
    assert_eq!(posts(&world, "/actions").len(), usize::from(!rows.is_empty()), "{nth}");
    assert_eq!(posts(&world, "/feedback").len(), 0, "{nth}");
    assert_eq!(world.peers.mcp.open_sessions(), 0, "{nth}");
    // Personas without a row are still due and are held back; the others are not due.
    assert_eq!(world.tick().await["skipped"], usize::from(rows.is_empty()), "{nth}");
}

#[tokio::test]
async fn the_end_of_the_runs_time_in_a_tool_call_is_an_unknown_outcome() {
    let world = Setup::one(&["habits"]).var("PERSONA_TIMEOUT_MS", 10_000).start().await;
    world.peers.mcp.override_tool("goals.create", 1, Behaviour::NeverAnswers);
    let goal = ("goals_create", json!({"title": "Mehr schlafen"}));
    // One of the calls writes, so the calls run one after another.
    let reply = Scripted::tools(&[habits_list(), goal, habits_list()]);
    let result = play(&world, [reply]).await;
    assert!(only_failure(&result).contains("PERSONA_TIMEOUT_MS"), "{result}");
    let actions = world.actions().await;
    let expected = [("habits.list", "ok"), ("goals.create", "error"), ("__run", "error")];
    assert_eq!(outcomes(&actions), expected, "the third call was not begun");
    assert!(actions[1].error_message.as_deref().unwrap().contains("outcome unknown"));
    assert_eq!(world.peers.claude.requests().len(), 1);
}

#[tokio::test]
async fn the_back_off_doubles_with_each_failure_in_a_row_and_ends_with_a_mark() {
    let world = Setup::one(&["habits"]).var("RUN_BACKOFF_MS", 10_000).start().await;
    let claude = &world.peers.claude.served.faults;
    for wait in [10, 20, 40] {
        claude.inject(1, refused(422), |_| true);
        assert_eq!(world.tick().await["failed"].as_array().unwrap().len(), 1);
        world.clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(world.tick().await["skipped"], 1, "{wait} s are not over");
        world.clock.advance(Duration::from_secs(1));
    }
    world.peers.claude.enqueue(Scripted::text("Da bin ich."));
    world.good_tick().await;
    make_due(&world).await;
    claude.inject(1, refused(422), |_| true);
    assert_eq!(world.tick().await["failed"].as_array().unwrap().len(), 1);
    world.clock.advance(Duration::from_secs(10));
    world.good_tick().await;
}
