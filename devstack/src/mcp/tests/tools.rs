//! The answers of tools, and the behaviours that can be planned for them.

use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn tools_are_listed_as_the_typescript_server_lists_them() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    let result = session.ask("tools/list", json!({})).await["result"].clone();
    assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), ["tools"]);
    assert!((20_000..=30_000).contains(&result.to_string().len()));
    for tool in result["tools"].as_array().unwrap() {
        let keys: Vec<_> = tool.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "description", "inputSchema", "execution"]);
        assert_eq!(tool["execution"], json!({"taskSupport": "forbidden"}));
        let schema = &tool["inputSchema"];
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(
            (&schema["type"], &schema["additionalProperties"]),
            (&json!("object"), &json!(false))
        );
    }
}

#[tokio::test]
async fn pages_chain_by_cursor_and_an_invented_cursor_is_an_error() {
    let options = McpOptions { page_size: Some(20), ..Default::default() };
    let world = World::start(options).await;
    let session = world.open("anna", "space-a").await;
    let (mut names, mut pages, mut params) = (Vec::new(), 0, json!({}));
    loop {
        let result = session.ask("tools/list", params).await["result"].clone();
        pages += 1;
        let page = result["tools"].as_array().unwrap().clone();
        names.extend(page.into_iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        match result.get("nextCursor") {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => break,
        }
    }
    assert_eq!((pages, names.len()), (3, 53));
    let invented = session.ask("tools/list", json!({"cursor": "x"})).await;
    assert_eq!(invented["error"]["code"], -32602);
}

#[tokio::test]
async fn a_server_can_offer_no_tools_some_or_one_more() {
    for (tools, expected) in [
        (ToolSet::Empty, vec!["odd name!"]),
        (ToolSet::Only(vec!["todo.list".into()]), vec!["todo.list", "odd name!"]),
    ] {
        let world = World::start(McpOptions { tools, ..Default::default() }).await;
        let schema = json!({"type": "object"}).as_object().unwrap().clone();
        world.mcp.add_tool("odd name!", "Odd", schema);
        let session = world.open("anna", "space-a").await;
        let listed = session.ask("tools/list", json!({})).await["result"]["tools"].clone();
        let names: Vec<_> = listed.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names, expected);
        assert_eq!(session.ok("odd name!", json!({"x": [1]})).await["x"], json!([1]));
        let unknown = session.error("habits.list", json!({})).await;
        assert_eq!(unknown, "MCP error -32602: Tool habits.list not found");
    }
}

#[tokio::test]
async fn reads_see_what_was_written_in_the_space_and_nothing_else() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    let task = session.ok("todo.create", json!({"title": "Referat", "priority": "high"})).await;
    assert_eq!(
        (&task["status"], &task["createdAt"]),
        (&json!("open"), &json!("2026-11-23T09:00:00.000Z"))
    );
    session.ok("todo.create", json!({"title": "Wäsche"})).await;
    session.ok("notes.create", json!({"title": "Idee", "content": "Pflanze gießen"})).await;
    assert_eq!(session.ok("todo.list", json!({"priority": "high"})).await["total"], 1);
    let newest = session.ok("todo.list", json!({"limit": 1})).await;
    assert_eq!((&newest["total"], &newest["items"][0]["title"]), (&json!(2), &json!("Wäsche")));
    assert_eq!(newest["items"].as_array().unwrap().len(), 1);
    session.ok("todo.complete", json!({"taskId": task["id"]})).await;
    assert_eq!(
        session.ok("todo.list", json!({"status": "done"})).await["items"][0]["id"],
        task["id"]
    );
    let found = session.ok("notes.search", json!({"query": "PFLANZE gießen"})).await;
    assert_eq!(found["items"][0]["title"], "Idee");
    assert_eq!(session.ok("notes.search", json!({"query": "Wäsche"})).await["total"], 0);
    let missing = session.error("todo.complete", json!({"taskId": "nope"})).await;
    assert_eq!(missing, "task not found: nope");

    let elsewhere = world.open("anna", "space-b").await;
    assert_eq!(elsewhere.ok("todo.list", json!({})).await["total"], 0);
    let kinds: Vec<_> = world.mcp.entries("space-a").into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, ["task", "task", "note"]);
    assert_eq!(world.mcp.entries("space-a")[0].fields["status"], "done");
}

