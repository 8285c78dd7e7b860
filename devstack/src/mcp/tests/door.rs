//! Authentication, sessions and the transport's own rules.

use super::*;

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

#[tokio::test]
async fn a_request_without_a_valid_jwt_and_a_space_is_refused() {
    let world = World::start(McpOptions::default()).await;
    let with = |token: Option<&str>, space: Option<&str>| {
        let mut request = world
            .bare(Method::POST)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(initialize("2025-11-25").to_string());
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        if let Some(space) = space {
            request = request.header("x-mana-space", space);
        }
        request
    };
    let good = format!("Bearer {}", world.jwt("anna"));
    let foreign = Keys::generate().unwrap().issue("anna", "a", "s", "i", world.clock.now());
    assert_plain(with(None, Some("s")), 401, "Missing bearer token").await;
    assert_plain(with(Some("Basic x"), Some("s")), 401, "Missing bearer token").await;
    assert_plain(with(Some("Bearer x"), Some("s")), 401, "invalid token").await;
    let foreign = format!("Bearer {foreign}");
    assert_plain(with(Some(&foreign), Some("s")), 401, "invalid token").await;
    assert_plain(with(Some(&good), None), 401, "Missing X-Mana-Space header").await;
    world.clock.advance(Duration::from_secs(900));
    assert_plain(with(Some(&good), Some("s")), 401, "token expired").await;
    assert_eq!(world.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_stopped_server_refuses_connections_and_listens_again_on_the_same_port() {
    let world = World::start(McpOptions::default()).await;
    let knock = async || world.post(&initialize("2025-11-25")).send().await;
    for _ in 0..2 {
        knock().await.unwrap();
        world.mcp.served.refuse_connections().await.unwrap();
        let refused = knock().await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        world.mcp.served.accept_again().unwrap();
    }
    knock().await.unwrap();
    assert_eq!(world.mcp.open_sessions(), 3, "it knows what it knew");
}

#[tokio::test]
async fn initialize_opens_a_session_and_says_who_the_server_is() {
    let world = World::start(McpOptions::default()).await;
    let answer = world.post(&initialize("2025-11-25")).send().await.unwrap();
    assert!(answer.headers().contains_key("mcp-session-id"));
    let expected = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}},
        "serverInfo": {"name": "mana", "version": "0.1.0"}});
    assert_eq!(event(answer).await["result"], expected);
    assert_eq!(world.mcp.open_sessions(), 1);
}

#[tokio::test]
async fn an_offer_is_accepted_up_to_2025_11_25_and_answered_with_that_beyond() {
    let world = World::start(McpOptions::default()).await;
    for (offered, agreed) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2026-07-28", "2025-11-25"),
        ("2031-01-01", "2025-11-25"),
    ] {
        // The header is not checked on initialize.
        let request = world.post(&initialize(offered)).header("mcp-protocol-version", offered);
        let answer = event(request.send().await.unwrap()).await;
        assert_eq!(answer["result"]["protocolVersion"], agreed, "{offered}");
    }
}

#[tokio::test]
async fn an_unsupported_protocol_version_after_initialize_is_refused() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        for version in ["2026-07-28", "1.0"] {
            let request = world
                .as_user(method.clone(), "anna", "space-a")
                .header("mcp-session-id", &session.id)
                .header("mcp-protocol-version", version)
                .body(ping().to_string());
            assert_rpc(request, 400, -32000).await;
        }
    }
    let without = world.post(&ping()).header("mcp-session-id", &session.id);
    assert_eq!(event(without.send().await.unwrap()).await["result"], json!({}));
}

