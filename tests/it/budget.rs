//! Spending limits, and what happens when one is reached.

use std::time::Duration;

use devstack::fault::Fault;
use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    script::{make_due, outcomes},
    support::{Setup, World, path, patiently},
};

const DAY: Duration = Duration::from_secs(86_400);

/// The cost of a whole day of one persona, taken from a run without a cap.
async fn cost_of_a_day() -> f64 {
    let world = Setup::many(&["anna"]).short_days().start().await;
    world.good_tick().await["costUsd"].as_f64().unwrap()
}

/// The amount that is reserved for the first request of a day.
async fn most_of_a_first_request() -> f64 {
    let world = Setup::many(&["anna"]).short_days().start().await;
    world.peers.claude.served.faults.inject(1, Fault::Hang, |_| true);
    drop(world.begin_tick());
    patiently("the request", world.peers.claude.served.recorder.wait_for(1, |_| true)).await;
    world.journal().await.latest_runs(1).await.unwrap()[0].spent.dollars()
}

/// Waits until the metrics show whether the cap of a day is reached.
async fn shows_reached(world: &World, reached: bool) {
    patiently("the metric of the cap", async {
        let series = "budget_cap_reached{scope=\"day\"}";
        while world.metric(series).await != Some(f64::from(u8::from(reached))) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.metric("budget_cap_reached{scope=\"month\"}").await, Some(0.0));
}

#[tokio::test]
async fn the_fleets_cap_stops_new_runs_until_the_next_day_also_after_a_restart() {
    let mut world =
        Setup::many(&["anna", "ben"]).short_days().var("BUDGET_DAILY_USD", "0.0001").start().await;
    let result = world.good_tick().await;
    let counts = ["ranSuccessfully", "skipped"].map(|count| result[count].clone());
    assert_eq!(counts, [json!(0), json!(2)], "{result}");
    assert_eq!(result["skippedBecause"], json!({"budget": 2}));
    assert_eq!(world.peers.claude.requests().len(), 0, "money is reserved first");
    let reason = world.health().await["reason"].to_string();
    assert!(reason.contains("BUDGET_DAILY_USD"), "{reason}");
    shows_reached(&world, true).await;

    let logins = |world: &World| {
        world.asked(path::LOGIN, None).len() + world.asked(path::SIGN_IN, None).len()
    };
    let before = logins(&world);
    world.stop().await;
    world.start_again(&[]).await;
    assert_eq!(world.good_tick().await["skippedBecause"], json!({"budget": 2}));
    assert_eq!(logins(&world), before, "nobody logs in for nothing");
    shows_reached(&world, true).await;

    let now = world.clock.now();
    world.clock.advance(DAY);
    assert!(world.health().await["reason"].is_null(), "another day is another budget");
    shows_reached(&world, false).await;
    world.clock.set(now);

    // Another cap applies at once.
    world.stop().await;
    world.start_again(&[("BUDGET_DAILY_USD", "5")]).await;
    shows_reached(&world, false).await;
    assert_eq!(world.good_tick().await["ranSuccessfully"], 2);
    assert!(world.health().await["reason"].is_null());
}

#[tokio::test]
async fn a_personas_daily_budget_is_renewed_at_midnight() {
    let mut world =
        Setup::many(&["anna"]).short_days().var("PERSONA_DAILY_USD", "0.0001").start().await;
    // The run lasts until after midnight.
    let end = CancellationToken::new();
    let mcp = &world.peers.mcp.served;
    mcp.faults.inject(1, Fault::Hold(end.clone()), |r| r.method == Method::DELETE);
    let tick = world.begin_tick();
    let closing = mcp.recorder.wait_for(1, |r| r.method == Method::DELETE);
    patiently("the end of the session", closing).await;
    world.clock.advance(DAY / 2 + DAY / 24);
    end.cancel();
    let (_, body) = patiently("the tick", tick).await.unwrap();
    let for_its_money = json!({"persona-budget": 1});
    assert_eq!(body["result"]["skippedBecause"], for_its_money, "{body}");
    for runs in [2, 2] {
        // A run that is refused again on the new day is held back for the rest of the day.
        assert_eq!(world.good_tick().await["skippedBecause"], for_its_money);
        assert_eq!(world.initializes().len(), runs);
    }
    world.stop().await;
    world.start_again(&[]).await;
    assert_eq!(world.good_tick().await["skippedBecause"], for_its_money, "after a restart too");
}

#[tokio::test]
async fn a_run_that_meets_a_cap_ends_cleanly_with_what_it_has() {
    // Enough to reserve the first request, but not for its cost and the second reservation together.
    let cap = format!("{:.12}", most_of_a_first_request().await);
    let world = Setup::many(&["anna"]).short_days().var("PERSONA_DAILY_USD", &cap).start().await;
    world.peers.claude.answer_with(|request| {
        (!request.is_rating())
            .then(|| devstack::claude::Scripted::tools(&[("habits_list", json!({}))]))
    });
    let result = world.good_tick().await;
    assert_eq!(result["ranSuccessfully"], 1, "{result}");
    let actions = world.actions().await;
    assert!(!actions.is_empty());
    assert!(outcomes(&actions).iter().all(|(_, result)| *result == "ok"), "no mark of a failure");
    assert_eq!(world.feedback().await.len(), 0, "no money for a rating");
    let spent = result["costUsd"].as_f64().unwrap();
    assert!(spent <= cap.parse().unwrap(), "{spent} of {cap}");
    make_due(&world).await;
    world.clock.advance(DAY);
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1, "another day, another budget");
}

#[tokio::test]
async fn concurrent_personas_wait_for_each_others_reservations_and_never_exceed_the_cap() {
    let names: Vec<_> = (0..12).map(|n| format!("p{n}")).collect();
    let day = cost_of_a_day().await;
    // All runs fit under this cap, but twelve reservations at the same time do not.
    let cap = day * 12.0 + 0.02;
    let world = Setup::many(&names)
        .short_days()
        .var("PERSONA_CONCURRENCY", 12)
        .var("BUDGET_DAILY_USD", format!("{cap:.6}"))
        .start()
        .await;
    let result = world.good_tick().await;
    assert_eq!(result["ranSuccessfully"], 12, "{result}");
    let (today, _) = world.journal().await.fleet_spending(world.clock.now()).await.unwrap();
    assert!(today.dollars() <= cap, "{today} of {cap}");
    let cost = result["costUsd"].as_f64().unwrap();
    assert!((today.dollars() - cost).abs() < 1e-9, "{today} in the ledger, {cost} cost");
}
