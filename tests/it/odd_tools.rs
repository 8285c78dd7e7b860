//! Tools that Claude would refuse or does refuse: they are left out and reported, and nothing else is lost.

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use serde_json::{Value, json};

use crate::{
    script::{anything, habits_list, make_due, only_failure, outcomes, play, play_well, raw},
    support::{Setup, World, in_journal, logs::Logs, patiently},
};

/// The requests of main turns as they arrived, including refused ones.
fn sent(world: &World) -> Vec<Recorded> {
    world.peers.claude.served.recorder.matching(is_main)
}

fn is_main(request: &Recorded) -> bool {
    !request.json()["tools"].is_null()
}

/// The names of the tools that a request offers.
fn offered(request: &Recorded) -> Vec<String> {
    let body = request.json();
    let names = body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

fn refusal(message: &str) -> Fault {
    let error = json!({"type": "invalid_request_error", "message": message});
    Fault::status(400, json!({"type": "error", "error": error, "request_id": "req_1"}).to_string())
}

/// Refuses `times` requests that offer a tool of this name, with an error about that tool.
fn refuse_tool(world: &World, times: usize, name: &'static str) {
    // The error names the tool's index, so a fault is planned for every index that the tool may have.
    for place in 0..200 {
        let why = format!("tools.{place}.custom.input_schema: JSON schema is invalid.");
        world.peers.claude.served.faults.inject(times, refusal(&why), move |request| {
            is_main(request) && offered(request).get(place).is_some_and(|offered| offered == name)
        });
    }
}

fn thinks(body: &Value) -> bool {
    body["messages"].to_string().contains(r#""type":"thinking""#)
}

/// A reply with a thinking block and a call of `habits.list`.
fn thoughtful_call(n: usize) -> Scripted {
    let content = format!(
        r#"[{{"type":"thinking","thinking":"","signature":"sig_{n}"}}, {{"type":"tool_use","id":"toolu_{n}","name":"habits_list","input":{{}}}}]"#
    );
    raw(&content, Some("tool_use"))
}

#[tokio::test]
async fn with_every_odd_tool_at_once_all_personas_have_a_whole_day_and_the_log_names_each_once() {
    let logs = Logs::capture("warn");
    let property = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    let unfit = [
        json!({"properties": {"$top": {"type": "integer"}}}),
        json!({"properties": {"a b": {}}}),
        json!({"anyOf": [{"required": ["a"]}]}),
        json!({"oneOf": []}),
        json!({"properties": {}, "allOf": [{}]}),
        property(json!({"type": "any"})),
        property(json!({"type": ["string", "date"]})),
        property(json!({"exclusiveMinimum": true})),
        property(json!({"items": {"properties": {"x": {"required": true}}}})),
        property(json!({"required": "x"})),
        property(json!({"enum": "x"})),
        property(json!({"minLength": -1})),
        property(json!({"properties": ["x"]})),
        property(json!({"pattern": 1})),
        property(json!({"maximum": null})),
        property(json!({"properties": null})),
        json!({"definitions": {"d": "string"}}),
        // The remainder of a schema that is nested too deeply.
        property(json!({"not": {"items": null}})),
    ];
    let repaired = [
        (
            property(
                json!({"type": "array", "items": [{"type": "number"}, {}], "additionalItems": false}),
            ),
            json!({"type": "array", "prefixItems": [{"type": "number"}, {}], "items": false}),
        ),
        (property(json!({"minimum": 0, "exclusiveMinimum": true})), json!({"exclusiveMinimum": 0})),
        (property(json!({"maximum": 9, "exclusiveMaximum": false})), json!({"maximum": 9})),
    ];
    let world = Setup::catalog().start().await;
    let schema = |schema: &Value| schema.as_object().unwrap().clone();
    for (n, odd) in unfit.iter().enumerate() {
        world.peers.mcp.add_tool(&format!("odd.tool{n}x"), "", schema(odd));
    }
    for (n, (old, _)) in repaired.iter().enumerate() {
        world.peers.mcp.add_tool(&format!("old.tool{n}x"), "", schema(old));
    }
    let result = world.good_tick().await;
    assert_eq!(result["ranSuccessfully"], 10, "{result}");
    make_due(&world).await;
    world.good_tick().await;
    for request in sent(&world) {
        assert!(!offered(&request).iter().any(|name| name.starts_with("odd_")));
    }
    let tools = sent(&world)[0].json()["tools"].clone();
    for (n, (_, new)) in repaired.iter().enumerate() {
        let name = format!("old_tool{n}x");
        let tool = tools.as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap();
        assert_eq!(tool["input_schema"]["properties"]["a"], *new);
    }
    for n in 0..unfit.len() {
        let lines = logs.lines_with(&format!("odd.tool{n}x"));
        assert_eq!(lines.len(), 1, "{n}: {lines:?}");
        assert!(lines[0].contains("input schema"), "{lines:?}");
    }
    assert_eq!(logs.lines_with("old.tool"), Vec::<String>::new());
    let counted = world.metric("tools_left_out_total{reason=\"schema\"}").await;
    assert_eq!(counted, Some(unfit.len() as f64));
}

#[tokio::test]
async fn one_tool_that_is_too_large_or_has_no_schema_costs_no_other_its_place() {
    let logs = Logs::capture("warn");
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    let schema = |schema: Value| schema.as_object().unwrap().clone();
    let many: Vec<_> = (0..6_000).collect();
    mcp.add_tool("huge.values", "", schema(json!({"properties": {"a": {"enum": many}}})));
    mcp.add_tool("huge.words", &"x".repeat(1_000_000), anything());
    let result = world.good_tick().await;
    assert_eq!(result["ranSuccessfully"], 1, "{result}");
    make_due(&world).await;
    world.good_tick().await;
    assert!(!offered(&sent(&world)[0]).iter().any(|name| name.starts_with("huge_")));
    for (name, why) in [("huge.values", "5,000 values"), ("huge.words", "64 kB")] {
        let lines = logs.lines_with(name);
        assert!(lines.len() == 1 && lines[0].contains(why), "{lines:?}");
    }
    let counted = world.metric("tools_left_out_total{reason=\"schema\"}").await;
    assert_eq!(counted, Some(2.0));
}

#[tokio::test]
async fn a_server_with_nothing_but_unfit_tools_fails_the_run_and_says_why() {
    let world = crate::script::no_tools().await;
    let schema = json!({"anyOf": []}).as_object().unwrap().clone();
    world.peers.mcp.add_tool("a.b", "", schema);
    let result = world.tick().await;
    assert!(only_failure(&result).contains("left out for its schema"), "{result}");
    assert_eq!(in_journal(&world, "SELECT outcome FROM runs").await, ["session"]);
    assert_eq!(sent(&world).len(), 0);
}

#[tokio::test]
async fn a_tool_that_a_refusal_names_is_taken_out_with_the_thinking_and_stays_out() {
    let logs = Logs::capture("warn");
    let world = Setup::one(&["habits"]).start().await;
    // The second request is refused: the thinking in the first reply is bound to a list with that tool.
    let schema = anything();
    world.peers.mcp.add_tool("bad.tool", "", schema.clone());
    world.peers.mcp.add_tool("zzz.last", "", schema);
    for (times, name) in [(1, "bad_tool"), (1, "zzz_last")] {
        for place in 0..200 {
            let why = format!("tools.{place}.custom.input_schema: no");
            world.peers.claude.served.faults.inject(times, refusal(&why), move |request| {
                let body = request.json();
                let turns = body["messages"].as_array().map_or(0, Vec::len);
                is_main(request) && turns >= 3 && body["tools"][place]["name"] == name
            });
        }
    }
    let day = [
        thoughtful_call(0),
        thoughtful_call(1),
        Scripted::tools(&[("bad_tool", json!({})), habits_list()]),
        Scripted::text("Fertig."),
    ];
    play_well(&world, day).await;
    let requests = sent(&world);
    let seen: Vec<_> = requests
        .iter()
        .map(|request| {
            let offered = offered(request);
            let offers = |name: &str| offered.iter().any(|offered| offered == name);
            (offers("bad_tool"), offers("zzz_last"), thinks(&request.json()))
        })
        .collect();
    let expected = [
        (true, true, false),
        (true, true, true),
        (false, true, false),
        (false, false, false),
        // Thinking blocks since then are bound to the tools as they are now.
        (false, false, true),
        (false, false, true),
    ];
    assert_eq!(seen, expected);
    let last = requests[3].json()["tools"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["cache_control"], json!({"type": "ephemeral"}), "the marker moves along");
    let actions = world.actions().await;
    let rows = [
        ("habits.list", "ok"),
        ("habits.list", "ok"),
        ("bad_tool", "error"),
        ("habits.list", "ok"),
    ];
    assert_eq!(outcomes(&actions), rows, "a call of it is answered as that of an unknown tool");

    // On the next day the tool is not offered at all.
    world.peers.claude.served.faults.clear();
    make_due(&world).await;
    let before = requests.len();
    play_well(&world, [Scripted::text("Nichts.")]).await;
    let names = offered(&sent(&world)[before]);
    assert!(!names.contains(&"bad_tool".to_owned()) && !names.contains(&"zzz_last".to_owned()));
    for name in ["bad.tool", "zzz.last"] {
        assert_eq!(logs.lines_with(name).len(), 1, "{name}");
    }
    assert_eq!(world.metric("tools_left_out_total{reason=\"refused\"}").await, Some(2.0));
    assert_eq!(world.health().await["status"], "ok");
}

#[tokio::test]
async fn runs_whose_requests_pass_without_a_tool_do_not_stop_the_model() {
    let world = Setup::many(&["anna", "ben", "cem", "dora"])
        .short_days()
        .var("PERSONA_CONCURRENCY", 4)
        .start()
        .await;
    world.peers.mcp.add_tool("bad.tool", "", anything());
    refuse_tool(&world, usize::MAX, "bad_tool");
    let result = world.good_tick().await;
    assert_eq!(result["ranSuccessfully"], 4);
    assert_eq!(world.metric("model_stopped").await, Some(0.0));
    assert_eq!(world.metric("tools_left_out_total{reason=\"refused\"}").await, Some(1.0));
}

#[tokio::test]
async fn a_run_goes_on_without_twenty_tools_and_no_more() {
    let world = Setup::one(&["habits"]).start().await;
    let any = usize::MAX;
    world.peers.claude.served.faults.inject(any, refusal("tools.0.custom.name: no"), is_main);
    let result = play(&world, []).await;
    assert!(only_failure(&result).contains("400 invalid_request_error"), "{result}");
    let requests = sent(&world);
    assert_eq!(requests.len(), 21);
    let (first, last) = (offered(&requests[0]), offered(&requests[20]));
    assert_eq!(last, first[20..]);
}

#[tokio::test]
async fn the_last_tool_stays_and_a_number_beyond_the_list_names_nothing() {
    for (tools, number) in [(1, 0), (2, 2)] {
        let world = crate::script::no_tools().await;
        for n in 0..tools {
            world.peers.mcp.add_tool(&format!("a.t{n}"), "", anything());
        }
        let why = format!("tools.{number}.custom.input_schema: no");
        world.peers.claude.served.faults.inject(9, refusal(&why), is_main);
        let result = play(&world, []).await;
        assert!(only_failure(&result).contains("400"), "{result}");
        assert_eq!(sent(&world).len(), 1);
    }
}

#[tokio::test]
async fn after_a_kill_the_run_stays_without_the_tool_and_sends_the_same_bytes() {
    let mut world = Setup::one(&["habits"]).start().await;
    world.peers.mcp.add_tool("bad.tool", "", anything());
    world.peers.mcp.add_tool("bad_tool", "", anything());
    refuse_tool(&world, 1, "bad_tool");
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        turn @ 0..=1 => Some(thoughtful_call(turn)),
        _ => Some(Scripted::text("Fertig.")),
    });
    let third = |request: &Recorded| {
        is_main(request) && request.json()["messages"].as_array().is_some_and(|m| m.len() == 5)
    };
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, third);
    drop(world.begin_tick());
    patiently("the request that hangs", world.peers.claude.served.recorder.wait_for(1, third))
        .await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    world
        .journal_reaches("the end of the run", async |journal| {
            let runs = journal.latest_runs(9).await.unwrap();
            runs.iter().all(|run| run.state == mana_persona_runner::journal::RunState::Finished)
        })
        .await;
    world.nothing_in_flight().await;
    let thirds = world.peers.claude.served.recorder.matching(third);
    assert_eq!(thirds.len(), 2);
    assert_eq!(thirds[0].body, thirds[1].body);
    let names = offered(&thirds[1]);
    assert!(names.contains(&"bad_tool_2".to_owned()) && !names.contains(&"bad_tool".to_owned()));
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 2]);
    // The process that continued the run also knows that the tool was refused.
    make_due(&world).await;
    play_well(&world, [Scripted::text("Nichts.")]).await;
    let names = offered(sent(&world).last().unwrap());
    // The other tool has the spelling now.
    assert!(names.contains(&"bad_tool".to_owned()) && !names.contains(&"bad_tool_2".to_owned()));
}
