use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    agent::{day_end::How, nets, step::Step},
    clients::claude::Block,
    domain::{Cost, Tokens},
};

const LIMITS: Limits = Limits { max_replies: 15, max_cost: Usd::MAX };

fn day() -> Conversation {
    Conversation::new("Los", LIMITS)
}

/// A reply with this content, as the client builds it from an answer of the API.
fn reply(content: Value, stop_reason: StopReason) -> Reply {
    let blocks = content.as_array().unwrap().iter().map(|block| match block["type"].as_str() {
        Some("text") => Block::Text(block["text"].as_str().unwrap().to_owned()),
        Some("tool_use") => Block::ToolUse(ToolUse {
            id: block["id"].as_str().unwrap_or_default().to_owned(),
            name: block["name"].as_str().unwrap().to_owned(),
            input: serde_json::value::to_raw_value(&block["input"]).unwrap(),
            odd: None,
        }),
        _ => Block::Other,
    });
    Reply {
        blocks: blocks.collect(),
        content: serde_json::value::to_raw_value(&content).unwrap(),
        stop_reason,
        refusal: None,
        usage: Default::default(),
        cost: Default::default(),
        odd_inputs: Vec::new(),
        is_guessed: false,
        is_rationed: false,
    }
}

fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "todo_list", "input": {}})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Records an empty result for each due call.
fn answer(conversation: &mut Conversation) {
    let Next::CallTools(calls) = conversation.next() else { panic!("no calls are due") };
    let results: Vec<_> = calls.iter().map(|call| ToolResult::of(call, vec![], false)).collect();
    conversation.record_results(&results, None, true);
}

fn closed(conversation: &Conversation) -> Option<Closed> {
    match conversation.next() {
        Next::Done(closed) => Some(closed.clone()),
        _ => None,
    }
}

fn asked_tokens(conversation: &Conversation) -> Option<u32> {
    match conversation.next() {
        Next::AskModel => Some(conversation.max_tokens.get()),
        _ => None,
    }
}

#[test]
fn a_day_goes_from_asking_to_calling_and_ends_with_closing_words() {
    let mut day = day();
    assert_eq!(asked_tokens(&day), Some(8_192));
    day.record_reply(reply(json!([text("Mal sehen."), call("a"), call("b")]), StopReason::ToolUse));
    answer(&mut day);
    day.record_reply(reply(json!([text("Fertig.")]), StopReason::EndTurn));
    assert_eq!(closed(&day), Some(Closed::Finished));
    assert_eq!((&*day.closing_words, day.replies), ("Fertig.", 2));
    assert_eq!(day.messages().len(), 3);
}

#[test]
fn the_turn_limit_is_an_ordinary_end_after_the_last_calls_were_carried_out() {
    let mut day = Conversation::new("Los", Limits { max_replies: 2, ..LIMITS });
    for id in ["a", "b"] {
        assert!(asked_tokens(&day).is_some());
        day.record_reply(reply(json!([call(id)]), StopReason::ToolUse));
        answer(&mut day);
    }
    assert_eq!(closed(&day), Some(Closed::TurnLimit));
    assert_eq!(Closed::TurnLimit.summary(), (How::Over, "PERSONA_MAX_TURNS reached".into()));
}

#[test]
fn a_cut_off_call_is_dropped_and_asked_for_once_more_with_more_room() {
    let mut day = day();
    let cut_off = || reply(json!([call("a")]), StopReason::MaxTokens);
    day.record_reply(cut_off());
    assert_eq!(asked_tokens(&day), Some(MAX_OUTPUT_TOKENS));
    assert_eq!((day.messages().len(), day.replies), (1, 1));
    day.record_reply(cut_off());
    assert_eq!(closed(&day), Some(Closed::Truncated));
}

#[test]
fn cut_off_words_are_accepted() {
    let mut day = day();
    day.record_reply(reply(json!([text("Heute habe ich")]), StopReason::MaxTokens));
    assert_eq!(closed(&day), Some(Closed::Truncated));
    assert_eq!(day.closing_words, "Heute habe ich");
}

#[test]
fn a_pause_is_continued_with_the_same_history_at_most_five_times() {
    let mut day = day();
    for _ in 0..5 {
        day.record_reply(reply(json!([text("…")]), StopReason::PauseTurn));
        assert!(asked_tokens(&day).is_some());
    }
    day.record_reply(reply(json!([text("…")]), StopReason::PauseTurn));
    assert_eq!(closed(&day), Some(Closed::PauseLimit));
}

#[test]
fn a_refusal_runs_nothing_and_its_words_are_not_used() {
    let mut day = day();
    let mut refusal = reply(json!([text("Nein"), call("a")]), StopReason::Refusal);
    refusal.refusal = Some("bio".into());
    day.record_reply(refusal);
    let closed = closed(&day).unwrap();
    let (how, reason) = closed.summary();
    assert!(how == How::Failed && reason.contains("bio"), "{reason}");
    assert_eq!(day.closing_words, "");
}

