//! Faults that tests plant, and what is counted of them.

use std::collections::BTreeSet;

use jiff::civil::date;

use super::*;

const FAILS: &str = "Task {uuid} \"{title}\" could not be completed at {time}";

fn habit(title: &str) -> Value {
    json!({"title": title, "frequency": "daily"})
}

fn text(message: &str) -> Shows {
    Shows::Text(message.into())
}

#[tokio::test]
async fn a_fault_strikes_its_tools_and_personas_from_its_day_until_another() {
    let world = World::start(McpOptions::default()).await;
    let fault = PlantedFault::new("habits", text(FAILS)).at(["habits.create"]);
    let fault = fault.befalls(["anna@mana.test"]);
    world.mcp.plant(fault.from(date(2026, 11, 25)).until(date(2026, 11, 27)));
    let (anna, ben) = (world.open("anna", "space-a").await, world.open("ben", "space-b").await);
    let mut messages = BTreeSet::new();
    for day in 23..30 {
        ben.ok("habits.create", habit("Laufen")).await;
        anna.ok("habits.list", json!({})).await;
        if (25..27).contains(&day) {
            let message = anna.error("habits.create", habit("Früh {uuid} auf")).await;
            assert!(message.contains("\"Früh {uuid} auf\""), "{message}");
            assert!(message.ends_with(&format!("at 2026-11-{day}T09:00:00.000Z")), "{message}");
            messages.insert(message);
        } else {
            anna.ok("habits.create", habit("Laufen")).await;
        }
        // The JWT of both sessions is valid for 15 minutes.
        world.clock.step_day();
    }
    assert_eq!(messages.len(), 2, "a new id each time");
    let (first, last) = (date(2026, 11, 25), date(2026, 11, 26));
    let anna_at = |day| ("anna@mana.test".to_owned(), day);
    let expected = Toll {
        personas: ["anna@mana.test".to_owned()].into(),
        runs: [anna_at(first), anna_at(last)].into(),
        sessions: [anna.id.clone()].into(),
        tools: ["habits.create".to_owned()].into(),
        calls: 2,
        answered: 2,
        first: Some(first),
        last: Some(last),
    };
    assert_eq!(world.mcp.toll("habits"), expected);
    assert_eq!(world.mcp.toll("other"), Toll::default());
}

#[tokio::test]
async fn which_calls_are_struck_follows_from_the_seed_and_not_from_the_order_of_personas() {
    let struck = async |seed: u64, users: [&str; 2]| {
        let world = World::start(McpOptions { seed, ..Default::default() }).await;
        world.mcp.plant(PlantedFault::new("flaky", text("broken")).sometimes(30));
        let mut of_anna = String::new();
        let mut sessions = Vec::new();
        for user in users {
            sessions.push(world.open(user, "space-a").await);
        }
        for _ in 0..200 {
            for session in &sessions {
                let failed = session.call("spaces.list", json!({})).await["isError"] == true;
                if session.user == "anna" {
                    of_anna.push(if failed { 'x' } else { '.' });
                }
            }
        }
        of_anna
    };
    let one = struck(7, ["anna", "ben"]).await;
    assert_eq!(one, struck(7, ["ben", "anna"]).await);
    assert_ne!(one, struck(8, ["anna", "ben"]).await);
    let hits = one.matches('x').count();
    assert!((40..=80).contains(&hits), "{hits} of 200 calls at 30 %");
}

#[tokio::test]
async fn each_kind_of_fault_is_answered_as_the_server_answers_it() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    let error = async |shows: Shows| {
        world.mcp.plant(PlantedFault::new("it", shows));
        let error = session.error("habits.create", habit("Laufen")).await;
        world.mcp.uproot("it");
        error
    };
    assert_eq!(error(text("SYNC_FAILED: {tool}, {number}")).await, "SYNC_FAILED: habits.create, 1");
    let coded = Shows::Coded { code: "SYNC_CONFLICT".into(), message: "no {title}".into() };
    let coded: Value = serde_json::from_str(&error(coded).await).unwrap();
    assert_eq!(coded, json!({"error": "SYNC_CONFLICT", "message": "no Laufen"}));
    assert_eq!(world.mcp.calls().len(), 2);

    // The following calls never reach their tool. Each has the words of a refusal that nobody planted.
    let real = session.error("habits.create", json!({"title": "x", "frequency": 1})).await;
    let issues: Value =
        serde_json::from_str(real.split_once("habits.create: ").unwrap().1).unwrap();
    let message = issues[0]["message"].as_str().unwrap().to_owned();
    let invalid = error(Shows::Invalid { path: "frequency".into(), message }).await;
    assert_eq!(invalid.split_once(": [").unwrap().0, real.split_once(": [").unwrap().0);
    let real = session.error("habits.invented", json!({})).await;
    assert_eq!(error(Shows::Vanished).await, real.replace("invented", "create"));
    let denied = error(Shows::Denied("rate-limit-exceeded".into())).await;
    assert_eq!(denied, "Policy denied habits.create: rate-limit-exceeded");
    assert_eq!((world.mcp.calls().len(), world.mcp.toll("it").calls), (2, 5));
    assert!(world.mcp.entries("space-a").is_empty());

    world
        .mcp
        .plant(PlantedFault::new("it", Shows::RpcError { code: -32603, message: "boom".into() }));
    let params = json!({"name": "habits.list", "arguments": {}});
    let answer = session.ask("tools/call", params).await;
    assert_eq!(answer["error"], json!({"code": -32603, "message": "boom"}));
}

