//! Opening and ending a session, so that none is left behind on the server.

use std::sync::Arc;

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
use tokio::time::timeout;

use super::{
    CLOSE_TIMEOUT, EVENT_LIMIT, SETUP_TIMEOUT, error::describe_initialize,
    transport::ObservedClient,
};
use crate::config::BaseUrl;

/// Revisions this client speaks (contracts/mcp-client.md, section 1).
const REVISIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];
/// Reconnections of a broken answer stream, where the server allows to resume it.
const MAX_RECONNECTS: usize = 3;

/// An open session, as rmcp keeps it.
pub(super) type Service = RunningService<RoleClient, Runner>;

/// Why a handshake came to nothing.
pub(super) enum Refusal {
    Failed { reason: String, transient: bool },
    Revision(String),
}

/// Opens a session; one that the server has opened is ended again if the handshake then fails.
pub(super) async fn shake_hands(
    client: ObservedClient,
    config: StreamableHttpClientTransportConfig,
) -> Result<Service, Refusal> {
    let transport = StreamableHttpClientTransport::with_client(client.clone(), config.clone());
    let served = timeout(SETUP_TIMEOUT, Runner.serve(transport)).await;
    let (reason, transient) = match served {
        Ok(Ok(service)) => {
            let revision = service.peer_info().map(|info| info.protocol_version.clone());
            return match revision {
                Some(revision) if REVISIONS.contains(&revision) => Ok(service),
                other => {
                    end(service).await;
                    let spoken = other.map(|revision| revision.to_string());
                    Err(Refusal::Revision(spoken.unwrap_or_else(|| "nothing".to_owned())))
                }
            };
        }
        Ok(Err(error)) => describe_initialize(&error),
        Err(_) => (format!("no answer within {} ms", SETUP_TIMEOUT.as_millis()), true),
    };
    // rmcp does not end a session whose `initialized` was refused, and hides the refusal.
    let refused = client.take_refusal();
    let abandoned = client.end_session(config.uri, config.auth_header, config.custom_headers);
    let _ = timeout(CLOSE_TIMEOUT, abandoned).await;
    let (reason, transient) = refused.unwrap_or((reason, transient));
    Err(Refusal::Failed { reason, transient })
}

/// How a session is opened and kept: JWT and space go with every request.
pub(super) fn session_config(
    url: &BaseUrl,
    jwt: &SecretString,
    space: HeaderValue,
) -> StreamableHttpClientTransportConfig {
    let mut backoff = ExponentialBackoff::default();
    backoff.max_times = Some(MAX_RECONNECTS);
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.to_string())
        .auth_header(jwt.expose_secret())
        .custom_headers([(HeaderName::from_static("x-mana-space"), space)].into())
        .max_sse_event_size(EVENT_LIMIT);
    config.retry_config = Arc::new(backoff);
    config
}

/// Ends a session on the server. Best effort: the server forgets it at its next restart anyway.
pub(super) async fn end(mut service: Service) {
    // It logs what goes wrong; there is nothing else to do about it.
    let _ = service.close_with_timeout(CLOSE_TIMEOUT).await;
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
