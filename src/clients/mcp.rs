//! mana-mcp, through rmcp (contracts/mcp-client.md, section 4): a session with the JWT and the space
//! it is opened with, its tools, and calls whose outcome is named honestly.

mod transport;
mod wire;

use std::{collections::HashSet, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{
        CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
        Implementation, ListToolsRequest, PaginatedRequestParams, ProtocolVersion, ServerResult,
    },
    service::{ClientInitializeError, PeerRequestOptions, RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport,
        common::client_side_sse::ExponentialBackoff,
        streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError},
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};

use transport::ObservedClient;
pub use wire::{Content, Tool, ToolOutput};

use crate::{
    config::BaseUrl,
    domain::{ToolName, one_line},
    http::{
        HttpClient, Peer,
        retry::{RetryPolicy, Retryable, Verdict},
        root_cause,
    },
};

const PEER: Peer = Peer("mana-mcp");
/// Opening the session, and each page of the tool list.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Ending the session: best effort.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest single answer, in bytes.
const EVENT_LIMIT: usize = 8 << 20;
/// Most pages of a tool list.
const MAX_PAGES: usize = 64;
/// Most tools of a server.
const MAX_TOOLS: usize = 1_000;
/// Revisions this client speaks (contracts/mcp-client.md, section 1).
const REVISIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];
/// Reconnections of a broken answer stream, where the server allows to resume it.
const MAX_RECONNECTS: usize = 3;

/// Why a session could not be opened or its tools not be listed.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The handshake or a page of the tool list failed.
    #[error("{step}: {reason}")]
    Failed {
        /// `initialize` or `tools/list`.
        step: &'static str,
        /// What happened.
        reason: String,
        /// Whether it may succeed later.
        transient: bool,
    },
    /// The server speaks a revision of the protocol that this client does not.
    #[error("initialize: mana-mcp speaks MCP {0}, which this runner does not")]
    Revision(String),
    /// The tool list does not end.
    #[error("tools/list: {0}")]
    Endless(&'static str),
    /// No tools: there is nothing a persona could do.
    #[error("tools/list: mana-mcp lists no tools")]
    NoTools,
}

impl Retryable for McpError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed { transient: true, .. } => Verdict::Transient { retry_after: None },
            _ => Verdict::Final,
        }
    }
}

/// Why a tool call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server answered with a JSON-RPC error.
    #[error("JSON-RPC error {code}: {message}")]
    Rejected {
        /// Its code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// The server certainly did not run it.
    #[error("not run: {reason}")]
    NotRun {
        /// Why.
        reason: String,
        /// Whether it may run later.
        transient: bool,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// It may or may not have run.
    #[error("outcome unknown: {reason}")]
    OutcomeUnknown {
        /// What happened instead of an answer.
        reason: String,
    },
}

impl Retryable for CallError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotRun { transient: true, retry_after, .. } => {
                Verdict::Transient { retry_after: *retry_after }
            }
            _ => Verdict::Final,
        }
    }
}

/// Opens sessions at mana-mcp.
#[derive(Debug)]
pub struct McpClient {
    http: HttpClient,
    url: BaseUrl,
}

impl McpClient {
    /// A client of the server at `base`/mcp.
    pub fn new(http: HttpClient, base: &BaseUrl) -> Self {
        Self { http, url: base.join(["mcp"]) }
    }

