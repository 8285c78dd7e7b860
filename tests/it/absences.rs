//! Why due personas did not run, and when the runner was up.

use std::time::Duration;

use devstack::fault::Fault;
use reqwest::Method;

use crate::{
    script::make_due,
    support::{Setup, World, in_journal, path::LOGIN},
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The absences: persona, slot and reason.
async fn absences(world: &World) -> Vec<String> {
    let sql = "SELECT label || ' ' || slot || ' ' || why FROM absences \
               JOIN personas ON personas.id = persona_id ORDER BY slot, label";
    in_journal(world, sql).await
}

/// The hours in which the runner was up.
async fn hours(world: &World) -> Vec<String> {
    let hour = "SELECT strftime('%dT%H', hour / 1000, 'unixepoch') FROM ticks ORDER BY hour";
    in_journal(world, hour).await
}

/// The halts: kind, begin and end.
async fn halts(world: &World) -> Vec<String> {
    let sql = "SELECT kind || ' ' || strftime('%dT%H:%M', began_at / 1000, 'unixepoch') || ' ' \
               || COALESCE(strftime('%dT%H:%M', ended_at / 1000, 'unixepoch'), '-') \
               FROM halts ORDER BY began_at, kind";
    in_journal(world, sql).await
}

async fn control(world: &World, path: &str) {
    let (status, body) = world.control(Method::POST, path).await;
    assert!(status.is_success(), "{path}: {body}");
}

#[tokio::test]
async fn a_used_up_budget_is_an_absence_of_each_due_persona_until_a_run_takes_the_slot() {
    let setup = Setup::many(&["anna", "ben"]).idle().var("BUDGET_DAILY_USD", "0.0001");
    let mut world = setup.start().await;
    world.good_tick().await;
    world.good_tick().await;
    assert_eq!(absences(&world).await, [""; 0], "the runs that met the cap have taken this slot");
    world.peers.clock.advance(DAY);
    world.good_tick().await;
    let expected = ["persona.anna 2026-03-10 budget", "persona.ben 2026-03-10 budget"];
    assert_eq!(absences(&world).await, expected);
    let kept = "SELECT archetype || ' ' || cadence || ' ' || mix FROM personas LIMIT 1";
    assert_eq!(in_journal(&world, kept).await, [r#"adhd-student daily {"habits":1.0}"#]);
    world.stop().await;
    world.start_again(&[("BUDGET_DAILY_USD", "5")]).await;
    world.good_tick().await;
    assert_eq!(absences(&world).await, [""; 0], "both have had their run");
    world.good_tick().await;
    assert_eq!(absences(&world).await, [""; 0], "a used slot is no absence");
}

#[tokio::test]
async fn who_is_held_back_after_a_failure_is_absent_from_the_next_slot_only() {
    let world = Setup::many(&["anna"]).idle().var("RUN_BACKOFF_MS", 3_600_000).start().await;
    world.peers.auth.served.faults.on(1, Method::POST, LOGIN, Fault::status(422, "{}"));
    world.tick().await;
    world.good_tick().await;
    assert_eq!(absences(&world).await, [""; 0], "the failed run has taken this slot");
    world.peers.clock.advance(DAY);
    world.good_tick().await;
    assert_eq!(absences(&world).await, ["persona.anna 2026-03-10 held-back"]);
}

#[tokio::test]
async fn a_tick_whose_model_stops_leaves_absences_and_the_begin_and_end_of_the_stop() {
    let setup = Setup::many(&["anna", "ben"]).idle().var("PERSONA_CONCURRENCY", 1);
    let mut world = setup.start().await;
    let refused = Fault::status(401, "{}");
    world.peers.claude.served.faults.on(1, Method::POST, "/v1/messages", refused);
    world.tick().await;
    let absent = absences(&world).await;
    assert!(absent.len() == 1 && absent[0].ends_with("2026-03-09 model-stopped"), "{absent:?}");
    assert_eq!(halts(&world).await, ["model-stopped 09T11:00 -"]);
    world.advance(HOUR);
    // Nobody is asked who is due, and the runner is up.
    world.call(Method::POST, "/diag/tick").await;
    world.kill().await;
    world.start_again(&[]).await;
    world.good_tick().await;
    assert_eq!(absences(&world).await, [""; 0], "the other one has had its run for that day");
    let halted = halts(&world).await;
    assert!(halted[0].starts_with("model-stopped 09T11:00 09T12:00"), "{halted:?}");
    assert_eq!(hours(&world).await, ["09T11", "09T12"]);
}

#[tokio::test]
async fn a_pause_on_request_is_kept_once_with_its_begin_and_end_also_over_a_kill() {
    let mut world = Setup::many(&["anna"]).idle().start().await;
    world.good_tick().await;
    world.advance(HOUR);
    control(&world, "pause").await;
    control(&world, "drain").await;
    assert_eq!(halts(&world).await, ["paused 09T12:00 -"]);
    world.kill().await;
    world.advance(HOUR);
    world.start_again(&[]).await;
    world.call(Method::POST, "/diag/tick").await;
    world.advance(HOUR);
    control(&world, "resume").await;
    control(&world, "resume").await;
    assert_eq!(halts(&world).await, ["paused 09T12:00 09T14:00"]);
    control(&world, "pause").await;
    assert_eq!(halts(&world).await.len(), 2);
}

#[tokio::test]
async fn runner_paused_is_a_pause_from_the_first_start_with_it_to_the_first_start_without() {
    let mut world = Setup::many(&["anna"]).idle().start().await;
    world.good_tick().await;
    // mana-auth's clock is a day ahead of the daemon's from here on.
    make_due(&world).await;
    world.good_tick().await;
    for paused in ["true", "true", "false"] {
        world.stop().await;
        world.advance(HOUR);
        world.start_again(&[("RUNNER_PAUSED", paused)]).await;
    }
    world.good_tick().await;
    assert_eq!(halts(&world).await, ["paused 10T12:00 10T14:00"]);
}

#[tokio::test]
async fn a_paused_runner_is_up_all_the_same_and_its_hours_are_kept_once_each() {
    let setup = Setup::many(&["anna"]).idle().var("RUNNER_PAUSED", true);
    let world = setup.var("TICK_INTERVAL_MS", 1).start().await;
    for hours in 1..=3 {
        let is_noted = async |_: &_| self::hours(&world).await.len() == hours;
        world.journal_reaches("the hour", is_noted).await;
        world.advance(HOUR);
    }
    assert_eq!(hours(&world).await[..3], ["09T11", "09T12", "09T13"]);
    assert_eq!(world.peers.auth.served.recorder.all().len(), 0);
}
