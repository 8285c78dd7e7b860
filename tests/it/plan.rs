//! The plan of a tick: who would run, and a ceiling that no tick exceeds.

mod worlds;

use std::{fs, time::Duration};

use devstack::{Devstack, fault::Fault, recorder::Recorded};
use mana_persona_runner::{
    domain::{Expected, Plan, Usd},
    journal::FILE_NAME,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    script::make_due,
    support::{Setup, World, in_journal},
};

const DAY: Duration = Duration::from_secs(86_400);

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

/// Why due personas would not run, as a tick reports it.
fn not_run(plan: &Plan) -> Value {
    json!(plan.not_run())
}

/// The requests that all peers have received.
fn requests(peers: &Devstack) -> Vec<Recorded> {
    let Devstack { auth, mcp, claude, .. } = peers;
    [&auth.served, &mcp.served, &claude.served].iter().flat_map(|it| it.recorder.all()).collect()
}

/// The bytes of the journal and of its log; empty where there is no file.
fn journal_bytes(peers: &Devstack) -> [Vec<u8>; 2] {
    ["", "-wal"].map(|end| {
        let file = peers.data_folder().join(format!("{FILE_NAME}{end}"));
        fs::read(file).unwrap_or_default()
    })
}

#[tokio::test]
async fn a_plan_asks_who_is_due_and_nothing_else_and_writes_nothing_also_beside_the_daemon() {
    let mut world = Setup::many(&["anna", "ben"]).short_days().start().await;
    world.good_tick().await;
    make_due(&world).await;
    world.clock.advance(DAY);
    world.nothing_in_flight().await;
    for is_up in [true, false] {
        if !is_up {
            world.stop().await;
        }
        let before = (requests(&world.peers).len(), journal_bytes(&world.peers));
        let plan = world.plan().await.unwrap();
        assert_eq!(plan.due.len(), 2);
        assert_eq!(requests(&world.peers).len(), before.0 + 1);
        assert_eq!(journal_bytes(&world.peers), before.1, "is_up: {is_up}");
    }
    let due = |r: &Recorded| r.method == Method::GET && r.path().ends_with("/due");
    let recorder = &world.peers.auth.served.recorder;
    assert_eq!(recorder.matching(due).len(), 3, "one of the tick, and one of each plan");
}

#[tokio::test]
async fn without_a_journal_and_without_a_run_a_plan_knows_the_ceiling_and_no_cost() {
    let mut world = Setup::many(&["anna", "ben"])
        .var("PERSONA_MAX_COST_USD", "0.125")
        .var("BUDGET_DAILY_USD", "7")
        .start()
        .await;
    world.stop().await;
    fs::remove_dir_all(world.peers.data_folder()).unwrap();
    let plan = world.plan().await.unwrap();
    let expected = json!({
        "schema": "plan/v1",
        "due": ["persona.anna", "persona.ben"],
        "notRun": [],
        "expectedUsd": null,
        "ceilingUsd": 0.25,
        "cap": {"name": "BUDGET_DAILY_USD", "leftUsd": 7.0},
    });
    assert_eq!(json!(plan), expected);
    assert!(!world.peers.data_folder().exists(), "a plan makes nothing");
}

#[tokio::test]
async fn the_expected_cost_is_what_the_last_runs_cost() {
    let mut setup = Setup::many(&["anna", "ben"]).short_days();
    setup.personas[1].cadence = "weekdays".into();
    let world = setup.start().await;
    let cost = world.good_tick().await["costUsd"].as_f64().unwrap();
    make_due(&world).await;
    world.clock.advance(DAY);
    let Expected { median, p90 } = world.plan().await.unwrap().expected.unwrap();
    assert!((median.dollars() - cost).abs() < 1e-9, "{median} and {cost}");
    assert_eq!(median, p90, "one run each");
    let again = world.good_tick().await["costUsd"].as_f64().unwrap();
    let plan = world.plan().await.unwrap();
    assert_eq!((plan.due.len(), plan.ceiling), (0, Usd::ZERO));
    assert_eq!(plan.expected, Some(Expected::default()), "nobody is due");
    assert!(again > 0.0);
}

