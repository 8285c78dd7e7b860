//! The scripted persona, as seen by a client that executes its calls.

use std::collections::HashSet;

use serde_json::{Value, json, value::RawValue};

use crate::catalog;

use super::{
    super::{ClaudeOptions, LOUD_CALLS, Manner, Rates},
    fixture::Client,
};

const DAY: &str = "Heute ist 2026-11-20. Verbringe einen kurzen Tag in deiner Mana-App, nutze 3 bis 8 \
                   Werkzeuge. Deine Module: todo, journal, contacts. Schließe mit ein bis zwei Sätzen.";

/// Tools of three modules that the persona prefers and of one that its instructions do not name.
fn tools() -> Value {
    let object = |properties: Value, required: Value| {
        json!({"type": "object",
        "properties": properties, "required": required, "additionalProperties": false})
    };
    json!([
        {"name": "todo_list", "input_schema": object(json!({"limit": {"type": "integer"}}), json!([]))},
        {"name": "todo_create", "input_schema": object(json!({
            "title": {"type": "string", "minLength": 1, "maxLength": 20},
            "dueDate": {"type": "string", "format": "date"},
            "priority": {"type": "string", "enum": ["low", "high"]}}), json!(["title", "priority"]))},
        {"name": "todo_complete", "input_schema": object(json!({"id": {"type": "string"}}), json!(["id"]))},
        {"name": "todo_delete", "input_schema": object(json!({"id": {"type": "string"}}), json!(["id"]))},
        {"name": "journal_add", "input_schema": object(json!({
            "content": {"type": "string"}, "mood": {"type": "integer", "minimum": 1, "maximum": 10}}),
            json!(["content", "mood"]))},
        {"name": "contacts_link", "input_schema": object(json!({
            "contactId": {"type": "string"}}), json!(["contactId"]))},
        {"name": "comic_create", "input_schema": object(json!({}), json!([]))},
    ])
}

/// A tool call that the client executed.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    turn: usize,
    name: String,
    input: Value,
}

struct Run {
    calls: Vec<Call>,
    closing: String,
    replies: usize,
    spoke_beside: bool,
}