#[tokio::test]
async fn today_and_recent_follow_the_clock() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    session.ok("mood.log", json!({"level": 4, "emotion": "tired"})).await;
    assert_eq!(session.ok("mood.today", json!({})).await["total"], 1);
    world.clock.advance(Duration::from_secs(3 * 24 * 3600));
    let session = world.open("anna", "space-a").await;
    assert_eq!(session.ok("mood.today", json!({})).await["total"], 0);
    assert_eq!(session.ok("mood.recent", json!({"days": 2})).await["total"], 0);
    assert_eq!(session.ok("mood.recent", json!({"days": 4})).await["total"], 1);
}

#[tokio::test]
async fn bad_calls_are_error_results_and_reach_no_tool() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    for arguments in [
        json!({}),
        json!({"title": 1}),
        json!({"title": "x", "priority": "huge"}),
        json!({"title": "x", "nope": 1}),
        json!({"title": "x", "subtasks": [{"done": true}]}),
        json!({"title": "x", "dueDate": "morgen"}),
    ] {
        let text = session.error("todo.create", arguments).await;
        let start =
            "MCP error -32602: Input validation error: Invalid arguments for tool todo.create";
        assert!(text.starts_with(start), "{text}");
    }
    let bare = session.ask("tools/call", json!({"name": "todo.list"})).await["result"].clone();
    assert_eq!(bare["isError"], true, "a call without arguments");
    let unknown = session.error("todo.destroy", json!({})).await;
    assert_eq!(unknown, "MCP error -32602: Tool todo.destroy not found");
    assert!(world.mcp.calls().is_empty());
}

#[tokio::test]
async fn jwt_and_space_are_those_of_initialize() {
    let world = World::start(McpOptions::default()).await;
    let mut session = world.open("anna", "no-such-space").await;
    session.space = "space-of-a-later-header".into();
    session.ok("todo.create", json!({"title": "x"})).await;
    assert_eq!(world.mcp.entries("no-such-space").len(), 1);
    assert!(world.mcp.entries("space-of-a-later-header").is_empty());
    // The requests carry a fresh JWT; the tools keep using the old one.
    world.clock.advance(Duration::from_secs(900));
    assert_eq!(session.ask("ping", json!({})).await["result"], json!({}));
    let refused = session.error("todo.create", json!({"title": "y"})).await;
    assert_eq!(refused, "mana-auth answered 401: token expired");
    assert_eq!(world.mcp.entries("no-such-space").len(), 1);
    let calls = world.mcp.calls();
    assert_eq!(
        calls.iter().map(|call| call.is_error).collect::<Vec<_>>(),
        [Some(false), Some(true)]
    );
    assert_eq!((&*calls[0].user_id, &*calls[0].space_id), ("anna", "no-such-space"));
    assert_eq!((&*calls[0].session_id, &*calls[0].tool), (&*session.id, "todo.create"));
    assert_eq!(calls[0].arguments["title"], "x");
}

#[tokio::test]
async fn encrypted_modules_need_the_users_vault_and_the_others_do_not() {
    let world = World::start(McpOptions::default()).await;
    world.has_vault.store(false, Ordering::SeqCst);
    let session = world.open("anna", "space-a").await;
    for (tool, arguments) in [
        ("todo.list", json!({})),
        ("notes.search", json!({"query": "x"})),
        ("journal.add", json!({"content": "x"})),
        ("mood.today", json!({})),
    ] {
        let text = session.error(tool, arguments).await;
        assert!(text.starts_with("VAULT_NOT_INITIALISED"), "{tool}: {text}");
    }
    session.ok("habits.list", json!({})).await;
    assert!(world.mcp.entries("space-a").is_empty());
    world.has_vault.store(true, Ordering::SeqCst);
    session.ok("journal.add", json!({"content": "x"})).await;
}

#[tokio::test]
async fn enforcing_denies_the_31st_call_in_a_minute_and_destructive_tools() {
    for (policy, denied) in
        [(ServerPolicy::Enforce, true), (ServerPolicy::LogOnly, false), (ServerPolicy::Off, false)]
    {
        let world = World::start(McpOptions { policy, ..Default::default() }).await;
        world.mcp.add_tool("todo.deleteAll", "Deletes all tasks", Default::default());
        let session = world.open("anna", "space-a").await;
        for _ in 0..30 {
            session.ok("spaces.list", json!({})).await;
        }
        let is_error = |result: Value| result.get("isError").is_some();
        let last = session.call("spaces.list", json!({})).await;
        assert_eq!(last.to_string().contains("rate-limit-exceeded"), denied, "{policy:?}");
        assert_eq!(is_error(last), denied);
        let destructive = session.call("todo.deleteAll", json!({})).await;
        assert_eq!(is_error(destructive), denied, "{policy:?}");
        // Another tool, another user and the next minute are not affected.
        session.ok("habits.list", json!({})).await;
        world.open("ben", "space-a").await.ok("spaces.list", json!({})).await;
        world.clock.advance(Duration::from_secs(60));
        session.ok("spaces.list", json!({})).await;
    }
}

