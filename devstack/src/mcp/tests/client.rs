//! How this server works with rmcp's own client.

use std::collections::HashMap;

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::{
    ClientHandler, RoleClient, ServiceError, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation,
        ProtocolVersion,
    },
    service::RunningService,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::time::timeout;

use super::*;

struct Client;

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("test", "1"))
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

async fn connect(world: &World) -> RunningService<RoleClient, Client> {
    let space = (HeaderName::from_static("x-mana-space"), HeaderValue::from_static("space-a"));
    let url = format!("{}/mcp", world.mcp.url());
    let config = StreamableHttpClientTransportConfig::with_uri(url)
        .auth_header(world.jwt("anna"))
        .custom_headers(HashMap::from([space]));
    let transport = StreamableHttpClientTransport::with_client(world.http.clone(), config);
    timeout(PATIENCE, Client.serve(transport)).await.unwrap().unwrap()
}

async fn call(
    client: &RunningService<RoleClient, Client>,
    tool: &'static str,
    arguments: Value,
) -> Result<CallToolResult, ServiceError> {
    let mut params = CallToolRequestParams::new(tool);
    params.arguments = arguments.as_object().cloned();
    timeout(PATIENCE, client.call_tool(params)).await.unwrap()
}

#[tokio::test]
async fn rmcps_client_connects_lists_pages_calls_and_deletes_its_session() {
    let options = McpOptions { page_size: Some(10), ..Default::default() };
    let world = World::start(options).await;
    let mut client = connect(&world).await;
    let server = client.peer_info().unwrap();
    assert_eq!(server.protocol_version, ProtocolVersion::V_2025_11_25);
    let tools = timeout(PATIENCE, client.list_all_tools()).await.unwrap().unwrap();
    assert_eq!(tools.len(), 53);
    let result = call(&client, "todo.create", json!({"title": "Referat"})).await.unwrap();
    assert_eq!((result.is_error, result.content.len()), (None, 1));
    timeout(PATIENCE, client.close()).await.unwrap().unwrap();
    let recorder = &world.mcp.served.recorder;
    let deletes = recorder.wait_for(1, |r| r.method == Method::DELETE && r.status.is_some());
    assert_eq!(timeout(PATIENCE, deletes).await.unwrap().len(), 1);
    assert_eq!(world.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn a_stream_without_an_event_fails_the_call_at_once_and_keeps_the_session() {
    let world = World::start(McpOptions::default()).await;
    let client = connect(&world).await;
    world.mcp.override_tool("todo.create", 1, Behaviour::EndsStream);
    let lost = call(&client, "todo.create", json!({"title": "x"})).await.unwrap_err();
    assert!(matches!(lost, ServiceError::TransportClosed), "{lost:?}");
    assert!(!client.is_transport_closed());
    call(&client, "todo.list", json!({})).await.unwrap();
    assert_eq!(world.mcp.entries("space-a").len(), 1);
}

#[tokio::test]
async fn after_a_restart_of_the_server_rmcps_client_opens_a_new_session() {
    let world = World::start(McpOptions::default()).await;
    let client = connect(&world).await;
    world.mcp.forget_sessions().await;
    call(&client, "todo.list", json!({})).await.unwrap();
    assert_eq!(world.mcp.open_sessions(), 1);
}
