//! Answers that are too long, redirect elsewhere, never arrive, or contain requests of the server.

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour, recorder::Recorded};
use reqwest::Method;
use serde_json::json;

use crate::{
    script::{
        anything, calls_of, main_requests, no_tools, only_failure, play_well, results, rpc,
        spoil_rpc,
    },
    support::{Setup, path},
};

/// A result with this many bytes of text, as JSON or as an event.
fn of_length(bytes: usize, as_event: bool) -> Fault {
    let text = "a".repeat(bytes);
    let result = json!({"content": [{"type": "text", "text": text}]});
    let body = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
    let (media_type, body) = match as_event {
        true => ("text/event-stream", format!("data: {body}\n\n")),
        false => ("application/json", body),
    };
    Fault::Bytes { status: 200, media_type, body: body.into_bytes() }
}

#[tokio::test]
async fn an_answer_over_the_limit_says_so_and_is_not_asked_for_again_by_stream_and_by_json() {
    let world = no_tools().await;
    let mcp = &world.peers.mcp;
    let mut asked = Vec::new();
    for tool in ["j.list", "j.create", "e.list", "e.create"] {
        mcp.add_tool(tool, "", anything());
        let fault = of_length((4 << 20) + 1, tool.starts_with('e'));
        mcp.served.faults.inject(usize::MAX, fault, calls_of(tool));
        asked.push(tool);
    }
    mcp.add_tool("fits.list", "", anything());
    mcp.served.faults.inject(9, of_length((4 << 20) - 200, true), calls_of("fits.list"));
    asked.push("fits.list");
    let spelled: Vec<_> = asked.iter().map(|tool| tool.replace('.', "_")).collect();
    let calls: Vec<_> = spelled.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(&world, [Scripted::tools(&calls), Scripted::text("Lang.")]).await;
    let (actions, shown) = (world.actions().await, results(&main_requests(&world)[1]));
    for (n, tool) in asked.iter().enumerate().take(4) {
        let message = actions[n].error_message.as_deref().unwrap();
        assert!(message.contains("longer than 4 MB"), "{tool}: {message}");
        assert_eq!(shown[n].to_string().contains("may or may not"), tool.ends_with("create"));
        assert_eq!(mcp.served.recorder.matching(calls_of(tool)).len(), 1, "{tool}");
    }
    assert_eq!(actions[4].result, "ok");
}

