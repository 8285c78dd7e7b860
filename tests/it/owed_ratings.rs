//! Ratings that are still owed by runs that were stopped in the middle of their day.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::journal::{Journal, RunState};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    script::{habits_list, make_due},
    support::{Setup, World, patiently},
};

fn is_rating(request: &Recorded) -> bool {
    request.json()["tools"].is_null()
}

fn has_used_a_tool(request: &Recorded) -> bool {
    !is_rating(request) && !request.json()["messages"][1].is_null()
}

fn ratings_asked(world: &World) -> usize {
    world.peers.claude.served.recorder.matching(is_rating).len()
}

/// A daemon that was stopped after each of these personas had used a tool; the daemon is not running.
async fn stopped_in_the_middle(names: &[&str]) -> World {
    let mut world =
        Setup::many(names).short_days().var("PERSONA_CONCURRENCY", names.len()).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    let served = &world.peers.claude.served;
    served.faults.inject(usize::MAX, Fault::Hang, has_used_a_tool);
    drop(world.begin_tick());
    let recorder = served.recorder.clone();
    patiently("the second requests", recorder.wait_for(names.len(), has_used_a_tool)).await;
    world.stop().await;
    world.peers.claude.served.faults.clear();
    assert_eq!(owed(&world.journal().await).await, names.len());
    world
}

async fn owed(journal: &Journal) -> usize {
    journal.runs_in(RunState::RatingOwed).await.unwrap().len()
}

async fn none_is_owed(world: &World) {
    let all_landed = async |journal: &Journal| {
        owed(journal).await == 0 && journal.outbox_depth().await.unwrap().oldest.is_none()
    };
    world.journal_reaches("the last rating", all_landed).await;
    world.nothing_in_flight().await;
}

#[tokio::test]
async fn a_drain_starts_no_further_owed_rating() {
    let mut world = stopped_in_the_middle(&["anna", "ben", "carla"]).await;
    let answer = CancellationToken::new();
    let hold = Fault::Hold(answer.clone());
    world.peers.claude.served.faults.inject(usize::MAX, hold, is_rating);
    world.start_again(&[("PERSONA_CONCURRENCY", "1")]).await;
    let recorder = world.peers.claude.served.recorder.clone();
    patiently("the first rating", recorder.wait_for(1, is_rating)).await;
    assert_eq!(world.control(Method::POST, "drain").await.0, StatusCode::OK);
    answer.cancel();
    world.journal_reaches("its end", async |journal| owed(journal).await == 2).await;
    world.nothing_in_flight().await;
    assert_eq!(ratings_asked(&world), 1);
    assert_eq!(world.control(Method::POST, "resume").await.0, StatusCode::OK);
    none_is_owed(&world).await;
    assert_eq!(ratings_asked(&world), 3);
}

#[tokio::test]
async fn owed_ratings_wait_for_the_budget() {
    let mut world = stopped_in_the_middle(&["anna", "ben"]).await;
    world.start_again(&[("BUDGET_DAILY_USD", "0.0001")]).await;
    patiently("the cap", async {
        while !world.health().await["reason"].to_string().contains("BUDGET_DAILY_USD") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.stop().await;
    assert_eq!(owed(&world.journal().await).await, 2);
    assert_eq!(ratings_asked(&world), 0);
    world.start_again(&[("BUDGET_DAILY_USD", "5")]).await;
    none_is_owed(&world).await;
    assert_eq!((ratings_asked(&world), world.feedback().await.len()), (2, 2));
}

#[tokio::test]
async fn a_rating_that_claude_refuses_for_good_is_given_up_and_the_persona_still_runs() {
    let mut world = stopped_in_the_middle(&["anna"]).await;
    let body =
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}});
    let refusal = Fault::status(400, body.to_string());
    world.peers.claude.served.faults.inject(1, refusal, is_rating);
    world.start_again(&[]).await;
    none_is_owed(&world).await;
    let run = world.journal().await.latest_runs(1).await.unwrap().remove(0);
    assert_eq!((run.state, run.ratings), (RunState::Finished, 0));
    assert!(run.end_reason.unwrap().contains("invalid_request_error"));
    make_due(&world).await;
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn an_owed_rating_probes_claude_if_no_persona_is_due() {
    let mut world = stopped_in_the_middle(&["anna", "ben"]).await;
    let body = json!({"type": "error", "error": {"type": "authentication_error", "message": "no"}});
    let refusal = Fault::status(401, body.to_string());
    world.peers.claude.served.faults.inject(1, refusal, is_rating);
    world.start_again(&[("PERSONA_CONCURRENCY", "1")]).await;
    patiently("the refusal", async {
        while !world.health().await["reason"].to_string().contains("authentication_error") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    patiently("the end of the recovery", async {
        while world.call(Method::POST, "/diag/tick").await.0 == StatusCode::CONFLICT {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((ratings_asked(&world), owed(&world.journal().await).await), (1, 2));

    world.advance(Duration::from_secs(3_601));
    assert_eq!(world.tick().await["due"], 0);
    assert_eq!((ratings_asked(&world), owed(&world.journal().await).await), (2, 1), "the probe");
    world.tick().await;
    none_is_owed(&world).await;
}