#[tokio::test]
async fn planned_results_and_errors_are_sent_as_they_are_and_used_up() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    let image = json!({"content": [{"type": "image", "data": "AA==", "mimeType": "image/png"},
        {"type": "hologram", "depth": 3}], "structuredContent": {"a": 1}});
    world.mcp.override_tool("habits.list", 1, Behaviour::Result(image.clone()));
    world.mcp.override_tool("habits.list", 1, Behaviour::IsError("broken".into()));
    let rpc = Behaviour::RpcError { code: -32603, message: "boom".into() };
    world.mcp.override_tool("habits.list", 1, rpc);
    world.mcp.override_tool("habits.list", 1, Behaviour::Delay(Duration::from_millis(1)));
    assert_eq!(session.call("habits.list", json!({})).await, image);
    assert_eq!(session.error("habits.list", json!({})).await, "broken");
    let params = json!({"name": "habits.list", "arguments": {}});
    let error = session.ask("tools/call", params).await["error"].clone();
    assert_eq!(error, json!({"code": -32603, "message": "boom"}));
    session.ok("habits.list", json!({})).await;
    session.ok("habits.list", json!({})).await;
    let outcomes: Vec<_> = world.mcp.calls().iter().map(|call| call.is_error).collect();
    assert_eq!(outcomes, [Some(false), Some(true), Some(true), Some(false), Some(false)]);
}

#[tokio::test]
async fn a_stream_can_end_without_an_event_after_the_work_is_done() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    world.mcp.override_tool("habits.create", 1, Behaviour::EndsStream);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "habits.create", "arguments": {"title": "Laufen", "frequency": "daily"}}});
    let answer = session.post(&call).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &*answer.text().await.unwrap()), (200, ""));
    assert_eq!(world.mcp.entries("space-a").len(), 1);
    assert_eq!(world.mcp.calls()[0].is_error, None);
    assert_eq!(session.ok("habits.list", json!({})).await["total"], 1);
}

#[tokio::test]
async fn a_tool_that_outlasts_the_idle_timeout_loses_its_stream_and_finishes_all_the_same() {
    let idle_timeout = Some(Duration::from_millis(50));
    let world = World::start(McpOptions { idle_timeout, ..Default::default() }).await;
    let session = world.open("anna", "space-a").await;
    let call = |tool: &str| {
        let arguments = json!({"title": "Laufen", "frequency": "daily"});
        let params = json!({"name": tool, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        session.post(&message).send()
    };
    world.mcp.override_tool("habits.create", 1, Behaviour::Delay(Duration::from_millis(500)));
    world.mcp.override_tool("habits.create", 1, Behaviour::NeverAnswers);
    assert_eq!(call("habits.create").await.unwrap().text().await.unwrap(), "");
    assert_eq!(call("habits.create").await.unwrap().text().await.unwrap(), "");
    let finished = world.mcp.wait_for_calls(1, |call| call.is_error == Some(false));
    timeout(PATIENCE, finished).await.unwrap();
    assert_eq!(world.mcp.entries("space-a").len(), 1);
}

#[tokio::test]
async fn calls_of_a_session_run_concurrently_and_can_be_waited_for() {
    let options = McpOptions { idle_timeout: None, ..Default::default() };
    let world = World::start(options).await;
    let session = world.open("anna", "space-a").await;
    world.mcp.override_tool("habits.list", 1, Behaviour::NeverAnswers);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "habits.list", "arguments": {}}});
    let stuck = session.post(&call).send();
    let other = async {
        let arrived = world.mcp.wait_for_calls(1, |call| call.tool == "habits.list");
        timeout(PATIENCE, arrived).await.unwrap();
        session.ok("spaces.list", json!({})).await
    };
    let (stuck, spaces) = tokio::join!(stuck, other);
    assert_eq!(spaces["spaces"][0]["id"], "space-a");
    // The head of the answer arrived, but no event will; deleting the session ends the stream.
    let stuck = stuck.unwrap();
    assert_eq!(session.request(Method::DELETE).send().await.unwrap().status(), 200);
    assert_eq!(stuck.text().await.unwrap(), "");
}