#[tokio::test]
async fn a_tool_list_over_the_limit_is_reported_and_not_requested_again() {
    let world = Setup::one(&["habits"]).start().await;
    spoil_rpc(&world, "tools/list", 9, of_length(5 << 20, true));
    let result = world.tick().await;
    let error = only_failure(&result);
    assert!(error.contains("tools/list") && error.contains("longer than 4 MB"), "{error}");
    assert_eq!(rpc(&world, "tools/list").len(), 1);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

/// A redirection to another host.
fn redirection() -> Fault {
    let headers = vec![("location", "http://elsewhere.test/x".into())];
    Fault::Respond { status: 307, headers, body: String::new() }
}

#[tokio::test]
async fn a_redirection_is_final_and_names_its_target() {
    for method in ["initialize", "tools/list"] {
        let world = Setup::one(&["habits"]).start().await;
        spoil_rpc(&world, method, 9, redirection());
        let result = world.tick().await;
        let error = only_failure(&result);
        assert!(error.contains("307") && error.contains("http://elsewhere.test/x"), "{error}");
        assert_eq!(rpc(&world, method).len(), 1, "{method}");
    }
    for path in [path::LOGIN, path::TOKEN, "/organization/list", "/v1/messages"] {
        let world = Setup::one(&["habits"]).start().await;
        let (auth, claude) = (&world.peers.auth.served, &world.peers.claude.served);
        let peer = if path == "/v1/messages" { claude } else { auth };
        let is_it = move |r: &Recorded| r.path().ends_with(path);
        peer.faults.inject(9, redirection(), is_it);
        let result = world.tick().await;
        let error = only_failure(&result);
        assert!(error.contains("307") && error.contains("http://elsewhere.test/x"), "{error}");
        assert_eq!(peer.recorder.matching(is_it).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_redirected_call_is_an_error_that_names_the_target() {
    let world = no_tools().await;
    let mcp = &world.peers.mcp;
    for tool in ["r.list", "r.create"] {
        mcp.add_tool(tool, "", anything());
        mcp.served.faults.inject(9, redirection(), calls_of(tool));
    }
    let calls = Scripted::tools(&[("r_list", json!({})), ("r_create", json!({}))]);
    play_well(&world, [calls, Scripted::text("Weg.")]).await;
    for row in world.actions().await {
        let message = row.error_message.as_deref().unwrap();
        assert!(message.contains("307") && message.contains("elsewhere.test"), "{message}");
        assert_eq!(mcp.served.recorder.matching(calls_of(&row.tool_name)).len(), 1);
    }
    assert_eq!(world.actions().await.len(), 2);
}

#[tokio::test]
async fn a_json_rpc_error_of_any_shape_is_an_answer() {
    let errors = [
        (json!({"code": -32603, "message": "boom"}), "boom"),
        (json!({"code": "E_BOOM", "message": "boom"}), "boom"),
        (json!({"code": 4_294_967_296_u64, "message": "boom"}), "boom"),
        (json!({"code": 0.5, "data": {}}), "data"),
        (json!({"code": 1, "message": {"text": "boom"}}), "boom"),
        (json!({"message": null}), "message"),
        (json!("boom"), "boom"),
        (json!(["boom"]), "boom"),
        (json!(false), "false"),
    ];
    let world = no_tools().await;
    let mcp = &world.peers.mcp;
    let mut spelled = Vec::new();
    for (n, (error, _)) in errors.iter().enumerate() {
        let tool = format!("e{n}.create");
        mcp.add_tool(&tool, "", anything());
        let body = json!({"jsonrpc": "2.0", "id": 1, "error": error}).to_string();
        mcp.served.faults.inject(9, Fault::status(200, body), calls_of(&tool));
        spelled.push(tool.replace('.', "_"));
    }
    let calls: Vec<_> = spelled.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(&world, [Scripted::tools(&calls), Scripted::text("Oh.")]).await;
    let rows = world.actions().await;
    assert_eq!(rows.len(), errors.len());
    assert_eq!(mcp.served.recorder.matching(|r| r.json()["method"] == "tools/call").len(), 9);
    for (row, (error, says)) in rows.iter().zip(&errors) {
        let message = row.error_message.as_deref().unwrap();
        assert!(message.contains(says), "{error}: {message}");
        assert!(!message.contains("outcome unknown"), "{error}: {message}");
    }
}

#[tokio::test]
async fn a_redirection_of_the_personas_endpoint_names_the_url_and_the_variable_too() {
    let world = Setup::one(&["habits"]).start().await;
    let headers = vec![("location", "http://elsewhere.test/x".into())];
    let fault = Fault::Respond { status: 308, headers, body: String::new() };
    world.peers.auth.served.faults.on(9, Method::GET, "/due", fault);
    let (_, answer) = world.call(Method::POST, "/diag/tick").await;
    let error = answer.to_string();
    for part in ["308", "http://elsewhere.test/x", "MANA_AUTH_URL"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(world.peers.auth.served.recorder.matching(|r| r.path().ends_with("/due")).len(), 1);
}

#[tokio::test]
async fn a_read_without_an_answer_is_reported_as_such() {
    let world = no_tools().await;
    let mcp = &world.peers.mcp;
    for tool in ["t.list", "u.list"] {
        mcp.add_tool(tool, "", anything());
    }
    mcp.override_tool("t.list", usize::MAX, Behaviour::EndsStream);
    mcp.served.faults.inject(9, Fault::HandledThenReset, calls_of("u.list"));
    let calls = Scripted::tools(&[("t_list", json!({})), ("u_list", json!({}))]);
    play_well(&world, [calls, Scripted::text("Nichts.")]).await;
    let shown = results(&main_requests(&world)[1]);
    for (n, row) in world.actions().await.iter().enumerate() {
        let message = row.error_message.as_deref().unwrap();
        assert!(message.contains("(asked twice)"), "{message}");
        assert!(!shown[n].to_string().contains("may or may not"), "{}", shown[n]);
    }
}

#[tokio::test]
async fn a_jwt_that_fits_in_no_header_is_the_fault_of_mana_auth() {
    for jwt in ["a\nb", "a\u{e9}b\\ud83d"] {
        let world = Setup::one(&["habits"]).start().await;
        let body = json!({"user": {"id": "u"}, "accessToken": jwt, "token": "t"}).to_string();
        let fault = Fault::status(200, body.replace("\\\\u", "\\u"));
        world.peers.auth.served.faults.on(9, Method::POST, path::LOGIN, fault);
        let result = world.tick().await;
        let error = only_failure(&result);
        assert!(error.contains("login: mana-auth answered 200, but the JWT"), "{error}");
        assert!(!error.contains("personal space"), "{error}");
        let logins = world.peers.auth.served.recorder.matching(|r| r.path().ends_with(path::LOGIN));
        assert_eq!(logins.len(), 1);
    }
}

/// A stream with this many requests of the server, followed by a result.
fn asking(times: usize) -> Fault {
    let mut body = String::new();
    for n in 0..times {
        let method = if n % 2 == 0 { "ping" } else { "roots/list" };
        body += &format!(
            "data: {}\n\n",
            json!({"jsonrpc": "2.0", "id": format!("s{n}"), "method": method})
        );
    }
    let result = json!({"content": [{"type": "text", "text": "da"}]});
    body += &format!("data: {}\n\n", json!({"jsonrpc": "2.0", "id": 1, "result": result}));
    Fault::Bytes { status: 200, media_type: "text/event-stream", body: body.into_bytes() }
}

#[tokio::test]
async fn requests_of_the_server_are_answered_and_too_many_end_the_stream() {
    let world = no_tools().await;
    let mcp = &world.peers.mcp;
    mcp.add_tool("few.create", "", anything());
    mcp.add_tool("many.create", "", anything());
    mcp.served.faults.inject(1, asking(4), calls_of("few.create"));
    mcp.served.faults.inject(1, asking(200_000), calls_of("many.create"));
    let answers = |r: &Recorded| r.method == Method::POST && r.json()["method"].is_null();
    play_well(&world, [Scripted::tools(&[("few_create", json!({}))]), Scripted::text("Ok.")]).await;
    let given: Vec<_> = mcp.served.recorder.matching(answers).iter().map(Recorded::json).collect();
    assert_eq!(given.len(), 4);
    assert_eq!((&given[0]["id"], &given[0]["result"]), (&json!("s0"), &json!({})));
    assert_eq!((&given[1]["id"], &given[1]["error"]["code"]), (&json!("s1"), &json!(-32601)));
    crate::script::make_due(&world).await;
    play_well(&world, [Scripted::tools(&[("many_create", json!({}))]), Scripted::text("Ok.")])
        .await;
    assert_eq!(mcp.served.recorder.matching(answers).len(), 104);
    let rows = world.actions().await;
    let message = rows[1].error_message.as_deref().unwrap();
    assert!(message.contains("outcome unknown") && message.contains("asked for 100"), "{message}");
}
