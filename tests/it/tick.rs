//! When ticks happen, which personas run in one, and that failures stay with their persona.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use devstack::{auth::NewerOptions, fault::Fault, recorder::Recorded};
use mana_persona_runner::app::ProcessEnd;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Setup, failure_of, patiently, persona};

const DUE: &str = "/api/v1/internal/personas/due";
const HOUR: Duration = Duration::from_secs(3_600);

fn asks_who_is_due(request: &Recorded) -> bool {
    request.method == Method::GET && request.path() == DUE
}

/// Whether a request to Claude belongs to the persona of this name.
fn is_about(name: &str) -> impl Fn(&Recorded) -> bool + use<> {
    let says = format!("Du bist {name}, ");
    move |request| String::from_utf8_lossy(&request.body).contains(&says)
}

/// The outcome of a tick: due, ranSuccessfully, skipped, number of failed runs.
fn counts(result: &Value) -> [u64; 4] {
    let number = |key: &str| result[key].as_u64().unwrap();
    let failed = result["failed"].as_array().unwrap().len() as u64;
    [number("due"), number("ranSuccessfully"), number("skipped"), failed]
}

#[tokio::test]
async fn the_first_tick_comes_one_whole_interval_after_the_start_and_then_every_interval() {
    let interval = Duration::from_millis(1_500);
    let before = Instant::now();
    let mut world = Setup::default().var("TICK_INTERVAL_MS", interval.as_millis()).start().await;
    let recorder = world.peers.auth.served.recorder.clone();
    for n in 1..=2 {
        patiently("the tick", recorder.wait_for(n, asks_who_is_due)).await;
        assert!(before.elapsed() >= interval * n as u32, "tick {n} after {:?}", before.elapsed());
    }
    assert_eq!(world.stop().await, ProcessEnd::Drained);
}

#[tokio::test]
async fn while_a_tick_is_in_flight_no_other_begins_and_the_skipped_ones_are_counted() {
    let mut world = Setup::one(&["habits"]).short_days().var("TICK_INTERVAL_MS", 100).start().await;
    let claude = &world.peers.claude.served;
    claude.faults.on(1, Method::POST, "/v1/messages", Fault::Hang);
    patiently("the run", claude.recorder.wait_for(1, |_| true)).await;
    world.metric_reaches("ticks_total{outcome=\"overlap\"}", 3.0).await;
    assert_eq!(world.peers.auth.served.recorder.count(Method::GET, DUE), 1);
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!((status, &body["ok"]), (StatusCode::CONFLICT, &json!(false)));
    assert_eq!(world.metric("runs_in_flight").await, Some(1.0));
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    assert_eq!(world.peers.claude.served.recorder.all().len(), 1, "the run began once");
}

#[tokio::test]
async fn a_paused_runner_never_ticks() {
    let setup = || Setup::one(&["habits"]).short_days().var("TICK_INTERVAL_MS", 20);
    let paused = setup().var("RUNNER_PAUSED", "true").start().await;
    // "Never" means here: for as long as another runner takes for many ticks.
    let busy = setup().start().await;
    busy.metric_reaches("ticks_total{outcome=\"completed\"}", 20.0).await;
    let (status, body) = paused.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&body["ok"], &body["paused"]), (&json!(true), &json!(true)));
    assert_eq!(counts(&body["result"]), [0, 0, 0, 0]);
    assert_eq!(paused.call(Method::GET, "/health").await.1["tickLoop"], "paused");
    assert_eq!(paused.upstream_requests(), 0);
}

#[tokio::test]
async fn every_tick_requests_due_once() {
    let world = Setup::many(&["anna", "ben", "cleo"]).short_days().start().await;
    for ticks in 1..=3 {
        world.good_tick().await;
        assert_eq!(world.peers.auth.served.recorder.count(Method::GET, DUE), ticks);
    }
}

#[tokio::test]
async fn the_three_endpoints_can_be_on_another_service_under_another_path() {
    let setup = Setup::many(&["anna"]).short_days();
    let world = Setup { personas_elsewhere: Some(NewerOptions::default()), ..setup }.start().await;
    assert_eq!(counts(&world.good_tick().await), [1, 1, 0, 0]);
    let elsewhere = &world.elsewhere.as_ref().unwrap().recorder;
    let paths: Vec<_> = elsewhere.all().iter().map(|r| r.path().to_owned()).collect();
    let base = "/api/v1/personas/internal";
    let anna = &world.users[0];
    let expected = ["due", &format!("{anna}/actions"), &format!("{anna}/feedback")];
    assert_eq!(paths, expected.map(|path| format!("{base}/{path}")));
    let at_auth = world.peers.auth.served.recorder.matching(|r| r.path().contains("personas"));
    assert_eq!(at_auth.len(), 0);
}