#[test]
fn what_a_complete_reply_holds_decides_and_not_the_reason_it_gives() {
    use StopReason::{ContextWindowExceeded, EndTurn, MaxTokens, PauseTurn, Refusal, StopSequence};
    for reason in [EndTurn, StopSequence, PauseTurn, StopReason::ToolUse] {
        let mut day = day();
        day.record_reply(reply(json!([call("a")]), reason));
        answer(&mut day);
        assert!(asked_tokens(&day).is_some(), "{reason:?}");
        assert_eq!(day.messages().len(), 3);
    }
    for reason in [ContextWindowExceeded, StopReason::Unknown, Refusal, MaxTokens] {
        let mut day = day();
        day.record_reply(reply(json!([call("a")]), reason));
        assert!(!matches!(day.next(), Next::CallTools(_)), "{reason:?}");
    }
}

#[test]
fn a_call_that_is_announced_and_does_not_come_fails_a_day_without_any() {
    let mut day = day();
    day.record_reply(reply(json!([text("Gleich.")]), StopReason::ToolUse));
    assert_eq!(closed(&day), Some(Closed::NoCall { idle: true }));
    let (how, reason) = closed(&day).unwrap().summary();
    assert!(how == How::Failed && reason.contains("tool_use"), "{reason}");
    day = Conversation::new("Los", LIMITS);
    day.record_reply(reply(json!([call("a")]), StopReason::ToolUse));
    answer(&mut day);
    day.record_reply(reply(json!([]), StopReason::ToolUse));
    assert_eq!(closed(&day), Some(Closed::NoCall { idle: false }));
    assert_eq!(closed(&day).unwrap().summary().0, How::Over);
}

#[test]
fn a_pause_that_says_nothing_leaves_the_history_as_it_was() {
    let mut day = day();
    day.record_reply(reply(json!([text(" \n")]), StopReason::PauseTurn));
    day.record_reply(reply(json!([]), StopReason::PauseTurn));
    assert_eq!((day.messages().len(), asked_tokens(&day)), (1, Some(8_192)));
    day.record_reply(reply(json!([text("Moment \n")]), StopReason::PauseTurn));
    let last: Value = serde_json::from_str(&day.messages()[1].as_json()).unwrap();
    assert_eq!(last["content"], json!([text("Moment")]));
}

/// A reply with one call. It costs `dollars`, and the context after it has `context` tokens.
fn dear_call(id: &str, dollars: f64, context: u64) -> Reply {
    Reply {
        cost: Cost { output: Usd::from_dollars(dollars).unwrap(), ..Cost::default() },
        usage: Tokens { input: context - 1, output: 1, ..Tokens::default() },
        ..reply(json!([call(id)]), StopReason::ToolUse)
    }
}

#[test]
fn a_run_ends_when_it_has_cost_what_it_may_and_its_last_calls_still_count() {
    let max_cost = Usd::from_dollars(0.25).unwrap();
    let mut day = Conversation::new("Los", Limits { max_cost, ..LIMITS });
    day.record_reply(dear_call("a", 0.2, 10));
    answer(&mut day);
    assert!(asked_tokens(&day).is_some());
    day.record_reply(dear_call("b", 0.05, 10));
    answer(&mut day);
    assert_eq!(closed(&day), Some(Closed::CostLimit));
    assert_eq!(day.spent(), max_cost);
}

#[test]
fn a_dropped_reply_costs_too() {
    let max_cost = Usd::from_dollars(0.1).unwrap();
    let mut day = Conversation::new("Los", Limits { max_cost, ..LIMITS });
    day.record_reply(Reply { stop_reason: StopReason::MaxTokens, ..dear_call("a", 0.1, 10) });
    assert_eq!(closed(&day), Some(Closed::CostLimit));
}

#[test]
fn a_run_ends_when_its_context_passes_100_000_tokens() {
    let mut day = day();
    day.record_reply(dear_call("a", 0.0, 100_000));
    answer(&mut day);
    assert!(asked_tokens(&day).is_some());
    day.record_reply(dear_call("b", 0.0, 100_001));
    answer(&mut day);
    assert_eq!(closed(&day), Some(Closed::ContextLimit));
}

