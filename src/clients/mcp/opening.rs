//! Opening and ending a session, so that none is left behind on the server.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use rmcp::{
    ClientHandler, ErrorData, RoleClient, ServiceExt,
    model::{
        ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
        ElicitationCreateRequestMethod, Implementation, ListRootsRequestMethod, ProtocolVersion,
    },
    service::{RequestContext, RunningService},
    transport::{
        StreamableHttpClientTransport, common::client_side_sse::ExponentialBackoff,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    CLOSE_TIMEOUT, EVENT_LIMIT, McpError, McpSession, PEER, SETUP_TIMEOUT, Tool,
    error::{describe_initialize, why_away},
    transport::ObservedClient,
};
use crate::{
    config::BaseUrl,
    http::{HttpClient, retry::RetryPolicy},
};

/// Revisions this client speaks (contracts/mcp-client.md, section 1).
const REVISIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];
/// Reconnections of a broken answer stream, where the server allows to resume it.
const MAX_RECONNECTS: usize = 3;

/// An open session, as rmcp keeps it.
pub(super) type Service = RunningService<RoleClient, Runner>;

/// A session on its way, in a task of its own: a handshake must not be cancelled half-way, or the server
/// keeps a session that nobody knows of.
pub(super) struct Opening {
    http: HttpClient,
    config: StreamableHttpClientTransportConfig,
    deadline: Instant,
    given_up: CancellationToken,
}

impl Opening {
    pub(super) fn new(
        http: HttpClient,
        config: StreamableHttpClientTransportConfig,
        deadline: Instant,
    ) -> Self {
        Self { http, config, deadline, given_up: CancellationToken::new() }
    }

    /// Held by whoever waits for the session; dropped, it says that nobody does any more.
    pub(super) fn waiting(&self) -> DropGuard {
        self.given_up.clone().drop_guard()
    }

    /// Opens the session and lists its tools. On every failure the server has none left.
    pub(super) async fn run(self) -> Result<(McpSession, Vec<Tool>), McpError> {
        let (service, client) = RetryPolicy::READ
            .run(self.deadline, self.http.retried(PEER, "initialize"), || self.shake_hands())
            .await?;
        let session = McpSession { service, client, http: self.http.clone(), names: Vec::new() };
        let listed = tokio::select! {
            tools = session.list_tools(self.deadline) => tools,
            () = self.given_up.cancelled() => Err(McpError::GivenUp),
        };
        match listed {
            Ok(tools) => {
                let names = tools.iter().map(|tool| tool.name.clone()).collect();
                Ok((McpSession { names, ..session }, tools))
            }
            Err(error) => {
                session.close(CLOSE_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn shake_hands(&self) -> Result<(Service, ObservedClient), McpError> {
        if self.given_up.is_cancelled() {
            return Err(McpError::GivenUp);
        }
        let client = ObservedClient::new(self.http.clone());
        let transport =
            StreamableHttpClientTransport::with_client(client.clone(), self.config.clone());
        let served = tokio::select! {
            served = timeout(SETUP_TIMEOUT, Runner.serve(transport)) => Some(served),
            () = self.given_up_with_session(&client) => None,
        };
        let (reason, transient) = match served {
            Some(Ok(Ok(service))) => return Ok((self.accept(service).await?, client)),
            Some(Ok(Err(error))) if let Some(why) = why_away(&error) => {
                let reason = self.http.snippet(why.as_bytes());
                return Err(McpError::Away { step: "initialize", reason });
            }
            Some(Ok(Err(error))) => describe_initialize(&error),
            Some(Err(_)) => (format!("no answer within {} ms", SETUP_TIMEOUT.as_millis()), true),
            None => (String::new(), false),
        };
        // rmcp does not end a session whose `initialized` was refused, and hides the refusal.
        let refused = client.take_refusal();
        let config = self.config.clone();
        let ended = client.end_session(config.uri, config.auth_header, config.custom_headers);
        let _ = timeout(CLOSE_TIMEOUT, ended).await;
        if self.given_up.is_cancelled() {
            return Err(McpError::GivenUp);
        }
        let (reason, transient) = refused.unwrap_or((reason, transient));
        let reason = self.http.snippet(reason.as_bytes());
        Err(McpError::Failed { step: "initialize", reason, transient })
    }

    /// Takes a session whose revision of the protocol this client speaks.
    async fn accept(&self, service: Service) -> Result<Service, McpError> {
        let revision = service.peer_info().map(|info| info.protocol_version.clone());
        if revision.as_ref().is_some_and(|revision| REVISIONS.contains(revision)) {
            return Ok(service);
        }
        end(service, CLOSE_TIMEOUT).await;
        let spoken = revision.map_or_else(|| "nothing".to_owned(), |spoken| spoken.to_string());
        Err(McpError::Revision(self.http.snippet(spoken.as_bytes())))
    }

    /// Resolves when nobody waits any more and the server has said which session it opened.
    async fn given_up_with_session(&self, client: &ObservedClient) {
        self.given_up.cancelled().await;
        client.session_opened().await;
    }
}

/// How a session is opened and kept: JWT and space go with every request. `None` if the space id does
/// not fit in a header.
pub(super) fn session_config(
    url: &BaseUrl,
    jwt: &SecretString,
    space_id: &str,
) -> Option<StreamableHttpClientTransportConfig> {
    let space = HeaderValue::from_str(space_id).ok()?;
    let mut backoff = ExponentialBackoff::default();
    backoff.max_times = Some(MAX_RECONNECTS);
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.to_string())
        .auth_header(jwt.expose_secret())
        .custom_headers([(HeaderName::from_static("x-mana-space"), space)].into())
        // A new session is the run's business: it may need another JWT, and its tools may be others.
        .reinit_on_expired_session(false)
        .max_sse_event_size(EVENT_LIMIT);
    config.retry_config = Arc::new(backoff);
    Some(config)
}

/// Ends a session on the server. Best effort: the server forgets it at its next restart anyway.
pub(super) async fn end(mut service: Service, limit: Duration) {
    // It logs what goes wrong; there is nothing else to do about it.
    let _ = service.close_with_timeout(limit).await;
}

/// What this client says of itself: no capabilities, so the server must not ask for anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner;

#[allow(deprecated, reason = "rmcp asks for an answer to roots/list all the same")]
impl ClientHandler for Runner {
    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), name)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<rmcp::model::ListRootsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListRootsRequestMethod>())
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::method_not_found::<ElicitationCreateRequestMethod>())
    }
}