#[tokio::test]
async fn a_slow_persona_never_holds_up_the_others() {
    let names = ["slow", "ben", "cleo", "dora", "emil", "fritz", "gerd"];
    let mut world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 2).start().await;
    world.peers.claude.served.faults.inject(1, Fault::Hang, is_about("slow"));
    let tick = world.begin_tick();
    let recorder = world.peers.auth.served.recorder.clone();
    let rated = recorder.wait_for(names.len() - 1, |r| {
        r.path().ends_with("/feedback") && r.status == Some(StatusCode::OK)
    });
    patiently("the others", rated).await;
    assert!(!tick.is_finished(), "the slow one is still at it");
    assert_eq!(world.stop().await, ProcessEnd::Drained);
    let (_, body) = patiently("the tick", tick).await.unwrap();
    assert_eq!(counts(&body["result"]), [7, 6, 0, 1]);
}

#[tokio::test]
async fn as_many_personas_run_at_once_as_allowed_and_never_more() {
    let names: Vec<_> = (0..9).map(|n| format!("p{n}")).collect();
    let world = Setup::many(&names)
        .short_days()
        .peers(|peers| peers.claude.latency = Duration::from_millis(300))
        .var("PERSONA_CONCURRENCY", 3)
        .start()
        .await;
    assert_eq!(counts(&world.good_tick().await), [9, 9, 0, 0]);
    assert_eq!(world.peers.claude.peak_in_flight(), 3);
    // The same for whole runs: each run has one session, from its initialize to its DELETE.
    let (mut open, mut most) = (0, 0);
    for request in world.peers.mcp.served.recorder.all() {
        match request.method {
            Method::DELETE => open -= 1,
            _ if request.json()["method"] == "initialize" => open += 1,
            _ => {}
        }
        most = most.max(open);
    }
    assert_eq!((open, most), (0, 3));
}

#[tokio::test]
async fn a_failure_of_one_persona_is_one_failed_entry_and_nothing_else() {
    let names =
        ["anna", "locked", "homeless", "toolless", "mute", "hung", "lost", "unrated", "ben"];
    let world = Setup::many(&names)
        .short_days()
        .var("PERSONA_CONCURRENCY", names.len())
        .var("PERSONA_TIMEOUT_MS", 20_000)
        .start()
        .await;
    let user = |name: &str| &world.users[names.iter().position(|n| *n == name).unwrap()];
    let (auth, mcp, claude) =
        (&world.peers.auth, &world.peers.mcp.served, &world.peers.claude.served);
    let logs_in = |r: &Recorded| String::from_utf8_lossy(&r.body).contains("persona.locked@");
    auth.served.faults.inject(9, Fault::status(403, "{}"), logs_in);
    auth.set_organizations(user("homeless"), &[]).await;
    let space = auth.space_of(user("toolless")).await.unwrap();
    let in_space = move |r: &Recorded| r.header("x-mana-space") == Some(&space);
    mcp.faults.inject(9, Fault::status(403, "{}"), in_space);
    claude.faults.inject(9, Fault::status(400, "{}"), is_about("mute"));
    claude.faults.inject(9, Fault::Hang, is_about("hung"));
    let refused = || Fault::status(400, "{}");
    let actions = format!("/{}/actions", user("lost"));
    auth.served.faults.on(9, Method::POST, &actions, refused());
    let feedback = format!("/{}/feedback", user("unrated"));
    auth.served.faults.on(9, Method::POST, &feedback, refused());

    let result = world.tick().await;
    assert_eq!(counts(&result), [9, 2, 0, 7]);
    for (name, says) in [
        ("locked", ["login", "403"]),
        ("homeless", ["personal space", "none of"]),
        ("toolless", ["initialize", "403"]),
        ("mute", ["Claude", "400"]),
        ("hung", ["PERSONA_TIMEOUT_MS", "time"]),
        ("lost", ["post_actions", "400"]),
        ("unrated", ["post_feedback", "400"]),
    ] {
        let error = failure_of(&result, name).unwrap_or_else(|| panic!("{name}: {result}"));
        assert!(says.iter().all(|word| error.contains(word)), "{name}: {error}");
    }
    let (actions, feedback) = (world.actions().await, world.feedback().await);
    for name in names {
        let acted = ["anna", "ben", "unrated"].contains(&name);
        assert_eq!(actions.iter().any(|row| row.persona_id == *user(name)), acted, "{name}");
        let rated = ["anna", "ben"].contains(&name);
        assert_eq!(feedback.iter().any(|row| row.persona_id == *user(name)), rated, "{name}");
    }
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

/// A row of /due as a correct server sends it.
fn row(user_id: &str, name: &str) -> Value {
    let persona = persona(name, &["habits"]);
    json!({
        "userId": user_id, "email": persona.email, "archetype": persona.archetype,
        "systemPrompt": persona.system_prompt, "moduleMix": persona.module_mix,
        "tickCadence": persona.cadence, "lastActiveAt": null,
    })
}

/// A row in which these fields are changed; null removes a field.
fn broken(fields: Value) -> Value {
    let mut row = row("u-broken", "broken");
    for (name, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(row.as_object_mut().unwrap().remove(name)),
            value => row[name] = value.clone(),
        }
    }
    row
}

