//! Unfinished and new runs in one list: which runs continue, begin or wait, and why.

use std::time::Duration;

use devstack::{fault::Fault, recorder::Recorded};
use mana_persona_runner::{app::ProcessEnd, journal::RunState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    script::make_due,
    support::{Setup, World, logs::Logs, patiently},
};

const NAMES: [&str; 3] = ["anna", "ben", "carla"];

fn asks_for_anna(request: &Recorded) -> bool {
    String::from_utf8_lossy(&request.body).contains("Du bist anna")
}

fn is_rated(request: &Recorded) -> bool {
    request.path().ends_with("/feedback") && request.status == Some(StatusCode::OK)
}

async fn rated(world: &World, times: usize) {
    patiently("the ratings", world.peers.auth.served.recorder.wait_for(times, is_rated)).await;
}

async fn anna_is_asked(world: &World, times: usize) {
    let recorder = &world.peers.claude.served.recorder;
    patiently("anna's request", recorder.wait_for(times, asks_for_anna)).await;
}

/// A daemon that was killed while the model answered Anna. The others have finished their day, and every
/// persona is due again. Anna's model requests meet `fault`.
async fn killed_at_anna(fault: Fault) -> World {
    let mut world = Setup::many(&NAMES).short_days().var("PERSONA_CONCURRENCY", 2).start().await;
    world.peers.claude.served.faults.inject(usize::MAX, fault, asks_for_anna);
    drop(world.begin_tick());
    anna_is_asked(&world, 1).await;
    rated(&world, 2).await;
    world.kill().await;
    make_due(&world).await;
    world
}

async fn runs_of_anna(world: &World) -> Vec<RunState> {
    let runs = world.journal().await.latest_runs(20).await.unwrap();
    runs.iter().filter(|run| run.persona_id == world.users[0]).map(|run| run.state).collect()
}

fn counts_of(result: &Value) -> [&Value; 4] {
    ["due", "ranSuccessfully", "skippedBecause", "failed"].map(|field| &result[field])
}

const ANNA_WAITS: &str = r#"personas_skipped_total{why="unfinished"}"#;

#[tokio::test]
async fn a_run_that_is_resumed_at_the_start_and_hangs_delays_no_other_run() {
    let mut world = killed_at_anna(Fault::Hang).await;
    world.start_again(&[]).await;
    anna_is_asked(&world, 2).await;
    // The recovery is working on the run; it is not a tick.
    let result = world.tick().await;
    assert_eq!(counts_of(&result), [&json!(3), &json!(2), &json!({"unfinished": 1}), &json!([])]);
    assert_eq!(result["skipped"], 1);
    assert_eq!(world.metric(ANNA_WAITS).await, Some(1.0));
    assert_eq!(runs_of_anna(&world).await, [RunState::Running], "she has one run at a time");
    world.kill().await;
}

