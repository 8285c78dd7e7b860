//! The rules of the contract, tested at the socket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::*;

mod client;
mod door;
mod planted;
mod tools;

/// Time limit for every request of these tests.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    mcp: ManaMcp,
    clock: Clock,
    keys: Keys,
    has_vault: Arc<AtomicBool>,
    http: reqwest::Client,
}

impl World {
    async fn start(options: McpOptions) -> Self {
        let clock = Clock::starting_at("2026-11-23T09:00:00Z".parse::<Timestamp>().unwrap());
        clock.set_speed(0.0);
        let keys = Keys::generate().unwrap();
        let has_vault = Arc::new(AtomicBool::new(true));
        let vaults = Arc::clone(&has_vault);
        let vault_check: VaultCheck = Arc::new(move |_| vaults.load(Ordering::SeqCst));
        let mcp = ManaMcp::start(options, clock.clone(), keys.clone(), vault_check).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { mcp, clock, keys, has_vault, http }
    }

    fn jwt(&self, user: &str) -> String {
        self.keys.issue(user, &format!("{user}@mana.test"), "s1", "http://auth", self.clock.now())
    }

    /// A request without any extra headers.
    fn bare(&self, method: Method) -> RequestBuilder {
        self.http.request(method, format!("{}/mcp", self.mcp.url()))
    }

    /// A request that passes Mana's checks.
    fn as_user(&self, method: Method, user: &str, space: &str) -> RequestBuilder {
        self.bare(method)
            .header("authorization", format!("Bearer {}", self.jwt(user)))
            .header("x-mana-space", space)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
    }

    fn post(&self, message: &Value) -> RequestBuilder {
        self.as_user(Method::POST, "anna", "space-a").body(message.to_string())
    }

    async fn open(&self, user: &str, space: &str) -> Session<'_> {
        let request = self.as_user(Method::POST, user, space);
        let answer = request.body(initialize("2025-11-25").to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let id = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        event(answer).await;
        let session = Session { world: self, id, user: user.into(), space: space.into() };
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let answer = session.post(&initialized).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.text().await.unwrap(), "");
        session
    }
}

struct Session<'a> {
    world: &'a World,
    id: String,
    user: String,
    space: String,
}

impl Session<'_> {
    fn request(&self, method: Method) -> RequestBuilder {
        self.world
            .as_user(method, &self.user, &self.space)
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", "2025-11-25")
    }

    fn post(&self, message: &Value) -> RequestBuilder {
        self.request(Method::POST).body(message.to_string())
    }

    /// The JSON-RPC answer to `method`.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let answer = event(self.post(&message).send().await.unwrap()).await;
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
        answer
    }

    /// The result of calling `tool`.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.ask("tools/call", params).await["result"].clone()
    }

    /// The JSON value in the text of a call that must succeed.
    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert!(result.get("isError").is_none(), "{result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("\n  "), "pretty-printed: {text}");
        serde_json::from_str(text).unwrap()
    }

    /// The text of a call that must fail.
    async fn error(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}}})
}

/// The one event of an SSE answer.
async fn event(answer: Response) -> Value {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.unwrap();
    let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    assert_eq!(data.len(), 1, "one event and no priming event: {text}");
    assert!(!text.lines().any(|line| line.starts_with("id:")), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("retry:")), "{text}");
    serde_json::from_str(data[0]).unwrap()
}

/// Status and JSON body of an answer that is no stream.
async fn refusal(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    assert!(!answer.headers().contains_key("www-authenticate"));
    assert_eq!(answer.headers()["content-type"], "application/json");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// Asserts a refusal of the TypeScript transport.
async fn assert_rpc(request: RequestBuilder, status: u16, code: i32) {
    let (got, body) = refusal(request).await;
    assert_eq!((got, &body["error"]["code"]), (status, &json!(code)), "{body}");
    assert_eq!((&body["jsonrpc"], body.get("id")), (&json!("2.0"), Some(&Value::Null)));
}

/// Asserts one of Mana's own refusals.
async fn assert_plain(request: RequestBuilder, status: u16, error: &str) {
    assert_eq!(refusal(request).await, (status, json!({"error": error})));
}