#[tokio::test]
async fn slow_flooding_and_cut_calls_do_their_work() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    world.mcp.plant(PlantedFault::new("slow", Shows::Slow(30)));
    let began = std::time::Instant::now();
    session.ok("habits.create", habit("Laufen")).await;
    assert!(began.elapsed() >= Duration::from_millis(30));
    world.mcp.uproot("slow");
    world.mcp.plant(PlantedFault::new("flood", Shows::Flood(9_000)));
    let result = session.call("habits.create", habit("Laufen")).await;
    assert_eq!(result["content"][0]["text"].as_str().unwrap().chars().count(), 9_000);
    world.mcp.uproot("flood");
    world.mcp.plant(PlantedFault::new("cut", Shows::Cut));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "habits.create", "arguments": habit("Laufen")}});
    assert_eq!(session.post(&call).send().await.unwrap().text().await.unwrap(), "");
    assert_eq!(world.mcp.entries("space-a").len(), 3);
    let answered = ["slow", "flood", "cut"].map(|name| world.mcp.toll(name).answered);
    assert_eq!(answered, [1, 1, 0]);
}

#[tokio::test]
async fn an_outage_refuses_every_request_of_its_span() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    let outage = PlantedFault::new("outage", Shows::Unreachable(502));
    let ends = date(2026, 11, 23).at(9, 10, 0, 0);
    world.mcp.plant(outage.from(date(2026, 11, 23).at(9, 0, 0, 0)).until(ends));
    let listing = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_plain(session.post(&listing), 502, "Service Unavailable").await;
    assert_plain(world.bare(Method::POST), 502, "Service Unavailable").await;
    world.clock.turn(Duration::from_mins(10));
    session.ok("habits.list", json!({})).await;
    let toll = world.mcp.toll("outage");
    assert_eq!((toll.calls, toll.answered), (2, 0));
    assert!(toll.personas.contains("anna@mana.test"), "{toll:?}");
}

#[tokio::test]
async fn a_call_that_the_server_refuses_is_never_struck() {
    let world =
        World::start(McpOptions { policy: ServerPolicy::Enforce, ..Default::default() }).await;
    world.mcp.add_tool("todo.deleteAll", "Deletes all tasks", Default::default());
    world.mcp.plant(PlantedFault::new("all", text("planted")));
    let session = world.open("anna", "space-a").await;
    for (tool, arguments) in
        [("habits.create", json!({})), ("no.tool", json!({})), ("todo.deleteAll", json!({}))]
    {
        assert_ne!(session.error(tool, arguments).await, "planted");
    }
    assert_eq!(world.mcp.strikes(), []);
}

#[test]
fn a_fault_can_be_read_from_json() {
    let fault: PlantedFault = serde_json::from_value(json!({
        "name": "x", "tools": ["todo.list"], "from": "2026-03-13", "until": "2026-03-14T12:00:00",
        "percent": 5, "shows": {"rpcError": {"code": -32603, "message": "boom"}}}))
    .unwrap();
    let built = PlantedFault::new("x", Shows::RpcError { code: -32603, message: "boom".into() });
    let built = built.at(["todo.list"]).sometimes(5).from(date(2026, 3, 13));
    let built = built.until(date(2026, 3, 14).at(12, 0, 0, 0));
    assert_eq!(format!("{fault:?}"), format!("{built:?}"));
    for shows in [json!("cut"), json!({"slow": 3_000}), json!({"text": FAILS})] {
        let smallest = json!({"name": "x", "shows": shows});
        serde_json::from_value::<PlantedFault>(smallest).unwrap();
    }
    for wrong in [json!({"name": "x"}), json!({"name": "x", "shows": "cut", "odd": 1})] {
        serde_json::from_value::<PlantedFault>(wrong).unwrap_err();
    }
}

#[tokio::test]
async fn version_tools_and_schemas_change_at_run_time() {
    let world = World::start(McpOptions::default()).await;
    let version = async || {
        let request = world.post(&initialize("2025-11-25"));
        event(request.send().await.unwrap()).await["result"]["serverInfo"]["version"].clone()
    };
    assert_eq!(version().await, "0.1.0");
    world.mcp.set_version("0.2.0");
    assert_eq!(version().await, "0.2.0");
    world.mcp.set_tools(&ToolSet::Only(vec!["todo.complete".into()])).unwrap();
    let schema = json!({"type": "object", "required": ["title"],
        "properties": {"title": {"type": "string"}, "taskId": {"type": "string"}}});
    assert!(world.mcp.set_schema("todo.complete", schema.as_object().unwrap().clone()));
    assert!(!world.mcp.set_schema("todo.create", Map::new()));
    let session = world.open("anna", "space-a").await;
    let listed = session.ask("tools/list", json!({})).await["result"]["tools"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["inputSchema"]), (1, &schema));
}