#[tokio::test]
async fn a_run_that_is_resumed_by_a_tick_and_hangs_delays_no_other_run() {
    let released = CancellationToken::new();
    let mut world = killed_at_anna(Fault::Hold(released.clone())).await;
    let faults = &world.peers.auth.served.faults;
    faults.inject(usize::MAX, Fault::status(503, "{}"), |r| r.path().contains("/auth/"));
    world.start_again(&[]).await;
    world.metric_reaches(r#"runs_total{outcome="failed",stage="login"}"#, 1.0).await;
    world.peers.auth.served.faults.clear();
    world.nothing_in_flight().await;
    world.clock.advance(Duration::from_secs(60));

    let tick = world.begin_tick();
    anna_is_asked(&world, 2).await;
    rated(&world, 4).await;
    assert!(!tick.is_finished(), "she is still at it");
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    released.cancel();
    let (_, body) = patiently("the tick", tick).await.unwrap();
    let unfinished = json!({"unfinished": 1});
    assert_eq!(counts_of(&body["result"]), [&json!(3), &json!(2), &unfinished, &json!([])]);
    assert_eq!(runs_of_anna(&world).await, [RunState::Finished]);
    // A persona that is still due runs with the next tick.
    world.peers.auth.set_last_active_at(&world.users[0], None).await;
    assert_eq!(counts_of(&world.tick().await), [&json!(1), &json!(1), &json!({}), &json!([])]);
}

#[tokio::test]
async fn unfinished_runs_continue_even_if_the_due_list_is_unavailable() {
    let released = CancellationToken::new();
    let mut world = killed_at_anna(Fault::Hold(released.clone())).await;
    released.cancel();
    let faults = &world.peers.auth.served.faults;
    faults.inject(usize::MAX, Fault::status(503, "{}"), |r| r.path().contains("/auth/"));
    world.start_again(&[]).await;
    world.metric_reaches(r#"runs_total{outcome="failed",stage="login"}"#, 1.0).await;
    world.peers.auth.served.faults.clear();
    world.nothing_in_flight().await;
    world.clock.advance(Duration::from_secs(60));
    let faults = &world.peers.auth.served.faults;
    faults.inject(usize::MAX, Fault::status(400, "{}"), |r| r.path().ends_with("/due"));
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{body}");
    assert_eq!(runs_of_anna(&world).await, [RunState::Finished]);
}

#[tokio::test]
async fn after_a_stop_no_recovery_begins_that_waited_for_a_run() {
    let logs = Logs::capture("info");
    let mut world = Setup::many(&["anna"]).short_days().start().await;
    let released = CancellationToken::new();
    let claude = &world.peers.claude.served;
    claude.faults.inject(usize::MAX, Fault::Hold(released.clone()), |request| {
        request.json()["messages"].as_array().is_some_and(|messages| messages.len() > 1)
    });
    drop(world.begin_tick());
    let second = claude.recorder.wait_for(2, asks_for_anna);
    patiently("the second request", second).await;
    assert_eq!(world.control(Method::POST, "resume").await.0, StatusCode::OK);
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert_eq!(runs_of_anna(&world).await, [RunState::RatingOwed]);
    assert_eq!(logs.lines_with("going on with unfinished runs"), Vec::<String>::new());
    released.cancel();
}

#[tokio::test]
async fn skipped_personas_are_reported_as_slot_used_or_held_back_with_the_end_of_the_hold() {
    let logs = Logs::capture("debug");
    let mut world = Setup::many(&NAMES).short_days().start().await;
    world.peers.claude.served.faults.inject(1, Fault::status(422, "{}"), asks_for_anna);
    assert_eq!(world.tick().await["failed"].as_array().unwrap().len(), 1);
    let until = (world.clock.now() + Duration::from_secs(60)).to_string();
    // As if mana-auth had lost the actions of the others.
    for user in &world.users {
        world.peers.auth.set_last_active_at(user, None).await;
    }
    let because = json!({"slot-used": 2, "held-back": 1});
    let result = world.tick().await;
    assert_eq!(counts_of(&result), [&json!(3), &json!(0), &because, &json!([])]);
    assert_eq!(result["skipped"], 3);
    for (why, number) in [("slot-used", 2.0), ("held-back", 1.0), ("other", 0.0)] {
        let series = format!("personas_skipped_total{{why=\"{why}\"}}");
        assert_eq!(world.metric(&series).await, Some(number), "{why}");
    }
    let held = logs.lines_with(&format!("held back until {until}"));
    assert_eq!(held.len(), 1, "{held:?}");
    let ended = logs.lines_with("tick ended").pop().unwrap();
    for part in ["slot-used 2, held-back 1", &format!("tick.first_hold_ends={until}")] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
    world.stop().await;
    world.start_again(&[]).await;
    assert_eq!(world.tick().await["skippedBecause"], because, "after a restart too");
}

#[tokio::test]
async fn personas_kept_from_their_run_by_a_pause_are_counted_as_paused() {
    let world = Setup::many(&NAMES).short_days().var("PERSONA_CONCURRENCY", 1).start().await;
    let released = CancellationToken::new();
    let claude = &world.peers.claude.served;
    claude.faults.inject(1, Fault::Hold(released.clone()), |_| true);
    let tick = world.begin_tick();
    patiently("the first run", claude.recorder.wait_for(1, |_| true)).await;
    assert_eq!(world.control(Method::POST, "drain").await.0, StatusCode::OK);
    released.cancel();
    let (_, body) = patiently("the tick", tick).await.unwrap();
    let because = json!({"paused": 2});
    assert_eq!(counts_of(&body["result"]), [&json!(3), &json!(1), &because, &json!([])]);
}
