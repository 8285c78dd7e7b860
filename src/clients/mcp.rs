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
use parking_lot::Mutex;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use error::Outcome;
pub use error::{Fate, McpError};
pub use hearing::{Heard, Hearing};
use listed::OnePage;
pub(crate) use look::Look;
use transport::{CLOSE_TIMEOUT, INITIALIZE, Link, REVISION, SESSION, SETUP_TIMEOUT};
pub(crate) use transport::{Ending, PEER};
#[cfg(test)]
pub(crate) use wire::ToolHints;
pub(crate) use wire::ToolOutput;
pub use wire::{Content, Tool, read_output, read_tools};

use crate::{
    config::BaseUrl,
    domain::{Redactor, ToolName},
    http::{HttpClient, RetryPolicy, bearer},
};

/// Revisions this client speaks, the newest first (docs/contracts/mcp-client.md, section 1).
const REVISIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Opens sessions at mana-mcp.
#[derive(Debug)]
pub struct McpClient {
    http: HttpClient,
    url: BaseUrl,
    /// What is sent when nobody waits for it: sessions being opened or ended.
    background: TaskTracker,
    /// Whether the server is there: one look for all who wait for it.
    pub look: Arc<Look>,
    /// The tool list that was read last, if it had one page.
    last_list: Mutex<Option<OnePage>>,
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
        Self { http, url: endpoint, background, look, last_list: Mutex::default() }
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
    ) -> Outcome<(McpSession, Arc<[Tool]>)> {
        let opening = async {
            // Whether a step of the setup ran makes no difference.
            let retried = self.http.retried(PEER, INITIALIZE);
            let on_retry = |error: &McpError, pause| retried(&error.reason, pause);
            let attempt = || async {
                let link = self.link(access, redactor)?;
                link.or_end(shake_hands(&link, &note)).await?;
                Ok::<_, McpError>(link)
            };
            let link = RetryPolicy::READ.run(deadline, on_retry, attempt).await?;
            let tools = link.or_end(listed::list(&link, &self.last_list, deadline)).await?;
            let (jwt, look) = (access.0.clone(), self.look.clone());
            let names = tools.iter().map(|tool| tool.name.clone()).collect();
            Ok((McpSession { jwt, link, look, tools: names }, tools))
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
        let Ok(session) = HeaderValue::from_str(session) else { return true };
        let Ok(link) = self.link(access, redactor) else { return false };
        link.headers.lock().insert(SESSION, session);
        link.end(None, CLOSE_TIMEOUT).await == Ending::Ended
    }

    /// Resolves when nothing is sent any more that nobody waits for, at the latest after `limit`.
    pub async fn settled(&self, limit: Duration) {
        // What takes longer is not worth holding up a shutdown.
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
struct Initialized {
    protocol_version: String,
}

/// Opens a session; `note` writes down its id before that is used.
async fn shake_hands<N: Future<Output = Result<(), String>>>(
    link: &Arc<Link>,
    note: impl Fn(String) -> N,
) -> Outcome<()> {
    let shaking = async {
        // No capabilities, so the server must not ask for anything.
        let params = json!({
            "protocolVersion": REVISIONS[0],
            "capabilities": {},
            "clientInfo": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        });
        let result = link.request(INITIALIZE, params, SETUP_TIMEOUT).await?;
        let answer = serde_json::from_str::<Initialized>(result.get());
        let offered = answer.map_or_else(|_| "nothing".to_owned(), |it| it.protocol_version);
        let Some(revision) = REVISIONS.into_iter().find(|revision| *revision == offered) else {
            // What the server offers may hold anything.
            let offered = link.http.snippet(offered.as_bytes());
            let reason = format!("mana-mcp speaks MCP {offered}, which this runner does not");
            return Err(McpError::not_run(reason));
        };
        link.headers.lock().insert(REVISION, HeaderValue::from_static(revision));
        let session = link.headers.lock().get(SESSION).cloned();
        if let Some(session) = session.as_ref().and_then(|session| session.to_str().ok()) {
            note(session.to_owned()).await.map_err(McpError::not_run)?;
        }
        link.notify("notifications/initialized", json!({}), SETUP_TIMEOUT).await
    };
    shaking.await.map_err(|error: McpError| error.of_setup(INITIALIZE))
}

/// An open session. Dropped, it is ended in the background.
#[derive(Debug)]
pub struct McpSession {
    /// The JWT its tools work with.
    pub jwt: SecretString,
    link: Arc<Link>,
    look: Arc<Look>,
    /// What the tools are called that the server listed, in order. Their schemas are kept by whoever offers them.
    pub tools: Vec<ToolName>,
}

impl McpSession {
    /// Whether the server listed this tool.
    pub fn offers(&self, tool: &ToolName) -> bool {
        self.tools.binary_search(tool).is_ok()
    }

    /// Calls a tool. An answer is waited for at most as long as `patience`, and nothing is done after
    /// `deadline`. It is sent again only if the server certainly did not run it and may do so later, and
    /// not while the server is away: see [`Look::returns`].
    ///
    /// # Errors
    /// When there is no result, and what that means.
    pub async fn call(
        &self,
        tool: &ToolName,
        arguments: &Map<String, Value>,
        patience: Duration,
        deadline: Instant,
    ) -> Outcome<ToolOutput> {
        let attempt = || async {
            let limit = patience.min(deadline.saturating_duration_since(Instant::now()));
            // Without arguments mana-mcp refuses the call; an empty object is the least.
            let params = json!({"name": tool.as_str(), "arguments": arguments});
            let result = self.link.request("tools/call", params, limit).await?;
            read_output(&result).ok_or_else(|| McpError::unknown("the answer is no tool result"))
        };
        let on_retry = self.link.http.retried(PEER, "tools_call");
        self.look.judge(RetryPolicy::TOOL.run(deadline, on_retry, attempt).await).await
    }

    /// What is sent from now on, if only to end the session, carries this JWT.
    pub fn carry(&self, jwt: &SecretString) {
        if let Some((name, value)) = bearer(jwt) {
            self.link.headers.lock().insert(name, value);
        }
    }

    /// Ends the session on the server, within `limit` and never longer than 3 s: with this JWT, or else the
    /// one it was opened with. Best effort: the server forgets it at its next restart anyway.
    pub async fn close(&self, jwt: Option<&SecretString>, limit: Duration) -> Ending {
        self.link.end(jwt, limit).await
    }
}
