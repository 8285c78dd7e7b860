//! Personas without an encryption vault: the vault is set up once, when a tool needs it.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Setup, World, path::VAULT, persona};

const NO_VAULT: &str = "VAULT_NOT_INITIALISED: set it up first";

/// Personas whose users have no vault yet.
async fn without_vaults(setup: Setup) -> World {
    let world = setup.start().await;
    world.peers.auth.vaults().initialise_all(false);
    world
}

/// A day with these calls, one per reply, and a complete rating.
fn day_of(world: &World, calls: &[(&str, Value)]) {
    for call in calls {
        world.peers.claude.enqueue(Scripted::tools(std::slice::from_ref(call)));
    }
    world.peers.claude.enqueue(Scripted::text("Fertig für heute."));
    let modules = ["todo", "notes", "habits"].map(|module| (module, 4, "geht gut"));
    world.peers.claude.enqueue(Scripted::ratings(&modules));
}

fn two_encrypted_calls() -> [(&'static str, Value); 2] {
    [("todo_create", json!({"title": "Lernen"})), ("todo_list", json!({}))]
}

/// For each call that reached this tool: whether it ended in an error.
fn calls_of(world: &World, tool: &str) -> Vec<Option<bool>> {
    let calls = world.peers.mcp.calls();
    calls.iter().filter(|call| call.tool == tool).map(|call| call.is_error).collect()
}

/// Tool name and result of every action row.
async fn rows(world: &World) -> Vec<(String, String)> {
    world.actions().await.into_iter().map(|row| (row.tool_name, row.result)).collect()
}

#[tokio::test]
async fn a_missing_vault_is_set_up_once_and_the_call_is_repeated_unnoticed() {
    let world = without_vaults(Setup::one(&["todo"])).await;
    day_of(&world, &two_encrypted_calls());
    world.good_tick().await;
    let inits = world.asked(VAULT, None);
    assert_eq!(inits.len(), 1);
    // With the JWT of the run, which the tools use too.
    let jwt = world.initializes()[0].header("authorization").map(str::to_owned);
    assert_eq!(inits[0].header("authorization").map(str::to_owned), jwt);
    assert_eq!(calls_of(&world, "todo.create"), [Some(true), Some(false)]);
    assert_eq!(calls_of(&world, "todo.list"), [Some(false)]);
    // One action and one result for each call of the model.
    let expected = [("todo.create", "ok"), ("todo.list", "ok")];
    assert_eq!(rows(&world).await, expected.map(|(tool, ok)| (tool.into(), ok.into())));
    let results = world.peers.claude.requests().last().unwrap().tool_results();
    assert!(results.iter().all(|result| !result.is_error && !result.text.contains("VAULT")));
}

#[tokio::test]
async fn every_persona_gets_its_own_vault_and_keeps_it() {
    let personas = ["anna", "ben"].map(|name| persona(name, &["todo", "notes"])).to_vec();
    let world = without_vaults(Setup { personas, ..Setup::default() }).await;
    for day in 1..=2 {
        assert_eq!(world.good_tick().await["ranSuccessfully"], 2);
        assert_eq!(world.asked(VAULT, None).len(), 2, "day {day}");
        world.advance(Duration::from_secs(90_000));
    }
    let errors = world.actions().await.into_iter().filter(|row| row.result != "ok").count();
    assert_eq!(errors, 0);
    assert!(world.users.iter().all(|user| world.peers.auth.vaults().is_initialised(user)));
}

#[tokio::test]
async fn a_vault_that_cannot_be_set_up_is_an_error_of_the_calls_and_tried_once() {
    let world = without_vaults(Setup::one(&["todo", "habits"])).await;
    let refusal = Fault::status(403, r#"{"error":"FORBIDDEN"}"#);
    world.peers.auth.served.faults.on(usize::MAX, Method::POST, VAULT, refusal);
    let [create, list] = two_encrypted_calls();
    day_of(&world, &[create, list, ("habits_list", json!({}))]);
    world.good_tick().await;
    assert_eq!(world.asked(VAULT, None).len(), 1);
    let expected = [("todo.create", "error"), ("todo.list", "error"), ("habits.list", "ok")];
    assert_eq!(rows(&world).await, expected.map(|(tool, end)| (tool.into(), end.into())));
    assert_eq!(calls_of(&world, "todo.create"), [Some(true)]);
}

#[tokio::test]
async fn setting_up_the_vault_is_repeated_where_that_may_help() {
    for fault in [Fault::status(503, "busy"), Fault::Reset, Fault::HandledThenReset] {
        let world = without_vaults(Setup::one(&["todo"])).await;
        world.peers.auth.served.faults.on(1, Method::POST, VAULT, fault);
        day_of(&world, &two_encrypted_calls());
        world.good_tick().await;
        assert_eq!(world.asked(VAULT, None).len(), 2);
        assert!(world.actions().await.iter().all(|row| row.result == "ok"));
    }
}

#[tokio::test]
async fn a_tool_that_asks_for_the_vault_again_is_not_called_a_third_time() {
    let wordings = [
        Behaviour::IsError(NO_VAULT.into()),
        Behaviour::RpcError { code: -32_603, message: NO_VAULT.into() },
    ];
    for behaviour in wordings {
        let world = Setup::one(&["todo"]).start().await;
        world.peers.mcp.override_tool("todo.create", 2, behaviour);
        day_of(&world, &two_encrypted_calls());
        world.good_tick().await;
        assert_eq!(world.asked(VAULT, None).len(), 1);
        assert_eq!(calls_of(&world, "todo.create").len(), 2);
        assert_eq!(rows(&world).await[0], ("todo.create".into(), "error".into()));
    }
}

#[tokio::test]
async fn only_an_error_asks_for_a_vault() {
    let world = Setup::one(&["todo"]).start().await;
    let note = json!({"content": [{"type": "text", "text": NO_VAULT}]});
    world.peers.mcp.override_tool("todo.create", 1, Behaviour::Result(note));
    world.peers.mcp.override_tool("todo.list", 1, Behaviour::IsError("no such list".into()));
    day_of(&world, &two_encrypted_calls());
    world.good_tick().await;
    assert_eq!(world.asked(VAULT, None).len(), 0);
    assert_eq!(world.peers.mcp.calls().len(), 2);
}