#[tokio::test]
async fn every_malformed_row_is_a_failed_entry_and_the_others_run() {
    let world = Setup::many(&["anna", "ben"]).short_days().start().await;
    let now = world.peers.clock.now();
    world.peers.auth.set_last_active_at(&world.users[1], Some(now)).await;
    let nested = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let with_email = [
        json!({"userId": null}),
        json!({"userId": ""}),
        json!({"userId": "."}),
        json!({"userId": ".."}),
        json!({"userId": "a b"}),
        json!({"userId": "a\r\nX-Evil: 1"}),
        json!({"userId": "a\u{0}b"}),
        json!({"userId": "ünï"}),
        json!({"userId": "x".repeat(256)}),
        json!({"userId": 7}),
        json!({"userId": {"$ne": ""}}),
        json!({"systemPrompt": null}),
        json!({"systemPrompt": ""}),
        json!({"systemPrompt": " \n"}),
        json!({"systemPrompt": ["Du bist"]}),
        json!({"moduleMix": null}),
        json!({"moduleMix": "habits"}),
        json!({"moduleMix": ["habits"]}),
        json!({"moduleMix": {"habits": "0.5"}}),
        json!({"moduleMix": {"habits": null}}),
        json!({"moduleMix": nested}),
        json!({"tickCadence": null}),
        json!({"tickCadence": "sometimes"}),
        json!({"tickCadence": 1}),
    ]
    .map(broken);
    let without_email = [
        broken(json!({"email": null})),
        broken(json!({"email": ""})),
        broken(json!({"email": " "})),
        broken(json!({"email": 7})),
        broken(json!({"email": ["persona.broken@mana.test"]})),
        json!(null),
        json!(7),
        json!("persona.broken@mana.test"),
        json!([]),
        json!({}),
        nested,
    ];
    let mut rows = [&with_email[..], &without_email[..]].concat();
    let malformed = rows.len();
    rows.push(row(&world.users[1], "ben"));
    world.peers.auth.set_raw_due_rows(rows);

    let result = world.tick().await;
    assert_eq!(counts(&result), [malformed as u64 + 2, 2, 0, malformed as u64], "{result}");
    let failed = result["failed"].as_array().unwrap();
    for (place, entry) in failed.iter().enumerate() {
        let owner = entry["persona"].as_str().unwrap();
        let known = place < with_email.len();
        assert_eq!(owner == "persona.broken@mana.test", known, "row {place}: {entry}");
        assert!(!owner.is_empty(), "row {place}: {entry}");
        assert!(entry["error"].as_str().unwrap().contains("malformed"), "row {place}: {entry}");
    }
    let acted: BTreeSet<_> = world.actions().await.into_iter().map(|row| row.persona_id).collect();
    assert_eq!(acted, world.users.iter().cloned().collect());
}

#[tokio::test]
async fn a_hostile_user_id_stays_one_segment_of_the_path() {
    let world = Setup::many(&["anna", "victim"]).short_days().start().await;
    for user in &world.users {
        world.peers.auth.set_last_active_at(user, Some(world.peers.clock.now())).await;
    }
    let victim = &world.users[1];
    let hostile = [
        format!("{victim}/actions?x="),
        format!("{victim}/actions#"),
        format!("../personas/{victim}"),
        format!("..\\{victim}"),
        format!("%2e%2e/{victim}"),
        format!("./{victim}"),
    ];
    let rows = hostile.iter().map(|id| row(id, "anna")).collect();
    world.peers.auth.set_raw_due_rows(rows);
    let result = world.tick().await;
    assert_eq!(counts(&result), [6, 0, 0, 6], "{result}");
    assert_eq!(world.actions().await, []);
    let posts = world.peers.auth.served.recorder.matching(|r| r.path().contains("/internal/"));
    for post in posts.iter().filter(|r| r.method == Method::POST) {
        let rest = post.path().strip_prefix("/api/v1/internal/personas/").unwrap();
        let segments: Vec<_> = rest.split('/').collect();
        assert!(matches!(segments[..], [id, "actions"] if id != victim), "{}", post.uri);
        assert_eq!(post.uri.query(), None);
    }
}

