//! The outcome of a tool call: reported correctly, recorded, and repeated only if the call did not run.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour};
use reqwest::Method;
use serde_json::json;

use crate::{
    script::{
        answer_rpc, anything, calls_of, habits_list, main_requests, null_id, outcomes, play_well,
        results,
    },
    support::Setup,
};

#[tokio::test]
async fn a_write_without_an_answer_is_reported_as_unknown_and_never_repeated() {
    let world = Setup::one(&["habits"]).var("PERSONA_TOOL_TIMEOUT_MS", 3_000).start().await;
    let mcp = &world.peers.mcp;
    for (tool, behaviour) in [
        ("t.silent", Behaviour::NeverAnswers),
        ("t.slow", Behaviour::Delay(Duration::from_secs(8))),
        ("t.ended", Behaviour::EndsStream),
    ] {
        mcp.override_tool(tool, usize::MAX, behaviour);
    }
    for (tool, fault) in [
        ("t.hangs", Fault::Hang),
        ("t.dropped", Fault::Reset),
        ("t.lost", Fault::HandledThenReset),
        ("t.cut", Fault::CutBody(20)),
        ("t.broken", Fault::EndBody(20)),
        ("t.r500", Fault::status(500, r#"{"error":"internal"}"#)),
        ("t.r502", Fault::HandledThenRespond { status: 502, body: "<html>".into() }),
        ("t.r504", Fault::status(504, "")),
    ] {
        mcp.served.faults.inject(usize::MAX, fault, calls_of(tool));
    }
    let tools = [
        "silent", "slow", "ended", "hangs", "dropped", "lost", "cut", "broken", "r500", "r502",
        "r504",
    ];
    for tool in tools {
        mcp.add_tool(&format!("t.{tool}"), "", anything());
    }
    let spelled: Vec<_> = tools.iter().map(|tool| format!("t_{tool}")).collect();
    let mut asked: Vec<_> =
        spelled.iter().map(|name| (name.as_str(), json!({"write": 1}))).collect();
    // This call shows that the session still works.
    asked.push(habits_list());
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Komisch.")]).await;
    let (results, actions) = (results(&main_requests(&world)[1]), world.actions().await);
    assert_eq!((results.len(), actions.len()), (asked.len(), asked.len()));
    for ((tool, result), row) in tools.iter().zip(&results).zip(&actions) {
        let message = row.error_message.as_deref().unwrap_or_default();
        assert_eq!((row.result.as_str(), result["is_error"] == true), ("error", true), "{tool}");
        assert!(message.contains("outcome unknown"), "{tool}: {message}");
        assert!(result.to_string().contains("may or may not"), "{tool}: {result}");
        let name = format!("t.{tool}");
        assert_eq!(mcp.served.recorder.matching(calls_of(&name)).len(), 1, "{tool} is sent once");
        let series = format!(r#"tool_calls_total{{outcome="unknown",tool="{name}"}}"#);
        assert_eq!(world.metric(&series).await, Some(1.0));
    }
    assert_eq!(outcomes(&actions).last(), Some(&("habits.list", "ok")));
}

#[tokio::test]
async fn a_call_that_certainly_did_not_run_is_repeated_until_it_does_but_not_for_ever() {
    // Tool, answer, number of such answers, number of requests, error in the row.
    let busy = || Fault::status(503, r#"{"error":"busy"}"#);
    let cases = [
        ("t.r503", busy(), 2, 3, None),
        ("t.r429", Fault::status(429, "{}"), 1, 2, None),
        ("t.asks", Fault::retry_after(429, 1, "{}"), 1, 2, None),
        ("t.down", busy(), 9, 3, Some("503")),
        ("t.long", Fault::retry_after(503, 3_600, "{}"), 9, 1, Some("503")),
        // Sent once more with a fresh JWT.
        ("t.r401", Fault::status(401, r#"{"error":"Invalid token"}"#), 9, 2, Some("401")),
        ("t.r403", Fault::status(403, r#"{"error":"not yours"}"#), 9, 1, Some("403")),
        ("t.r413", Fault::status(413, "too large"), 9, 1, Some("413")),
    ];
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    for (tool, fault, times, ..) in &cases {
        mcp.add_tool(tool, "", anything());
        mcp.served.faults.inject(*times, fault.clone(), calls_of(tool));
    }
    let spelled: Vec<_> = cases.iter().map(|(tool, ..)| tool.replace('.', "_")).collect();
    let asked: Vec<_> = spelled.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Na gut.")]).await;
    let actions = world.actions().await;
    for ((tool, _, _, requests, error), row) in cases.iter().zip(&actions) {
        assert_eq!(mcp.served.recorder.matching(calls_of(tool)).len(), *requests, "{tool}");
        let ran = mcp.calls().iter().filter(|call| call.tool == *tool).count();
        assert_eq!(ran, usize::from(error.is_none()), "{tool} ran");
        match (error, row.error_message.as_deref()) {
            (None, None) => assert_eq!(row.result, "ok"),
            (Some(status), Some(message)) => {
                assert!(
                    message.contains("not run") && message.contains(status),
                    "{tool}: {message}"
                );
            }
            (_, message) => panic!("{tool}: {message:?}"),
        }
    }
    assert!(actions[2].latency_ms.unwrap() >= 1_000, "Retry-After is waited for: {:?}", actions[2]);
}

#[tokio::test]
async fn errors_without_a_request_id_end_the_call_at_once() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    let statuses = [400, 406, 413, 422, 500, 200];
    let names: Vec<_> = statuses.iter().map(|status| format!("s_{status}")).collect();
    for (status, name) in statuses.iter().zip(&names) {
        mcp.add_tool(name, "", anything());
        mcp.served.faults.inject(usize::MAX, null_id(*status), calls_of(name));
    }
    let mut asked: Vec<_> = names.iter().map(|name| (name.as_str(), json!({}))).collect();
    asked.push(habits_list());
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Aha.")]).await;
    let actions = world.actions().await;
    for (name, row) in names.iter().zip(&actions) {
        let message = row.error_message.as_deref().unwrap_or_default();
        assert!(message.contains("not like this"), "not the timeout ended it: {name}: {message}");
        assert_eq!(mcp.served.recorder.matching(calls_of(name)).len(), 1, "{name}");
    }
    assert_eq!(outcomes(&actions).last(), Some(&("habits.list", "ok")));
}

#[tokio::test]
async fn answers_may_come_as_plain_json_too() {
    let world = Setup::one(&["habits"]).start().await;
    let tool = json!({"name": "goals.list", "description": "", "inputSchema": anything()});
    answer_rpc(&world, "tools/list", &[json!({"tools": [tool]})]);
    let result = json!({"content": [{"type": "text", "text": "drei Ziele"}]});
    answer_rpc(&world, "tools/call", &[result]);
    let reply = Scripted::tools(&[("goals_list", json!({}))]);
    play_well(&world, [reply, Scripted::text("Schön.")]).await;
    assert_eq!(main_requests(&world)[1].tool_results()[0].text, "drei Ziele");
    assert_eq!(outcomes(&world.actions().await), [("goals.list", "ok")]);
}

#[tokio::test]
async fn a_tool_that_misses_the_vault_is_repeated_once_it_is_initialised_once() {
    let world = Setup::one(&["todo"]).start().await;
    world.peers.auth.vaults().initialise_all(false);
    let list = ("todo_list", json!({}));
    let reply = Scripted::tools(&[list.clone(), ("notes_search", json!({"query": "x"})), list]);
    play_well(&world, [reply, Scripted::text("Ok.")]).await;
    assert_eq!(
        outcomes(&world.actions().await),
        [("todo.list", "ok"), ("notes.search", "ok"), ("todo.list", "ok")]
    );
    let init =
        world.peers.auth.served.recorder.matching(|r| r.path().ends_with("/encryption-vault/init"));
    assert_eq!(init.len(), 1);
    // The three calls run at the same time: each one that came too early is repeated, and none more than
    // once.
    let calls = world.peers.mcp.calls().len();
    assert!((4..=6).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_vault_that_cannot_be_initialised_is_the_tools_error_and_tried_once() {
    let world = Setup::one(&["todo"]).start().await;
    world.peers.auth.vaults().initialise_all(false);
    let refused = Fault::status(403, "{}");
    world.peers.auth.served.faults.on(9, Method::POST, "/encryption-vault/init", refused);
    let list = ("todo_list", json!({}));
    play_well(&world, [Scripted::tools(&[list.clone(), list]), Scripted::text("Ok.")]).await;
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), [("todo.list", "error"); 2]);
    assert!(actions.iter().all(|row| row.error_message.as_deref().unwrap().contains("VAULT_NOT")));
    let init =
        world.peers.auth.served.recorder.matching(|r| r.path().ends_with("/encryption-vault/init"));
    assert_eq!((init.len(), world.peers.mcp.calls().len()), (1, 2));
}