#[tokio::test]
async fn whoever_would_not_run_is_told_with_the_word_of_the_tick() {
    let world = Setup::many(&["anna", "ben"]).idle().start().await;
    // The day's slot is used, although the product still calls the personas due.
    world.good_tick().await;
    for user in &world.users {
        world.peers.auth.set_last_active_at(user, None).await;
    }
    let plan = world.plan().await.unwrap();
    assert_eq!(not_run(&plan), json!({"slot-used": 2}));
    assert_eq!(plan.ceiling, Usd::ZERO);
    assert_eq!(world.good_tick().await["skippedBecause"], not_run(&plan));

    // Within ten minutes it is another day.
    let before_midnight = Duration::from_secs(13 * 3_600 - 300);
    world.advance(before_midnight);
    let plan = world.plan().await.unwrap();
    assert_eq!(not_run(&plan), json!({"slot-used": 2}));
    assert_eq!(plan.ceiling, usd(0.5), "both could run after midnight");
}

#[tokio::test]
async fn a_paused_runner_runs_nobody_and_may_be_resumed_at_once() {
    let mut world = Setup::many(&["anna", "ben"]).idle().start().await;
    assert_eq!(world.control(Method::POST, "pause").await.0, StatusCode::OK);
    let paused = world.plan().await.unwrap();
    assert_eq!((not_run(&paused), paused.ceiling), (json!({"paused": 2}), usd(0.5)));
    assert_eq!(paused.nobody.as_deref(), Some("paused on request"));
    assert_eq!(world.control(Method::POST, "resume").await.0, StatusCode::OK);
    assert_eq!(not_run(&world.plan().await.unwrap()), json!({}));
    world.stop().await;
    world.start_again(&[("RUNNER_PAUSED", "true")]).await;
    assert_eq!(not_run(&world.plan().await.unwrap()), json!({"paused": 2}));
}

#[tokio::test]
async fn a_cap_that_is_reached_runs_nobody_and_is_short() {
    let world = Setup::many(&["anna", "ben"])
        .short_days()
        .var("BUDGET_DAILY_USD", "0.0001")
        .var("BUDGET_MONTHLY_USD", "5")
        .start()
        .await;
    let before = world.plan().await.unwrap();
    assert!(!before.is_short(), "nothing is known of the costs yet");
    assert_eq!(before.ceiling, usd(0.0001));
    world.good_tick().await;
    let plan = world.plan().await.unwrap();
    assert_eq!(not_run(&plan), json!({"budget": 2}));
    assert!(plan.is_short() && plan.nobody.as_ref().unwrap().contains("BUDGET_DAILY_USD"));
    let names: Vec<_> = plan.caps.iter().map(|cap| (cap.name, cap.is_reached)).collect();
    assert_eq!(names, [("BUDGET_DAILY_USD", true), ("BUDGET_MONTHLY_USD", false)]);
    // Before the end of the day the tick may still be under way when the cap is renewed.
    world.advance(Duration::from_secs(12 * 3_600 + 2_700));
    assert_eq!(world.plan().await.unwrap().ceiling, usd(0.0002));
}

#[tokio::test]
async fn money_is_short_if_a_cap_has_less_left_than_the_last_runs_cost() {
    let mut world = Setup::many(&["anna", "ben"]).short_days().start().await;
    let cost = world.good_tick().await["costUsd"].as_f64().unwrap();
    make_due(&world).await;
    world.advance(DAY);
    for (share, is_short) in [(1.01, false), (0.99, true)] {
        world.stop().await;
        let cap = format!("{:.9}", share * cost);
        world.start_again(&[("BUDGET_DAILY_USD", &cap)]).await;
        let plan = world.plan().await.unwrap();
        let json = json!(plan);
        let [p90, left] = ["/expectedUsd/p90", "/cap/leftUsd"]
            .map(|at| json.pointer(at).unwrap().as_f64().unwrap());
        assert!((p90 - cost).abs() < 1e-9, "the cap does not lower what is expected: {json}");
        assert_eq!((plan.is_short(), p90 > left), (is_short, is_short), "{json}");
        assert_eq!((not_run(&plan), plan.ceiling), (json!({}), plan.caps[0].left));
    }
}

