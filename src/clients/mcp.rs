//! mana-mcp (contracts/mcp-client.md): a session with the JWT and the space it is opened with, its tools,
//! and calls whose outcome is named honestly.

mod error;
mod hearing;
mod listed;
mod look;
mod opening;
mod sse;
mod transport;
mod wire;

use std::{collections::HashSet, sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use error::{CallError, McpError};
pub use hearing::{Heard, Hearing};
use look::Look;
use opening::Opening;
use transport::{INITIALIZE, Link};
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
/// Ending the session: best effort.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// For a look at a server that is not known to be away.
const GLANCE: Duration = Duration::from_secs(1);
/// Largest single answer, in bytes: an attachment of the largest kind fits, and ten at once bear it.
const ANSWER_LIMIT: usize = 4 << 20;
/// Most pages of a tool list.
const MAX_PAGES: usize = 64;
/// Most tools of a server.
const MAX_TOOLS: usize = 1_000;
/// Most names, descriptions and schemas of a server, in bytes: all of them go with every model request.
const MAX_CATALOG: usize = 1_000_000;

/// Opens sessions at mana-mcp.
#[derive(Debug)]
pub struct McpClient {
    http: HttpClient,
    url: BaseUrl,
    /// Sessions being opened or ended, those nobody waits for any more included.
    openings: TaskTracker,
    look: Look,
}

impl McpClient {
    /// A client of the server at `base`/mcp.
    pub fn new(http: HttpClient, base: &BaseUrl) -> Self {
        Self::at(http, base.join(["mcp"]))
    }

    /// A client of the server whose one endpoint this is: other servers have it elsewhere.
    pub fn at(http: HttpClient, endpoint: BaseUrl) -> Self {
        let openings = TaskTracker::new();
        // Closed trackers still take tasks; only now can they be waited for.
        openings.close();
        let look = Look::new(http.clone(), endpoint.clone());
        Self { http, url: endpoint, openings, look }
    }

    /// Waits until the server has been there at some time after `since`; false if it has not by `deadline`.
    /// All who wait share one look.
    pub async fn returns(&self, since: Instant, deadline: Instant) -> bool {
        self.look.returns(since, deadline).await
    }

    /// Whether the server is there now.
    pub async fn is_there(&self) -> bool {
        let now = Instant::now();
        self.returns(now, now + GLANCE).await
    }

    /// Opens a session and lists its tools, sorted by name, each name once, at least one. JWT and space
    /// are fixed at `initialize`: others need another session (contracts/mana-mcp.md). `redactor` sees
    /// errors before they are cut, so that not even a part of a secret is left, and takes secrets out of
    /// the list. `note` writes down the id of each session before that is used.
    ///
    /// # Errors
    /// When there is no usable session by `deadline`; one that was opened is ended again.
    #[expect(clippy::disallowed_methods, reason = "an opening goes on for whoever asks next")]
    pub async fn open<N: Future<Output = Result<(), String>>>(
        &self,
        (jwt, space_id): (&SecretString, &str),
        redactor: &Redactor,
        deadline: Instant,
        note: impl Fn(String) -> N,
    ) -> Result<(McpSession, Vec<Tool>), McpError> {
        let http = self.http.with_redactor(redactor.clone());
        let link = {
            let (http, url, tasks) = (http.clone(), self.url.clone(), self.openings.clone());
            let (jwt, space_id) = (jwt.clone(), space_id.to_owned());
            move || Link::new(http.clone(), url.clone(), &jwt, &space_id, tasks.clone())
        };
        let (sessions, mut new_sessions) = mpsc::channel(1);
        let opening = Opening::new(http, link, deadline, sessions);
        // If nobody waits any more, because of a stop or the end of the run's time, the task learns of
        // it and leaves no session behind.
        let _waiting = opening.waiting();
        let (opened, mut outcome) = oneshot::channel();
        self.openings.spawn(
            async move {
                if let Err(Ok((session, _))) = opened.send(opening.run().await) {
                    let _ = session.close(CLOSE_TIMEOUT).await;
                }
            }
            .in_current_span(),
        );
        let outcome = loop {
            tokio::select! {
                Some((session, noted)) = new_sessions.recv() => {
                    note(session).await.map_err(|reason| {
                        McpError::Failed { step: INITIALIZE, reason, transient: false }
                    })?;
                    // Who is not there any more ends the session.
                    let _ = noted.send(());
                }
                outcome = &mut outcome => break outcome.unwrap_or(Err(McpError::GivenUp)),
            }
        };
        match outcome {
            // A proxy has answered for it.
            Err(McpError::Failed { step, reason, transient: true }) if !self.is_there().await => {
                Err(McpError::Away { step, reason })
            }
            outcome => outcome,
        }
    }

    /// Ends a session of an earlier process, with a JWT and a space of the same persona. Best effort: whether
    /// the server says that it has none of this id any more.
    pub async fn end(
        &self,
        (jwt, space_id): (&SecretString, &str),
        redactor: &Redactor,
        session: &str,
    ) -> bool {
        let http = self.http.with_redactor(redactor.clone());
        match Link::new(http, self.url.clone(), jwt, space_id, self.openings.clone()) {
            Some(link) => link.end_left(session).await,
            None => false,
        }
    }

    /// Resolves when no session is being opened that nobody waits for, at the latest after `limit`.
    pub async fn settled(&self, limit: Duration) {
        // What takes longer is not worth holding up a shutdown.
        let _ = timeout(limit, self.openings.wait()).await;
    }
}

/// An open session. Dropped, it is ended in the background.
#[derive(Debug)]
pub struct McpSession {
    link: Arc<Link>,
    http: HttpClient,
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
        arguments: Map<String, Value>,
        patience: Duration,
        deadline: Instant,
    ) -> Result<ToolOutput, CallError> {
        let on_retry = self.http.retried(PEER, "tools_call");
        let attempt = || {
            let limit = patience.min(deadline.saturating_duration_since(Instant::now()));
            self.call_once(tool, arguments.clone(), limit)
        };
        RetryPolicy::TOOL.run(deadline, on_retry, attempt).await
    }

    async fn call_once(
        &self,
        tool: &ToolName,
        arguments: Map<String, Value>,
        limit: Duration,
    ) -> Result<ToolOutput, CallError> {
        // Without arguments mana-mcp refuses the call; an empty object is the least.
        let params = json!({"name": tool.as_str(), "arguments": arguments});
        let result = self.link.request("tools/call", params, limit).await?;
        wire::read_output(&result).ok_or_else(|| CallError::OutcomeUnknown {
            reason: "the answer is no tool result".into(),
        })
    }

    /// The session will be ended with this JWT, as the one it was opened with is no longer accepted.
    pub fn end_with(&self, jwt: &SecretString) {
        self.link.end_with(jwt);
    }

    /// Ends the session on the server, within `limit` and never longer than 3 s. Best effort: the server
    /// forgets it at its next restart anyway. Whether the server says that it has ended.
    ///
    /// # Errors
    /// When it takes a fresh JWT to end it.
    pub async fn close(self, limit: Duration) -> Result<bool, StillOpen> {
        let ended = self.link.end(limit.min(CLOSE_TIMEOUT)).await;
        ended.map_err(|session| StillOpen { link: self.link.clone(), session })
    }

    async fn list_tools(&self, deadline: Instant) -> Result<Vec<Tool>, McpError> {
        let mut tools: Vec<Tool> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut cursors = HashSet::new();
        let mut size = 0;
        for _ in 0..MAX_PAGES {
            let page = RetryPolicy::READ
                .run(deadline, self.http.retried(PEER, "tools_list"), || async {
                    self.list_page(cursor.clone(), deadline).await
                })
                .await?;
            size += page.size;
            if size > MAX_CATALOG {
                return Err(McpError::Oversized("more than 1 MB of descriptions and schemas"));
            }
            tools.extend(page.tools);
            if tools.len() > MAX_TOOLS {
                return Err(McpError::Oversized("more than 1,000 tools"));
            }
            match page.next_cursor {
                None => return listed::finish(tools, self.http.redactor()),
                Some(next) if cursors.insert(next.clone()) => cursor = Some(next),
                Some(_) => return Err(McpError::Oversized("a page points back to an earlier one")),
            }
        }
        Err(McpError::Oversized("more than 64 pages"))
    }

    async fn list_page(
        &self,
        cursor: Option<String>,
        deadline: Instant,
    ) -> Result<wire::ToolPage, McpError> {
        let limit = SETUP_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let step = "tools/list";
        let failed = |reason, transient| McpError::Failed { step, reason, transient };
        let params = cursor.map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let result = self.link.request(step, params, limit).await;
        let result = result.map_err(|error| error.of_setup(step))?;
        wire::read_tools(&result)?.ok_or_else(|| failed("the answer is no tool list".into(), false))
    }
}

impl Drop for McpSession {
    fn drop(&mut self) {
        self.link.end_in_background();
    }
}

/// A session whose server did not accept the JWT it was to be ended with.
#[derive(Debug)]
pub struct StillOpen {
    link: Arc<Link>,
    session: transport::Unended,
}

impl StillOpen {
    /// Ends it with this JWT. Best effort: whether the server says that it has ended.
    pub async fn end(self, jwt: &SecretString) -> bool {
        self.link.end_again(self.session, jwt).await
    }
}
