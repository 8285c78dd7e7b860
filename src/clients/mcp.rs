//! The client of mana-mcp (docs/contracts/mcp-client.md): a session with the JWT and the space that it is
//! opened with, the tools of the session, and calls that report truthfully whether they ran.

mod error;
mod hearing;
mod listed;
mod look;
mod sse;
mod transport;
mod tries;
mod wire;

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use parking_lot::Mutex;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use error::Outcome;
pub use error::{Fate, McpError};
pub use hearing::{Heard, Hearing};
use listed::OnePage;
pub(crate) use look::Look;
use transport::{CLOSE_TIMEOUT, INITIALIZE, Link, REVISION, SESSION, SETUP_TIMEOUT};
pub(crate) use transport::{Ending, PEER};
pub use tries::Tries;
pub use wire::{Content, Tool, ToolHints, ToolOutput, read_output, read_tools};

use crate::{
    config::BaseUrl,
    domain::{Redactor, ToolName, clip, is_printable},
    http::{HttpClient, RetryPolicy, bearer},
};

/// Protocol revisions that this client accepts, the newest first (docs/contracts/mcp-client.md, section 1).
const REVISIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Longest version of the server that is kept, in UTF-16 units.
const MAX_VERSION: usize = 100;

/// Opens sessions at mana-mcp.
#[derive(Debug)]
pub struct McpClient {
    http: HttpClient,
    url: BaseUrl,
    /// Runs the requests that no caller waits for: sessions being opened or ended.
    background: TaskTracker,
    /// Checks whether the server is reachable. All runs that wait for the server share this check.
    pub look: Arc<Look>,
    /// The tool list that was read last, if it had one page.
    last_list: Mutex<Option<OnePage>>,
}

impl McpClient {
    /// A client of the server at `base`/mcp.
    pub fn new(http: HttpClient, base: &BaseUrl) -> Self {
        Self::at(http, base.join(["mcp"]))
    }

    /// A client of the server with this endpoint. Servers other than mana-mcp may have it at another path.
    pub fn at(http: HttpClient, endpoint: BaseUrl) -> Self {
        let background = TaskTracker::new();
        // A tracker must be closed before it can be waited for. A closed tracker still accepts tasks.
        background.close();
        let look = Arc::new(Look::new(http.clone(), endpoint.clone()));
        Self { http, url: endpoint, background, look, last_list: Mutex::default() }
    }

    /// Opens a session and lists its tools: sorted by name, each name once, at least one. JWT and space are
    /// fixed at `initialize`, so another JWT or space needs another session (docs/contracts/mana-mcp.md).
    /// `redactor` redacts errors before they are cut, so that not even a part of a secret is left, and
    /// removes secrets from the list. `note` stores the id of each session before the session is used.
    ///
    /// # Errors
    /// When there is no usable session by `deadline`. A session that was opened is ended again. The reason
    /// names the step that failed.
    pub async fn open<N: Future<Output = Result<(), String>>>(
        &self,
        access: (&SecretString, &str),
        redactor: &Redactor,
        deadline: Instant,
        note: impl Fn(String) -> N,
    ) -> Outcome<(McpSession, Arc<[Tool]>)> {
        let opening = async {
            // A step of the setup is sent again even if the server may have run it: that makes no difference.
            let retried = self.http.retried(PEER, INITIALIZE);
            let on_retry = |error: &McpError, pause| retried(&error.reason, pause);
            let attempt = || async {
                let link = self.link(access, redactor)?;
                let version = link.or_end(handshake(&link, &note)).await?;
                Ok::<_, McpError>((link, version))
            };
            let (link, server_version) = RetryPolicy::READ.run(deadline, on_retry, attempt).await?;
            let tools = link.or_end(listed::list(&link, &self.last_list, deadline)).await?;
            let (jwt, look) = (access.0.clone(), self.look.clone());
            let names = tools.iter().map(|tool| tool.name.clone()).collect();
            Ok((McpSession { jwt, link, look, server_version, tools: names }, tools))
        };
        self.look.judge(opening.await).await
    }

    /// Ends a session of an earlier process, with a JWT and a space of the same persona. Best effort: returns
    /// whether the server says that it no longer has a session with this id.
    pub async fn end(
        &self,
        access: (&SecretString, &str),
        redactor: &Redactor,
        session: &str,
    ) -> bool {
        let Ok(session) = HeaderValue::from_str(session) else { return true };
        let Ok(link) = self.link(access, redactor) else { return false };
        link.headers.lock().insert(SESSION, session);
        link.end(None, CLOSE_TIMEOUT).await == Ending::Ended
    }

    /// Waits until all requests that no caller waits for have ended, at most for `limit`.
    pub async fn settled(&self, limit: Duration) {
        // A request that takes longer is not worth a delay of the shutdown.
        let _ = timeout(limit, self.background.wait()).await;
    }

