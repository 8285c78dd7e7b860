use std::time::Duration;

use super::*;
use crate::{
    agent::{Called, Step},
    domain::Cause,
    journal::facts::tests::{DAY, at},
};

/// The step of a call, whose result has this text.
fn called(number: u32, error: Option<&str>, text: &str) -> String {
    let json = serde_json::json!({
        "id": "toolu_1",
        "record": {
            "number": number,
            "tool": {"listed": "todo.create"},
            "input_hash": null,
            "error": error,
            "outcome_unknown": false,
            "excerpt": text,
            "latency": {"secs": 9, "nanos": 0},
            "detail": {
                "cause": error.map(|_| "handler"),
                "tries": 2,
                "last_try": {"secs": 0, "nanos": 12_000_000},
            },
        },
        "content": [{"text": text}],
        "hints": [],
    });
    let called: Called = serde_json::from_value(json).unwrap();
    serde_json::to_string(&Step::Called(called)).unwrap()
}

/// The runs and steps of the calls after a place, and the place that is reached.
async fn after(journal: &Journal, after: Position, limit: u32) -> (Vec<(RunId, u32)>, Position) {
    let LiveCalls { calls, reached } = journal.calls_after(after, limit).await.unwrap();
    (calls.iter().map(|call| (call.run, call.step)).collect(), reached)
}

#[tokio::test]
async fn calls_come_in_the_order_in_which_they_were_committed_and_none_twice_or_never() {
    let journal = Journal::in_memory().await.unwrap();
    let anna = begin(&journal, "anna", "s", NOON).await;
    let ben = begin(&journal, "ben", "s", NOON).await;
    let call = |number| called(number, None, "fein");
    let mut expected = Vec::new();
    for number in 0..5 {
        for run in [ben, anna] {
            journal.append_step(run, number * 2, r#""sessions_ended""#, NOON).await.unwrap();
            journal.append_step(run, number * 2 + 1, &call(number), NOON).await.unwrap();
            expected.push((run, number * 2 + 1));
        }
    }
    journal.append_step(anna, 99, r#""thinking_stripped""#, NOON).await.unwrap();
    let (mut all, mut place) = (Vec::new(), Position::default());
    loop {
        let (calls, reached) = after(&journal, place, 3).await;
        if calls.is_empty() {
            assert_eq!(reached, journal.newest_position().await.unwrap());
            break;
        }
        all.extend(calls);
        place = reached;
    }
    assert_eq!(all, expected);
    let from = journal.position_of(ben, 7).await.unwrap().unwrap();
    assert_eq!(after(&journal, from, 50).await.0, expected[7..]);
    assert_eq!(journal.position_of(ben, 8_888).await.unwrap(), None);
    let latest = journal.latest_calls(2).await.unwrap();
    let latest: Vec<_> = latest.iter().map(|call| (call.run, call.step)).collect();
    assert_eq!(latest, [(anna, 9), (ben, 9)]);
}

#[tokio::test]
async fn a_call_is_read_without_its_result_whatever_its_texts_are() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    let hostile = r#"","content":[{"text":"}}\ ',"content":[ "#;
    journal.append_step(run, 0, &called(1, Some(hostile), hostile), at(3)).await.unwrap();
    journal.append_step(run, 1, &called(2, None, hostile), at(4)).await.unwrap();
    let calls = journal.calls_after(Position::default(), 9).await.unwrap().calls;
    let [failed, good] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((failed.number, failed.ok, failed.cause), (1, false, Some(Cause::Handler)));
    assert_eq!((good.number, good.ok, good.cause), (2, true, None));
    assert_eq!((failed.at, &*failed.tool), (at(3), "todo.create"));
    assert_eq!((&*failed.persona_id, failed.label.as_deref()), ("anna", Some("persona.anna")));
    assert_eq!(failed.latency, Duration::from_millis(12));
}

#[tokio::test]
async fn the_calls_of_an_earlier_version_are_read() {
    const STEPS: &str = include_str!("../../../../tests/fixtures/steps-cabd9f6.jsonl");
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    for (number, body) in (0..).zip(STEPS.lines()) {
        journal.append_step(run, number, body, NOON).await.unwrap();
    }
    let calls = journal.calls_after(Position::default(), 99).await.unwrap().calls;
    let expected = STEPS.lines().filter(|line| line.starts_with(r#"{"called""#)).count();
    assert_eq!(calls.len(), expected);
    assert_eq!(calls[0].tool, "habits_delete_everything");
    assert!(calls.iter().any(|call| call.latency > Duration::ZERO));
}

#[tokio::test]
async fn when_the_newest_steps_are_deleted_a_later_call_is_still_found() {
    let journal = Journal::in_memory().await.unwrap();
    let run = run_of(&journal, "anna", NOON, 0, &[]).await;
    for number in 0..5 {
        journal.append_step(run, number, &called(number, None, ""), NOON).await.unwrap();
    }
    let before = journal.newest_position().await.unwrap();
    assert_eq!(journal.prune(NOON + DAY, NOON + DAY).await.unwrap(), 1);
    let (none, place) = after(&journal, before, 9).await;
    assert_eq!((none, place), (vec![], Position::default()));
    let next = begin(&journal, "ben", "s", NOON).await;
    journal.append_step(next, 0, &called(1, None, ""), NOON).await.unwrap();
    assert_eq!(after(&journal, place, 9).await.0, [(next, 0)]);
}