    /// Opens a session and lists its tools, sorted by name. JWT and space are fixed at `initialize`:
    /// others need another session (contracts/mana-mcp.md).
    ///
    /// # Errors
    /// When there is no usable session by `deadline`; one that was opened is ended again.
    pub async fn open(
        &self,
        jwt: &SecretString,
        space_id: &str,
        deadline: Instant,
    ) -> Result<McpSession, McpError> {
        let http = self.http.redacting([jwt.expose_secret()]);
        let service = RetryPolicy::READ
            .run(deadline, retried(&http, "initialize"), || async {
                self.initialize(&http, jwt, space_id, deadline).await
            })
            .await?;
        let mut session = McpSession { service, http, tools: Vec::new() };
        match session.list_tools(deadline).await {
            Ok(tools) => {
                session.tools = tools;
                Ok(session)
            }
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    async fn initialize(
        &self,
        http: &HttpClient,
        jwt: &SecretString,
        space_id: &str,
        deadline: Instant,
    ) -> Result<RunningService<RoleClient, Runner>, McpError> {
        let failed = |reason: String, transient| McpError::Failed {
            step: "initialize",
            reason: http.snippet(reason.as_bytes()),
            transient,
        };
        let space = HeaderValue::from_str(space_id)
            .map_err(|_| failed("the space id does not fit in a header".into(), false))?;
        let mut backoff = ExponentialBackoff::default();
        backoff.max_times = Some(MAX_RECONNECTS);
        let mut config = StreamableHttpClientTransportConfig::with_uri(self.url.to_string())
            .auth_header(jwt.expose_secret())
            .custom_headers([(HeaderName::from_static("x-mana-space"), space)].into())
            .max_sse_event_size(EVENT_LIMIT);
        config.retry_config = Arc::new(backoff);
        let transport =
            StreamableHttpClientTransport::with_client(ObservedClient::new(http.clone()), config);
        let limit = SETUP_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let service = timeout(limit, Runner.serve(transport))
            .await
            .map_err(|_| failed(format!("no answer within {} ms", limit.as_millis()), true))?
            .map_err(|error| {
                let (reason, transient) = describe_initialize(&error);
                failed(reason, transient)
            })?;
        let revision = service.peer_info().map(|info| info.protocol_version.clone());
        match revision {
            Some(revision) if REVISIONS.contains(&revision) => Ok(service),
            other => {
                let spoken =
                    other.map_or_else(|| "nothing".to_owned(), |revision| revision.to_string());
                end(service).await;
                Err(McpError::Revision(one_line(&spoken)))
            }
        }
    }
}

/// An open session.
#[derive(Debug)]
pub struct McpSession {
    service: RunningService<RoleClient, Runner>,
    http: HttpClient,
    tools: Vec<Tool>,
}

impl McpSession {
    /// The tools, sorted by name, each name once; never empty.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Calls a tool, with at most `limit` for it all. It is sent again only if the server certainly
    /// did not run it.
    ///
    /// # Errors
    /// When there is no result, and what that means.
    pub async fn call(
        &self,
        tool: &ToolName,
        arguments: Map<String, Value>,
        limit: Duration,
    ) -> Result<ToolOutput, CallError> {
        let deadline = Instant::now() + limit;
        let on_retry = |error: &CallError, pause: Duration| {
            self.http.metrics().record_client_retry(PEER.0, "tools_call");
            tracing::warn!(
                pause_ms = pause.as_millis() as u64,
                "tools/call: {error}; trying again"
            );
        };
        let attempt = || self.call_once(tool, arguments.clone(), deadline);
        RetryPolicy::TOOL.run(deadline, on_retry, attempt).await
    }

    async fn call_once(
        &self,
        tool: &ToolName,
        arguments: Map<String, Value>,
        deadline: Instant,
    ) -> Result<ToolOutput, CallError> {
        let limit = deadline.saturating_duration_since(Instant::now());
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

    /// Ends the session on the server. Best effort: the server forgets it at its next restart anyway.
    pub async fn close(self) {
        end(self.service).await;
    }

    async fn list_tools(&self, deadline: Instant) -> Result<Vec<Tool>, McpError> {
        let mut tools: Vec<Tool> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut cursors = HashSet::new();
        for _ in 0..MAX_PAGES {
            let page = RetryPolicy::READ
                .run(deadline, retried(&self.http, "tools_list"), || async {
                    self.list_page(cursor.clone(), deadline).await
                })
                .await?;
            tools.extend(page.tools);
            if tools.len() > MAX_TOOLS {
                return Err(McpError::Endless("more than 1,000 tools"));
            }
            match page.next_cursor {
                None => return finish(tools),
                Some(next) if cursors.insert(next.clone()) => cursor = Some(next),
                Some(_) => return Err(McpError::Endless("a page points back to an earlier one")),
            }
        }
        Err(McpError::Endless("more than 64 pages"))
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
        let failed = |reason: String, transient| McpError::Failed {
            step: "tools/list",
            reason: self.http.snippet(reason.as_bytes()),
            transient,
        };
        let result = self.request(ClientRequest::ListToolsRequest(request), limit).await.map_err(
            |error| {
                let (reason, transient) = match self.describe_call(error) {
                    CallError::Rejected { code, message } => {
                        (format!("JSON-RPC error {code}: {message}"), false)
                    }
                    CallError::NotRun { reason, transient, .. } => (reason, transient),
                    // Listing changes nothing, so it may as well be asked again.
                    CallError::OutcomeUnknown { reason } => (reason, true),
                };
                failed(reason, transient)
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

impl CallError {
    fn cleaned(self, clean: impl Fn(&str) -> String) -> Self {
        match self {
            Self::NotRun { reason, transient, retry_after } => {
                Self::NotRun { reason: clean(&reason), transient, retry_after }
            }
            Self::OutcomeUnknown { reason } => Self::OutcomeUnknown { reason: clean(&reason) },
            rejected => rejected,
        }
    }
}

/// What a transport error says about the request it belongs to: a refusal at the door means that it
/// did not run, a broken answer leaves it open (contracts/mcp-client.md, section 5).
fn describe_transport(error: &StreamableHttpError<reqwest::Error>) -> CallError {
    let not_run = |reason: String, transient, retry_after| CallError::NotRun {
        reason,
        transient,
        retry_after,
    };
    match error {
        StreamableHttpError::Client(error) if error.is_connect() => {
            not_run(format!("mana-mcp cannot be reached ({})", root_cause(error)), true, None)
        }
        StreamableHttpError::Client(error) => CallError::OutcomeUnknown {
            reason: format!("the connection to mana-mcp broke ({})", root_cause(error)),
        },
        StreamableHttpError::HttpStatus(error) => {
            let reason = format!("mana-mcp answered {}", error.status);
            let retry_after = error
                .retry_after
                .as_deref()
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs);
            match StatusCode::from_u16(error.status) {
                Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                    not_run(reason, true, retry_after)
                }
                Ok(status) if status.is_client_error() => not_run(reason, false, None),
                _ => CallError::OutcomeUnknown { reason },
            }
        }
        StreamableHttpError::UnexpectedServerResponse(text) if is_client_error(text) => {
            not_run(format!("mana-mcp answered {text}"), false, None)
        }
        StreamableHttpError::AuthRequired(_) => {
            not_run("mana-mcp answered 401".into(), false, None)
        }
        StreamableHttpError::InsufficientScope(_) => {
            not_run("mana-mcp answered 403".into(), false, None)
        }
        StreamableHttpError::SessionExpired => {
            not_run("mana-mcp no longer knows the session (404)".into(), false, None)
        }
        StreamableHttpError::ReinitializationFailed(error) => {
            not_run(format!("the session was lost and not renewed: {}", error.message), false, None)
        }
        other => CallError::OutcomeUnknown { reason: other.to_string() },
    }
}

/// rmcp keeps a status without a challenge header only in this text (contracts/mcp-client.md, 4.1).
fn is_client_error(text: &str) -> bool {
    text.strip_prefix("HTTP 4")
        .is_some_and(|rest| rest.bytes().take(2).filter(u8::is_ascii_digit).count() == 2)
}

fn describe_initialize(error: &ClientInitializeError) -> (String, bool) {
    match error {
        ClientInitializeError::TransportError { error, .. } => {
            match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
                Some(error) => match describe_transport(error) {
                    CallError::NotRun { reason, transient, .. } => (reason, transient),
                    CallError::OutcomeUnknown { reason } => (reason, true),
                    rejected @ CallError::Rejected { .. } => (rejected.to_string(), false),
                },
                None => (root_cause(&*error.error), true),
            }
        }
        ClientInitializeError::JsonRpcError(error) => {
            (format!("JSON-RPC error {}: {}", error.code.0, error.message), false)
        }
        ClientInitializeError::ConnectionClosed(reason) => {
            (format!("the connection closed ({reason})"), true)
        }
        other => (other.to_string(), false),
    }
}

fn finish(mut tools: Vec<Tool>) -> Result<Vec<Tool>, McpError> {
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    tools.dedup_by(|later, first| later.name == first.name);
    if tools.is_empty() { Err(McpError::NoTools) } else { Ok(tools) }
}

fn retried(http: &HttpClient, operation: &'static str) -> impl Fn(&McpError, Duration) {
    let metrics = http.metrics().clone();
    move |error, pause| {
        metrics.record_client_retry(PEER.0, operation);
        tracing::warn!(pause_ms = pause.as_millis() as u64, "{error}; trying again");
    }
}

async fn end(mut service: RunningService<RoleClient, Runner>) {
    // It logs what goes wrong; there is nothing else to do about it.
    let _ = service.close_with_timeout(CLOSE_TIMEOUT).await;
}

/// What this client says of itself: no capabilities, so the server must not ask for anything.
#[derive(Clone, Copy, Debug)]
struct Runner;

impl ClientHandler for Runner {
    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), name)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
