//! mana-mcp, through rmcp (contracts/mcp-client.md, section 4): a session with the JWT and the space
//! it is opened with, its tools, and calls whose outcome is named honestly.

mod error;
mod listed;
mod look;
mod opening;
mod transport;
mod wire;

use std::{collections::HashSet, time::Duration};

use rmcp::{
    model::{
        CallToolRequest, CallToolRequestParams, ClientRequest, ListToolsRequest,
        PaginatedRequestParams, ServerResult,
    },
    service::{PeerRequestOptions, ServiceError},
    transport::streamable_http_client::StreamableHttpError,
};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use error::describe_transport;
pub use error::{CallError, McpError};
use look::Look;
use opening::{Opening, Service, end, session_config};
use transport::ObservedClient;
pub use wire::{Content, Tool, ToolHints, ToolOutput};

use crate::{
    config::BaseUrl,
    domain::{Redactor, ToolName},
    http::{HttpClient, Peer, retry::RetryPolicy, root_cause},
};

/// The service.
pub const PEER: Peer = Peer("mana-mcp");
/// Opening the session, and each page of the tool list.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Ending the session: best effort.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// For a look at a server that is not known to be away.
const GLANCE: Duration = Duration::from_secs(1);
/// Largest single answer, in bytes.
const EVENT_LIMIT: usize = 8 << 20;
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
    /// Sessions being opened, those nobody waits for any more included.
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
    /// the list.
    ///
    /// # Errors
    /// When there is no usable session by `deadline`; one that was opened is ended again.
    pub async fn open(
        &self,
        jwt: &SecretString,
        space_id: &str,
        redactor: &Redactor,
        deadline: Instant,
    ) -> Result<(McpSession, Vec<Tool>), McpError> {
        let http = self.http.with_redactor(redactor.clone());
        let Some(config) = session_config(&self.url, jwt, space_id) else {
            return Err(McpError::SpaceId);
        };
        let opening = Opening::new(http, config, deadline);
        // If nobody waits any more, because of a stop or the end of the run's time, the task learns of
        // it and leaves no session behind.
        let _waiting = opening.waiting();
        let (opened, outcome) = oneshot::channel();
        self.openings.spawn(
            async move {
                if let Err(Ok((session, _))) = opened.send(opening.run().await) {
                    session.close(CLOSE_TIMEOUT).await;
                }
            }
            .in_current_span(),
        );
        match outcome.await.unwrap_or(Err(McpError::GivenUp)) {
            // A proxy has answered for it.
            Err(McpError::Failed { step, reason, transient: true }) if !self.is_there().await => {
                Err(McpError::Away { step, reason })
            }
            outcome => outcome,
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
    service: Service,
    client: ObservedClient,
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
        let mut params = CallToolRequestParams::new(tool.as_str().to_owned());
        // Without arguments mana-mcp refuses the call; an empty object is the least.
        params.arguments = Some(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let result =
            self.request(request, limit).await.map_err(|error| self.describe_call(error))?;
        wire::read_output(result).ok_or_else(|| CallError::OutcomeUnknown {
            reason: "the answer is no tool result".into(),
        })
    }

    /// The session will be ended with this JWT, as the one it was opened with is no longer accepted.
    pub fn end_with(&self, jwt: &SecretString) {
        self.client.end_with(jwt);
    }

    /// Ends the session on the server, within `limit` and never longer than 3 s. Best effort: the server
    /// forgets it at its next restart anyway. Returns it if it takes a fresh JWT to end it.
    pub async fn close(self, limit: Duration) -> Option<StillOpen> {
        end(self.service, limit.min(CLOSE_TIMEOUT)).await;
        let session = self.client.take_unended()?;
        Some(StillOpen { client: self.client, session })
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
            size += page.tools.iter().map(Tool::size).sum::<usize>();
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
        let mut request = ListToolsRequest::default();
        if cursor.is_some() {
            request.params = Some(PaginatedRequestParams::default().with_cursor(cursor));
        }
        let limit = SETUP_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let step = "tools/list";
        let failed = |reason: String, transient| McpError::Failed {
            step,
            reason: self.http.snippet(reason.as_bytes()),
            transient,
        };
        let result = self.request(ClientRequest::ListToolsRequest(request), limit).await.map_err(
            |error| match self.describe_call(error) {
                CallError::Away { reason } => McpError::Away { step, reason },
                error => {
                    let (reason, transient) = error.into_setup_failure();
                    failed(reason, transient)
                }
            },
        )?;
        wire::read_tools(result).ok_or_else(|| failed("the answer is no tool list".into(), false))
    }

    async fn request(
        &self,
        request: ClientRequest,
        limit: Duration,
    ) -> Result<ServerResult, ServiceError> {
        let options = PeerRequestOptions::with_timeout(limit);
        // Sending waits for the transport's queue, so it is bounded along with the answer.
        timeout(limit, async {
            self.service.send_request_with_option(request, options).await?.await_response().await
        })
        .await
        .unwrap_or(Err(ServiceError::Timeout { timeout: limit }))
    }

    fn describe_call(&self, error: ServiceError) -> CallError {
        let clean = |text: &str| self.http.snippet(text.as_bytes());
        match error {
            ServiceError::McpError(error) => {
                CallError::Rejected { code: error.code.0, message: clean(&error.message) }
            }
            ServiceError::Timeout { timeout } => CallError::OutcomeUnknown {
                reason: format!("no answer within {} ms", timeout.as_millis()),
            },
            ServiceError::TransportClosed => CallError::OutcomeUnknown {
                reason: "the answer stream ended without an answer".into(),
            },
            ServiceError::TransportSend(error) => {
                match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
                    Some(error) => describe_transport(error).cleaned(clean),
                    None => CallError::OutcomeUnknown { reason: clean(&root_cause(&*error.error)) },
                }
            }
            other => CallError::OutcomeUnknown { reason: clean(&other.to_string()) },
        }
    }
}

/// A session whose server did not accept the JWT it was to be ended with.
#[derive(Debug)]
pub struct StillOpen {
    client: ObservedClient,
    session: transport::Unended,
}

impl StillOpen {
    /// Ends it with this JWT. Best effort.
    pub async fn end(self, jwt: &SecretString) {
        let _ = timeout(CLOSE_TIMEOUT, self.client.end_again(self.session, jwt)).await;
    }
}
