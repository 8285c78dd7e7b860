//! Logins that are refused: nobody is tried again too early, so that no account locks.

use std::{collections::HashMap, time::Duration};

use devstack::{auth::Deployment, fault::Fault};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    Setup, World, for_each,
    logs::Logs,
    path::{LOGIN, SIGN_IN},
    persona,
};

const SECOND: Duration = Duration::from_secs(1);
const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

/// How often each e-mail was tried, in either form.
fn tries(world: &World) -> HashMap<String, usize> {
    let mut tries = HashMap::new();
    for request in [LOGIN, SIGN_IN].iter().flat_map(|path| world.asked(path, None)) {
        let email = request.json()["email"].as_str().unwrap_or_default().to_owned();
        *tries.entry(email).or_default() += 1;
    }
    tries
}

/// A tick in which everybody is held back.
async fn nobody_runs(world: &World, due: usize) {
    let result = world.good_tick().await;
    assert_eq!((&result["due"], &result["skipped"]), (&json!(due), &json!(due)), "{result}");
}

#[tokio::test]
async fn a_wrong_seed_secret_is_named_and_tried_once_per_half_hour_and_no_account_locks() {
    let logs = Logs::capture("info");
    let setup = Setup::catalog().var("PERSONA_SEED_SECRET", "another-secret");
    // With the shortest back-off, so that it is not what holds them.
    let setup = setup.var("PERSONA_CONCURRENCY", 10).var("RUN_BACKOFF_MS", 1);
    let world = setup.start().await;
    assert_eq!(world.health().await["status"], "ok");
    for round in 1..=6 {
        let result = world.tick().await;
        let failed = result["failed"].as_array().unwrap();
        assert_eq!(failed.len(), 10, "{result}");
        for entry in failed {
            let error = entry["error"].as_str().unwrap();
            assert!(error.contains("401") && error.contains("PERSONA_SEED_SECRET"), "{error}");
        }
        let tries = tries(&world);
        assert_eq!(tries.len(), 10);
        assert!(tries.values().all(|&n| n == round), "{round}: {tries:?}");
        let errors = logs.lines_with("ERROR");
        assert_eq!(errors.len(), round, "{errors:?}");
        assert!(errors[round - 1].contains("PERSONA_SEED_SECRET does not match"), "{errors:?}");

        world.advance(HALF_AN_HOUR - SECOND);
        nobody_runs(&world, 10).await;
        // Nothing has healed: the tick before only tried nobody.
        let health = world.health().await;
        assert_eq!(health["status"], "degraded", "{health}");
        let reason = health["reason"].as_str().unwrap();
        assert!(reason.contains("PERSONA_SEED_SECRET does not match"), "{reason}");
        world.advance(SECOND);
    }
    let refusals = world.asked(LOGIN, None);
    assert!(refusals.iter().all(|r| r.status == Some(StatusCode::UNAUTHORIZED)), "one is locked");
    assert_eq!(world.metric("run_backoffs_total").await, Some(60.0));
}

#[tokio::test]
async fn a_single_persona_with_another_password_says_nothing_about_the_secret() {
    let logs = Logs::capture("info");
    let world = Setup::one(&["todo"]).idle().var("RUN_BACKOFF_MS", 1).start().await;
    let ben = [persona("ben", &["todo"])];
    world.peers.auth.seed(&ben, |_| "chosen by himself".into()).await.unwrap();
    let result = world.tick().await;
    assert_eq!(result["ranSuccessfully"], 1, "{result}");
    assert_eq!(result["failed"].as_array().map(Vec::len), Some(1), "{result}");
    assert_eq!(result["failed"][0]["persona"], ben[0].email.as_str());
    assert_eq!(world.health().await["status"], "ok");
    assert_eq!(logs.lines_with("ERROR"), Vec::<String>::new());
    world.advance(HALF_AN_HOUR - SECOND);
    nobody_runs(&world, 1).await;
    assert_eq!(tries(&world)[&ben[0].email], 1);
    world.advance(SECOND);
    world.tick().await;
    assert_eq!(tries(&world)[&ben[0].email], 2);
}

