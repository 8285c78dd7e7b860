//! What is observed while a run is played is what its stored steps say.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{Cost, ModuleName, Outcome, Tokens, UnratedWhy},
    facts::extract,
};

/// Steps of each kind, as the daemon of commit cabd9f6 wrote them.
const OF_CABD9F6: &str = include_str!("../../../tests/fixtures/steps-cabd9f6.jsonl");

const AT: Timestamp = Timestamp::constant(1_795_262_400, 0);

fn at(second: i64) -> Timestamp {
    AT + SignedDuration::from_secs(second)
}

fn step(step: Value) -> Step {
    // A reply holds its content byte for byte, so it is read from a text.
    serde_json::from_str(&step.to_string()).unwrap()
}

/// A reply with this text that calls `todo_list` once for each of these ids.
fn replied(text: &str, ids: &[&str]) -> Step {
    let call =
        |id: &&str| json!({"type": "tool_use", "id": id, "name": "todo_list", "input": {"of": id}});
    let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    let content: Vec<_> = text.into_iter().chain(ids.iter().map(call)).collect();
    let reason = if ids.is_empty() { "end_turn" } else { "tool_use" };
    step(json!({"replied": {"content": content, "stop_reason": reason, "refusal": null,
        "usage": Tokens::default(), "cost": Cost::default()}}))
}

fn calling(id: &str) -> Step {
    step(json!({"calling": {"id": id, "tool": {"listed": "todo.list"}}}))
}

/// The result of a call, as a version before wrote it.
fn called(id: &str, number: u32, error: Option<&str>) -> Step {
    step(json!({"called": {"id": id, "content": [{"text": error.unwrap_or("[]")}], "hints": [],
        "record": {"number": number, "tool": {"listed": "todo.list"}, "input_hash": null, "error": error,
            "outcome_unknown": false, "excerpt": "", "latency": {"secs": 2, "nanos": 0}}}}))
}

fn told(cut: &[usize]) -> Step {
    step(json!({"told": {"reminder": null, "as_system": true, "cut": cut}}))
}

fn opened() -> Step {
    step(json!({"opened": {"opening": "", "catalog": ""}}))
}

fn observe(steps: impl IntoIterator<Item = Step>) -> Observed {
    let mut observer = Observer::default();
    for (second, step) in (0..).zip(steps) {
        observer.take(&step, at(second));
    }
    observer.observed()
}

