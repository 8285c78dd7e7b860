//! Errors that waiting does not fix: a key, an account, a model, a spend limit. All use of the model stops.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    script::habits_list,
    support::{Setup, World, logs::Logs},
};

const MINUTE: Duration = Duration::from_secs(60);

fn refused(status: u16, code: Option<&str>) -> Fault {
    let details = code.map(|code| json!({"error_code": code}));
    let error = json!({"type": "some_error", "message": "no", "details": details});
    Fault::status(status, json!({"type": "error", "error": error}).to_string())
}

/// Three personas, one at a time, whose first `times` requests to Claude meet this fault.
async fn world(times: usize, fault: Fault) -> World {
    let setup = Setup::many(&["anna", "ben", "cleo"]).var("PERSONA_CONCURRENCY", 1);
    let world = setup.start().await;
    world.peers.claude.served.faults.on(times, Method::POST, "/v1/messages", fault);
    world
}

async fn health(world: &World) -> Value {
    world.call(Method::GET, "/health").await.1
}

#[tokio::test]
async fn the_first_refusal_stops_all_personas_before_they_log_in() {
    for (status, code) in [
        (401, None),
        (402, None),
        (403, None),
        (404, None),
        (429, Some("enforced_spend_limit_reached")),
        (429, Some("contract_spend_limit_reached")),
        (400, Some("organization_on_hold")),
    ] {
        let world = world(1, refused(status, code)).await;
        let result = world.tick().await;
        let counts =
            (&result["due"], &result["skipped"], result["failed"].as_array().map(Vec::len));
        assert_eq!(counts, (&json!(3), &json!(2), Some(1)), "{status}: {result}");
        assert_eq!(result["skippedBecause"], json!({"model-stopped": 2}), "{status}");
        assert_eq!(world.initializes().len(), 1, "only the first one logged in");
        let before = world.upstream_requests();
        let (answer, body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        let cause = code.map_or_else(|| status.to_string(), str::to_owned);
        assert!(body["error"].as_str().unwrap().contains(&cause), "{body}");
        assert_eq!(world.upstream_requests(), before, "nobody is asked, not even who is due");
        let health = health(&world).await;
        assert_eq!(health["status"], "degraded");
        assert!(health["reason"].as_str().unwrap().contains(&cause), "{health}");
    }
}

#[tokio::test]
async fn a_stop_of_all_use_of_the_model_is_one_error_line() {
    let logs = Logs::capture("error");
    let world = world(2, refused(402, None)).await;
    world.tick().await;
    for _ in 0..2 {
        assert_eq!(world.call(Method::POST, "/diag/tick").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    // A probe with an unchanged result is not logged again.
    world.clock.advance(10 * MINUTE);
    world.tick().await;
    let lines = logs.lines_with("ERROR");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("402"), "{}", lines[0]);
}

#[tokio::test]
async fn one_probe_run_after_ten_minutes_then_doubling_detects_the_end_of_the_stop() {
    let world = world(3, refused(401, None)).await;
    world.tick().await;
    for minutes in [10, 20] {
        world.clock.advance(minutes * MINUTE - Duration::from_secs(1));
        assert_eq!(world.call(Method::POST, "/diag/tick").await.0, StatusCode::SERVICE_UNAVAILABLE);
        world.clock.advance(Duration::from_secs(1));
        let probe = world.tick().await;
        assert_eq!(probe["failed"].as_array().map(Vec::len), Some(1), "{probe}");
    }
    world.clock.advance(40 * MINUTE);
    for _ in 0..2 {
        world.peers.claude.enqueue(Scripted::tools(&[habits_list()]));
        world.peers.claude.enqueue(Scripted::text("Geht wieder."));
    }
    let probe = world.good_tick().await;
    assert_eq!((&probe["ranSuccessfully"], &probe["skipped"]), (&json!(1), &json!(2)), "{probe}");
    assert_eq!(probe["skippedBecause"], json!({"model-stopped": 2}), "{probe}");
    assert_eq!(health(&world).await["status"], "ok");
    assert_eq!(world.good_tick().await["ranSuccessfully"], 2);
}

#[tokio::test]
async fn three_runs_in_a_row_refused_at_once_stop_it_and_two_do_not() {
    let world = world(3, refused(400, None)).await;
    let result = world.tick().await;
    assert_eq!(result["failed"].as_array().map(Vec::len), Some(3), "{result}");
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body["error"].as_str().unwrap().contains("3 runs in a row"), "{body}");
}

#[tokio::test]
async fn personas_that_start_together_write_the_tools_to_the_cache_once() {
    let mut seen = String::new();
    // A run that has waited two seconds for the first one writes the prefix too, and a machine may stall for
    // that long.
    for _ in 0..3 {
        let setup = Setup::many(&["a", "b", "c", "d"]).var("PERSONA_CONCURRENCY", 4);
        let setup = setup.peers(|peers| peers.claude.latency = Duration::from_millis(50));
        let world = setup.start().await;
        world.good_tick().await;
        let requests = world.peers.claude.requests();
        let tools = Value::from(requests[0].tools.clone()).to_string().len() as u64 / 4;
        let written = world.peers.claude.cache_usage().written;
        // If every run had written them, the tools alone would be more than this.
        if written < 3 * tools {
            return;
        }
        seen.push_str(&format!("{written} written, {tools} tokens of tools; "));
    }
    panic!("{seen}");
}
