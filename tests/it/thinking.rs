//! Thinking blocks that Claude refuses when they are sent back: the request is sent once more without
//! thinking.

use devstack::{
    claude::{ParsedRequest, Scripted},
    fault::Fault,
};
use serde_json::{Value, json};

use crate::{
    script::{
        main_requests, make_due, only_failure, outcomes, play, play_well, rating_requests, raw,
    },
    support::{Setup, World},
};

/// A reply with a thinking block and a call of `habits.list`, in a form that no serializer would write.
fn thoughtful_call(n: usize) -> Scripted {
    let content = format!(
        r#"[ {{"type":"thinking","thinking":"","signature":"sig_{n}"}}, {}]"#,
        beside_thinking(n)
    );
    raw(&content, Some("tool_use"))
}

/// The block of such a reply besides its thinking.
fn beside_thinking(n: usize) -> String {
    format!(r#"{{ "type":"tool_use","id":"toolu_{n}","name":"habits_list","input":{{ }} }}"#)
}

/// Bodies as they arrived, including refused ones.
fn sent(world: &World) -> Vec<Value> {
    world.peers.claude.served.recorder.all().iter().map(|request| request.json()).collect()
}

fn thinks(body: &Value) -> bool {
    let is_thinking = |block: &Value| block["type"] == "thinking";
    let messages = body["messages"].as_array().unwrap().iter();
    messages
        .filter_map(|message| message["content"].as_array())
        .any(|blocks| blocks.iter().any(is_thinking))
}

/// The messages of a request as text.
fn messages_of(request: &ParsedRequest) -> &str {
    request.raw.split_once(r#""messages":"#).unwrap().1
}

#[tokio::test]
async fn a_request_refused_for_its_thinking_is_sent_once_more_without_any() {
    let world = Setup::one(&["habits"]).start().await;
    // Three days, because runs that count as refused at once would be visible by then.
    for day in 1..=3 {
        world.peers.claude.answer_with(move |request| match request.turn() {
            _ if request.is_rating() => None,
            turn @ 0..=2 => Some(thoughtful_call(10 * day + turn)),
            _ => Some(Scripted::text("Fertig.")),
        });
        let before = sent(&world).len();
        world.peers.claude.served.faults.inject(1, refusal(), |request| {
            request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 5)
        });
        make_due(&world).await;
        world.good_tick().await;
        let sent = &sent(&world)[before..];
        let main: Vec<_> = sent.iter().filter(|body| !body["tools"].is_null()).collect();
        let carried: Vec<_> = main.iter().map(|body| thinks(body)).collect();
        // First request, one with thinking, the refused one, the same without thinking, one with later
        // thinking.
        assert_eq!(carried, [false, true, true, false, true], "day {day}");
        assert_eq!(main[3]["messages"].as_array().unwrap().len(), 5, "nothing else is missing");
        for key in ["model", "max_tokens", "system", "tools", "cache_control", "output_config"] {
            assert_eq!(main[2][key], main[3][key], "{key}");
        }
    }
    let requests = main_requests(&world);
    for n in [0, 1] {
        let kept = format!(r#"{{"role":"assistant","content":[{}]}}"#, beside_thinking(10 + n));
        assert!(messages_of(&requests[2]).contains(&kept), "{}", requests[2].raw);
    }
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 9], "no tool ran twice");
    assert_eq!(world.feedback().await.len(), 3);
    assert_eq!(world.health().await["status"], "ok");
}

/// The API's error for a thinking block that it does not accept.
fn refusal() -> Fault {
    let message = "messages.1.content.0: Invalid `signature` in `thinking` block.";
    let error = json!({"type": "invalid_request_error", "message": message});
    Fault::status(400, json!({"type": "error", "error": error, "request_id": "req_1"}).to_string())
}

#[tokio::test]
async fn a_request_that_claude_refuses_for_its_thinking_is_accepted_without_it() {
    let world = Setup::one(&["habits"]).start().await;
    world.peers.claude.refuse_thinking_once();
    let day = [thoughtful_call(0), thoughtful_call(1), Scripted::text("Fertig.")];
    play_well(&world, day).await;
    let carried: Vec<_> = sent(&world).iter().map(thinks).collect();
    assert_eq!(carried, [false, true, false, true, false], "the last one is the rating");
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 2]);
}

#[tokio::test]
async fn every_request_that_is_refused_for_its_thinking_is_sent_once_more() {
    let world = Setup::one(&["habits"]).start().await;
    let faults = &world.peers.claude.served.faults;
    faults.inject(usize::MAX, refusal(), |request| thinks(&request.json()));
    let day = [thoughtful_call(0), thoughtful_call(1), Scripted::text("Fertig.")];
    play_well(&world, day).await;
    let carried: Vec<_> = sent(&world).iter().map(thinks).collect();
    assert_eq!(carried, [false, true, false, true, false, false], "the last one is the rating");
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 2]);
}

#[tokio::test]
async fn a_second_refusal_of_a_request_ends_the_run_and_keeps_what_happened() {
    let world = Setup::one(&["habits"]).start().await;
    let faults = &world.peers.claude.served.faults;
    faults.inject(usize::MAX, refusal(), |request| {
        request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 5)
    });
    let day = [thoughtful_call(0), thoughtful_call(1), thoughtful_call(2)];
    let result = play(&world, day).await;
    assert!(only_failure(&result).contains("400 invalid_request_error"), "{result}");
    let carried: Vec<_> = sent(&world).iter().map(thinks).collect();
    assert_eq!(carried, [false, true, true, false], "stripped once, and not asked again");
    let rows = [("habits.list", "ok"), ("habits.list", "ok"), ("__run", "error")];
    assert_eq!(outcomes(&world.actions().await), rows);
}

#[tokio::test]
async fn a_refused_account_is_not_asked_again_without_thinking() {
    let world = Setup::one(&["habits"]).start().await;
    let on_hold = Scripted::error(400, "invalid_request_error", Some("organization_on_hold"), &[]);
    let result = play(&world, [thoughtful_call(0), on_hold]).await;
    assert!(only_failure(&result).contains("organization_on_hold"), "{result}");
    assert_eq!(sent(&world).len(), 2);
}

#[tokio::test]
async fn a_repair_of_the_rating_is_sent_once_more_without_the_thinking_before_it() {
    for (answer, messages) in [
        (
            r#"[{"type":"thinking","thinking":"","signature":"sig_r"},{"type":"text","text":"Hm."}]"#,
            3,
        ),
        // If the message contains nothing else, the whole message is removed, and both questions become one
        // turn.
        (r#"[{"type":"thinking","thinking":"","signature":"sig_r"}]"#, 2),
    ] {
        let world = Setup::one(&["habits"]).start().await;
        world.peers.claude.refuse_thinking_once();
        let day = [
            Scripted::tools(&[("habits_list", json!({}))]),
            Scripted::text("Gut."),
            raw(answer, Some("end_turn")),
            Scripted::ratings(&[("habits", 4, "Ja.")]),
        ];
        play_well(&world, day).await;
        let sent = sent(&world);
        let ratings: Vec<_> = sent.iter().filter(|body| body["tools"].is_null()).collect();
        let carried: Vec<_> = ratings.iter().map(|body| thinks(body)).collect();
        assert_eq!(carried, [false, true, false]);
        let repair = rating_requests(&world).pop().unwrap();
        assert_eq!(repair.messages.len(), messages, "{}", repair.raw);
        let feedback = world.feedback().await;
        assert_eq!((feedback[0].module.as_str(), feedback[0].rating), ("habits", 4));
    }
}
