//! Unfinished runs that cannot be continued to their end: refused, cancelled or stopped while resuming.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::{
    agent::{
        day_end::{DayEnd, How},
        step::{Step, TurnOpening},
    },
    domain::{Cadence, ModuleMix, Persona, RunId, Slot, UserId},
    facts::line,
    journal::{Journal, NewRun, RunRow, RunSettings, RunState},
};
use reqwest::{Method, StatusCode};

use crate::{
    script::{habits_list, outcomes},
    support::{SEED_SECRET, Setup, World, path, patiently},
};

/// Whether a request to Claude contains tool results.
fn second(request: &Recorded) -> bool {
    request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 3)
}

fn login(request: &Recorded) -> bool {
    request.path() == path::LOGIN
}

fn lists_tools(request: &Recorded) -> bool {
    request.json()["method"] == "tools/list"
}

async fn killed_in_the_middle() -> World {
    killed_while_answering(second).await
}

/// A world whose daemon was killed while Claude answered such a request; mana-mcp was restarted as well.
async fn killed_while_answering(request: fn(&Recorded) -> bool) -> World {
    let mut world = Setup::one(&["habits"]).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, request);
    drop(world.begin_tick());
    let recorder = world.peers.claude.served.recorder.clone();
    patiently("the request", recorder.wait_for(1, request)).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.peers.mcp.forget_sessions().await;
    world
}

async fn the_run(world: &World) -> RunRow {
    let runs = world.journal().await.latest_runs(10).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.into_iter().next().unwrap()
}

