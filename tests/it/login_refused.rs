//! Refused logins: no persona is tried again too early, so that no account is locked.

use std::{collections::HashMap, time::Duration};

use devstack::{
    auth::{Deployment, NewerOptions},
    fault::Fault,
};
use mana_persona_runner::domain::derive_password;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    SEED_SECRET, Setup, World, failure_of, for_each,
    logs::Logs,
    path::{LOGIN, SIGN_IN},
    persona,
};

const SECOND: Duration = Duration::from_secs(1);
const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

/// Number of login attempts for each e-mail, in either form.
fn tries(world: &World) -> HashMap<String, usize> {
    let mut tries = HashMap::new();
    for request in [LOGIN, SIGN_IN].iter().flat_map(|path| world.asked(path, None)) {
        let email = request.json()["email"].as_str().unwrap_or_default().to_owned();
        *tries.entry(email).or_default() += 1;
    }
    tries
}

/// A tick in which every persona is held back.
async fn all_are_held_back(world: &World, due: usize) {
    let result = world.good_tick().await;
    assert_eq!((&result["due"], &result["skipped"]), (&json!(due), &json!(due)), "{result}");
}

#[tokio::test]
async fn a_wrong_seed_secret_is_named_and_tried_once_per_half_hour_and_no_account_locks() {
    let logs = Logs::capture("info");
    let setup = Setup::catalog().var("PERSONA_SEED_SECRET", "another-secret");
    // The shortest back-off, so that the personas are not held back by it.
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
        all_are_held_back(&world, 10).await;
        // The cause still exists: the previous tick only sent no login.
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
    all_are_held_back(&world, 1).await;
    assert_eq!(tries(&world)[&ben[0].email], 1);
    world.advance(SECOND);
    world.tick().await;
    assert_eq!(tries(&world)[&ben[0].email], 2);
}

