//! Why due personas did not run, and when the runner was up.

use std::time::Duration;

use devstack::fault::Fault;
use reqwest::Method;
use tokio_util::sync::CancellationToken;

use crate::{
    script::make_due,
    support::{Setup, World, in_journal, path::LOGIN, patiently},
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
    world.advance(HOUR / 2);
    world.start_again(&[]).await;
    world.call(Method::POST, "/diag/tick").await;
    world.advance(HOUR);
    control(&world, "resume").await;
    control(&world, "resume").await;
    assert_eq!(halts(&world).await, ["paused 09T12:00 09T13:30"]);
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
        world.advance(HOUR / 4);
        world.start_again(&[("RUNNER_PAUSED", paused)]).await;
    }
    world.good_tick().await;
    assert_eq!(halts(&world).await, ["paused 10T11:15 10T11:45"]);
}

#[tokio::test]
async fn a_halt_ends_an_hour_after_the_last_tick_of_a_dead_process_and_begins_anew_if_it_goes_on() {
    let mut world = Setup::many(&["anna"]).idle().start().await;
    world.good_tick().await;
    control(&world, "pause").await;
    for _ in 0..2 {
        world.kill().await;
        world.advance(HOUR * 9);
        world.start_again(&[]).await;
    }
    let first_two = ["paused 09T11:00 09T12:00", "paused 09T20:00 09T21:00"];
    let goes_on = halts(&world).await;
    assert_eq!(
        (&goes_on[..2], &*goes_on[2]),
        (&first_two.map(str::to_owned)[..], "paused 10T05:00 -")
    );
    world.kill().await;
    world.advance(HOUR * 9);
    world.start_again(&[("RUNNER_PAUSED", "true")]).await;
    control(&world, "resume").await;
    let over = halts(&world).await;
    assert_eq!((&over[2], over.len()), (&"paused 10T05:00 10T06:00".to_owned(), 4), "{over:?}");
}

#[tokio::test]
async fn a_paused_runner_is_up_all_the_same_and_its_hours_are_kept_once_each() {
    let mut world = Setup::many(&["anna"]).idle().start().await;
    world.good_tick().await;
    for kept_back in [("RUNNER_PAUSED", "true"), ("ANTHROPIC_API_KEY", "")] {
        world.stop().await;
        let asked = world.peers.auth.served.recorder.all().len();
        world.start_again(&[kept_back, ("TICK_INTERVAL_MS", "1")]).await;
        for _ in 0..2 {
            let noted = hours(&world).await.len();
            world.advance(HOUR);
            let is_noted = async |_: &_| hours(&world).await.len() > noted;
            world.journal_reaches("the hour", is_noted).await;
        }
        assert_eq!(world.peers.auth.served.recorder.all().len(), asked);
    }
    assert_eq!(hours(&world).await, ["09T11", "09T12", "09T13", "09T14", "09T15"]);
}

#[tokio::test]
async fn nobody_notes_that_the_runner_is_up_before_the_time_of_mana_auth_is_known() {
    let world = Setup::many(&["anna"]).idle().var("TICK_INTERVAL_MS", 1).var("RUNNER_PAUSED", true);
    let mut world = world.start().await;
    control(&world, "pause").await;
    world.stop().await;
    assert_eq!(hours(&world).await, [""; 0]);
    world.start_again(&[("RUNNER_PAUSED", "false"), ("TICK_INTERVAL_MS", "3600000")]).await;
    control(&world, "resume").await;
    world.good_tick().await;
    assert_eq!(hours(&world).await, ["09T11"]);
}

#[tokio::test]
async fn who_does_not_run_is_written_before_the_others_of_the_tick_run() {
    let setup = Setup::many(&["anna", "ben"]).idle().var("PERSONA_CONCURRENCY", 1);
    let world = setup.var("RUN_BACKOFF_MS", 3_600_000).start().await;
    world.peers.auth.served.faults.on(1, Method::POST, LOGIN, Fault::status(422, "{}"));
    world.tick().await;
    world.peers.clock.advance(DAY);
    let (answer, claude) = (CancellationToken::new(), &world.peers.claude.served);
    let earlier = claude.recorder.all().len();
    claude.faults.inject(1, Fault::Hold(answer.clone()), |_| true);
    let tick = world.begin_tick();
    patiently("the request", claude.recorder.wait_for(earlier + 1, |_| true)).await;
    let absent = absences(&world).await;
    assert!(absent.len() == 1 && absent[0].ends_with("2026-03-10 held-back"), "{absent:?}");
    answer.cancel();
    tick.await.unwrap();
    assert_eq!(absences(&world).await, absent);
}

#[tokio::test]
async fn a_tick_that_takes_hours_hides_none_of_them() {
    let world = Setup::many(&["anna"]).idle().var("TICK_INTERVAL_MS", 20).start().await;
    let (answer, claude) = (CancellationToken::new(), &world.peers.claude.served);
    claude.faults.inject(1, Fault::Hold(answer.clone()), |_| true);
    patiently("the request", claude.recorder.wait_for(1, |_| true)).await;
    for _ in 0..2 {
        let noted = hours(&world).await.len();
        world.advance(HOUR);
        let is_noted = async |_: &_| hours(&world).await.len() > noted;
        world.journal_reaches("the hour", is_noted).await;
    }
    assert_eq!(hours(&world).await, ["09T11", "09T12", "09T13"]);
    answer.cancel();
}

#[tokio::test]
async fn a_pause_lasts_until_the_day_to_which_the_clock_of_mana_auth_was_put_meanwhile() {
    let world = Setup::many(&["anna"]).idle().start().await;
    world.good_tick().await;
    control(&world, "pause").await;
    for _ in 0..2 {
        world.peers.clock.step_day();
    }
    control(&world, "resume").await;
    world.good_tick().await;
    assert_eq!(halts(&world).await, ["paused 09T11:00 11T11:00"]);
    let export = crate::facts_law::printed(&world, &["export"]).await;
    let absent: Vec<_> = export.lines().filter(|line| line.contains("\"absence\"")).collect();
    assert_eq!(absent.len(), 1, "{absent:?}");
    assert!(absent[0].contains("2026-03-10") && absent[0].contains("paused"), "{absent:?}");
}