#[tokio::test]
async fn the_back_off_after_a_refused_login_survives_a_restart() {
    let mut world = killed_in_the_middle().await;
    world.start_again(&[("PERSONA_SEED_SECRET", "another-secret-than-the-seeded-one")]).await;
    let logins = |world: &World| world.peers.auth.served.recorder.matching(login).len();
    let held = async |journal: &Journal| !journal.held_back().await.unwrap().is_empty();
    world.journal_reaches("the back-off", held).await;
    let refused = logins(&world);
    for _ in 0..3 {
        world.stop().await;
        world.start_again(&[]).await;
        assert_eq!(world.tick().await["failed"].as_array().unwrap().len(), 0);
    }
    assert_eq!(logins(&world), refused, "refused once, it is not tried again for half an hour");
    assert_eq!(the_run(&world).await.state, RunState::Running);

    world.stop().await;
    world.clock.advance(Duration::from_secs(31 * 60));
    world.start_again(&[("PERSONA_SEED_SECRET", SEED_SECRET)]).await;
    world
        .journal_reaches("the end", async |journal| {
            let run = journal.latest_runs(1).await.unwrap().remove(0);
            run.state == RunState::Finished && journal.held_back().await.unwrap().is_empty()
        })
        .await;
    world.nothing_in_flight().await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_continues_ends() {
    let mut world = killed_in_the_middle().await;
    world.peers.mcp.served.faults.inject(1, Fault::Hang, lists_tools);
    world.start_again(&[]).await;
    let recorder = world.peers.mcp.served.recorder.clone();
    patiently("the second list", recorder.wait_for(2, lists_tools)).await;
    let run = the_run(&world).await.id;
    let cancelled = world.control(Method::POST, &format!("runs/{run}/cancel")).await;
    assert_eq!(cancelled.0, StatusCode::OK, "{cancelled:?}");
    world.nothing_in_flight().await;
    let run = the_run(&world).await;
    assert_eq!(run.state, RunState::Finished);
    assert_eq!(run.end_reason.as_deref(), Some("cancelled on request"));
    let rows = world.actions().await;
    assert_eq!(outcomes(&rows), [("habits.list", "ok"), ("__run", "error")]);
    world.tick().await;
    assert_eq!(world.peers.claude.served.recorder.all().len(), 2, "nobody goes on with it");
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_run_that_is_paused_before_it_continues_does_so_after_the_pause() {
    let mut world = killed_in_the_middle().await;
    world.peers.mcp.served.faults.inject(1, Fault::Hang, lists_tools);
    world.start_again(&[]).await;
    let recorder = world.peers.mcp.served.recorder.clone();
    patiently("the second list", recorder.wait_for(2, lists_tools)).await;
    assert_eq!(world.control(Method::POST, "pause").await.0, StatusCode::OK);
    world.nothing_in_flight().await;
    assert_eq!(the_run(&world).await.state, RunState::Running);
    assert_eq!(world.actions().await.len(), 0);
    assert_eq!(world.control(Method::POST, "resume").await.0, StatusCode::OK);
    let over = async |journal: &Journal| {
        journal.latest_runs(1).await.unwrap()[0].state == RunState::Finished
            && journal.outbox_depth().await.unwrap().oldest.is_none()
    };
    world.journal_reaches("its end", over).await;
    world.nothing_in_flight().await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
    assert_eq!(world.feedback().await.len(), 1);
}

#[tokio::test]
async fn a_rating_that_waits_for_money_is_not_given_up() {
    let mut world = killed_while_answering(|r| r.json()["tools"].is_null()).await;
    world.start_again(&[("BUDGET_DAILY_USD", "0.0001")]).await;
    // The recovery at the daemon's start may still be in flight.
    patiently("the tick", async {
        while world.call(Method::POST, "/diag/tick").await.0 == StatusCode::CONFLICT {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The tick is refused as soon as the budget counts as used up, while the recovery may still be in flight.
    world.nothing_in_flight().await;
    world.stop().await;
    assert_eq!(the_run(&world).await.state, RunState::Running, "it waits");
    world.start_again(&[("BUDGET_DAILY_USD", "5")]).await;
    let over = async |journal: &Journal| {
        journal.latest_runs(1).await.unwrap()[0].state == RunState::Finished
    };
    world.journal_reaches("its end", over).await;
    world.nothing_in_flight().await;
    assert_eq!(world.feedback().await.len(), 1);
}

#[tokio::test]
async fn a_stop_while_a_run_resumes_leaves_no_session_open() {
    let mut world = killed_in_the_middle().await;
    world.peers.mcp.served.faults.inject(1, Fault::Hang, lists_tools);
    world.start_again(&[("SHUTDOWN_GRACE_MS", "60000")]).await;
    let recorder = world.peers.mcp.served.recorder.clone();
    patiently("the second list", recorder.wait_for(2, lists_tools)).await;
    assert_eq!(world.peers.mcp.open_sessions(), 1);
    world.stop().await;
    assert_eq!(world.peers.mcp.open_sessions(), 0, "it is ended before the process is");
    assert_eq!(the_run(&world).await.state, RunState::Running, "the next one goes on with it");
}

#[tokio::test]
async fn a_run_stopped_before_any_payment_and_then_killed_leaves_its_slot_free() {
    let mut world = Setup::one(&["habits"]).idle().start().await;
    world.stop().await;
    let now = world.clock.now();
    let (id, user) = (RunId::new(), UserId::parse(&world.users[0]).unwrap());
    let persona = Persona {
        user_id: user,
        email: "persona.anna@mana.test".into(),
        system_prompt: "Du bist Anna.".into(),
        module_mix: ModuleMix::new([]),
        cadence: Cadence::Daily,
        archetype: None,
    };
    let slot = Slot::of(Cadence::Daily, now);
    let begun = RunSettings::unknown(now);
    let model = "claude-haiku-5-5";
    let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model, begun };
    // The steps that the run had written by then.
    let journal = Journal::open(world.peers.data_folder()).await.unwrap();
    journal.begin_run(run, now).await.unwrap();
    let list = line::Catalog { id: "hash".into(), tools: vec![], hidden: vec![] };
    journal.keep_catalog("hash", "[]", &list, now, now).await.unwrap();
    let opened = TurnOpening { opening: "Guten Morgen!".into(), catalog: "hash".into() };
    let ended = DayEnd::new(How::Stopped, "stopped");
    for (number, step) in [Step::Opened(opened), Step::DayEnded(ended)].iter().enumerate() {
        let body = serde_json::to_string(step).unwrap();
        journal.append_step(id, number as u32, &body, now).await.unwrap();
    }
    journal.close().await;

    world.start_again(&[]).await;
    let over = async |journal: &Journal| {
        journal.run(id).await.unwrap().unwrap().state != RunState::Running
    };
    world.journal_reaches("its end", over).await;
    world.nothing_in_flight().await;
    assert_eq!(the_run(&world).await.state, RunState::Failed);
    assert_eq!(world.actions().await.len(), 0, "nothing has happened, so no row says so");
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1, "its day is still to come");
}