    fn link(&self, access: (&SecretString, &str), redactor: &Redactor) -> Outcome<Arc<Link>> {
        let http = self.http.with_redactor(redactor.clone());
        let link = Link::new(http, self.url.clone(), access, self.background.clone());
        let unsendable = "the space id or the JWT does not fit in a header";
        link.map(Arc::new).ok_or_else(|| McpError::not_run(unsendable).of_setup(INITIALIZE))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized<'a> {
    protocol_version: String,
    #[serde(borrow)]
    server_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ServerInfo {
    version: String,
}

/// Opens a session, and returns the version that the server gives of itself. `note` stores the session's id before the
/// session is used.
async fn handshake<N: Future<Output = Result<(), String>>>(
    link: &Arc<Link>,
    note: impl Fn(String) -> N,
) -> Outcome<Option<String>> {
    let exchange = async {
        // The client declares no capabilities, so the server must not ask it for anything.
        let params = json!({
            "protocolVersion": REVISIONS[0],
            "capabilities": {},
            "clientInfo": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        });
        let result = link.request(INITIALIZE, params, SETUP_TIMEOUT).await?;
        let (offered, info) = match serde_json::from_str::<Initialized<'_>>(result.get()) {
            Ok(answer) => (answer.protocol_version, answer.server_info),
            Err(_) => ("nothing".to_owned(), None),
        };
        let Some(revision) = REVISIONS.into_iter().find(|revision| *revision == offered) else {
            // The server's text is shown only after redaction: it may contain anything.
            let offered = link.http.snippet(offered.as_bytes());
            let reason = format!("mana-mcp speaks MCP {offered}, which this runner does not");
            return Err(McpError::not_run(reason));
        };
        link.headers.lock().insert(REVISION, HeaderValue::from_static(revision));
        let session = link.headers.lock().get(SESSION).cloned();
        if let Some(session) = session.as_ref().and_then(|session| session.to_str().ok()) {
            note(session.to_owned()).await.map_err(McpError::not_run)?;
        }
        link.notify("notifications/initialized", json!({}), SETUP_TIMEOUT).await?;
        let info = info.and_then(|info| serde_json::from_str::<ServerInfo>(info.get()).ok());
        Ok(info.and_then(|info| version_of(&link.http.redactor.redact(&info.version))))
    };
    exchange.await.map_err(|error: McpError| error.of_setup(INITIALIZE))
}

/// The printable characters of a server's version, cut to [`MAX_VERSION`]; `None` if there are none.
fn version_of(told: &str) -> Option<String> {
    let printable: String = told.chars().filter(|c| is_printable(*c)).collect();
    Some(clip(printable.trim(), MAX_VERSION)).filter(|version| !version.is_empty())
}

/// An open session. When it is dropped, it is ended in the background.
#[derive(Debug)]
pub struct McpSession {
    /// The JWT that the session was opened with, and that its tools use.
    pub jwt: SecretString,
    link: Arc<Link>,
    look: Arc<Look>,
    /// The version that the server gives of itself (`serverInfo`): at most 100 printable characters.
    pub server_version: Option<String>,
    /// Names of the tools that the server listed, sorted. The session does not keep their schemas.
    pub tools: Vec<ToolName>,
}

impl McpSession {
    /// Whether the server listed this tool.
    pub fn offers(&self, tool: &ToolName) -> bool {
        self.tools.binary_search(tool).is_ok()
    }

    /// Calls a tool. Each attempt waits for an answer at most for `patience`, and nothing is sent after
    /// `deadline`. The call is sent again only if the server certainly did not run it and may run it later,
    /// and not while the server is away: see [`Look::returns`]. `tries` counts the attempts.
    ///
    /// # Errors
    /// When there is no result. The error says what became of the call.
    pub async fn call(
        &self,
        tool: &ToolName,
        arguments: &Map<String, Value>,
        patience: Duration,
        deadline: Instant,
        tries: &Tries,
    ) -> Outcome<ToolOutput> {
        let attempt = || {
            tries.note(async {
                let limit = patience.min(deadline.saturating_duration_since(Instant::now()));
                // mana-mcp refuses a call without arguments, so an empty object is sent at least.
                let params = json!({"name": tool.as_str(), "arguments": arguments});
                let result = self.link.request("tools/call", params, limit).await?;
                read_output(&result)
                    .ok_or_else(|| McpError::unknown("the answer is no tool result"))
            })
        };
        let on_retry = self.link.http.retried(PEER, "tools_call");
        self.look.judge(RetryPolicy::TOOL.run(deadline, on_retry, attempt).await).await
    }

    /// Makes all further requests carry this JWT, also the one that ends the session.
    pub fn carry(&self, jwt: &SecretString) {
        if let Some((name, value)) = bearer(jwt) {
            self.link.headers.lock().insert(name, value);
        }
    }

    /// Ends the session on the server, within `limit` and at most 3 s: with `jwt`, or else with the JWT that
    /// all requests carry. Best effort: the server forgets the session at its next restart anyway.
    pub async fn close(&self, jwt: Option<&SecretString>, limit: Duration) -> Ending {
        self.link.end(jwt, limit).await
    }
}
