//! The answers and effects of /diag/login and /diag/tick.

use std::collections::BTreeSet;

use devstack::{auth::Deployment, claude::Scripted, fault::Fault};
use mana_persona_runner::domain::derive_password;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{
    SEED_SECRET, Setup, World, for_each,
    path::{LOGIN, SIGN_IN, SPACES, TOKEN},
    patiently, persona,
};

const EMAIL: &str = "persona.anna@mana.test";
const DIAG_LOGIN: &str = "/diag/login?email=persona.anna@mana.test";
const DUE: &str = "/api/v1/internal/personas/due";

/// The error of an answer that consists only of `ok: false` and `error`.
fn error_of(body: &Value) -> &str {
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ok", "error"], "{body}");
    assert_eq!(body["ok"], false, "{body}");
    body["error"].as_str().unwrap()
}

#[tokio::test]
async fn a_login_is_shown_with_user_and_personal_space_and_starts_nothing() {
    for_each([Deployment::Running, Deployment::Seeds], |deployment| async move {
        let setup = Setup::one(&["todo"]).peers(|peers| peers.auth.deployment = deployment);
        let world = setup.start().await;
        let user = &world.users[0];
        let space = world.peers.auth.space_of(user).await.unwrap();
        let expected = json!({"ok": true, "email": EMAIL, "userId": user, "spaceId": space});
        for spelling in [EMAIL, "persona.anna%40mana.test", "%20persona.anna@mana.test"] {
            let path = format!("/diag/login?email={spelling}");
            assert_eq!(world.call(Method::GET, &path).await, (StatusCode::OK, expected.clone()));
        }
        assert_eq!(world.peers.mcp.served.recorder.all().len(), 0);
        assert_eq!(world.peers.claude.served.recorder.all().len(), 0);
        assert_eq!(world.actions().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_login_without_an_email_is_a_bad_request_and_no_login() {
    let world = Setup::one(&["todo"]).start().await;
    for query in ["", "?", "?email=", "?email=%20", "?mail=x@mana.test", "?email=%FF&email=b"] {
        let (status, body) = world.call(Method::GET, &format!("/diag/login{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(error_of(&body).contains("email"), "{query}: {body}");
    }
    assert_eq!(world.upstream_requests(), 0);
}

#[tokio::test]
async fn a_login_that_fails_names_the_step_and_its_status() {
    use Deployment::{Running, Seeds};
    let steps: [(Deployment, &str, &str, &str); 6] = [
        (Running, LOGIN, "content-type", "login"),
        (Running, SIGN_IN, "content-type", "sign-in/email"),
        (Running, SPACES, "cookie", "organization/list"),
        (Running, TOKEN, "cookie", "token"),
        (Seeds, LOGIN, "content-type", "login"),
        (Seeds, SPACES, "authorization", "organization/list"),
    ];
    let faults = [(Fault::status(403, "no"), "403"), (Fault::status(503, "busy"), "503")];
    let cases = steps.into_iter().flat_map(|step| faults.clone().map(|fault| (step, fault)));
    for_each(cases, |((deployment, path, header, named), (fault, status))| async move {
        let setup = Setup::one(&["todo"]).peers(|peers| peers.auth.deployment = deployment);
        let world = setup.start().await;
        world
            .peers
            .auth
            .served
            .faults
            .inject(usize::MAX, fault, move |r| r.path() == path && r.headers.contains_key(header));
        let (answered, body) = world.call(Method::GET, DIAG_LOGIN).await;
        assert_eq!(answered, StatusCode::BAD_GATEWAY, "{path}: {body}");
        let error = error_of(&body);
        assert!(error.contains(named) && error.contains(status), "{path}: {error}");
    })
    .await;
}

#[tokio::test]
async fn a_refused_login_and_an_unreachable_service_have_different_errors() {
    let world = Setup::one(&["todo"]).start().await;
    let (status, body) = world.call(Method::GET, "/diag/login?email=nobody@mana.test").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let error = error_of(&body);
    assert!(error.starts_with("login") && error.contains("401"), "{error}");
    assert!(error.contains("PERSONA_SEED_SECRET"), "{error}");

    world.peers.auth.served.stop();
    let (status, body) = world.call(Method::GET, DIAG_LOGIN).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let error = error_of(&body);
    assert!(error.starts_with("login") && error.contains("mana-auth cannot be reached"), "{error}");
}

#[tokio::test]
async fn a_peer_that_echoes_what_it_was_sent_gives_no_secret_away() {
    let password = derive_password(SEED_SECRET, EMAIL);
    let echo =
        format!("bad input: {EMAIL} {password} {SEED_SECRET} devstack-service-key eyJh.eyJi.c");
    for_each([LOGIN, SIGN_IN, SPACES, TOKEN], |path| {
        let (echo, password) = (echo.clone(), password.clone());
        async move {
            let world = Setup::one(&["todo"]).start().await;
            world.peers.auth.served.faults.inject(1, Fault::status(422, echo), move |r| {
                r.path() == path && !r.headers.contains_key("authorization")
            });
            let (_, body) = world.call(Method::GET, DIAG_LOGIN).await;
            let error = error_of(&body);
            assert!(error.contains("422") && error.contains("bad input"), "{error}");
            for secret in [&*password, SEED_SECRET, "devstack-service-key", "eyJh"] {
                assert!(!error.contains(secret), "{path}: {secret} in {error}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_tick_answers_with_exactly_its_result() {
    let world = Setup::one(&["todo"]).idle().start().await;
    let ben = [persona("ben", &["todo"])];
    world.peers.auth.seed(&ben, |_| "chosen by himself".into()).await.unwrap();
    let tick = async || {
        let (status, mut body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::OK);
        let took = body["result"]["durationMs"].take();
        assert!(took.is_u64(), "{took}");
        let cost = body["result"]["costUsd"].take();
        assert_eq!(cost.as_f64() > Some(0.0), body["result"]["ranSuccessfully"] == 1, "{cost}");
        body
    };
    let first = tick().await;
    let error = first["result"]["failed"][0]["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains("401")), "{first}");
    let expected = json!({"ok": true, "result": {
        "due": 2, "ranSuccessfully": 1, "skipped": 0, "skippedBecause": {}, "putOff": 0, "undelivered": 0,
        "failed": [{"persona": ben[0].email, "error": error}], "durationMs": null, "costUsd": null,
    }});
    assert_eq!(first, expected);
    // Anna is no longer due, Ben is held back.
    let expected = json!({"ok": true, "result": {
        "due": 1, "ranSuccessfully": 0, "skipped": 1,
        "skippedBecause": {"held-back": 1}, "putOff": 0, "undelivered": 0, "failed": [],
        "durationMs": null, "costUsd": null,
    }});
    assert_eq!(tick().await, expected);
}

#[tokio::test]
async fn in_production_there_is_no_diag() {
    let environments = [
        ("production", ""),
        ("", "production"),
        ("development", "production"),
        ("production", "development"),
    ];
    for (runner, node) in environments {
        let setup = Setup::one(&["todo"]).var("RUNNER_ENV", runner).var("NODE_ENV", node);
        let world = setup.start().await;
        for (method, path) in [
            (Method::GET, DIAG_LOGIN),
            (Method::GET, "/diag/tick"),
            (Method::POST, "/diag/tick"),
            (Method::POST, "/diag/tick/"),
        ] {
            let (status, _) = world.call(method, path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{runner} {node} {path}");
        }
        assert_eq!(world.upstream_requests(), 0);
        assert_eq!(world.health().await["status"], "ok");
    }
}

/// A world with one persona whose first model request waits for the token.
async fn held_at_claude() -> (World, CancellationToken) {
    let world = Setup::one(&["todo"]).start().await;
    let released = CancellationToken::new();
    let hold = Fault::Hold(released.clone());
    world.peers.claude.served.faults.on(1, Method::POST, "/v1/messages", hold);
    (world, released)
}

/// Waits until the model has received a request.
async fn asked_model(world: &World) {
    let recorder = &world.peers.claude.served.recorder;
    patiently("the first model request", recorder.wait_for(1, |_| true)).await;
}

#[tokio::test]
async fn while_a_tick_is_in_flight_a_second_one_is_a_conflict() {
    let (world, released) = held_at_claude().await;
    let second = async {
        asked_model(&world).await;
        let (status, body) = world.call(Method::POST, "/diag/tick").await;
        released.cancel();
        (status, error_of(&body).to_owned())
    };
    let (first, (status, error)) = tokio::join!(world.good_tick(), second);
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(error.contains("in flight"), "{error}");
    assert_eq!(first["ranSuccessfully"], 1);
    assert_eq!(world.asked(DUE, None).len(), 1, "the second did not even look");
    assert_eq!(world.metric(r#"ticks_total{outcome="overlap"}"#).await, Some(1.0));
    assert_eq!(world.good_tick().await["due"], 0, "the slot is free again");
}

#[tokio::test]
async fn the_slot_is_shared_with_the_interval() {
    let setup = Setup::one(&["todo"]).var("TICK_INTERVAL_MS", 200);
    let world = setup.start().await;
    let released = CancellationToken::new();
    world.peers.auth.served.faults.on(1, Method::GET, DUE, Fault::Hold(released.clone()));
    let due = world.peers.auth.served.recorder.wait_for(1, |r| r.path() == DUE);
    patiently("the tick of the interval", due).await;
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    released.cancel();
    let posted = world.peers.auth.served.recorder.wait_for(1, |r| r.path().ends_with("/feedback"));
    patiently("the run of the interval's tick", posted).await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_end_the_tick() {
    let (world, released) = held_at_claude().await;
    {
        let tick = world.call(Method::POST, "/diag/tick");
        tokio::select! {
            answer = tick => panic!("answered before Claude did: {answer:?}"),
            () = asked_model(&world) => {}
        }
    }
    // The daemon notices the disconnect at the latest when it answers the next request.
    assert_eq!(world.health().await["status"], "ok");
    released.cancel();
    let posted = world
        .peers
        .auth
        .served
        .recorder
        .wait_for(1, |r| r.path().ends_with("/feedback") && r.status == Some(StatusCode::OK));
    patiently("the feedback of the abandoned tick", posted).await;
    assert!(!world.actions().await.is_empty());
}

#[tokio::test]
async fn a_paused_tick_has_an_empty_result_and_sends_no_request() {
    let world = Setup::one(&["todo"]).var("RUNNER_PAUSED", "1").start().await;
    let expected = json!({"ok": true, "paused": true, "result": {
        "due": 0, "ranSuccessfully": 0, "skipped": 0, "skippedBecause": {}, "putOff": 0, "undelivered": 0, "failed": [],
        "durationMs": 0, "costUsd": 0.0,
    }});
    assert_eq!(world.call(Method::POST, "/diag/tick").await, (StatusCode::OK, expected));
    assert_eq!(world.upstream_requests(), 0);
    assert_eq!(world.metric(r#"ticks_total{outcome="paused"}"#).await, Some(1.0));
    // A pause only stops ticks: a diagnostic login still works.
    assert_eq!(world.call(Method::GET, DIAG_LOGIN).await.0, StatusCode::OK);
}

#[tokio::test]
async fn without_its_keys_a_tick_names_what_is_missing_and_the_rest_works() {
    let keys = ["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"];
    for missing in [&keys[..1], &keys[1..], &keys[..]] {
        let setup = Setup::one(&["todo"]).var("TICK_INTERVAL_MS", 1);
        let setup = missing.iter().fold(setup, |setup, key| setup.var(key, ""));
        let world = setup.start().await;
        let (status, body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        let named: BTreeSet<_> =
            keys.into_iter().filter(|key| error_of(&body).contains(key)).collect();
        assert_eq!(named, missing.iter().copied().collect(), "{body}");
        assert_eq!(world.upstream_requests(), 0);
        assert_eq!(world.call(Method::GET, DIAG_LOGIN).await.0, StatusCode::OK);
        assert!(world.metrics().await.contains("_build_info"));
        let health = world.health().await;
        assert_eq!(health["tickLoop"], "disabled", "{health}");
        for key in missing {
            assert!(health["reason"].as_str().unwrap().contains(key), "{health}");
        }
        assert_eq!(world.asked(DUE, None).len(), 0, "no tick of the interval either");
    }
}

#[tokio::test]
async fn a_tick_that_cannot_learn_who_is_due_is_a_bad_gateway() {
    let faults: [(Fault, &str, usize); 6] = [
        (Fault::status(500, r#"{"message":"Internal server error"}"#), "500", 3),
        (Fault::status(401, r#"{"message":"Invalid or missing service key"}"#), "401", 1),
        (Fault::status(404, "404 Not Found"), "404", 1),
        (Fault::status(200, "<html>welcome</html>"), "200", 3),
        (Fault::status(200, r#"{"personas":null}"#), "200", 3),
        (Fault::Reset, "broke", 3),
    ];
    for_each(faults, |(fault, named, attempts)| async move {
        let world = Setup::one(&["todo"]).idle().start().await;
        world.peers.auth.served.faults.on(attempts, Method::GET, DUE, fault);
        let (status, body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{named}: {body}");
        let error = error_of(&body);
        assert!(error.contains("due") && error.contains(named), "{named}: {error}");
        assert_eq!(world.asked(DUE, None).len(), attempts, "{named}");
        let health = world.health().await;
        assert_eq!((&health["status"], &health["reason"]), (&json!("degraded"), &json!(error)));
        assert_eq!(world.metric(r#"ticks_total{outcome="failed"}"#).await, Some(1.0));
        assert_eq!(world.good_tick().await["ranSuccessfully"], 1, "{named}");
        assert_eq!(world.health().await["status"], "ok", "{named}");
    })
    .await;
}

#[tokio::test]
async fn a_tick_in_which_the_model_refuses_is_still_a_tick_that_took_place() {
    let world = Setup::one(&["todo"]).start().await;
    world.peers.claude.enqueue(Scripted::refusal("cyber"));
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["ok"], true);
    assert_eq!(body["result"]["failed"][0]["persona"], EMAIL, "{body}");
    assert_eq!(world.metric(r#"ticks_total{outcome="completed"}"#).await, Some(1.0));
}
