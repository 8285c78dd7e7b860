//! Opening and ending a session, so that none is left behind on the server.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    CLOSE_TIMEOUT, McpError, McpSession, PEER, SETUP_TIMEOUT, Tool,
    error::CallError,
    transport::{INITIALIZE, Link},
};
use crate::http::{HttpClient, retry::RetryPolicy};

/// Revisions this client speaks, the newest first (contracts/mcp-client.md, section 1).
const REVISIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// A session on its way, in a task of its own: a handshake must not be cancelled half-way, or the server
/// keeps a session that nobody knows of.
pub(super) struct Opening<L> {
    http: HttpClient,
    /// Makes the way of a session: a handshake that failed is tried again with another one.
    link: L,
    deadline: Instant,
    given_up: CancellationToken,
    sessions: mpsc::Sender<NewSession>,
}

/// The id of a session that is about to be used, and whom to tell that it is written down.
pub(super) type NewSession = (String, oneshot::Sender<()>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
}

impl<L: Fn() -> Option<Link>> Opening<L> {
    pub(super) fn new(
        http: HttpClient,
        link: L,
        deadline: Instant,
        sessions: mpsc::Sender<NewSession>,
    ) -> Self {
        Self { http, link, deadline, given_up: CancellationToken::new(), sessions }
    }

    /// Held by whoever waits for the session; dropped, it says that nobody does any more.
    pub(super) fn waiting(&self) -> DropGuard {
        self.given_up.clone().drop_guard()
    }

    /// Opens the session and lists its tools. On every failure the server has none left.
    pub(super) async fn run(self) -> Result<(McpSession, Vec<Tool>), McpError> {
        let link = RetryPolicy::READ
            .run(self.deadline, self.http.retried(PEER, INITIALIZE), || self.shake_hands())
            .await?;
        let mut session = McpSession { link, http: self.http.clone(), names: Vec::new() };
        let listed = tokio::select! {
            tools = session.list_tools(self.deadline) => tools,
            () = self.given_up.cancelled() => Err(McpError::GivenUp),
        };
        match listed {
            Ok(tools) => {
                session.names = tools.iter().map(|tool| tool.name.clone()).collect();
                Ok((session, tools))
            }
            Err(error) => {
                // Best effort.
                let _ = session.close(CLOSE_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn shake_hands(&self) -> Result<Arc<Link>, McpError> {
        if self.given_up.is_cancelled() {
            return Err(McpError::GivenUp);
        }
        let link = Arc::new((self.link)().ok_or(McpError::Headers)?);
        let result = tokio::select! {
            result = self.initialize(&link) => result,
            () = self.given_up_with_session(&link) => Err(McpError::GivenUp),
        };
        if let Err(error) = result {
            let _ = link.end(CLOSE_TIMEOUT).await;
            return Err(if self.given_up.is_cancelled() { McpError::GivenUp } else { error });
        }
        Ok(link)
    }

    async fn initialize(&self, link: &Arc<Link>) -> Result<(), McpError> {
        let failed = |error: CallError| error.of_setup(INITIALIZE);
        // No capabilities, so the server must not ask for anything.
        let params = json!({
            "protocolVersion": REVISIONS[0],
            "capabilities": {},
            "clientInfo": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        });
        let result = link.request(INITIALIZE, params, SETUP_TIMEOUT).await.map_err(failed)?;
        let spoken = spoken(&result).map_err(|offered| {
            // What the server offers may hold anything.
            McpError::Revision(self.http.snippet(offered.as_bytes()))
        })?;
        link.speak(spoken);
        if let Some(session) = link.session() {
            let (noted, is_noted) = oneshot::channel();
            let is_told = self.sessions.send((session, noted)).await.is_ok();
            if !is_told || is_noted.await.is_err() {
                return Err(McpError::GivenUp);
            }
        }
        let ready = link.notify("notifications/initialized", json!({}));
        let ready = tokio::time::timeout(SETUP_TIMEOUT, ready).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {} ms", SETUP_TIMEOUT.as_millis());
            Err(CallError::OutcomeUnknown { reason })
        });
        ready.map_err(failed)
    }

    /// Resolves when nobody waits any more and the server has said which session it opened.
    async fn given_up_with_session(&self, link: &Link) {
        self.given_up.cancelled().await;
        link.session_opened().await;
    }
}

/// The revision of the protocol that both speak, or else what the server offers.
fn spoken(result: &RawValue) -> Result<&'static str, String> {
    let answer = serde_json::from_str::<Initialized>(result.get());
    let offered = answer.map_or_else(|_| "nothing".to_owned(), |answer| answer.protocol_version);
    REVISIONS.into_iter().find(|revision| *revision == offered).ok_or(offered)
}