#[tokio::test]
async fn an_account_locked_by_another_client_is_tried_again_when_the_lock_ends() {
    let world = Setup::one(&["todo"]).idle().var("RUN_BACKOFF_MS", 1).start().await;
    world.peers.clock.set_speed(0.0);
    let email = "persona.anna@mana.test";
    let wrong = json!({"email": email, "password": "guessed"}).to_string();
    let client = crate::support::client();
    for _ in 0..5 {
        let url = format!("{}{LOGIN}", world.peers.auth.url());
        client.post(url).body(wrong.clone()).send().await.unwrap();
    }
    // Ten of the thirty minutes of the lockout pass before the runner logs in.
    world.advance(Duration::from_secs(600));
    let result = world.tick().await;
    let error = result["failed"][0]["error"].as_str().unwrap();
    assert!(error.contains("429 ACCOUNT_LOCKED"), "{error}");
    world.advance(Duration::from_secs(1_199));
    all_are_held_back(&world, 1).await;
    assert_eq!(tries(&world)[email], 6);
    world.advance(SECOND);
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn a_locked_account_is_held_for_as_long_as_mana_auth_says() {
    let body = |seconds: Value| json!({"error": "ACCOUNT_LOCKED", "retryAfterSec": seconds});
    let answers: [(Fault, u64); 3] = [
        (Fault::retry_after(429, 900, body(json!(900)).to_string()), 900),
        (Fault::status(429, body(json!(700)).to_string()), 700),
        // If the answer gives no time, the half hour of the contract applies.
        (Fault::status(429, r#"{"error":"ACCOUNT_LOCKED"}"#), 1_800),
    ];
    let forms =
        answers.into_iter().flat_map(|(fault, s)| [(LOGIN, fault.clone(), s), (SIGN_IN, fault, s)]);
    for_each(forms, |(form, fault, seconds)| async move {
        let world = Setup::one(&["todo"]).idle().var("RUN_BACKOFF_MS", 1).start().await;
        world.peers.auth.served.faults.on(1, Method::POST, form, fault);
        let result = world.tick().await;
        let error = result["failed"][0]["error"].as_str().unwrap();
        assert!(error.contains("429 ACCOUNT_LOCKED"), "{form}: {error}");
        assert_eq!(world.asked(form, None).len(), 1, "not repeated");
        world.clock.advance(Duration::from_secs(seconds) - SECOND);
        all_are_held_back(&world, 1).await;
        assert_eq!(world.asked(form, None).len(), 1, "{form} {seconds}");
        world.clock.advance(SECOND);
        assert_eq!(world.good_tick().await["ranSuccessfully"], 1, "{form} {seconds}");
    })
    .await;
}

/// The only test that waits in real time, because the rate limit uses real time.
#[tokio::test]
async fn after_a_rate_limit_no_login_is_sent_for_ten_seconds_and_then_all_succeed() {
    // Detecting that the running service wants cookies costs one additional login.
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
            // Three logins in ten seconds are accepted.
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

/// Anna and Ben have had a good day, then Ben was deleted; the newer service keeps listing him.
async fn with_a_deleted_user() -> World {
    let personas_elsewhere = Some(NewerOptions::default());
    let setup = Setup { personas_elsewhere, ..Setup::many(&["anna", "ben"]).short_days() };
    // The shortest back-off, so that Ben is not held back by it.
    let setup = setup.var("RUN_BACKOFF_MS", 1);
    let world = setup.start().await;
    world.peers.clock.set_speed(0.0);
    assert_eq!(world.good_tick().await["ranSuccessfully"], 2);
    world.peers.auth.delete_user(&world.users[1]).await;
    world.advance(Duration::from_secs(25 * 3_600));
    world
}

#[tokio::test]
async fn a_deleted_user_that_stays_due_is_logged_once_a_day_and_does_not_stop_others() {
    let logs = Logs::capture("info");
    let mut world = with_a_deleted_user().await;
    let ben = world.users[1].clone();
    let blamed = || logs.lines_with("WARN").iter().filter(|line| line.contains(&ben)).count();
    let result = world.tick().await;
    assert_eq!(result["ranSuccessfully"], 1, "{result}");
    for day in 1..=2 {
        for _ in 0..3 {
            world.advance(HALF_AN_HOUR);
            // Only Ben is due.
            let result = world.tick().await;
            assert_eq!(result["due"], 1, "{result}");
            let error = failure_of(&result, "ben").unwrap();
            assert!(error.contains("401 INVALID_CREDENTIALS"), "{error}");
            let (status, body) = world.call(Method::GET, "/ready").await;
            assert_eq!((status, body), (StatusCode::OK, json!({"ready": true})));
            assert_eq!(world.health().await["status"], "ok");
        }
        assert_eq!(blamed(), day, "{:?}", logs.lines_with("WARN"));
        assert_eq!(logs.lines_with("ERROR"), Vec::<String>::new());
        world.advance(Duration::from_secs(20 * 3_600));
        world.peers.auth.set_last_active_at(&world.users[0], Some(world.peers.clock.now())).await;
    }
    // After a restart the journal shows that other personas logged in; another secret has not been confirmed
    // yet.
    for (secret, is_ready) in [(SEED_SECRET, true), ("another-secret", false)] {
        world.stop().await;
        world.start_again(&[("PERSONA_SEED_SECRET", secret)]).await;
        world.advance(HALF_AN_HOUR);
        assert_eq!(world.tick().await["failed"].as_array().unwrap().len(), 1);
        let (status, body) = world.call(Method::GET, "/ready").await;
        assert_eq!(status == StatusCode::OK, is_ready, "{secret}: {body}");
    }
    assert_eq!(logs.lines_with("ERROR").len(), 1);
}

#[tokio::test]
async fn a_login_by_diag_also_confirms_the_secret() {
    let world = Setup::default().start().await;
    let seed = async |name: &str, secret: &'static str| {
        let people = [persona(name, &["todo"])];
        world.peers.auth.seed(&people, |email| derive_password(secret, email)).await.unwrap();
    };
    seed("ben", "another-secret").await;
    world.tick().await;
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    seed("anna", SEED_SECRET).await;
    let (status, _) = world.call(Method::GET, "/diag/login?email=persona.anna@mana.test").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn ticks_and_diag_logins_together_never_lock_an_account_over_a_restart_either() {
    for_each([Deployment::Running, Deployment::Seeds], |deployment| async move {
        let setup = Setup::default().peers(|peers| peers.auth.deployment = deployment);
        let mut world = setup.start().await;
        world.peers.clock.set_speed(0.0);
        let ben = [persona("ben", &["todo"])];
        world.peers.auth.seed(&ben, |_| "chosen by himself".into()).await.unwrap();
        world.tick().await;
        let diag = async |world: &World, email: &str| {
            let path = format!("/diag/login?email={email}");
            let (status, body) = world.call(Method::GET, &path).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{body}");
            body["error"].as_str().unwrap().to_owned()
        };
        // mana-auth treats another spelling of the e-mail as the same account.
        for email in [&*ben[0].email, "Persona.Ben@mana.test"] {
            let error = diag(&world, email).await;
            assert!(error.contains("401 INVALID_CREDENTIALS"), "{error}");
        }
        world.stop().await;
        world.start_again(&[]).await;
        diag(&world, &ben[0].email).await;
        let sent = || world.asked(LOGIN, None).len() + world.asked(SIGN_IN, None).len();
        assert_eq!(sent(), 4);
        for _ in 0..3 {
            let error = diag(&world, &ben[0].email).await;
            let says = ["not sent before 2026-03-09T11:15:00Z", "locks it", "PERSONA_SEED_SECRET"];
            assert!(says.iter().all(|part| error.contains(part)), "{error}");
        }
        assert_eq!(sent(), 4, "{deployment:?}");
        // Other accounts are not affected, and a quarter of an hour later the login is attempted again.
        assert!(diag(&world, "nobody@mana.test").await.contains("401"));
        world.advance(Duration::from_secs(900));
        assert!(diag(&world, &ben[0].email).await.contains("401 INVALID"), "not locked");
    })
    .await;
}

#[tokio::test]
async fn refusals_of_the_cookie_form_count_like_those_of_the_login() {
    let world = Setup::one(&["todo"]).idle().start().await;
    world.peers.clock.set_speed(0.0);
    // From then on the daemon knows that this deployment wants the form with cookies.
    world.good_tick().await;
    let ben = [persona("ben", &["todo"])];
    world.peers.auth.seed(&ben, |_| "chosen by himself".into()).await.unwrap();
    let path = format!("/diag/login?email={}", ben[0].email);
    for _ in 0..4 {
        let (_, body) = world.call(Method::GET, &path).await;
        assert!(body["error"].as_str().unwrap().contains("401 INVALID_CREDENTIALS"), "{body}");
    }
    assert_eq!(tries(&world)[&ben[0].email], 4);
    let failed = world.tick().await["failed"][0]["error"].clone();
    assert!(failed.as_str().unwrap().contains("not sent before"), "{failed}");
    assert_eq!(tries(&world)[&ben[0].email], 4);
    assert_eq!(world.asked(LOGIN, None).len(), 1, "Anna's first");
}
