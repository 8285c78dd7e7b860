//! Sessions at mana-mcp that a killed process left open: the next process ends them.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::journal::{Journal, RunRow, RunState};
use reqwest::Method;

use crate::{
    script::{calls_of, habits_list, outcomes},
    support::{Setup, World, path, patiently},
};

const TOO_OLD: Duration = Duration::from_secs(3_601);

fn lists_tools(request: &Recorded) -> bool {
    request.json()["method"] == "tools/list"
}

/// Whether a request to Claude contains tool results.
fn second(request: &Recorded) -> bool {
    request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 3)
}

fn is_rating(request: &Recorded) -> bool {
    request.json()["tools"].is_null()
}

async fn anna() -> World {
    let world = Setup::one(&["habits"]).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    world
}

/// Kills the daemon while Claude answers such a request; this many sessions then stay open.
async fn kill_while_asking(world: &mut World, request: fn(&Recorded) -> bool, sessions: usize) {
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, request);
    drop(world.begin_tick());
    let recorder = world.peers.claude.served.recorder.clone();
    patiently("the request", recorder.wait_for(1, request)).await;
    kill(world, sessions).await;
    world.peers.claude.served.faults.clear();
}

/// Kills the daemon while it lists the tools of a session.
async fn kill_while_listing(world: &mut World) {
    world.peers.mcp.served.faults.inject(1, Fault::Hang, lists_tools);
    drop(world.begin_tick());
    let recorder = world.peers.mcp.served.recorder.clone();
    patiently("the list", recorder.wait_for(1, lists_tools)).await;
    kill(world, 1).await;
}

/// Kills the daemon, which leaves this many sessions open. Requests that the dropped daemon still sends,
/// which a killed process could not send, are discarded.
async fn kill(world: &mut World, sessions: usize) {
    let ends = |request: &Recorded| request.method == Method::DELETE;
    let served = &world.peers.mcp.served;
    served.faults.clear();
    let before = served.recorder.matching(ends).len();
    served.faults.inject(usize::MAX, Fault::Reset, ends);
    let recorder = served.recorder.clone();
    world.kill().await;
    patiently("the ends", recorder.wait_for(before + sessions, ends)).await;
    world.peers.mcp.served.faults.clear();
    assert_eq!(world.peers.mcp.open_sessions(), sessions);
}

fn logins(world: &World) -> usize {
    world.peers.auth.served.recorder.matching(|r| r.path() == path::LOGIN).len()
}

/// Starts the daemon again, and waits until all runs have ended.
async fn ended_after(world: &mut World, changed: &[(&'static str, &str)]) -> RunRow {
    world.start_again(changed).await;
    let is_over = async |journal: &Journal| {
        let run = journal.latest_runs(1).await.unwrap().remove(0);
        matches!(run.state, RunState::Finished | RunState::Failed)
            && journal.outbox_depth().await.unwrap().oldest.is_none()
    };
    world.journal_reaches("the end of the run", is_over).await;
    world.nothing_in_flight().await;
    world.journal().await.latest_runs(1).await.unwrap().remove(0)
}

#[tokio::test]
async fn the_session_of_a_run_that_continues_is_ended() {
    let mut world = anna().await;
    kill_while_asking(&mut world, second, 1).await;
    assert_eq!(ended_after(&mut world, &[]).await.state, RunState::Finished);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    assert_eq!(logins(&world), 2, "with the login that the run goes on with");
}

#[tokio::test]
async fn all_sessions_of_a_run_are_ended() {
    let mut world = anna().await;
    let refusal = Fault::status(401, r#"{"error":"jwt expired"}"#);
    world.peers.mcp.served.faults.inject(1, refusal, calls_of("habits.list"));
    kill_while_asking(&mut world, second, 2).await;
    ended_after(&mut world, &[]).await;
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn the_session_of_a_run_that_is_closed_is_ended_after_a_login() {
    for (age, model) in [(TOO_OLD, "claude-haiku-5-5"), (Duration::ZERO, "claude-sonnet-5-5")] {
        let mut world = anna().await;
        kill_while_asking(&mut world, second, 1).await;
        world.clock.advance(age);
        let run = ended_after(&mut world, &[("ANTHROPIC_MODEL", model)]).await;
        assert_eq!(run.state, RunState::Finished);
        assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"), ("__run", "error")]);
        assert_eq!(world.peers.mcp.open_sessions(), 0);
        assert_eq!(logins(&world), 2);
    }
}

#[tokio::test]
async fn the_session_of_a_run_killed_while_listing_tools_is_ended() {
    for age in [Duration::ZERO, TOO_OLD] {
        let mut world = anna().await;
        kill_while_listing(&mut world).await;
        world.clock.advance(age);
        let run = ended_after(&mut world, &[]).await;
        let is_closed = age > Duration::ZERO;
        assert_eq!(run.state == RunState::Failed, is_closed, "{run:?}");
        assert_eq!(world.peers.mcp.open_sessions(), 0);
    }
}

#[tokio::test]
async fn a_run_that_ended_its_sessions_needs_no_login_for_them() {
    let mut world = anna().await;
    kill_while_asking(&mut world, is_rating, 0).await;
    assert_eq!(ended_after(&mut world, &[]).await.state, RunState::Finished);
    assert_eq!(world.feedback().await.len(), 1);
    assert_eq!(logins(&world), 1);
}

#[tokio::test]
async fn a_run_is_closed_even_if_no_login_is_possible_to_end_its_session() {
    let mut world = anna().await;
    kill_while_asking(&mut world, second, 1).await;
    let faults = &world.peers.auth.served.faults;
    faults.inject(usize::MAX, Fault::status(503, "{}"), |r| r.path() == path::LOGIN);
    world.clock.advance(TOO_OLD);
    assert_eq!(ended_after(&mut world, &[]).await.state, RunState::Finished);
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"), ("__run", "error")]);
    assert_eq!(world.peers.mcp.open_sessions(), 1);
}
