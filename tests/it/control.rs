//! /control: pausing, draining, resuming, cancelling, with the service key.

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::journal::{Journal, RunState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    script::{habits_list, outcomes},
    support::{Setup, World, logs::Logs, patiently, variable},
};

/// A persona whose day consists of two reads and a final text.
async fn anna() -> World {
    let world = Setup::one(&["habits"]).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 | 1 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    world
}

fn first(request: &Recorded) -> bool {
    !request.json()["tools"].is_null() && request.json()["messages"][1].is_null()
}

fn asked(world: &World) -> usize {
    world.peers.claude.served.recorder.all().len()
}

/// Starts a tick whose first model request is answered once the token is cancelled.
async fn hold_first_answer(world: &World) -> CancellationToken {
    let answer = CancellationToken::new();
    world.peers.claude.served.faults.inject(1, Fault::Hold(answer.clone()), first);
    drop(world.begin_tick());
    patiently("the first request", world.peers.claude.served.recorder.wait_for(1, first)).await;
    answer
}

async fn post(world: &World, path: &str) -> Value {
    let (status, body) = world.control(Method::POST, path).await;
    assert_eq!((status, &body["ok"]), (StatusCode::OK, &json!(true)), "{path}: {body}");
    body
}

async fn status(world: &World) -> Value {
    let (status, body) = world.control(Method::GET, "status").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn rated(world: &World) {
    world
        .journal_reaches("the end of all runs", async |journal: &Journal| {
            let owed = journal.runs_in(RunState::RatingOwed).await.unwrap();
            owed.is_empty() && journal.outbox_depth().await.unwrap().oldest.is_none()
        })
        .await;
}

#[tokio::test]
async fn a_pause_lets_the_turn_end_and_survives_a_restart_until_resume() {
    let mut world = anna().await;
    let answer = hold_first_answer(&world).await;
    post(&world, "pause").await;
    let seen = status(&world).await;
    assert_eq!(seen["paused"]["mode"], "pause");
    assert_eq!(seen["runs"].as_array().unwrap().len(), 1);
    answer.cancel();
    world.nothing_in_flight().await;
    // The answer was paid for, so its call was made; no further request was sent.
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
    assert_eq!(asked(&world), 1);
    assert_eq!(world.health().await["tickLoop"], "paused");
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);

    world.stop().await;
    world.start_again(&[]).await;
    let upstream = world.upstream_requests();
    let (_, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(body["paused"], true);
    assert_eq!(world.upstream_requests(), upstream);

    post(&world, "resume").await;
    rated(&world).await;
    assert_eq!(world.feedback().await.len(), 1);
    assert_eq!(asked(&world), 2, "the rating, and nothing else of that day");
}

#[tokio::test]
async fn a_drain_lets_runs_come_to_their_own_end() {
    let world = anna().await;
    let answer = hold_first_answer(&world).await;
    post(&world, "drain").await;
    answer.cancel();
    world.nothing_in_flight().await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 2]);
    assert_eq!(world.feedback().await.len(), 1);
    assert_eq!(world.health().await["paused"], true);
}