#[tokio::test]
async fn an_account_that_somebody_else_locked_is_tried_again_when_its_lock_ends() {
    let world = Setup::one(&["todo"]).idle().var("RUN_BACKOFF_MS", 1).start().await;
    world.peers.clock.set_speed(0.0);
    let email = "persona.anna@mana.test";
    let wrong = json!({"email": email, "password": "guessed"}).to_string();
    let client = crate::support::client();
    for _ in 0..5 {
        let url = format!("{}{LOGIN}", world.peers.auth.url());
        client.post(url).body(wrong.clone()).send().await.unwrap();
    }
    // Ten of the thirty minutes pass before the runner comes.
    world.advance(Duration::from_secs(600));
    let result = world.tick().await;
    let error = result["failed"][0]["error"].as_str().unwrap();
    assert!(error.contains("429 ACCOUNT_LOCKED"), "{error}");
    world.advance(Duration::from_secs(1_199));
    nobody_runs(&world, 1).await;
    assert_eq!(tries(&world)[email], 6);
    world.advance(SECOND);
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn a_locked_account_is_held_for_as_long_as_mana_auth_says() {
    let body = |seconds: Value| json!({"error": "ACCOUNT_LOCKED", "retryAfterSec": seconds});
    let said: [(Fault, u64); 3] = [
        (Fault::retry_after(429, 900, body(json!(900)).to_string()), 900),
        (Fault::status(429, body(json!(700)).to_string()), 700),
        // Saying nothing means the half hour of the contract.
        (Fault::status(429, r#"{"error":"ACCOUNT_LOCKED"}"#), 1_800),
    ];
    let forms =
        said.into_iter().flat_map(|(fault, s)| [(LOGIN, fault.clone(), s), (SIGN_IN, fault, s)]);
    for_each(forms, |(form, fault, seconds)| async move {
        let world = Setup::one(&["todo"]).idle().var("RUN_BACKOFF_MS", 1).start().await;
        world.peers.auth.served.faults.on(1, Method::POST, form, fault);
        let result = world.tick().await;
        let error = result["failed"][0]["error"].as_str().unwrap();
        assert!(error.contains("429 ACCOUNT_LOCKED"), "{form}: {error}");
        assert_eq!(world.asked(form, None).len(), 1, "not repeated");
        world.clock.advance(Duration::from_secs(seconds) - SECOND);
        nobody_runs(&world, 1).await;
        assert_eq!(world.asked(form, None).len(), 1, "{form} {seconds}");
        world.clock.advance(SECOND);
        assert_eq!(world.good_tick().await["ranSuccessfully"], 1, "{form} {seconds}");
    })
    .await;
}

/// The one test that waits in earnest: the rate limit is kept in real time.
#[tokio::test]
async fn after_a_rate_limit_nobody_logs_in_for_ten_seconds_and_then_all_get_in() {
    // Finding out that it wants cookies costs the running service one login more.
    for_each(
        [(Deployment::Running, 5), (Deployment::Seeds, 4)],
        |(deployment, logins)| async move {
            let personas =
                ["anna", "ben", "kai", "maya"].map(|name| persona(name, &["todo"])).to_vec();
            let setup = Setup { personas, ..Setup::default() }.idle().var("PERSONA_CONCURRENCY", 4);
            let setup = setup.peers(|peers| {
                peers.auth.rate_limit = true;
                peers.auth.deployment = deployment;
            });
            let world = setup.start().await;
            assert_eq!(world.good_tick().await["ranSuccessfully"], 4);
            let mut sign_ins = world.asked(LOGIN, None);
            sign_ins.extend(world.asked(SIGN_IN, None));
            let refused: Vec<_> = sign_ins
                .iter()
                .filter(|r| r.status == Some(StatusCode::TOO_MANY_REQUESTS))
                .map(|r| r.at)
                .collect();
            // Three in ten seconds get in.
            assert_eq!(refused.len(), logins - 3, "{deployment:?}");
            let last = refused.into_iter().max().unwrap();
            let later: Vec<_> =
                sign_ins.iter().filter(|r| r.at > last).map(|r| r.at - last).collect();
            assert_eq!(later.len(), logins - 3, "{deployment:?}: each came back once");
            assert!(later.iter().all(|wait| wait.as_secs() >= 10), "{deployment:?}: {later:?}");
            assert_eq!(world.peers.auth.sessions_created().await, logins, "{deployment:?}");
        },
    )
    .await;
}