/// Plays a main turn: executes calls with `execute` until Claude requests none.
async fn play(
    client: &Client,
    system: &str,
    execute: impl Fn(&str, usize) -> (String, bool),
) -> Run {
    let mut history = vec![json!({"role": "user", "content": DAY}).to_string()];
    let mut run =
        Run { calls: Vec::new(), closing: String::new(), replies: 0, spoke_beside: false };
    loop {
        let body = format!(
            r#"{{"model":"claude-haiku-5-5","max_tokens":8192,"system":{},"tools":{},"messages":[{}]}}"#,
            json!(system),
            tools(),
            history.join(",")
        );
        let answer = client.post(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        run.replies += 1;
        assert!(run.replies <= 20, "the persona does not come to an end");
        let raw: std::collections::HashMap<String, Box<RawValue>> =
            serde_json::from_str(&answer.text).unwrap();
        history.push(format!(r#"{{"role":"assistant","content":{}}}"#, raw["content"].get()));
        let blocks = answer.json["content"].as_array().unwrap().clone();
        assert_eq!(blocks[0]["type"], "thinking");
        assert_eq!(blocks[0]["thinking"], "", "display is omitted unless asked for");
        let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        if answer.json["stop_reason"] == "end_turn" {
            run.closing = text;
            return run;
        }
        assert_eq!(answer.json["stop_reason"], "tool_use");
        run.spoke_beside |= !text.is_empty();
        let mut results = Vec::new();
        for block in blocks.iter().filter(|block| block["type"] == "tool_use") {
            let name = block["name"].as_str().unwrap();
            let (content, is_error) = execute(name, run.calls.len());
            results.push(json!({"type": "tool_result", "tool_use_id": block["id"],
                "content": content, "is_error": is_error}));
            let input = block["input"].clone();
            run.calls.push(Call { turn: run.replies, name: name.to_owned(), input });
        }
        history.push(json!({"role": "user", "content": results}).to_string());
    }
}

/// A product whose tools always succeed.
fn working(name: &str, call: usize) -> (String, bool) {
    match name {
        "todo_list" => (json!({"todos": [{"id": "t-1"}, {"id": "t-2"}]}).to_string(), false),
        _ => (json!({"id": format!("{name}-{call}")}).to_string(), false),
    }
}

#[tokio::test]
async fn every_persona_makes_valid_calls_of_the_modules_in_its_prompt() {
    let client = Client::start().await;
    let mut days = HashSet::new();
    let (mut parallel, mut beside, mut completed) = (false, false, false);
    for persona in catalog::personas() {
        let run = play(&client, &persona.system_prompt, working).await;
        assert_eq!(run.replies, 5, "{}", persona.name);
        assert!((4..=8).contains(&run.calls.len()), "{}: {:?}", persona.name, run.calls);
        assert!(run.closing.len() > 5);
        assert!(run.calls.iter().any(|call| call.name == "todo_list"), "a look at what is there");
        assert!(
            run.calls.iter().any(|call| call.name == "journal_add" || call.name == "todo_create")
        );
        for call in &run.calls {
            let input = &call.input;
            match call.name.as_str() {
                "todo_list" => assert_eq!(*input, json!({})),
                "todo_create" => {
                    assert!((1..=20).contains(&input["title"].as_str().unwrap().chars().count()));
                    assert!(["low", "high"].contains(&input["priority"].as_str().unwrap()));
                    assert!(input.get("dueDate").is_none_or(|due| due == "2026-11-20"));
                }
                "todo_complete" => {
                    let id = input["id"].as_str().unwrap();
                    assert!(id.starts_with("t-") || id.starts_with("todo_"), "{id}");
                    completed = true;
                }
                "journal_add" => {
                    assert!(!input["content"].as_str().unwrap().is_empty());
                    assert!((1..=10).contains(&input["mood"].as_i64().unwrap()));
                }
                other => panic!("{} has no business with {other}", persona.name),
            }
        }
        parallel |= run.calls.windows(2).any(|pair| pair[0].turn == pair[1].turn);
        beside |= run.spoke_beside;
        days.insert(format!("{:?} {}", run.calls, run.closing));
    }
    assert_eq!(days.len(), 10, "no two personas do the same");
    assert!(parallel && beside && completed);
    assert_eq!(client.claude.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_same_persona_does_the_same_on_its_first_day_and_something_else_on_its_second() {
    let persona = &catalog::personas()[0].system_prompt;
    let (one, other) = (Client::start().await, Client::start().await);
    let first = play(&one, persona, working).await.calls;
    assert_eq!(first, play(&other, persona, working).await.calls);
    let second = play(&one, persona, working).await.calls;
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_tool_that_fails_is_not_tried_again_at_once() {
    let client = Client::start().await;
    let run = play(&client, "Du bist jemand.", |_, _| ("kaputt".into(), true)).await;
    for pair in run.calls.windows(2) {
        assert!(pair[0].name != pair[1].name || pair[0].turn == pair[1].turn, "{:?}", run.calls);
    }
    assert!(run.calls.iter().all(|call| call.name != "todo_complete"), "no ids were ever seen");
    assert!(run.spoke_beside, "a persona says so when something fails");
}

/// Asks this persona for ratings of `todo` and `journal`.
async fn ratings(client: &Client, system: &str, with_schema: bool) -> Value {
    let prompt = "Hier ist, was du heute getan hast:\n1. todo.list – ok: []\n2. journal.add – error: \
                  Speicher voll\n3. todo.create – ok: {}\nBewerte die Module todo, journal von 1 bis 5.";
    let mut body = json!({"model": "claude-haiku-5-5", "max_tokens": 2048, "system": system,
        "messages": [{"role": "user", "content": prompt}]});
    if with_schema {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["ratings"],
            "properties": {"ratings": {"type": "array", "items": {
                "type": "object", "additionalProperties": false,
                "properties": {"module": {"type": "string", "enum": ["todo", "journal"]},
                    "notes": {"type": "string"},
                    "calls": {"type": "array", "items": {"type": "integer"}},
                    "rating": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
                "required": ["module", "notes", "calls", "rating"]}}}});
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    let answer = client.accepts(body).await.json;
    assert_eq!(answer["stop_reason"], "end_turn");
    let text =
        answer["content"].as_array().unwrap().iter().find_map(|b| b["text"].as_str()).unwrap();
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn ratings_follow_the_recap_in_the_voice_of_each_persona() {
    let client = Client::start().await;
    let mut notes = HashSet::new();
    let mut marks = HashSet::new();
    for persona in catalog::personas() {
        let answer = ratings(&client, &persona.system_prompt, true).await;
        let ratings = answer["ratings"].as_array().unwrap();
        let [todo, journal] = ratings.as_slice() else { panic!("{answer}") };
        let keys: Vec<&String> = todo.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["module", "notes", "calls", "rating"]);
        assert_eq!((&todo["module"], &journal["module"]), (&json!("todo"), &json!("journal")));
        assert_eq!((&todo["calls"], &journal["calls"]), (&json!([1, 3]), &json!([2])));
        assert!((3..=5).contains(&todo["rating"].as_i64().unwrap()));
        assert!((1..=2).contains(&journal["rating"].as_i64().unwrap()), "the recap shows an error");
        assert!(journal["notes"].as_str().unwrap().contains("journal.add"));
        notes.insert(answer.to_string());
        marks.insert((todo["rating"].to_string(), journal["rating"].to_string()));
    }
    assert_eq!(notes.len(), 10);
    assert!(marks.len() > 1, "tastes differ");
}

#[tokio::test]
async fn without_a_schema_the_modules_come_from_the_prompt() {
    let client = Client::start().await;
    let answer = ratings(&client, "Du bist jemand.", false).await;
    let modules: Vec<&str> = answer["ratings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rating| rating["module"].as_str())
        .collect();
    assert_eq!(modules, ["todo", "journal"]);
}

/// A client for whose persona `system` has this manner.
async fn with_manner(system: &str, manner: Manner) -> Client {
    let client = Client::start().await;
    client.claude.set_manner(system, manner);
    client
}

const SOMEONE: &str = "Du bist jemand.";

#[tokio::test]
async fn a_loud_persona_makes_forty_invalid_calls_in_one_run_and_none_in_the_others() {
    let client = with_manner(SOMEONE, Manner { loud_on: Some(2), ..Manner::default() }).await;
    let invalid = |run: &Run| {
        let objects = |call: &&Call| call.input.as_object().unwrap().values().any(Value::is_object);
        run.calls.iter().filter(objects).count()
    };
    for expected in [0, LOUD_CALLS, 0] {
        let run = play(&client, SOMEONE, |name, call| {
            if name == "todo_list" { working(name, call) } else { ("ungültig".into(), true) }
        })
        .await;
        assert_eq!(invalid(&run), expected);
        assert!(run.replies <= 6, "{}", run.replies);
        let distinct: HashSet<_> = run.calls.iter().map(|call| call.input.to_string()).collect();
        assert!(expected == 0 || distinct.len() == LOUD_CALLS, "each input is another");
    }
    assert_eq!(client.claude.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_persona_repeats_failed_calls_invents_tools_and_oversteps_as_often_as_its_manner_says() {
    for (manner, expected) in [
        (Manner { repeats: 100, ..Manner::default() }, "repeats"),
        (Manner { invents: 100, ..Manner::default() }, "invents"),
        (Manner { oversteps: 100, ..Manner::default() }, "oversteps"),
    ] {
        let client = with_manner(SOMEONE, manner).await;
        let run = play(&client, SOMEONE, |_, _| ("kaputt".into(), true)).await;
        let offered: Vec<Value> = tools().as_array().unwrap().clone();
        match expected {
            "repeats" => {
                let of = |turn| -> Vec<_> {
                    let calls = run.calls.iter().filter(|call| call.turn == turn);
                    calls.map(|call| (&call.name, &call.input)).collect()
                };
                assert_eq!(run.replies, 5);
                for turn in 2..5 {
                    assert_eq!(of(turn), of(1));
                }
            }
            "invents" => {
                let exists = |call: &Call| offered.iter().any(|tool| tool["name"] == *call.name);
                assert!(run.calls.len() == 4 && !run.calls.iter().any(exists), "{:?}", run.calls);
            }
            _ => assert!(run.calls.iter().all(|call| call.name == "todo_delete")),
        }
        assert!(run.spoke_beside && !run.closing.is_empty());
        assert_eq!(client.claude.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn ratings_follow_the_experience_drift_or_flatter() {
    // The recap of `ratings`: todo works, and the last call of journal.add failed.
    let marks = async |client: &Client| {
        let answer = ratings(client, SOMEONE, true).await;
        let marks = answer["ratings"].as_array().unwrap().iter();
        marks.map(|rating| rating["rating"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let honest =
        with_manner(SOMEONE, Manner { rates: Rates::Experience, ..Manner::default() }).await;
    let kind = with_manner(SOMEONE, Manner { rates: Rates::Flatters, ..Manner::default() }).await;
    let sinking = Manner { rates: Rates::Drifts(-100), ..Manner::default() };
    let sinking = with_manner(SOMEONE, sinking).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        for client in [&honest, &kind, &sinking] {
            play(client, SOMEONE, working).await;
        }
        let (honest, kind) = (marks(&honest).await, marks(&kind).await);
        assert!((4..=5).contains(&honest[0]) && (1..=2).contains(&honest[1]), "{honest:?}");
        assert!(kind.iter().all(|mark| (4..=5).contains(mark)), "{kind:?}");
        seen.push(marks(&sinking).await[0]);
    }
    assert!(seen[0] >= 3 && seen[1] == seen[0] - 1 && seen[5] == 1, "{seen:?}");
}

#[tokio::test]
async fn each_seed_is_another_course_of_the_same_days() {
    let mut days = HashSet::new();
    for seed in [0, 1, 2, 2] {
        let options = ClaudeOptions { seed, ..ClaudeOptions::default() };
        let client = Client::with(options).await;
        days.insert(format!("{:?}", play(&client, SOMEONE, working).await.calls));
    }
    assert_eq!(days.len(), 3);
}

#[tokio::test]
async fn variety_lets_less_liked_modules_come_first_more_often() {
    let mut first = Vec::new();
    for variety in [0, 8] {
        let client = with_manner(SOMEONE, Manner { variety, ..Manner::default() }).await;
        let mut journals = 0;
        for _ in 0..30 {
            let run = play(&client, SOMEONE, working).await;
            let write = run.calls.iter().find(|call| call.name != "todo_list").unwrap();
            journals += usize::from(write.name == "journal_add");
        }
        first.push(journals);
    }
    assert!(first[0] < first[1] && first[1] < 30, "{first:?}");
}
