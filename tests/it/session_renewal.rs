//! Sessions that are lost and JWTs that expire in the middle of a run.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use devstack::{
    auth::Deployment,
    claude::Scripted,
    fault::Fault,
    mcp::{Behaviour, Call, McpOptions},
    recorder::Recorded,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    script::{
        answer_rpc, anything, calls_of, habits_list, main_requests, only_failure, outcomes, play,
        play_well, posts, results, rpc, spoil_rpc,
    },
    support::{Setup, World, logs::Logs, path, patiently},
};

/// Longer than the lifetime of a JWT.
const JWT_LIFETIME: Duration = Duration::from_secs(901);

fn habits_create() -> (&'static str, Value) {
    ("habits_create", json!({"title": "Lesen", "frequency": "daily"}))
}

fn gone() -> Fault {
    Fault::status(404, r#"{"error":"Session not found"}"#)
}

fn unauthorized() -> Fault {
    Fault::status(401, r#"{"error":"token expired"}"#)
}

fn calls(request: &Recorded) -> bool {
    request.json()["method"] == "tools/call"
}

/// Plays these replies and executes `between` before the second request to Claude is answered.
async fn play_with<F: Future<Output = ()>>(
    world: &World,
    replies: impl IntoIterator<Item = Scripted>,
    between: impl FnOnce() -> F,
) -> Value {
    let (tick, released) = begin(world, replies).await;
    between().await;
    released.cancel();
    finish(tick).await
}

/// Starts a day of these replies and waits until Claude has received a second request.
async fn begin(
    world: &World,
    replies: impl IntoIterator<Item = Scripted>,
) -> (JoinHandle<(StatusCode, Value)>, CancellationToken) {
    let (claude, released) = (&world.peers.claude, CancellationToken::new());
    replies.into_iter().for_each(|reply| claude.enqueue(reply));
    let second = |r: &Recorded| r.json()["messages"][2].is_object();
    claude.served.faults.inject(1, Fault::Hold(released.clone()), second);
    let tick = world.begin_tick();
    patiently("the second request", claude.served.recorder.wait_for(1, second)).await;
    (tick, released)
}

async fn finish(tick: JoinHandle<(StatusCode, Value)>) -> Value {
    let (status, body) = patiently("the tick", tick).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body["result"].clone()
}

async fn renewals(world: &World, reason: &str) -> f64 {
    let series = format!(r#"mcp_sessions_renewed_total{{reason="{reason}"}}"#);
    world.metric(&series).await.unwrap()
}

/// The JWT of each session that was opened.
fn jwts(world: &World) -> Vec<String> {
    world.initializes().iter().map(|r| r.header("authorization").unwrap().to_owned()).collect()
}

fn sessions(calls: &[Call]) -> Vec<&str> {
    let mut sessions: Vec<_> = calls.iter().map(|call| call.session_id.as_str()).collect();
    sessions.dedup();
    sessions
}

#[tokio::test]
async fn after_a_restart_of_the_server_a_write_runs_once_in_a_new_session_of_the_same_jwt_and_space()
 {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    let replies = [habits_create(), habits_create()].map(|call| Scripted::tools(&[call]));
    let day = replies.into_iter().chain([Scripted::text("Ok.")]);
    let result = play_with(&world, day, || mcp.forget_sessions()).await;
    assert_eq!(result["ranSuccessfully"], 1, "{result}");
    assert_eq!(outcomes(&world.actions().await), [("habits.create", "ok"); 2]);
    let calls = mcp.calls();
    assert_eq!((calls.len(), sessions(&calls).len()), (2, 2));
    assert_eq!(calls[0].space_id, calls[1].space_id);
    let jwts = jwts(&world);
    assert_eq!((jwts.len(), &jwts[0]), (2, &jwts[1]));
    assert_eq!(rpc(&world, "tools/list").len(), 2);
    assert_eq!(rpc(&world, "tools/call").len(), 3, "only the rejected call is repeated");
    assert_eq!(renewals(&world, "lost").await, 1.0);
    assert_eq!(mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_tool_the_new_session_does_not_offer_is_an_error_that_says_so() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    mcp.add_tool("t.old", "", anything());
    let listed = |name: &str| json!({"name": name, "inputSchema": anything()});
    let (all, fewer) = (["habits.list", "t.old"].map(listed), ["habits.list", "t.new"].map(listed));
    answer_rpc(&world, "tools/list", &[json!({"tools": all}), json!({"tools": fewer})]);
    let old = ("t_old", json!({}));
    let day = [
        Scripted::tools(std::slice::from_ref(&old)),
        Scripted::tools(&[old.clone(), habits_list(), old]),
        Scripted::text("Weg."),
    ];
    play_with(&world, day, || mcp.forget_sessions()).await;
    let rows = world.actions().await;
    let expected = [("t.old", "ok"), ("t.old", "error"), ("habits.list", "ok"), ("t.old", "error")];
    assert_eq!(outcomes(&rows), expected);
    for row in [&rows[1], &rows[3]] {
        let message = row.error_message.as_deref().unwrap();
        assert!(message.contains("not run") && message.contains("no longer offers"), "{message}");
    }
    // The tools that the model is offered do not change.
    let offered: Vec<_> = main_requests(&world).iter().map(|r| r.tools.clone()).collect();
    assert!(offered.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(mcp.served.recorder.matching(calls_of("t.old")).len(), 2);
}

#[tokio::test]
async fn when_the_jwt_has_run_out_a_fresh_one_opens_a_new_session_and_ends_the_old_one() {
    for deployment in [Deployment::Running, Deployment::Seeds] {
        let world = Setup::one(&["habits"]).peers(|p| p.auth.deployment = deployment).start().await;
        let (mcp, clock) = (&world.peers.mcp, &world.peers.clock);
        let create = || Scripted::tools(&[habits_create()]);
        let day = [create(), create(), Scripted::text("Ok.")];
        let result = play_with(&world, day, || async { clock.advance(JWT_LIFETIME) }).await;
        assert_eq!(result["ranSuccessfully"], 1, "{deployment:?}: {result}");
        assert_eq!(outcomes(&world.actions().await), [("habits.create", "ok"); 2]);
        let jwts = jwts(&world);
        assert!(jwts.len() == 2 && jwts[0] != jwts[1], "{deployment:?}");
        let calls = mcp.calls();
        assert_eq!((calls.len(), sessions(&calls).len()), (2, 2));
        assert_eq!(calls[0].space_id, calls[1].space_id);
        // The kept session provides a JWT; without one, a login is necessary.
        let logins = world.asked(path::LOGIN, None).len() + world.asked(path::SIGN_IN, None).len();
        let (asked_for_jwt, logged_in) = match deployment {
            Deployment::Running => (2, 2),
            Deployment::Seeds => (0, 2),
        };
        assert_eq!(world.asked(path::TOKEN, None).len(), asked_for_jwt, "{deployment:?}");
        assert_eq!(logins, logged_in, "{deployment:?}");
        assert_eq!(renewals(&world, "unauthorized").await, 1.0);
        assert_eq!(renewals(&world, "lost").await, 0.0);
        assert_eq!(mcp.open_sessions(), 0, "{deployment:?}: the old one is ended with the new JWT");
    }
}

#[tokio::test]
async fn a_session_whose_jwt_runs_out_after_the_last_call_is_ended_all_the_same() {
    let world = Setup::one(&["habits"]).start().await;
    let clock = &world.peers.clock;
    let day = [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")];
    let result = play_with(&world, day, || async { clock.advance(JWT_LIFETIME) }).await;
    assert_eq!(result["ranSuccessfully"], 1, "{result}");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    let deleted = world.peers.mcp.served.recorder.matching(|r| r.method == Method::DELETE);
    let answers: Vec<_> = deleted.iter().map(|r| r.status.unwrap().as_u16()).collect();
    assert_eq!(answers, [401, 200]);
}

#[tokio::test]
async fn a_run_that_panics_ends_its_earlier_session_with_the_fresh_jwt() {
    let logs = Logs::capture("debug");
    let world = Setup::one(&["habits"]).start().await;
    let create = || Scripted::tools(&[habits_create()]);
    play_with(&world, [create(), create()], || async {
        world.peers.clock.advance(JWT_LIFETIME);
        // After the call that is repeated in the new session.
        logs.panic_at("tool call ended");
    })
    .await;
    assert_eq!(renewals(&world, "unauthorized").await, 1.0);
    let ends = |r: &Recorded| r.method == Method::DELETE && r.status.is_some();
    let recorder = &world.peers.mcp.served.recorder;
    patiently("the ends of both sessions", recorder.wait_for(2, ends)).await;
    let answers: Vec<_> = recorder.matching(ends).iter().filter_map(|r| r.status).collect();
    assert!(!answers.contains(&StatusCode::UNAUTHORIZED), "{answers:?}");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_retried_setup_request_is_logged_with_its_step_and_status() {
    let logs = Logs::capture("warn");
    let world = Setup::one(&["habits"]).start().await;
    for method in ["initialize", "tools/list"] {
        let asks = move |r: &Recorded| r.json()["method"] == method;
        world.peers.mcp.served.faults.inject(1, Fault::status(503, ""), asks);
    }
    play_well(&world, [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")]).await;
    let lines = logs.lines_with("trying again");
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, step) in lines.iter().zip(["initialize", "tools/list"]) {
        assert!(line.contains(&format!(" {step}: mana-mcp answered 503; trying again")), "{line}");
        assert!(!line.contains("not run"), "{line}");
    }
}

#[tokio::test]
async fn a_jwt_is_renewed_once_per_call_and_ten_times_per_run() {
    let world = Setup::one(&["habits"]).start().await;
    world.peers.mcp.served.faults.inject(usize::MAX, unauthorized(), calls);
    // Sequential, because these calls write.
    let asked = vec![habits_create(); 12];
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Nichts geht.")]).await;
    let rows = world.actions().await;
    assert_eq!(outcomes(&rows), [("habits.create", "error"); 12]);
    for row in &rows {
        let message = row.error_message.as_deref().unwrap();
        assert!(message.contains("not run") && message.contains("401"), "{message}");
    }
    assert_eq!(world.asked(path::TOKEN, None).len(), 1 + 10);
    assert_eq!(world.initializes().len(), 1 + 10);
    assert_eq!(rpc(&world, "tools/call").len(), 10 * 2 + 2);
    assert_eq!(renewals(&world, "unauthorized").await, 10.0);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_login_that_is_refused_for_good_is_not_tried_again_in_the_run() {
    let world = Setup::one(&["habits"]).start().await;
    let auth = &world.peers.auth.served.faults;
    world.peers.mcp.served.faults.inject(usize::MAX, unauthorized(), calls);
    let day = [Scripted::tools(&vec![habits_create(); 5]), Scripted::text("Nichts geht.")];
    play_with(&world, [Scripted::tools(&[habits_list()])].into_iter().chain(day), || async {
        let refusal = || Fault::status(401, r#"{"error":"INVALID_CREDENTIALS"}"#);
        auth.on(9, Method::GET, path::TOKEN, refusal());
        auth.on(9, Method::POST, path::SIGN_IN, refusal());
        world.peers.auth.served.recorder.clear();
    })
    .await;
    assert_eq!(world.asked(path::SIGN_IN, None).len(), 1, "five wrong passwords lock the account");
    assert!(world.actions().await.iter().all(|row| row.result == "error"));
}

#[tokio::test]
async fn the_third_lost_session_ends_the_run_and_what_happened_is_handed_in() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    // A call can lose one session and run in the next one; three lost sessions end the run.
    let nth = AtomicUsize::new(0);
    let every_other = move |r: &Recorded| calls(r) && nth.fetch_add(1, SeqCst) % 2 == 1;
    mcp.served.faults.inject(3, gone(), every_other);
    let five = Scripted::tools(&[(); 5].map(|()| habits_create()));
    let result = play(&world, [five, Scripted::text("Nie gesagt.")]).await;
    let error = only_failure(&result);
    assert!(error.contains("lost three sessions"), "{error}");
    let rows = world.actions().await;
    let (ok, failed) = (("habits.create", "ok"), ("habits.create", "error"));
    assert_eq!(outcomes(&rows), [ok, ok, ok, failed, ("__run", "error")]);
    assert!(rows[4].error_message.as_deref().unwrap().contains("lost three sessions"));
    assert_eq!(main_requests(&world).len(), 1, "the model is not asked again");
    assert_eq!(posts(&world, "/feedback").len(), 0);
    assert_eq!(world.initializes().len(), 3);
    assert_eq!(renewals(&world, "lost").await, 2.0);
    assert_eq!(mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_call_that_is_rejected_again_is_not_repeated_a_second_time() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    mcp.served.faults.inject(2, gone(), calls);
    let day = [Scripted::tools(&[habits_create(), habits_create()]), Scripted::text("Ok.")];
    // The second loss is that of the new session; the second call opens the third session.
    play_well(&world, day).await;
    let rows = world.actions().await;
    assert_eq!(outcomes(&rows), [("habits.create", "error"), ("habits.create", "ok")]);
    let message = rows[0].error_message.as_deref().unwrap();
    assert!(message.contains("not run") && message.contains("404"), "{message}");
    assert_eq!(mcp.open_sessions(), 0);
}

#[tokio::test]
async fn reads_that_run_at_once_share_one_renewal() {
    for (reason, tokens) in [("lost", 1), ("unauthorized", 2)] {
        let world = Setup::one(&["habits"]).start().await;
        let (mcp, clock) = (&world.peers.mcp, &world.peers.clock);
        let day = [
            Scripted::tools(&[habits_list()]),
            Scripted::tools(&[(); 8].map(|()| habits_list())),
            Scripted::text("Ok."),
        ];
        let result = play_with(&world, day, || async {
            match reason {
                "lost" => mcp.forget_sessions().await,
                _ => clock.advance(JWT_LIFETIME),
            }
        })
        .await;
        assert_eq!(result["ranSuccessfully"], 1, "{reason}: {result}");
        assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 9], "{reason}");
        assert_eq!(world.initializes().len(), 2, "{reason}");
        assert_eq!(world.asked(path::TOKEN, None).len(), tokens, "{reason}");
        assert_eq!(renewals(&world, reason).await, 1.0);
        assert_eq!(mcp.open_sessions(), 0, "{reason}");
    }
}

#[tokio::test]
async fn without_a_new_session_a_call_is_reported_as_not_run_and_a_later_one_retries() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    let reads = Scripted::tools(&[(); 6].map(|()| habits_list()));
    let day = [
        Scripted::tools(&[habits_list()]),
        reads,
        Scripted::tools(&[habits_create()]),
        Scripted::text("Ok."),
    ];
    play_with(&world, day, || async {
        mcp.forget_sessions().await;
        spoil_rpc(&world, "initialize", 1, Fault::status(403, r#"{"error":"no"}"#));
    })
    .await;
    let rows = world.actions().await;
    let results = outcomes(&rows);
    assert_eq!(results[1], ("habits.list", "error"));
    // Calls that waited for the same attempt share its failure; later calls try again.
    assert_eq!(results[7], ("habits.create", "ok"));
    let message = rows[1].error_message.as_deref().unwrap();
    assert!(message.contains("not run") && message.contains("403"), "{message}");
    assert_eq!(world.initializes().len(), 3);
    assert_eq!(mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_read_without_an_answer_is_asked_once_more_within_its_time() {
    let world = Setup::one(&["habits"]).var("PERSONA_TOOL_TIMEOUT_MS", 9_000).start().await;
    let mcp = &world.peers.mcp;
    // The tool, what its first calls meet, and for how many calls.
    let tools: [(&str, usize, Result<Behaviour, Fault>); 6] = [
        ("a.list", 1, Ok(Behaviour::EndsStream)),
        ("b.list", 1, Ok(Behaviour::NeverAnswers)),
        ("c.list", 1, Err(Fault::HandledThenReset)),
        ("d.list", 1, Err(Fault::status(500, "{}"))),
        ("e.list", 9, Ok(Behaviour::EndsStream)),
        ("f.list", 9, Err(Fault::Hang)),
    ];
    for (tool, times, what) in &tools {
        mcp.add_tool(tool, "", anything());
        match what {
            Ok(behaviour) => mcp.override_tool(tool, *times, behaviour.clone()),
            Err(fault) => mcp.served.faults.inject(*times, fault.clone(), calls_of(tool)),
        }
    }
    let spelled: Vec<_> = tools.iter().map(|(tool, ..)| tool.replace('.', "_")).collect();
    let asked: Vec<_> = spelled.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Ok.")]).await;
    let rows = world.actions().await;
    let shown = results(&main_requests(&world)[1]);
    for (((tool, times, _), row), shown) in tools.iter().zip(&rows).zip(&shown) {
        assert_eq!(mcp.served.recorder.matching(calls_of(tool)).len(), 2, "{tool}");
        assert_eq!(row.result, if *times == 1 { "ok" } else { "error" }, "{tool}");
        let shown = shown.to_string();
        assert_eq!(shown.contains("asked twice"), *times > 1, "{tool}: {shown}");
        assert!(!shown.contains("may or may not"), "{tool}: {shown}");
        assert!(row.latency_ms.unwrap() < 15_000, "{tool}: {row:?}");
    }
}

#[tokio::test]
async fn a_write_that_may_have_run_is_not_repeated_in_the_new_session_either() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    mcp.override_tool("habits.create", 1, Behaviour::EndsStream);
    let day = [
        Scripted::tools(&[habits_list()]),
        Scripted::tools(&[habits_create()]),
        Scripted::text("Komisch."),
    ];
    play_with(&world, day, || mcp.forget_sessions()).await;
    let rows = world.actions().await;
    assert_eq!(outcomes(&rows), [("habits.list", "ok"), ("habits.create", "error")]);
    assert!(rows[1].error_message.as_deref().unwrap().contains("outcome unknown"));
    let ran = mcp.calls().iter().filter(|call| call.tool == "habits.create").count();
    assert_eq!(ran, 1);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_renewal_leaves_no_session_behind() {
    let never = |p: &mut devstack::Options| {
        p.mcp = McpOptions { idle_timeout: None, ..p.mcp.clone() };
    };
    let mut world =
        Setup::one(&["habits"]).peers(never).var("SHUTDOWN_GRACE_MS", 14_000).start().await;
    let clock = world.peers.clock.clone();
    let day = [Scripted::tools(&[habits_list()]), Scripted::tools(&[habits_list()])];
    let (tick, released) = begin(&world, day).await;
    clock.advance(JWT_LIFETIME);
    // The list of the new session's tools never arrives.
    spoil_rpc(&world, "tools/list", 1, Fault::Hang);
    released.cancel();
    let recorder = world.peers.mcp.served.recorder.clone();
    let lists = recorder.wait_for(2, |r| r.json()["method"] == "tools/list");
    patiently("the second list", lists).await;
    world.stop().await;
    finish(tick).await;
    assert_eq!(world.initializes().len(), 2);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn secrets_of_a_login_in_the_middle_of_a_run_are_kept_too() {
    let world = Setup::one(&["habits"]).start().await;
    let (mcp, auth) = (&world.peers.mcp, &world.peers.auth.served);
    let (tick, released) = begin(
        &world,
        [
            Scripted::tools(&[habits_list()]),
            Scripted::tools(&[habits_list()]),
            Scripted::tools(&[habits_create()]),
            Scripted::text("Ok."),
        ],
    )
    .await;
    world.peers.clock.advance(JWT_LIFETIME);
    // The kept session is no longer accepted, so there is a login with a new cookie.
    auth.faults.on(1, Method::GET, path::TOKEN, Fault::status(401, "{}"));
    let third = |r: &Recorded| r.json()["messages"][4].is_object();
    let again = CancellationToken::new();
    let claude = &world.peers.claude.served;
    claude.faults.inject(1, Fault::Hold(again.clone()), third);
    released.cancel();
    patiently("the third request", claude.recorder.wait_for(1, third)).await;
    let cookie =
        auth.recorder.all().iter().rev().find_map(|r| r.header("cookie").map(str::to_owned));
    let cookie = cookie.unwrap();
    let token = cookie.split_once('=').unwrap().1.split('.').next().unwrap();
    let jwt = jwts(&world).pop().unwrap();
    let echo = format!("cookie {cookie}, token {token}, {jwt}");
    mcp.override_tool("habits.create", 1, Behaviour::IsError(echo));
    again.cancel();
    finish(tick).await;
    assert_eq!(world.asked(path::SIGN_IN, None).len(), 2);
    let rows = world.actions().await;
    let message = rows[2].error_message.as_deref().unwrap();
    assert_eq!(message.matches("[redacted]").count(), 3, "{message}");
    let prompts: String = world.peers.claude.requests().into_iter().map(|r| r.raw).collect();
    assert!(!prompts.contains(token) && !message.contains(token));
}
