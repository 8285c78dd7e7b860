//! The gauges in /metrics about the journal, right after a tick and after a restart.

use crate::support::Setup;

#[tokio::test]
async fn when_a_tick_has_been_answered_its_cost_and_end_are_in_the_metrics() {
    let mut world = Setup::many(&["anna"]).short_days().start().await;
    let cost = world.good_tick().await["costUsd"].as_f64().unwrap();
    let used = world.metric(r#"budget_used_usd{scope="day"}"#).await.unwrap();
    assert!(cost > 0.0 && (used - cost).abs() < 1e-9, "{used} used, {cost} told");
    let free = world.metric("journal_disk_free_bytes").await.unwrap();
    assert!(free > 0.0, "{free}");
    let finished = world.metric("last_finished_run_timestamp_seconds").await.unwrap();
    assert_eq!(finished, world.clock.now().as_millisecond() as f64 / 1_000.0);

    world.stop().await;
    world.advance(std::time::Duration::from_secs(3_600));
    world.start_again(&[]).await;
    let again = world.metric("last_finished_run_timestamp_seconds").await;
    assert_eq!(again, Some(finished), "a restart is no finished run");
}