#[tokio::test]
async fn a_persona_listed_twice_runs_once() {
    let world = Setup::many(&["anna", "ben"]).short_days().start().await;
    let again = row(&world.users[0], "anna");
    world.peers.auth.set_raw_due_rows(vec![again.clone(), again]);
    let result = world.tick().await;
    assert_eq!((&result["due"], &result["ranSuccessfully"]), (&json!(4), &json!(2)), "{result}");
    for user in &world.users {
        let path = format!("/api/v1/internal/personas/{user}/actions");
        assert_eq!(world.peers.auth.served.recorder.count(Method::POST, &path), 1);
    }
    let opening = |r: &&devstack::claude::ParsedRequest| r.turn() == 0 && !r.is_rating();
    assert_eq!(world.peers.claude.requests().iter().filter(opening).count(), 2);
}

#[tokio::test]
async fn a_run_that_left_no_mark_backs_off_by_the_daemons_clock_and_a_success_ends_it() {
    let world = Setup::one(&["habits"]).short_days().var("RUN_BACKOFF_MS", 60_000).start().await;
    let tick_with_failure = async || {
        let claude = &world.peers.claude.served;
        claude.faults.on(1, Method::POST, "/v1/messages", Fault::status(422, "{}"));
        assert_eq!(counts(&world.tick().await), [1, 0, 0, 1]);
    };
    let held_for = async |wait: Duration| {
        world.clock.advance(wait - Duration::from_millis(1));
        let before = world.upstream_requests();
        assert_eq!(counts(&world.good_tick().await), [1, 0, 1, 0], "{wait:?}");
        let spent = world.upstream_requests() - before;
        assert_eq!(spent, 1, "nothing is asked but who is due");
        world.clock.advance(Duration::from_millis(1));
    };
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        tick_with_failure().await;
        held_for(Duration::from_secs(60 * minutes)).await;
    }
    assert_eq!(world.actions().await, []);
    assert_eq!(counts(&world.good_tick().await), [1, 1, 0, 0]);
    world.peers.clock.advance(25 * HOUR);
    tick_with_failure().await;
    held_for(Duration::from_secs(60)).await;
    assert_eq!(counts(&world.good_tick().await), [1, 1, 0, 0]);
    assert_eq!(world.metric("run_backoffs_total").await, Some(9.0));
    assert_eq!(world.metric("runs_total{outcome=\"skipped\",stage=\"due\"}").await, Some(9.0));
}

#[tokio::test]
async fn a_failed_run_that_left_its_mark_needs_no_back_off() {
    let world = Setup::one(&["habits"]).short_days().start().await;
    let after_calls = |r: &Recorded| String::from_utf8_lossy(&r.body).contains("\"tool_result\"");
    world.peers.claude.served.faults.inject(1, Fault::status(422, "{}"), after_calls);
    assert_eq!(counts(&world.tick().await), [1, 0, 0, 1]);
    let actions = world.actions().await;
    assert!(actions.len() > 1, "{actions:?}");
    assert_eq!(actions.last().unwrap().tool_name, "__run");
    assert_eq!(counts(&world.good_tick().await), [0, 0, 0, 0], "it has acted today");
    world.peers.clock.advance(25 * HOUR);
    assert_eq!(counts(&world.good_tick().await), [1, 1, 0, 0]);
}

#[tokio::test]
async fn hundreds_of_personas_run_in_one_tick() {
    const PERSONAS: u64 = 200;
    let names: Vec<_> = (0..PERSONAS).map(|n| format!("p{n}")).collect();
    let world = Setup::many(&names)
        .short_days()
        .peers(|peers| peers.claude.replies = 1)
        .var("PERSONA_CONCURRENCY", 50)
        .start()
        .await;
    assert_eq!(counts(&world.good_tick().await), [PERSONAS, PERSONAS, 0, 0]);
    let mut marked: Vec<_> = world.actions().await.into_iter().map(|row| row.persona_id).collect();
    let mut users = world.users.clone();
    marked.sort();
    users.sort();
    assert_eq!(marked, users, "each has exactly one row");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}
