//! mana-mcp (docs/contracts/mcp-client.md): a session with the JWT and the space it is opened with, its
//! tools, and calls whose outcome is named honestly.

mod error;
mod hearing;
mod listed;
mod look;
mod sse;
mod transport;
mod wire;

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

pub use error::{Fate, McpError};
pub use hearing::{Heard, Hearing};
use look::Look;
pub use transport::Ending;
use transport::{CLOSE_TIMEOUT, INITIALIZE, Link, REVISION, SESSION};
pub use wire::{Content, Tool, ToolHints, ToolOutput, ToolPage, read_output, read_tools};

use crate::{
    config::BaseUrl,
    domain::{Redactor, ToolName},
    http::{HttpClient, Peer, retry::RetryPolicy},
};

/// The service.
pub const PEER: Peer = Peer("mana-mcp");
/// Opening the session, and each page of the tool list.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Revisions this client speaks, the newest first (docs/contracts/mcp-client.md, section 1).
const REVISIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Opens sessions at mana-mcp.
#[derive(Debug)]
pub struct McpClient {
    http: HttpClient,
    url: BaseUrl,
    /// What is sent when nobody waits for it: sessions being opened or ended.
    background: TaskTracker,
    look: Arc<Look>,
}

impl McpClient {
    /// A client of the server at `base`/mcp.
    pub fn new(http: HttpClient, base: &BaseUrl) -> Self {
        Self::at(http, base.join(["mcp"]))
    }

    /// A client of the server whose one endpoint this is: other servers have it elsewhere.
    pub fn at(http: HttpClient, endpoint: BaseUrl) -> Self {
        let background = TaskTracker::new();
        // Closed trackers still take tasks; only now can they be waited for.
        background.close();
        let look = Arc::new(Look::new(http.clone(), endpoint.clone()));
        Self { http, url: endpoint, background, look }
    }

    /// Waits until the server has been there at some time after `since`; false if it has not by `deadline`.
    /// All who wait share one look.
    pub async fn returns(&self, since: Instant, deadline: Instant) -> bool {
        self.look.returns(since, deadline).await
    }

    /// Whether the server is there now.
    pub async fn is_there(&self) -> bool {
        self.look.is_there().await
    }

    /// Opens a session and lists its tools, sorted by name, each name once, at least one. JWT and space
    /// are fixed at `initialize`: others need another session (docs/contracts/mana-mcp.md). `redactor` sees
    /// errors before they are cut, so that not even a part of a secret is left, and takes secrets out of
    /// the list. `note` writes down the id of each session before that is used.
    ///
    /// # Errors
    /// When there is no usable session by `deadline`; one that was opened is ended again. The reason names
    /// the step that failed.
    pub async fn open<N: Future<Output = Result<(), String>>>(
        &self,
        access: (&SecretString, &str),
        redactor: &Redactor,
        deadline: Instant,
        note: impl Fn(String) -> N,
    ) -> Result<(McpSession, Vec<Tool>), McpError> {
        let opening = async {
            let on_retry = self.http.retried(PEER, INITIALIZE);
            let attempt = || async {
                let link = self.link(access, redactor).ok_or_else(|| {
                    McpError::not_run("the space id or the JWT does not fit in a header")
                        .of_setup(INITIALIZE)
                })?;
                link.or_end(shake_hands(&link, &note)).await?;
                Ok(link)
            };
            let link = RetryPolicy::READ.run(deadline, on_retry, attempt).await?;
            let tools = link.or_end(listed::list(&link, deadline)).await?;
            let names = tools.iter().map(|tool| tool.name.clone()).collect();
            Ok((McpSession { jwt: access.0.clone(), link, look: self.look.clone(), names }, tools))
        };
        self.look.judge(opening.await).await
    }

    /// Ends a session of an earlier process, with a JWT and a space of the same persona. Best effort: whether
    /// the server says that it has none of this id any more.
    pub async fn end(
        &self,
        access: (&SecretString, &str),
        redactor: &Redactor,
        session: &str,
    ) -> bool {
        match (self.link(access, redactor), HeaderValue::from_str(session)) {
            (Some(link), Ok(session)) => {
                link.headers.lock().insert(SESSION, session);
                link.end(None, CLOSE_TIMEOUT).await == Ending::Ended
            }
            (_, session) => session.is_err(),
        }
    }

    /// Resolves when nothing is sent any more that nobody waits for, at the latest after `limit`.
    pub async fn settled(&self, limit: Duration) {
        // What takes longer is not worth holding up a shutdown.
        let _ = timeout(limit, self.background.wait()).await;
    }

    fn link(&self, access: (&SecretString, &str), redactor: &Redactor) -> Option<Arc<Link>> {
        let http = self.http.with_redactor(redactor.clone());
        Link::new(http, self.url.clone(), access, self.background.clone()).map(Arc::new)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
}

/// Opens a session; `note` writes down its id before that is used.
async fn shake_hands<N: Future<Output = Result<(), String>>>(
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
        link.headers.lock().insert(REVISION, HeaderValue::from_static(revision));
        let session = link.headers.lock().get(SESSION).cloned();
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

/// An open session. Dropped, it is ended in the background.
#[derive(Debug)]
pub struct McpSession {
    /// The JWT its tools work with.
    pub jwt: SecretString,
    link: Arc<Link>,
    look: Arc<Look>,
    /// What its tools are called, in order. Their schemas are kept by whoever offers them.
    names: Vec<ToolName>,
}

impl McpSession {
    /// The names of the tools the server listed, in order.
    pub fn tools(&self) -> &[ToolName] {
        &self.names
    }

    /// Whether the server listed this tool.
    pub fn offers(&self, tool: &ToolName) -> bool {
        self.names.binary_search(tool).is_ok()
    }

    /// Calls a tool. An answer is waited for at most as long as `patience`, and nothing is done after
    /// `deadline`. It is sent again only if the server certainly did not run it and may do so later, and
    /// not while the server is away: see [`McpClient::returns`].
    ///
    /// # Errors
    /// When there is no result, and what that means.
    pub async fn call(
        &self,
        tool: &ToolName,
        arguments: &Map<String, Value>,
        patience: Duration,
        deadline: Instant,
    ) -> Result<ToolOutput, McpError> {
        let attempt = || async {
            let limit = patience.min(deadline.saturating_duration_since(Instant::now()));
            // Without arguments mana-mcp refuses the call; an empty object is the least.
            let params = json!({"name": tool.as_str(), "arguments": arguments});
            let result = self.link.request("tools/call", params, limit).await?;
            let output = wire::read_output(&result);
            output.ok_or_else(|| McpError::unknown("the answer is no tool result"))
        };
        let on_retry = self.link.http.retried(PEER, "tools_call");
        self.look.judge(RetryPolicy::TOOL.run(deadline, on_retry, attempt).await).await
    }

    /// Ends the session on the server, within `limit` and never longer than 3 s: with this JWT, or else the
    /// one it was opened with. Best effort: the server forgets it at its next restart anyway.
    pub async fn close(&self, jwt: Option<&SecretString>, limit: Duration) -> Ending {
        self.link.end(jwt, limit).await
    }
}