#[test]
fn a_reminder_follows_the_results_and_stays_there() {
    for as_system in [true, false] {
        let mut day = day();
        day.record_reply(reply(json!([call("a")]), StopReason::ToolUse));
        let Next::CallTools(calls) = day.next() else { panic!("no calls are due") };
        let results = [ToolResult::of(&calls[0], vec![], false)];
        day.record_results(&results, Some("Noch drei."), as_system);
        let last: Value = serde_json::from_str(&day.messages().last().unwrap().as_json()).unwrap();
        if as_system {
            assert_eq!(last, json!({"role": "system", "content": "Noch drei."}));
            assert_eq!(day.messages().len(), 4);
        } else {
            assert_eq!(last["content"][0]["type"], "tool_result");
            assert_eq!(last["content"][1], json!({"type": "text", "text": "Noch drei."}));
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "one result for each call, in order")]
fn calls_are_never_made_again_for_want_of_a_result() {
    let mut day = day();
    day.record_reply(reply(json!([call("a"), call("b")]), StopReason::ToolUse));
    let Next::CallTools(calls) = day.next() else { panic!("no calls are due") };
    let results = [ToolResult::of(&calls[0], vec![], false)];
    day.record_results(&results, None, true);
    assert!(!matches!(day.next(), Next::CallTools(_)));
}

#[test]
fn thinking_is_stripped_once_for_a_request_and_calls_stay_answered() {
    let thought = || json!({"type": "thinking", "thinking": "", "signature": "s"});
    let mut day = day();
    assert!(
        !nets::take_out(&Step::ThinkingStripped, &mut day.messages),
        "there is none yet, and that does not use up the one time"
    );
    day.record_reply(reply(json!([thought(), call("a")]), StopReason::ToolUse));
    answer(&mut day);
    // Without thinking this message is empty. An empty message of the model at the end would be a prefill.
    day.record_reply(reply(json!([thought()]), StopReason::PauseTurn));
    let before: Vec<_> = day.messages().iter().map(|m| m.as_json()).collect();
    assert!(nets::take_out(&Step::ThinkingStripped, &mut day.messages));
    let after: Vec<_> = day.messages().iter().map(|m| m.as_json()).collect();
    let stripped = format!(r#"{{"role":"assistant","content":[{}]}}"#, call("a"));
    assert_eq!(after, [before[0].clone(), stripped, before[2].clone()]);
    assert!(!nets::take_out(&Step::ThinkingStripped, &mut day.messages), "once");
    assert_eq!(asked_tokens(&day), Some(8_192), "it is the same request");
    assert_eq!(day.replies, 2);
    day.record_reply(reply(json!([thought(), call("b")]), StopReason::ToolUse));
    answer(&mut day);
    assert!(
        nets::take_out(&Step::ThinkingStripped, &mut day.messages),
        "the next request has its own"
    );
    assert!(!day.messages()[3].as_json().contains("thinking"));
}

#[test]
fn calls_whose_ids_are_repeated_or_missing_are_told_apart() {
    let mut day = day();
    day.record_reply(reply(json!([call("a"), call("a"), call("")]), StopReason::ToolUse));
    answer(&mut day);
    day.record_reply(reply(json!([call("a")]), StopReason::ToolUse));
    answer(&mut day);
    let message =
        |index: usize| serde_json::from_str::<Value>(&day.messages()[index].as_json()).unwrap();
    let ids = |index: usize, key: &str| {
        let blocks = message(index)["content"].as_array().cloned().unwrap();
        blocks.iter().map(|block| block[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (reply, own) in [(1, &["a", "a_1", "call"][..]), (3, &["a_3"])] {
        assert_eq!(ids(reply, "id"), own);
        assert_eq!(ids(reply + 1, "tool_use_id"), own);
    }
    assert!(asked_tokens(&day).is_some());
}

proptest! {
    /// For any replies of the model: the history only grows, each call is answered in the next message and
    /// nowhere else, and the model is never asked more often than `max_replies`.
    #[test]
    fn every_history_keeps_the_rules_of_the_api(
        replies in prop::collection::vec((0usize..4, 0usize..8), 1..40),
        max_replies in 1u32..20,
    ) {
        const REASONS: [StopReason; 8] = [
            StopReason::ToolUse, StopReason::ToolUse, StopReason::ToolUse, StopReason::PauseTurn,
            StopReason::MaxTokens, StopReason::EndTurn, StopReason::Refusal, StopReason::Unknown,
        ];
        let mut day = Conversation::new("Los", Limits { max_replies, ..LIMITS });
        let mut before: Vec<String> = Vec::new();
        for (turn, (calls, reason)) in replies.into_iter().enumerate() {
            if asked_tokens(&day).is_none() {
                break;
            }
            let content: Vec<_> = (0..calls).map(|n| call(&format!("{turn}-{n}"))).collect();
            day.record_reply(reply(json!(content), REASONS[reason]));
            if matches!(day.next(), Next::CallTools(_)) {
                answer(&mut day);
            }
            let now: Vec<_> = day.messages().iter().map(|m| m.as_json()).collect();
            prop_assert!(now.starts_with(&before));
            before = now;
        }
        prop_assert!(day.replies <= max_replies);
        let history: Vec<Value> =
            before.iter().map(|message| serde_json::from_str(message).unwrap()).collect();
        for (index, message) in history.iter().enumerate() {
            let ids = |message: &Value, kind: &str, key: &str| -> Vec<String> {
                let blocks = message["content"].as_array().cloned().unwrap_or_default();
                let of_kind = blocks.iter().filter(|block| block["type"] == kind);
                of_kind.map(|block| block[key].as_str().unwrap().to_owned()).collect()
            };
            let called = match message["role"].as_str() {
                Some("assistant") => ids(message, "tool_use", "id"),
                _ => Vec::new(),
            };
            let answered =
                history.get(index + 1).map(|m| ids(m, "tool_result", "tool_use_id")).unwrap_or_default();
            prop_assert_eq!(called, answered);
        }
    }
}