#[tokio::test]
async fn a_cap_that_was_lowered_below_what_is_spent_runs_nobody() {
    let mut setup = Setup::many(&["anna", "ben"]).short_days();
    setup.personas.iter_mut().for_each(|persona| persona.cadence = "hourly".into());
    let mut world = setup.start().await;
    let mut cost = world.good_tick().await["costUsd"].as_f64().unwrap();
    world.advance(Duration::from_secs(3_600));
    for user in &world.users {
        world.peers.auth.set_last_active_at(user, None).await;
    }
    for (name, other) in
        [("BUDGET_DAILY_USD", "BUDGET_MONTHLY_USD"), ("BUDGET_MONTHLY_USD", "BUDGET_DAILY_USD")]
    {
        world.stop().await;
        cost /= 2.0;
        world.start_again(&[(name, &format!("{cost:.9}")), (other, "")]).await;
        let plan = world.plan().await.unwrap();
        let json = json!(plan);
        assert_eq!(json["cap"], json!({"name": name, "leftUsd": 0.0}));
        assert_eq!(not_run(&plan), json!({"budget": 2}));
        assert_eq!((plan.ceiling, plan.is_short()), (Usd::ZERO, true), "{json}");
        assert!(plan.nobody.unwrap().contains(name));
    }
}

#[tokio::test]
async fn odd_rows_of_due_are_counted_and_run_nowhere() {
    let world = Setup::default().start().await;
    let mut rows: Vec<Value> = Vec::new();
    for id in ["one", "one", "two"] {
        rows.push(json!({
            "userId": id, "email": format!("<script>`|{id}\u{202e}@mana.test"), "systemPrompt": "x",
            "moduleMix": {"habits": 1.0}, "tickCadence": "daily",
        }));
    }
    rows.push(json!({"userId": "three"}));
    world.peers.auth.set_raw_due_rows(rows);
    let plan = world.plan().await.unwrap();
    let labels: Vec<_> = plan.due.iter().map(|persona| &*persona.label).collect();
    assert_eq!(labels, ["<script>`|one\u{202e}", "<script>`|two\u{202e}"]);
    assert_eq!((plan.unusable, plan.ceiling), (2, usd(0.5)));
}

#[tokio::test]
async fn the_error_says_why_nobody_knows_who_is_due() {
    let world = Setup::many(&["anna"]).start().await;
    for (times, status, expected) in [
        (1, 401, "is MANA_SERVICE_KEY the service's, and the URL right?"),
        (1, 429, "has a rate limit (429) and is not asked again before"),
        (3, 503, "answered 503"),
    ] {
        let due = |r: &Recorded| r.path().ends_with("/due");
        world.peers.auth.served.faults.inject(times, Fault::status(status, "no"), due);
        let error = world.plan().await.unwrap_err().to_string();
        assert!(
            error.starts_with("who is due is not known: ") && error.contains(expected),
            "{error}"
        );
        assert!(error.contains("MANA_AUTH_URL"), "{error}");
    }
    assert_eq!(world.plan().await.unwrap().due.len(), 1);
}

#[tokio::test]
async fn the_json_is_what_its_schema_says() {
    let path = format!("{}/docs/schema/plan-v1.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("urn:plan", schema).unwrap();
    let schema = compiler.compile("urn:plan", &mut schemas).unwrap();
    let is_valid = |plan: &Value| schemas.validate(plan, schema).is_ok();
    let world = Setup::many(&["anna", "ben"]).short_days().start().await;
    for _ in 0..2 {
        let plan = json!(world.plan().await.unwrap());
        assert!(is_valid(&plan), "{plan}");
        for key in plan.as_object().unwrap().keys() {
            let mut less = plan.clone();
            less.as_object_mut().unwrap().remove(key);
            assert!(!is_valid(&less), "without {key}");
        }
        world.good_tick().await;
    }
}

/// What a world has cost, by the ledger.
async fn in_ledger(world: &World) -> f64 {
    const SUM: &str = "SELECT CAST(COALESCE(SUM(CAST(amount AS INTEGER)), 0) AS TEXT) FROM ledger \
         WHERE scope = 'fleet' AND LENGTH(period) = 10";
    let sum = in_journal(world, SUM).await.remove(0);
    Usd::from_picodollars(sum.parse().unwrap()).dollars()
}