#[tokio::test]
async fn a_drain_begins_no_further_run() {
    let setup = Setup::many(&["anna", "ben"]).short_days().var("PERSONA_CONCURRENCY", 1);
    let world = setup.start().await;
    let answer = hold_first_answer(&world).await;
    post(&world, "drain").await;
    answer.cancel();
    world.nothing_in_flight().await;
    assert_eq!(world.initializes().len(), 1, "the other one's turn had not come");
    let upstream = world.upstream_requests();
    assert_eq!(world.call(Method::POST, "/diag/tick").await.1["paused"], true);
    assert_eq!(world.upstream_requests(), upstream);
    post(&world, "resume").await;
    world.nothing_in_flight().await;
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn a_run_cancelled_between_two_turns_hands_in_the_rows_of_the_first() {
    let world = anna().await;
    let first = hold_first_answer(&world).await;
    let held = Fault::Hold(CancellationToken::new());
    let second = |r: &Recorded| r.json()["messages"].as_array().is_some_and(|m| m.len() == 3);
    world.peers.claude.served.faults.inject(1, held, second);
    first.cancel();
    let recorder = world.peers.claude.served.recorder.clone();
    patiently("the second request", recorder.wait_for(1, second)).await;
    let run = status(&world).await["runs"][0]["id"].as_str().unwrap().to_owned();
    post(&world, &format!("runs/{run}/cancel")).await;
    world.nothing_in_flight().await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
    assert_eq!(asked(&world), 2, "nothing further is paid for");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_cancelled_run_hands_in_what_it_has_and_uses_up_its_slot() {
    let world = anna().await;
    let _answer = hold_first_answer(&world).await;
    let (run, state) = {
        let run = status(&world).await["runs"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("runs/{run}/cancel");
        (run, world.control(Method::POST, &path).await.0)
    };
    assert_eq!(state, StatusCode::OK);
    world.nothing_in_flight().await;
    let rows = world.journal().await.latest_runs(5).await.unwrap();
    assert_eq!((rows.len(), rows[0].id.to_string()), (1, run.clone()));
    assert_eq!(rows[0].state, RunState::Finished, "its one request was paid for");
    assert_eq!(world.tick().await["skipped"], 1);
    let again = world.control(Method::POST, &format!("runs/{run}/cancel")).await;
    assert_eq!(again.0, StatusCode::NOT_FOUND);
    assert_eq!(world.control(Method::POST, "runs/x/cancel").await.0, StatusCode::BAD_REQUEST);
}

/// The state and end reason of the only run.
async fn the_end(world: &World) -> (RunState, Option<String>) {
    let mut runs = world.journal().await.latest_runs(5).await.unwrap();
    assert_eq!(runs.len(), 1);
    let run = runs.remove(0);
    (run.state, run.end_reason)
}

fn cancelled() -> (RunState, Option<String>) {
    (RunState::Finished, Some("cancelled on request".into()))
}

fn rating(request: &Recorded) -> bool {
    request.json()["tools"].is_null()
}

async fn cancel_the_run(world: &World) {
    let run = world.journal().await.latest_runs(1).await.unwrap()[0].id;
    post(world, &format!("runs/{run}/cancel")).await;
}

/// A persona whose run hangs at a request that `at` selects.
async fn hanging(at: fn(&Recorded) -> bool) -> World {
    let world = anna().await;
    world.peers.claude.served.faults.inject(1, Fault::Hang, at);
    drop(world.begin_tick());
    patiently("the request", world.peers.claude.served.recorder.wait_for(1, at)).await;
    world
}

fn second(request: &Recorded) -> bool {
    request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 3)
}

#[tokio::test]
async fn a_run_cancelled_after_it_has_used_tools_is_never_rated_also_after_a_restart() {
    let mut world = hanging(second).await;
    cancel_the_run(&world).await;
    world.nothing_in_flight().await;
    assert_eq!(the_end(&world).await, cancelled());
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
    world.tick().await;
    world.stop().await;
    world.start_again(&[]).await;
    world.tick().await;
    world.nothing_in_flight().await;
    assert_eq!((asked(&world), world.feedback().await.len()), (2, 0), "nothing further is asked");
    assert_eq!(the_end(&world).await, cancelled());
}

#[tokio::test]
async fn a_run_cancelled_in_its_rating_is_not_asked_again() {
    let mut world = hanging(rating).await;
    cancel_the_run(&world).await;
    world.nothing_in_flight().await;
    assert_eq!(the_end(&world).await, cancelled());
    assert_eq!(outcomes(&world.actions().await).len(), 2);
    for _ in 0..2 {
        world.tick().await;
    }
    world.stop().await;
    world.start_again(&[]).await;
    world.tick().await;
    assert_eq!(world.peers.claude.served.recorder.matching(rating).len(), 1);
}

#[tokio::test]
async fn a_rating_owed_after_a_stop_can_be_cancelled_while_no_run_works_on_it() {
    let mut world = hanging(rating).await;
    post(&world, "pause").await;
    world.stop().await;
    world.start_again(&[]).await;
    assert_eq!(the_end(&world).await.0, RunState::RatingOwed, "a stop is no cancel");
    cancel_the_run(&world).await;
    world.nothing_in_flight().await;
    world
        .journal_reaches("its end", async |journal: &Journal| {
            journal.latest_runs(1).await.unwrap()[0].state == RunState::Finished
        })
        .await;
    post(&world, "resume").await;
    world.tick().await;
    assert_eq!(world.peers.claude.served.recorder.matching(rating).len(), 1);
}

#[tokio::test]
async fn a_cancel_outlives_the_death_of_the_process_before_the_run_has_ended() {
    let mut world = hanging(second).await;
    // The request that ends the session does not return before the kill.
    let mcp = &world.peers.mcp.served;
    mcp.faults.inject(1, Fault::Hang, |r| r.method == Method::DELETE);
    cancel_the_run(&world).await;
    let closing = mcp.recorder.wait_for(1, |r| r.method == Method::DELETE);
    patiently("the end of the session", closing).await;
    world.kill().await;
    world.start_again(&[]).await;
    world
        .journal_reaches("its end", async |journal: &Journal| {
            journal.latest_runs(1).await.unwrap()[0].state == RunState::Finished
        })
        .await;
    world.nothing_in_flight().await;
    world.tick().await;
    assert_eq!((asked(&world), world.feedback().await.len()), (2, 0));
    assert_eq!(outcomes(&world.actions().await)[0], ("habits.list", "ok"));
}

#[tokio::test]
async fn a_run_cancelled_before_anything_was_paid_does_not_begin_anew() {
    let world = anna().await;
    let lists = |r: &Recorded| r.json()["method"] == "tools/list";
    world.peers.mcp.served.faults.inject(1, Fault::Hang, lists);
    drop(world.begin_tick());
    patiently("the list", world.peers.mcp.served.recorder.wait_for(1, lists)).await;
    cancel_the_run(&world).await;
    world.nothing_in_flight().await;
    assert_eq!(world.tick().await["skipped"], 1);
    assert_eq!((the_end(&world).await, asked(&world)), (cancelled(), 0));
}

#[tokio::test]
async fn a_pause_by_environment_is_not_resumed_at_run_time() {
    let world = Setup::one(&["habits"]).var("RUNNER_PAUSED", "true").start().await;
    let body = post(&world, "resume").await;
    assert_eq!(body["paused"], true);
    assert_eq!(status(&world).await["paused"], json!({"by": "RUNNER_PAUSED"}));
    assert_eq!(world.call(Method::POST, "/diag/tick").await.1["paused"], true);
    assert_eq!(world.upstream_requests(), 0);
}

#[tokio::test]
async fn control_requires_the_key_in_production_too_and_is_closed_if_no_key_is_set() {
    let secrets = [("PERSONA_SEED_SECRET", "a-secret-of-production")];
    let setup = Setup::one(&["habits"]).var("RUNNER_ENV", "production");
    let world = setup.var(secrets[0].0, secrets[0].1).start().await;
    assert_eq!(world.call(Method::POST, "/diag/tick").await.0, StatusCode::NOT_FOUND);
    assert_eq!(status(&world).await["paused"], Value::Null);
    let key = variable(&world.peers, "MANA_SERVICE_KEY");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for wrong in ["", "x", &key[..key.len() - 1], &format!("{key}x")] {
        for (method, path) in [
            (Method::GET, "status"),
            (Method::POST, "pause"),
            (Method::POST, "resume"),
            (Method::POST, "drain"),
            (Method::POST, "tick"),
        ] {
            let request = client.request(method, format!("{}/control/{path}", world.url));
            let answer = request.header("x-service-key", wrong).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} with {wrong:?}");
        }
    }
    assert_eq!(status(&world).await["paused"], Value::Null);

    let keyless = Setup::one(&["habits"]).var("MANA_SERVICE_KEY", "").start().await;
    for path in ["/control/status", "/control/pause"] {
        assert_eq!(keyless.call(Method::GET, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn attempts_with_wrong_keys_are_logged_with_the_address_and_without_the_key() {
    let logs = Logs::capture("warn");
    let world = Setup::one(&["habits"]).var("RUNNER_PAUSED", "true").start().await;
    assert_eq!(world.control(Method::GET, "status").await.0, StatusCode::OK);
    assert_eq!(logs.lines_with("/control"), [""; 0], "the right key is no reason");
    let client = crate::support::client();
    for n in 0..50 {
        let request = client.get(format!("{}/control/status", world.url));
        let answer = request.header("x-service-key", format!("guess-number-{n}")).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let lines = logs.lines_with("/control was called");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("a wrong X-Service-Key") && line.contains("caller=127.0.0.1:"), "{line}");
    assert!(!line.contains("guess"), "{line}");
}

#[tokio::test]
async fn a_tick_on_request_is_a_tick() {
    let world = anna().await;
    let (status, body) = world.control(Method::POST, "tick").await;
    assert_eq!((status, &body["result"]["ranSuccessfully"]), (StatusCode::OK, &json!(1)));
}
