//! Runs for tests, made of steps.

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::super::{Asked, Kept, Times};
use crate::{
    domain::{Cadence, Language, ModuleMix, Outcome, Persona, RunId, RunState, Slot, Usd, UserId},
    facts::line,
    journal::{KeptSettings, Post, PostKey, RunRow, StoredStep},
};

/// Noon of a Monday in March, by the clock of the daemon.
const NOON: Timestamp = Timestamp::constant(1_773_057_600, 0);

/// What a run is made of.
#[derive(Default)]
pub(super) struct Given {
    pub(super) steps: Vec<String>,
    pub(super) stored: Vec<line::Call>,
    pub(super) is_running: bool,
    /// Whether the persona is deleted with the steps.
    pub(super) is_pruned: bool,
    /// The name of everything that has one.
    pub(super) name: Option<String>,
}

/// A tool call and its result.
#[derive(Clone)]
pub(super) struct Call {
    tool: String,
    input: Value,
    result: String,
    is_ok: bool,
    /// The size of the result before it was cut.
    pub(super) chars: usize,
}

pub(super) fn asked(address: &str) -> Asked {
    let address = address.parse().unwrap();
    Asked::of(&address, Vec::new(), &HeaderMap::new(), Language::German).0
}

pub(super) fn times(asked: &Asked) -> Times {
    Times::new(TimeZone::get("Europe/Berlin").unwrap(), asked.language)
}

pub(super) fn ok(tool: &str, input: Value, result: &str) -> Call {
    let chars = result.chars().count();
    Call { tool: tool.into(), input, result: result.into(), is_ok: true, chars }
}

pub(super) fn failed(tool: &str, input: Value, error: &str) -> Call {
    Call { is_ok: false, ..ok(tool, input, error) }
}

pub(super) fn opening() -> Vec<String> {
    let opened = json!({"opened": {"opening": "Heute ist Montag.", "catalog": "c"}});
    vec![opened.to_string()]
}

pub(super) fn asking() -> String {
    json!({"asking": {"reserved": 7_000_000_000_u64}}).to_string()
}

fn replied(content: &[Value]) -> String {
    let usage =
        json!({"input": 1, "output": 2, "cache_read": 3, "cache_write_5m": 4, "cache_write_1h": 5});
    let cost = json!({"input": 1, "output": 2, "cache_read": 3, "cache_write": 4});
    let reply = json!({"content": content, "stop_reason": "tool_use", "refusal": null, "usage": usage, "cost": cost});
    json!({"replied": reply}).to_string()
}

/// A turn with words and calls. The ids of calls follow from their numbers, which are given as they are made.
pub(super) fn turn(words: &str, calls: &[Call]) -> Vec<String> {
    let first = COUNT.with(|count| count.replace(count.get() + calls.len() as u32)) + 1;
    let mut content = vec![json!({"type": "text", "text": words})];
    let (mut steps, mut results) = (vec![asking()], Vec::new());
    for (number, call) in (first..).zip(calls) {
        let id = format!("toolu_{number}");
        content.push(
            json!({"type": "tool_use", "id": id, "name": call.tool.replace('.', "_"), "input": call.input}),
        );
        let error = (!call.is_ok).then_some(&call.result);
        let cause = (!call.is_ok).then_some("handler");
        let tool = json!({"listed": call.tool});
        let record = json!({
            "number": number, "tool": tool, "input_hash": format!("{number:016x}"), "error": error,
            "outcome_unknown": false, "excerpt": "", "latency": {"secs": 0, "nanos": 9_000_000},
            "detail": {"cause": cause, "tries": 2, "last_try": {"secs": 0, "nanos": 8_000_000},
                "chars": call.chars, "cut": call.chars > call.result.chars().count(), "reads": false,
                "limit_offered": false},
        });
        results.push(json!({"calling": {"id": id, "tool": tool}}).to_string());
        results.push(
            json!({"called": {"id": id, "record": record, "content": [{"text": call.result}], "hints": ["Halt."]}})
                .to_string(),
        );
    }
    steps.push(replied(&content));
    steps.extend(results);
    steps.push(json!({"told": {"reminder": "Denk daran.", "as_system": true}}).to_string());
    steps
}

