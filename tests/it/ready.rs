//! /ready: 200 exactly while ticks can do their work.

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::app::ProcessEnd;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Setup, World, patiently};

const READY: (StatusCode, Value) = (StatusCode::OK, Value::Null);

/// The status and the reason in the answer; the reason is null in [`READY`].
async fn ready(world: &World) -> (StatusCode, Value) {
    let (status, body) = world.call(Method::GET, "/ready").await;
    let reason = body["reason"].clone();
    let expected = match &reason {
        Value::Null => json!({"ready": true}),
        reason => json!({"ready": false, "reason": reason}),
    };
    assert_eq!(body, expected);
    (status, reason)
}

fn not_ready(reason: &str) -> (StatusCode, Value) {
    (StatusCode::SERVICE_UNAVAILABLE, json!(reason))
}

#[tokio::test]
async fn ready_requires_the_keys_and_no_pause() {
    let missing = "MANA_SERVICE_KEY is not set; ticks are disabled";
    for (variable, value, expected) in [
        ("RUNNER_ENV", "production", READY),
        ("RUNNER_PAUSED", "true", not_ready("RUNNER_PAUSED is set")),
        ("MANA_SERVICE_KEY", "", not_ready(missing)),
    ] {
        let world = Setup::default().var(variable, value).start().await;
        assert_eq!(ready(&world).await, expected, "{variable}");
        assert_eq!(world.upstream_requests(), 0, "/ready asks nobody");
    }
}

#[tokio::test]
async fn ready_requires_a_list_of_due_personas_and_a_usable_model() {
    let world = Setup::one(&["todo"]).start().await;
    assert_eq!(ready(&world).await, READY);
    world.peers.auth.served.faults.on(1, Method::GET, "/due", Fault::status(401, "no"));
    let (_, failed) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(ready(&world).await, not_ready(failed["error"].as_str().unwrap()));

    let key = json!({"type": "error", "error": {"type": "authentication_error", "message": "no"}});
    let refused = Fault::status(401, key.to_string());
    world.peers.claude.served.faults.on(1, Method::POST, "/v1/messages", refused);
    world.tick().await;
    let (status, reason) = ready(&world).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reason.as_str().unwrap().starts_with("the model is not used for now: "), "{reason}");

    world.advance(std::time::Duration::from_secs(3_601));
    world.good_tick().await;
    assert_eq!(ready(&world).await, READY);
}

#[tokio::test]
async fn ready_requires_that_some_persona_gets_a_session_at_mana_mcp() {
    let world = Setup::many(&["anna", "ben"]).short_days().start().await;
    let opens = |r: &Recorded| r.json()["method"] == "initialize";
    let mcp = &world.peers.mcp.served.faults;
    mcp.inject(usize::MAX, Fault::status(404, "no"), opens);
    let result = world.tick().await;
    assert_eq!(result["failed"].as_array().unwrap().len(), 2, "{result}");
    let (status, reason) = ready(&world).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let says = ["every run of the last tick failed: initialize: ", "404"];
    assert!(says.iter().all(|part| reason.as_str().unwrap().contains(part)), "{reason}");
    // As long as both are held back, no attempt can show that the cause is gone.
    assert_eq!(world.tick().await["skipped"], json!(2));
    assert_eq!(ready(&world).await.1, reason);

    // One successful persona is enough.
    mcp.clear();
    mcp.inject(1, Fault::status(404, "no"), opens);
    world.advance(std::time::Duration::from_secs(3_601));
    world.tick().await;
    assert_eq!(ready(&world).await, READY);
}

#[tokio::test]
async fn a_daemon_that_stops_is_alive_and_not_ready() {
    let mut world = Setup::one(&["todo"]).var("SHUTDOWN_GRACE_MS", 50_000).start().await;
    world.peers.claude.enqueue(Scripted::text("Fertig."));
    let released = CancellationToken::new();
    let posts = |r: &Recorded| r.path().ends_with("/actions");
    world.peers.auth.served.faults.inject(1, Fault::Hold(released.clone()), posts);
    let tick = world.begin_tick();
    patiently("the post", world.peers.auth.served.recorder.wait_for(1, posts)).await;
    assert_eq!(ready(&world).await, READY);
    world.shutdown.stop();
    assert_eq!(ready(&world).await, not_ready("the daemon is stopping"));
    assert_eq!(world.health().await["status"], "stopping");
    released.cancel();
    assert_eq!(tick.await.unwrap().0, StatusCode::OK);
    assert_eq!(world.ended().await, ProcessEnd::Drained);
}