#[tokio::test]
async fn a_post_must_accept_both_forms_and_be_json_of_at_most_4_mib() {
    let world = World::start(McpOptions::default()).await;
    let post = |accept: &str, content_type: &str, body: String| {
        world
            .bare(Method::POST)
            .header("authorization", format!("Bearer {}", world.jwt("anna")))
            .header("x-mana-space", "space-a")
            .header("accept", accept)
            .header("content-type", content_type)
            .body(body)
    };
    let (both, json) = ("application/json, text/event-stream", "application/json");
    let good = initialize("2025-11-25").to_string();
    assert_rpc(post(json, json, good.clone()), 406, -32000).await;
    assert_rpc(post("text/event-stream", json, good.clone()), 406, -32000).await;
    assert_rpc(post("*/*", json, good.clone()), 406, -32000).await;
    assert_rpc(post(both, "text/plain", good.clone()), 415, -32000).await;
    assert_rpc(post(both, json, "{".into()), 400, -32700).await;
    assert_rpc(post(both, json, format!("[{good}]")), 400, -32700).await;
    // The official schema allows for `params` an object or nothing.
    let odd = r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#;
    assert_rpc(post(both, json, odd.into()), 400, -32700).await;
    assert_rpc(post(both, json, " ".repeat((4 << 20) + 1)), 413, -32000).await;
    assert_eq!(world.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_session_is_required_after_initialize_and_initialize_comes_once() {
    let world = World::start(McpOptions::default()).await;
    assert_rpc(world.post(&ping()), 400, -32000).await;
    let mut half = initialize("2025-11-25");
    half["params"].as_object_mut().unwrap().remove("clientInfo");
    assert_rpc(world.post(&half), 400, -32000).await;
    for method in [Method::GET, Method::DELETE] {
        let request = world.as_user(method, "anna", "space-a");
        assert_plain(request, 400, "Missing Mcp-Session-Id header").await;
    }
    let session = world.open("anna", "space-a").await;
    assert_rpc(session.post(&initialize("2025-11-25")), 400, -32600).await;
    assert_rpc(session.request(Method::PUT), 405, -32000).await;
}

#[tokio::test]
async fn a_session_is_unknown_to_all_after_delete_and_forbidden_to_others_before() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let others = world
            .as_user(method.clone(), "ben", "space-a")
            .header("mcp-session-id", &session.id)
            .body(ping().to_string());
        assert_plain(others, 403, "Session belongs to another user").await;
        let unknown = world
            .as_user(method, "anna", "space-a")
            .header("mcp-session-id", "no-such-session")
            .body(ping().to_string());
        assert_plain(unknown, 404, "Session not found").await;
    }
    let deleted = session.request(Method::DELETE).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    assert_eq!(world.mcp.open_sessions(), 0);
    assert_plain(session.post(&ping()), 404, "Session not found").await;
    assert_plain(session.request(Method::DELETE), 404, "Session not found").await;
}

#[tokio::test]
async fn after_forget_sessions_old_sessions_are_unknown_and_new_ones_can_be_opened() {
    let world = World::start(McpOptions::default()).await;
    let (first, second) = (world.open("anna", "a").await, world.open("ben", "b").await);
    assert_eq!(world.mcp.open_sessions(), 2);
    world.mcp.forget_sessions().await;
    assert_eq!(world.mcp.open_sessions(), 0);
    assert_plain(first.post(&ping()), 404, "Session not found").await;
    assert_plain(second.post(&ping()), 404, "Session not found").await;
    let again = world.open("anna", "a").await;
    assert_eq!(again.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn a_session_has_one_stream_of_the_servers_own_at_a_time() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    let listen = || session.request(Method::GET).header("last-event-id", "0/0");
    let stream = listen().send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_rpc(listen(), 409, -32000).await;
    let json_only = world
        .bare(Method::GET)
        .header("authorization", format!("Bearer {}", world.jwt("anna")))
        .header("x-mana-space", "space-a")
        .header("mcp-session-id", &session.id)
        .header("accept", "application/json");
    assert_rpc(json_only, 406, -32000).await;
    // The stream ends when its session ends, without an event.
    session.request(Method::DELETE).send().await.unwrap();
    assert_eq!(stream.text().await.unwrap(), "");
}

#[tokio::test]
async fn unknown_methods_are_json_rpc_errors() {
    let world = World::start(McpOptions::default()).await;
    let session = world.open("anna", "space-a").await;
    for method in ["no/such", "prompts/list", "resources/list", "resources/templates/list"] {
        assert_eq!(session.ask(method, json!({})).await["error"]["code"], -32601, "{method}");
    }
}

#[tokio::test]
async fn the_host_header_is_ignored() {
    let world = World::start(McpOptions::default()).await;
    let request = world.post(&initialize("2025-11-25")).header("host", "mana-mcp:3069");
    assert_eq!(request.send().await.unwrap().status(), 200);
}
