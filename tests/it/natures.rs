//! What the server or the configuration declares about a tool's nature, and how its calls are then executed.

use devstack::{claude::Scripted, fault::Fault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    script::{answer_rpc, anything, calls_of, outcomes, play_well},
    support::{Setup, World, patiently},
};

/// A tick in which the model calls `tool` twice in one reply. Neither call is answered before both have
/// reached the server.
async fn called_twice_at_once(world: &World, tool: &str) -> Value {
    let (served, both) = (&world.peers.mcp.served, CancellationToken::new());
    served.faults.inject(2, Fault::Hold(both.clone()), calls_of(tool));
    let spelled = tool.replace('.', "_");
    let twice = [(spelled.as_str(), json!({})), (spelled.as_str(), json!({}))];
    world.peers.claude.enqueue(Scripted::tools(&twice));
    world.peers.claude.enqueue(Scripted::text("Beides gesehen."));
    let tick = world.begin_tick();
    patiently("both calls", served.recorder.wait_for(2, calls_of(tool))).await;
    both.cancel();
    patiently("the tick", tick).await.unwrap().1
}

#[tokio::test]
async fn tools_that_read_by_annotation_or_by_configuration_run_at_once() {
    for (read_tools, annotations) in [
        ("", json!({"readOnlyHint": true})),
        ("x.y, t.odd", Value::Null),
        // The configuration marks the tool as a read although the server says that it is not.
        ("t.odd", json!({"readOnlyHint": false})),
    ] {
        let setup = Setup::one(&["habits"]).var("PERSONA_READ_TOOLS", read_tools);
        let world = setup.start().await;
        world.peers.mcp.add_tool("t.odd", "", anything());
        let mut tool = json!({"name": "t.odd", "inputSchema": anything()});
        if !annotations.is_null() {
            tool["annotations"] = annotations;
        }
        answer_rpc(&world, "tools/list", &[json!({"tools": [tool]})]);
        let answer = called_twice_at_once(&world, "t.odd").await;
        assert_eq!(answer["result"]["ranSuccessfully"], 1, "{answer}");
        assert_eq!(outcomes(&world.actions().await), [("t.odd", "ok"); 2]);
    }
}

#[tokio::test]
async fn tools_that_destroy_or_are_for_administrators_by_annotation_are_denied() {
    let world = Setup::one(&["habits"]).start().await;
    let tool = |name: &str, further: Value| {
        let mut tool = json!({"name": name, "inputSchema": anything()});
        tool.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        world.peers.mcp.add_tool(name, "", anything());
        tool
    };
    let tools = [
        tool("t.harmless", json!({"annotations": {"destructiveHint": false}})),
        tool("t.list", json!({"_meta": {"scope": "admin"}})),
        tool("t.wipe", json!({"annotations": {"destructiveHint": true}})),
    ];
    answer_rpc(&world, "tools/list", &[json!({ "tools": tools })]);
    let asked = ["t_wipe", "t_list", "t_harmless"].map(|name| (name, json!({})));
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Na gut.")]).await;
    let rows = world.actions().await;
    assert_eq!(outcomes(&rows), [("t.wipe", "error"), ("t.list", "error"), ("t.harmless", "ok")]);
    for (row, reason) in [(0, "destructive-not-allowed"), (1, "admin-scope-not-invokable")] {
        assert!(rows[row].error_message.as_deref().unwrap().contains(reason), "{:?}", rows[row]);
    }
    assert_eq!(world.peers.mcp.calls().len(), 1);
}

#[tokio::test]
async fn of_two_tools_with_one_name_the_stricter_nature_applies() {
    for admin_first in [false, true] {
        let world = Setup::one(&["habits"]).start().await;
        world.peers.mcp.add_tool("t.twice", "", anything());
        let plain = json!({"name": "t.twice", "inputSchema": anything()});
        let mut admin = plain.clone();
        admin["_meta"] = json!({"scope": "admin"});
        let tools = if admin_first { [admin, plain] } else { [plain, admin] };
        answer_rpc(&world, "tools/list", &[json!({ "tools": tools })]);
        play_well(&world, [Scripted::tools(&[("t_twice", json!({}))]), Scripted::text("Na gut.")])
            .await;
        assert_eq!(outcomes(&world.actions().await), [("t.twice", "error")], "{admin_first}");
        assert!(world.peers.mcp.calls().is_empty(), "{admin_first}");
    }
}
