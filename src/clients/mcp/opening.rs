//! The handshake of a session.

use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    SETUP_TIMEOUT,
    error::McpError,
    transport::{INITIALIZE, Link, REVISION, SESSION},
};

/// Revisions this client speaks, the newest first (contracts/mcp-client.md, section 1).
const REVISIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
}

/// Opens a session; `note` writes down its id before that is used.
pub(super) async fn shake_hands<N: Future<Output = Result<(), String>>>(
    link: &Arc<Link>,
    note: impl Fn(String) -> N,
) -> Result<(), McpError> {
    let shaking = async {
        // No capabilities, so the server must not ask for anything.
        let params = json!({
            "protocolVersion": REVISIONS[0],
            "capabilities": {},
            "clientInfo": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        });
        let result = link.request(INITIALIZE, params, SETUP_TIMEOUT).await?;
        let revision = spoken(&result).map_err(|offered| {
            // What the server offers may hold anything.
            let offered = link.http.snippet(offered.as_bytes());
            McpError::not_run(format!("mana-mcp speaks MCP {offered}, which this runner does not"))
        })?;
        link.headers().insert(REVISION, HeaderValue::from_static(revision));
        let session = link.headers().get(SESSION).cloned();
        if let Some(session) = session.as_ref().and_then(|session| session.to_str().ok()) {
            note(session.to_owned()).await.map_err(McpError::not_run)?;
        }
        link.notify("notifications/initialized", json!({}), SETUP_TIMEOUT).await
    };
    shaking.await.map_err(|error: McpError| error.of_setup(INITIALIZE))
}

/// The revision of the protocol that both speak, or else what the server offers.
fn spoken(result: &RawValue) -> Result<&'static str, String> {
    let answer = serde_json::from_str::<Initialized>(result.get());
    let offered = answer.map_or_else(|_| "nothing".to_owned(), |answer| answer.protocol_version);
    REVISIONS.into_iter().find(|revision| *revision == offered).ok_or(offered)
}