#[test]
fn calls_are_in_the_order_asked_and_as_old_as_their_beginning() {
    let observed = observe([
        opened(),
        replied("", &["a", "b", "c"]),
        calling("a"),
        calling("b"),
        calling("c"),
        called("c", 3, Some("weg")),
        called("a", 1, None),
        called("b", 2, None),
        told(&[2]),
        replied("Die Liste ist\nweg.", &["d"]),
        calling("d"),
        step(json!({"not_called": {"id": "d"}})),
        calling("d"),
        called("d", 4, Some("wieder weg")),
        told(&[]),
        replied("", &[]),
        step(
            json!({"day_ended": {"failure": null, "stopped": false, "out_of_money": false, "reason": "done"}}),
        ),
        // The answer to the question for ratings is no comment on a failure.
        replied("Bewertung", &[]),
    ]);
    let calls: Vec<_> = observed.calls.iter().map(|it| (it.number, it.at, &*it.words)).collect();
    let expected =
        [(1, at(2), ""), (2, at(3), ""), (3, at(4), "Die Liste ist weg."), (4, at(12), "")];
    assert_eq!(calls, expected);
    let cut: Vec<_> = observed.calls.iter().map(|call| call.cut).collect();
    assert_eq!(cut, [false, false, true, false], "the third had no money to be sent");
    let inputs: Vec<_> = observed.calls.iter().map(|call| &*call.input).collect();
    assert_eq!(
        inputs,
        ["", "", r#"{"of":"c"}"#, r#"{"of":"d"}"#],
        "that of a success says nothing"
    );
    assert_eq!(observed.day, Some(Outcome::Done));
    assert!(observed.calls.iter().all(|call| call.is_read_only && call.tries == 1));
}

#[test]
fn a_call_under_way_was_stopped_whether_or_not_a_process_has_written_that() {
    let begin = || {
        let calls = ["a", "b", "c"];
        [opened(), replied("", &calls), calling("a"), called("a", 1, None), calling("b")]
    };
    let killed = observe(begin());
    // The next process writes that the outcome is unknown, before it goes on.
    let broken_off = Called::broken_off(
        2,
        "b",
        killed.calls[1].input_hash.clone(),
        CalledTool::Listed(crate::domain::ToolName::new("todo.list")),
    );
    let resumed = observe(begin().into_iter().chain([Step::Called(broken_off)]));
    assert_eq!(killed, resumed);
    let [a, b] = &killed.calls[..] else { panic!("{killed:?}") };
    assert!(a.failure.is_none());
    assert_eq!((b.number, b.at, b.may_have_run), (2, at(4), true));
    assert_eq!(b.failure.as_ref().map(|(cause, _)| *cause), Some(Cause::Stopped));
    // A version before wrote the same text without a cause.
    let old =
        observe(begin().into_iter().chain([called("b", 2, Some(super::super::call::UNKNOWN))]));
    assert_eq!(old.calls[1].failure, b.failure);
}

#[test]
fn what_a_run_keeps_of_texts_is_bounded() {
    let long = "ä".repeat(1 << 20);
    let observed = observe([
        opened(),
        step(
            json!({"replied": {"content": [{"type": "tool_use", "id": "a", "name": "x", "input": {"t": long}}],
            "stop_reason": "tool_use", "refusal": null, "usage": Tokens::default(), "cost": Cost::default()}}),
        ),
        called("a", 1, Some(&long)),
        told(&[]),
        replied(&long, &[]),
    ]);
    let [call] = &observed.calls[..] else { panic!("{}", observed.calls.len()) };
    let (_, error) = call.failure.as_ref().unwrap();
    assert!(error.len() <= MAX_ERROR && call.input.len() <= MAX_INPUT);
    assert_eq!(call.words.chars().count(), MAX_WORDS);
}

#[test]
fn the_steps_of_an_earlier_version_have_causes_by_their_texts() {
    let observed = observe(OF_CABD9F6.lines().map(|line| serde_json::from_str(line).unwrap()));
    let causes: Vec<_> = observed
        .calls
        .iter()
        .map(|call| (call.number, call.failure.as_ref().map(|(cause, _)| *cause)))
        .collect();
    let expected = [(1, None), (2, Some(Cause::Invented)), (4, Some(Cause::RejectedInput))];
    assert_eq!(causes, expected);
    assert_eq!(observed.calls[2].words, "Bis morgen!");
    assert_eq!(observed.calls[0].latency.as_micros(), 4_141);
    assert_eq!(observed.day, Some(Outcome::Done));
    let facts = extract(&observed, "run", Outcome::Done, SignedDuration::ZERO);
    let [habits] = &facts.modules[..] else { panic!("{:?}", facts.modules) };
    assert_eq!((habits.rating, habits.grounded, habits.failed), (Some(3), true, 1));
    let [(issue, _)] = &facts.hits[..] else { panic!("{:?}", facts.hits) };
    assert_eq!((issue.tool.as_deref(), issue.call), (Some("habits.create"), 4));
}

#[test]
fn unrated_modules_are_observed_with_their_reasons() {
    let modules = json!([{"module": "todo", "why": "forgotten"}]);
    let observed = observe([
        opened(),
        step(
            json!({"day_ended": {"failure": null, "stopped": true, "out_of_money": false, "reason": ""}}),
        ),
        step(json!({"unrated": {"modules": modules}})),
        step(json!({"rated": {"rows": []}})),
    ]);
    assert_eq!(observed.unrated, [(ModuleName::new("todo"), UnratedWhy::Forgotten)]);
    assert_eq!((observed.day, observed.ratings), (Some(Outcome::Stopped), Some(Vec::new())));
}

/// Any step that a run may have, and many orders that it cannot have.
fn any_step() -> impl Strategy<Value = Step> {
    let ids = ["a", "b", "c"];
    let errors = [None, Some("weg"), Some("not run: mana-mcp answered 503"), Some("NO_VAULT: x")];
    prop_oneof![
        8 => (0usize..4, 0usize..8).prop_map(move |(count, text)| {
            replied(["", "Hm."][text % 2], &ids[..count.min(ids.len())])
        }),
        8 => (0usize..3).prop_map(move |id| calling(ids[id])),
        8 => (0usize..3, 1u32..9, 0usize..4).prop_map(move |(id, number, error)| {
            called(ids[id], number, errors[error])
        }),
        4 => prop::collection::vec(0usize..4, 0..2).prop_map(|cut| told(&cut)),
        2 => (0usize..3).prop_map(move |id| step(json!({"not_called": {"id": ids[id]}}))),
        1 => Just(step(json!({"tool_left_out": {"tool": "todo.list"}}))),
        1 => Just(step(json!({"asking": {"reserved": 7}}))),
        1 => Just(step(json!({"unanswered": {"lost": true}}))),
        1 => Just(opened()),
        1 => Just(step(json!({"day_ended": {"failure": null, "stopped": false,
            "out_of_money": true, "reason": ""}}))),
        1 => Just(step(json!({"rated": {"rows": []}}))),
    ]
}

proptest! {
    #[test]
    fn stored_steps_say_what_was_observed_while_they_were_made(
        steps in prop::collection::vec(any_step(), 0..60),
        killed_at in 0usize..60,
    ) {
        let (mut live, mut resumed) = (Observer::default(), Observer::default());
        for (number, step) in steps.iter().enumerate() {
            // The clock is more precise than the journal.
            let made_at = AT + SignedDuration::from_micros(number as i64 * 1_234_567);
            let stored_at = Timestamp::from_millisecond(made_at.as_millisecond()).unwrap();
            live.take(step, made_at);
            let stored = serde_json::to_string(step).unwrap();
            if number < killed_at {
                resumed.take(&serde_json::from_str(&stored).unwrap(), stored_at);
            } else {
                resumed.take(step, made_at);
            }
            // What is asked for in between changes nothing.
            let so_far = live.observed();
            prop_assert!(so_far.calls.is_sorted_by(|a, b| a.number < b.number));
        }
        let (live, resumed) = (live.observed(), resumed.observed());
        let facts = |observed| extract(observed, "run", Outcome::Done, SignedDuration::ZERO);
        prop_assert_eq!(facts(&live), facts(&resumed));
        prop_assert_eq!(live, resumed);
    }
}

#[test]
fn an_address_in_a_quote_is_hidden_also_where_the_quote_is_cut() {
    let address = "anna.berg@mana.test";
    for before in [0, 225, 235, 239] {
        let text = format!("{} {address} weg", "x".repeat(before));
        let steps = [
            opened(),
            replied("", &["a"]),
            calling("a"),
            called("a", 1, Some("weg")),
            told(&[]),
            replied(&text, &[]),
        ];
        let words = observe(steps).calls.remove(0).words;
        assert!(words.chars().count() <= MAX_WORDS && !words.contains("anna"), "{words}");
    }
}
