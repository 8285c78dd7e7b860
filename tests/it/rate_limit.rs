//! The rate limit of the personas endpoint: all requests wait for its end together, and no failure is
//! reported.

use std::time::{Duration, Instant};

use devstack::{auth::NewerOptions, fault::Fault, recorder::Recorded};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use mana_persona_runner::{app::ProcessEnd, journal::PostKind};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Setup, World, logs::Logs, patiently};

/// A 429 in the newer service's form, whose limit is reset in this many seconds.
fn limited(seconds: i64) -> Fault {
    let now = Timestamp::constant(1_700_000_000, 0);
    let date = now.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("date", date),
        ("x-ratelimit-limit", "200".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", (now.as_second() + seconds).to_string()),
    ];
    Fault::Respond { status: 429, headers, body: r#"{"error":"Too many requests"}"#.into() }
}

fn is_posted(kind: &'static str) -> impl Fn(&Recorded) -> bool + Clone {
    move |r| r.method == Method::POST && r.path().ends_with(kind)
}

/// The requests to the personas endpoint, in order.
fn asked(world: &World) -> Vec<Recorded> {
    let recorder = &world.peers.auth.served.recorder;
    recorder.matching(|r| r.path().starts_with("/api/v1/internal/personas/"))
}

/// Checks that no tick and no metric of an alert counts the limit as a failure.
async fn nothing_failed(world: &World, logs: &Logs) {
    assert_eq!(world.metric(r#"ticks_total{outcome="failed"}"#).await.unwrap_or_default(), 0.0);
    let (status, body) = world.call(Method::GET, "/ready").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    for level in ["WARN", "ERROR"] {
        assert_eq!(logs.lines_with(level), Vec::<String>::new());
    }
}

#[tokio::test]
async fn all_runs_wait_for_the_newer_services_window_and_every_row_lands() {
    let logs = Logs::capture("info");
    let window = SignedDuration::from_secs(2);
    let names = ["anna", "ben", "cleo", "dora", "emil", "fritz"];
    let setup = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 6);
    // Enough for /due and the actions, but not for one rating.
    let personas_elsewhere = Some(NewerOptions { rate_limit: 7, window });
    let world = Setup { personas_elsewhere, ..setup }.start().await;
    let result = world.good_tick().await;
    assert_eq!((&result["ranSuccessfully"], &result["undelivered"]), (&json!(6), &json!(0)));
    assert_eq!(world.feedback().await.len(), 6);
    let all = world.elsewhere.as_ref().unwrap().recorder.all();
    let refused: Vec<_> =
        all.iter().filter(|r| r.status == Some(StatusCode::TOO_MANY_REQUESTS)).collect();
    assert!((1..=6).contains(&refused.len()), "only what was under way together: {refused:?}");
    assert_eq!(all.len(), 13 + refused.len());
    nothing_failed(&world, &logs).await;
}

#[tokio::test]
async fn a_limit_without_a_duration_holds_all_posts_and_the_ratings_are_still_made() {
    let logs = Logs::capture("info");
    // The personas run one after another: the second one finds the gate closed.
    let setup = Setup::many(&["anna", "ben"]).short_days().var("PERSONA_CONCURRENCY", 1);
    let world = setup.start().await;
    let faults = &world.peers.auth.served.faults;
    faults.inject(1, Fault::status(429, ""), is_posted("/actions"));
    let result = world.good_tick().await;
    assert_eq!((&result["ranSuccessfully"], &result["undelivered"]), (&json!(2), &json!(2)));
    let rated = world.peers.claude.requests().iter().filter(|r| r.is_rating()).count();
    assert_eq!(rated, 2);
    // The answer to a requested tick says when the limit ends, and no request is sent.
    let before = asked(&world).len();
    for _ in 0..3 {
        let (status, body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let error = body["error"].as_str().unwrap();
        assert!(error.contains("429") && error.contains("before 2026-03-09T11:0"), "{error}");
    }
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(asked(&world).len(), before);
    assert_eq!(before, 2, "/due and the first post");
    // The limit was not counted as an attempt of a row.
    let posts = world.journal().await.kept_posts().await.unwrap();
    assert_eq!(posts.len(), 4);
    assert!(posts.iter().all(|post| post.attempts == 0 && post.reason.is_none()), "{posts:?}");
    assert_eq!(world.metric(r#"ticks_total{outcome="rate_limited"}"#).await, Some(3.0));
    nothing_failed(&world, &logs).await;
}

#[tokio::test]
async fn the_limit_can_hit_ratings_alone_and_a_past_reset_causes_no_burst() {
    let world = Setup::many(&["anna"]).short_days().start().await;
    world.peers.auth.served.faults.inject(2, limited(-90), is_posted("/feedback"));
    let result = world.good_tick().await;
    assert_eq!(result["undelivered"], 0, "{result}");
    let ratings = world.peers.auth.served.recorder.matching(is_posted("/feedback"));
    assert_eq!(ratings.len(), 3);
    let pauses = ratings.windows(2).map(|two| two[1].at - two[0].at);
    for (pause, least) in pauses.zip([1, 2]) {
        assert!(pause >= Duration::from_secs(least), "{pause:?}");
    }
    assert!(ratings.iter().all(|post| post.body == ratings[0].body));
    assert_eq!(world.feedback().await.len(), 1);
}

#[tokio::test]
async fn a_rate_limited_delivery_of_the_outbox_is_not_an_attempt() {
    let world = Setup::many(&["anna"]).short_days().start().await;
    let faults = &world.peers.auth.served.faults;
    faults.inject(3, Fault::status(503, "{}"), is_posted("/actions"));
    faults.inject(1, limited(30), is_posted("/actions"));
    assert_eq!(world.good_tick().await["undelivered"], 1);
    world.clock.advance(Duration::from_secs(2));
    let recorder = &world.peers.auth.served.recorder;
    let is_refused = |r: &Recorded| r.status == Some(StatusCode::TOO_MANY_REQUESTS);
    patiently("the delivery", recorder.wait_for(1, is_refused)).await;
    let (status, _) = patiently("the limit to be known", async {
        loop {
            let answer = world.call(Method::POST, "/diag/tick").await;
            if answer.0 == StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    world.clock.advance(Duration::from_secs(600));
    let posts = world.journal().await.kept_posts().await.unwrap();
    let actions = posts.iter().find(|post| post.kind == PostKind::Actions.as_str()).unwrap();
    assert_eq!(actions.attempts, 1, "the run's own");
    assert!(actions.reason.as_ref().unwrap().contains("503"), "{actions:?}");
}

#[tokio::test]
async fn after_the_limit_a_hanging_post_blocks_no_other_request() {
    let world = Setup::many(&["anna"]).short_days().start().await;
    let faults = &world.peers.auth.served.faults;
    faults.inject(3, Fault::status(503, "{}"), is_posted("/actions"));
    faults.inject(1, limited(1), is_posted("/actions"));
    faults.inject(1, Fault::Hang, is_posted("/actions"));
    assert_eq!(world.good_tick().await["undelivered"], 1);
    world.clock.advance(Duration::from_secs(2));
    // The delivery waited for the end of the limit and now hangs.
    patiently("a post that hangs", async {
        while !faults.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test]
async fn a_tick_of_the_interval_waits_for_the_limit_and_a_stop_ends_the_wait() {
    let logs = Logs::capture("info");
    let mut world = Setup::one(&["habits"]).short_days().var("TICK_INTERVAL_MS", 50).start().await;
    let faults = &world.peers.auth.served.faults;
    faults.on(1, Method::GET, "/due", limited(2));
    let recorder = world.peers.auth.served.recorder.clone();
    let lists = |r: &Recorded| r.path().ends_with("/due");
    patiently("the next list", recorder.wait_for(2, lists)).await;
    let two = recorder.matching(lists);
    assert!(two[1].at - two[0].at >= Duration::from_secs(2));
    world.metric_reaches(r#"ticks_total{outcome="completed"}"#, 1.0).await;
    nothing_failed(&world, &logs).await;

    faults.on(1, Method::GET, "/due", limited(50));
    let is_refused = |r: &Recorded| r.status == Some(StatusCode::TOO_MANY_REQUESTS);
    patiently("the limit", recorder.wait_for(2, is_refused)).await;
    // While a tick waits, the answer to another requested tick also says when the limit ends.
    let (status, body) = patiently("the limit to be known", async {
        loop {
            let answer = world.call(Method::POST, "/diag/tick").await;
            if answer.0 == StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body["error"].as_str().unwrap().contains("2026-03-09T11:0"), "{body}");
    let stopped = Instant::now();
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert!(stopped.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_stop_during_a_limit_leaves_the_rows_in_the_outbox() {
    let setup = Setup::many(&["anna"]).short_days().var("SHUTDOWN_GRACE_MS", 60_000);
    let mut world = setup.start().await;
    world.peers.auth.served.faults.inject(1, limited(9), is_posted("/actions"));
    let tick = world.begin_tick();
    let recorder = world.peers.auth.served.recorder.clone();
    let is_refused = |r: &Recorded| r.status == Some(StatusCode::TOO_MANY_REQUESTS);
    patiently("the limit", recorder.wait_for(1, is_refused)).await;
    assert_eq!(world.stop().await, ProcessEnd::Drained, "nobody waits for the limit's end");
    patiently("the tick", tick).await.unwrap();
    assert_eq!(recorder.matching(is_posted("/actions")).len(), 1);
    let posts = world.journal().await.kept_posts().await.unwrap();
    assert_eq!((posts.len(), posts[0].attempts), (1, 0));
    // The next process does not know the limit, and posts the rows.
    world.start_again(&[]).await;
    patiently("the rows", recorder.wait_for(2, is_posted("/actions"))).await;
}

#[tokio::test]
async fn an_error_of_the_endpoint_names_its_url_and_the_variable_to_look_at() {
    let personas_elsewhere = Some(NewerOptions::default());
    let setup = Setup { personas_elsewhere, ..Setup::one(&["habits"]) };
    let mut world = setup.start().await;
    let newer = world.elsewhere.as_ref().unwrap().url.clone();
    let auth = world.peers.auth.url().to_owned();
    let gone = "http://127.0.0.1:1".to_owned();
    for (changed, says) in [
        (vec![("MANA_PERSONAS_URL", format!("{newer}/api/v1/wrong"))], "401"),
        (vec![("MANA_PERSONAS_URL", format!("{newer}/wrong"))], "404"),
        (vec![("MANA_PERSONAS_URL", String::new()), ("MANA_API_URL", auth)], "404"),
        (vec![("MANA_API_URL", gone)], "mana-personas"),
    ] {
        world.stop().await;
        let vars: Vec<_> = changed.iter().map(|(name, value)| (*name, &**value)).collect();
        world.start_again(&vars).await;
        let (status, body) = world.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        let error = body["error"].as_str().unwrap();
        let (name, url) = vars.last().unwrap();
        for part in [says, *name, *url] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
