//! Tools that fail although every run ends well: the tick logs a warning.

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour};
use serde_json::json;

use crate::{
    script::{anything, calls_of, make_due, no_tools, play, play_well},
    support::{Setup, World, in_journal, logs::Logs},
};

const OF_A_TOOL: &str = "more than half of this tool's calls of this tick failed";
const OF_ALL: &str = "more than half of all tool calls of this tick failed";

/// A tick with this many calls of each of these tools, in one turn.
async fn call(world: &World, tools: &[(&str, usize)]) {
    let calls = tools.iter().flat_map(|(tool, times)| vec![(*tool, json!({})); *times]);
    let calls = Scripted::tools(&calls.collect::<Vec<_>>());
    play_well(world, [calls, Scripted::text("Schade.")]).await;
    make_due(world).await;
}

#[tokio::test]
async fn a_tool_that_mostly_fails_is_warned_of_once_a_tick_with_its_name_and_its_commonest_message()
{
    let world = no_tools().await;
    for tool in ["bad.list", "good.list", "rare.list"] {
        world.peers.mcp.add_tool(tool, "", anything());
    }
    let logs = Logs::capture("warn");
    let says = |text: &str| Behaviour::IsError(text.to_owned());
    for _ in 0..2 {
        world.peers.mcp.override_tool("bad.list", 2, says("keine\nDatenbank für anna@x.example"));
        world.peers.mcp.override_tool("bad.list", 1, says("anderes"));
        world.peers.mcp.override_tool("rare.list", 4, says("weg"));
        // Ten reads run at the same time; which of them fails does not matter.
        call(&world, &[("bad_list", 5), ("good_list", 5), ("rare_list", 4)]).await;
    }
    let lines = logs.lines_with("of this tick failed");
    // 7 of 14 calls failed in total: not more than half.
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        assert!(line.contains("WARN") && line.contains(OF_A_TOOL), "{line}");
        assert!(line.contains("bad.list") && line.contains("tool.failed=3"), "{line}");
        assert!(line.contains("mostly: keine Datenbank für [redacted]"), "{line}");
    }
}

#[tokio::test]
async fn if_all_calls_fail_each_tool_and_the_total_are_warned_of_although_runs_end_well() {
    let world = no_tools().await;
    let logs = Logs::capture("warn");
    for (tool, status) in [("a.list", 400), ("b.create", 503)] {
        world.peers.mcp.add_tool(tool, "", anything());
        let fault = Fault::status(status, "{}");
        world.peers.mcp.served.faults.inject(usize::MAX, fault, calls_of(tool));
    }
    call(&world, &[("a_list", 5), ("b_create", 4)]).await;
    assert_eq!(logs.lines_with(OF_A_TOOL).len(), 1);
    let all = logs.lines_with(OF_ALL);
    assert!(all.len() == 1 && all[0].contains("tool.calls=9"), "{all:?}");
}

#[tokio::test]
async fn calls_that_never_reached_the_product_are_not_counted_against_it() {
    let world = no_tools().await;
    for tool in ["notes.deleteAll", "a.list"] {
        world.peers.mcp.add_tool(tool, "", anything());
    }
    let logs = Logs::capture("warn");
    call(&world, &[("notes_deleteAll", 9), ("made_up", 9), ("a_list", 1)]).await;
    let lines = logs.lines_with("of this tick failed");
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test]
async fn a_call_under_way_when_the_time_of_its_run_is_up_is_stopped_and_one_whose_own_time_is_up_is_cut()
 {
    for (variable, tool, expected) in [
        ("PERSONA_TIMEOUT_MS", "t_list", "stopped"),
        ("PERSONA_TIMEOUT_MS", "t_write", "stopped"),
        ("PERSONA_TOOL_TIMEOUT_MS", "t_list", "cut"),
        ("PERSONA_TOOL_TIMEOUT_MS", "t_write", "cut"),
    ] {
        let world = Setup::one(&[]).var(variable, 4_000).start().await;
        let name = tool.replace('_', ".");
        world.peers.mcp.add_tool(&name, "", anything());
        world.peers.mcp.override_tool(&name, usize::MAX, Behaviour::NeverAnswers);
        play(&world, [Scripted::tools(&[(tool, json!({}))]), Scripted::text("Schade.")]).await;
        let causes = in_journal(&world, "SELECT cause FROM calls").await;
        assert_eq!(causes, [expected], "{variable} {tool}");
    }
}
