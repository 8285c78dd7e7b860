//! Limits of Claude that one persona learns of apply to all personas.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    script::{calls_of, habits_list, main_requests, play_well},
    support::{Setup, patiently, persona},
};

/// Whether a request carries this many replies and belongs to this persona.
fn is_from(name: &str, replies: usize) -> impl Fn(&Recorded) -> bool + Send + Sync + 'static {
    let prompt = persona(name, &[]).system_prompt;
    move |request| {
        let body = request.json();
        let messages = body["messages"].as_array().into_iter().flatten();
        body["system"][0]["text"] == prompt
            && !body["tools"].is_null()
            && messages.filter(|message| message["role"] == "assistant").count() == replies
    }
}

#[tokio::test]
async fn a_429_of_one_persona_makes_the_others_wait_too() {
    let world = Setup::many(&["anna", "ben"]).start().await;
    let claude = &world.peers.claude;
    claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 if request.system.contains("ben") => Some(Scripted::tools(&[("goals_list", json!({}))])),
        0 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Genug.")),
    });
    let error = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}});
    let limited = Fault::retry_after(429, 2, error.to_string());
    claude.served.faults.inject(1, limited, is_from("anna", 1));
    // Ben has no request to send before anna's refusal is known.
    let known = CancellationToken::new();
    let hold = Fault::Hold(known.clone());
    world.peers.mcp.served.faults.inject(1, hold, calls_of("goals.list"));
    let tick = world.begin_tick();
    let retries = r#"http_client_retries_total{operation="messages",peer="anthropic"}"#;
    world.metric_reaches(retries, 1.0).await;
    known.cancel();
    let (_, answer) = patiently("the tick", tick).await.unwrap();
    assert_eq!(answer["result"]["ranSuccessfully"], 2, "{answer}");
    let refused = &claude.served.recorder.matching(is_from("anna", 1))[0];
    let next = &claude.served.recorder.matching(is_from("ben", 1))[0];
    assert!(next.at - refused.at >= Duration::from_secs(2), "{:?}", next.at - refused.at);
}

#[tokio::test]
async fn headers_that_announce_a_limit_are_heeded_before_it_is_hit() {
    let world = Setup::one(&["habits"]).start().await;
    // The daemon's clock is stopped at eleven o'clock.
    let reset = "2026-03-09T11:00:02Z".to_owned();
    world.peers.claude.headers_once(vec![
        ("anthropic-ratelimit-requests-remaining", "0".to_owned()),
        ("anthropic-ratelimit-requests-reset", reset),
    ]);
    play_well(&world, [Scripted::tools(&[habits_list()]), Scripted::text("Genug.")]).await;
    let sent = world.peers.claude.served.recorder.all();
    assert!(sent[1].at - sent[0].at >= Duration::from_secs(2), "{:?}", sent[1].at - sent[0].at);
    let waited = world.metric("run_claude_wait_seconds_sum").await.unwrap();
    assert!(waited >= 1.9, "{waited}");
}

#[tokio::test]
async fn an_ordinary_day_has_no_reminder() {
    let world = Setup::one(&["habits"]).start().await;
    let turn = || Scripted::tools(&[habits_list(), habits_list()]);
    play_well(&world, [turn(), turn(), turn(), turn(), Scripted::text("Genug.")]).await;
    for request in main_requests(&world) {
        assert!(request.messages.iter().all(|message| message["role"] != "system"));
        assert!(!request.raw.contains("<reminder>"));
    }
    let messages: Vec<Value> = main_requests(&world).pop().unwrap().messages;
    assert_eq!(messages.len(), 9, "an opening, and four replies with their results");
}