thread_local! {
    /// How many calls the run of this test has so far.
    static COUNT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// A turn with a call that is under way.
pub(super) fn begun(tool: &str, input: Value) -> Vec<String> {
    let asked = json!({"type": "tool_use", "id": "toolu_b", "name": tool, "input": input});
    let calling = json!({"calling": {"id": "toolu_b", "tool": {"listed": tool}}});
    vec![asking(), replied(&[asked]), calling.to_string()]
}

/// The end of the day, and these ratings.
pub(super) fn rated(ratings: &[(&str, u8, &str, &[u32])]) -> Vec<String> {
    let row = |(module, rating, notes, calls): &(&str, u8, &str, &[u32])| json!({"module": module, "rating": rating, "notes": notes, "calls": calls});
    let rows: Vec<_> = ratings.iter().map(row).collect();
    let ended = json!({"day_ended": {"failure": null, "stopped": false, "out_of_money": false, "reason": "done"}});
    let answer = replied(&[json!({"type": "text", "text": "{\"ratings\": []}"})]);
    vec![ended.to_string(), asking(), answer, json!({"rated": {"rows": rows}}).to_string()]
}

/// A run that has this text wherever a peer can put one, with so many turns of so many calls.
pub(super) fn hostile(text: &str, turns: usize, calls: usize) -> Given {
    let call = |index: usize| {
        let input = json!({text: text, "more": [text]});
        if index.is_multiple_of(2) { failed(text, input, text) } else { ok(text, input, text) }
    };
    let opened = json!({"opened": {"opening": text, "catalog": text}});
    let mut steps = vec![opened.to_string()];
    for _ in 0..turns {
        steps.extend(turn(text, &(0..calls).map(call).collect::<Vec<_>>()));
    }
    let numbers: Vec<u32> = (1..).take(turns * calls).collect();
    steps.push(json!({"tool_left_out": {"tool": text}}).to_string());
    steps.push(text.to_owned());
    steps.extend(rated(&[
        (text, 1, text, &numbers),
        (text, 2, text, &numbers),
        ("todo", 3, text, &[]),
    ]));
    Given { steps, name: Some(text.to_owned()), ..Given::default() }
}

pub(super) fn refused_post(run: RunId) -> Post {
    Post {
        key: PostKey { run, number: 0 },
        persona: "p".into(),
        kind: "actions".into(),
        rows: 3,
        body: String::new(),
        attempts: 1,
        next_try_at: NOON,
        is_dead: true,
        reason: Some("422 no".into()),
    }
}

/// What the journal has about a run. Its steps are a second apart; mana-auth's clock is an hour ahead.
pub(super) fn kept(given: Given) -> Kept {
    COUNT.with(|count| count.set(0));
    let name = given.name.unwrap_or_else(|| "anna".to_owned());
    let persona = Persona {
        user_id: UserId::parse("p1").unwrap(),
        email: format!("{name}@mana.test"),
        system_prompt: format!("Du bist {name}."),
        module_mix: ModuleMix::default(),
        cadence: Cadence::Daily,
        archetype: Some(name.clone()),
    };
    let run = RunRow {
        id: RunId::new(),
        label: Some(name.clone()),
        persona_id: name.clone(),
        persona: (!given.is_pruned).then_some(persona),
        slot: Slot::stored(name.clone()),
        attempt: 2,
        model: name.clone(),
        state: if given.is_running { RunState::Running } else { RunState::Finished },
        stage: "done".into(),
        spent: Usd::from_dollars(1.5).unwrap(),
        replies: 2,
        calls: 2,
        call_errors: 1,
        ratings: 1,
        end_reason: (!given.is_running).then(|| name.clone()),
        started_at: NOON,
        updated_at: NOON,
        ended_at: (!given.is_running).then_some(NOON + SignedDuration::from_secs(90)),
        server_at: NOON + SignedDuration::from_hours(1),
        server_time: None,
        outcome: (!given.is_running).then_some(Outcome::Done),
        deployment: Some(1),
        deployment_end: Some(2),
        settings: KeptSettings {
            effort: Some(name.clone()),
            policy: Some(name.clone()),
            runner: Some(name.clone()),
            prompt: Some(name),
        },
    };
    let steps = (0..).zip(given.steps).map(|(number, body)| StoredStep {
        number,
        at: NOON + SignedDuration::from_secs(number.into()),
        body,
    });
    Kept::of(run, &steps.collect::<Vec<_>>(), given.stored)
}
