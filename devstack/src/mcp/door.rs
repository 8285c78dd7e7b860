//! The checks before the MCP protocol: those of Mana, and those of the TypeScript transport, whose errors are
//! JSON-RPC errors with `id: null`.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::SessionManager,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    handler::{Handler, PROTOCOL_VERSIONS, Shared},
    planted::{Stage, Target},
    sessions::{Manager, SessionCaller},
};

const BODY_LIMIT: usize = 4 << 20;
const SESSION: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const LAST_EVENT_ID: &str = "last-event-id";

/// The handler of the endpoint `/mcp`.
#[derive(Clone)]
pub(super) struct Door {
    shared: Arc<Shared>,
    manager: Arc<Manager>,
    mcp: StreamableHttpService<Handler, Manager>,
}

impl Door {
    /// Cancelling `running` ends all sessions.
    pub(super) fn new(shared: Arc<Shared>, running: CancellationToken) -> Self {
        let manager = Arc::new(Manager::new(shared.options.idle_timeout));
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_sse_keep_alive(None)
            .with_sse_retry(None)
            .with_cancellation_token(running);
        let of_session = Arc::clone(&shared);
        let mcp = StreamableHttpService::new(
            move || Ok(Handler::new(Arc::clone(&of_session))),
            Arc::clone(&manager),
            config,
        );
        Self { shared, manager, mcp }
    }

    /// Ends `session` without checking its owner.
    pub(super) async fn close(&self, session: &str) {
        self.shared.owners.closed(session);
        if let Err(error) = self.manager.close_session(&session.into()).await {
            tracing::debug!(session, %error, "session was not open");
        }
    }

    /// The user and the space of a request.
    fn caller(&self, headers: &HeaderMap) -> Result<SessionCaller, Refusal> {
        let token = text(headers, AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Refusal::unauthorized("Missing bearer token"))?;
        let claims = self.shared.keys.verify(token, self.shared.clock.now());
        let claims = claims.map_err(|refused| Refusal::unauthorized(refused.to_string()))?;
        let space_id = text(headers, "x-mana-space")
            .filter(|space| !space.is_empty())
            .ok_or(Refusal::unauthorized("Missing X-Mana-Space header"))?;
        Ok(SessionCaller {
            token: token.into(),
            user_id: claims.sub,
            email: claims.email,
            space_id: space_id.into(),
        })
    }

    async fn post(&self, caller: SessionCaller, request: Request) -> Result<Response, Refusal> {
        let (mut parts, body) = request.into_parts();
        let accept = text(&parts.headers, ACCEPT.as_str()).unwrap_or_default();
        if !(accept.contains("application/json") && accept.contains("text/event-stream")) {
            return Err(Refusal::rpc(
                StatusCode::NOT_ACCEPTABLE,
                "Not Acceptable: Client must accept both application/json and text/event-stream",
            ));
        }
        let content_type = text(&parts.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        if !content_type.contains("application/json") {
            return Err(Refusal::rpc(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported Media Type: Content-Type must be application/json",
            ));
        }
        let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| {
            Refusal::rpc(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large: over 4 MiB")
        })?;
        let message: Value = serde_json::from_slice(&body)
            .map_err(|_| Refusal::message(-32700, "Parse error: Invalid JSON"))?;
        let has_odd_params = message.get("params").is_some_and(|params| !params.is_object());
        if message["jsonrpc"] != "2.0" || !message.is_object() || has_odd_params {
            return Err(Refusal::message(-32700, "Parse error: Invalid JSON-RPC message"));
        }
        let session = text(&parts.headers, SESSION).map(str::to_owned);
        match (is_initialize(&message), session) {
            (true, Some(_)) => {
                Err(Refusal::message(-32600, "Invalid Request: Server already initialized"))
            }
            (true, None) => {
                // The TypeScript transport checks this header only after initialize.
                parts.headers.remove(PROTOCOL_VERSION);
                let user_id = caller.user_id.clone();
                parts.extensions.insert(caller);
                let response = self.forward(Request::from_parts(parts, body.into())).await;
                if let Some(session) = text(response.headers(), SESSION) {
                    self.shared.owners.opened(session, &user_id);
                }
                Ok(response)
            }
            (false, None) => {
                Err(Refusal::rpc(StatusCode::BAD_REQUEST, "Bad Request: Server not initialized"))
            }
            (false, Some(_)) => {
                check_protocol_version(&parts.headers)?;
                Ok(self.forward(Request::from_parts(parts, body.into())).await)
            }
        }
    }

    /// Opens the stream for messages that the server sends on its own.
    async fn get(&self, session: &str, mut request: Request) -> Result<Response, Refusal> {
        let accept = text(request.headers(), ACCEPT.as_str()).unwrap_or_default();
        if !accept.contains("text/event-stream") {
            return Err(Refusal::rpc(
                StatusCode::NOT_ACCEPTABLE,
                "Not Acceptable: Client must accept text/event-stream",
            ));
        }
        check_protocol_version(request.headers())?;
        let listening = self.shared.owners.listen(session).ok_or(Refusal::rpc(
            StatusCode::CONFLICT,
            "Conflict: Only one SSE stream is allowed per session",
        ))?;
        // Streams cannot be resumed without an event store.
        request.headers_mut().remove(LAST_EVENT_ID);
        let (parts, body) = self.forward(request).await.into_parts();
        let events = body.into_data_stream().map(move |event| {
            let _until_the_stream_ends = &listening;
            event
        });
        Ok(Response::from_parts(parts, Body::from_stream(events)))
    }

    async fn forward(&self, request: Request) -> Response {
        self.mcp.handle(request).await.map(Body::new)
    }
}

/// Handles every request to the endpoint.
pub(super) async fn enter(State(door): State<Door>, request: Request) -> Response {
    answer(&door, request).await.unwrap_or_else(Refusal::into_response)
}

async fn answer(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.caller(request.headers());
    let session = text(request.headers(), SESSION).map(str::to_owned);
    let target = Target {
        persona: caller.as_ref().map_or("", |caller| &caller.email),
        session: session.as_deref().unwrap_or_default(),
        tool: "",
        at: door.shared.clock.calendar(),
    };
    if let Some(struck) = door.shared.planted.strike(Stage::Door, &target) {
        let status = StatusCode::from_u16(struck.status());
        let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        return Err(Refusal::plain(status, "Service Unavailable"));
    }
    let caller = caller?;
    let Some(session) = session else {
        return match *request.method() {
            Method::POST => door.post(caller, request).await,
            _ => Err(Refusal::plain(StatusCode::BAD_REQUEST, "Missing Mcp-Session-Id header")),
        };
    };
    match door.shared.owners.owner(&session) {
        None => return Err(Refusal::plain(StatusCode::NOT_FOUND, "Session not found")),
        Some(owner) if owner != caller.user_id => {
            return Err(Refusal::plain(StatusCode::FORBIDDEN, "Session belongs to another user"));
        }
        Some(_) => {}
    }
    match *request.method() {
        Method::POST => door.post(caller, request).await,
        Method::GET => door.get(&session, request).await,
        Method::DELETE => {
            check_protocol_version(request.headers())?;
            door.close(&session).await;
            Ok(StatusCode::OK.into_response())
        }
        _ => {
            let mut refusal = Refusal::rpc(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.");
            refusal.allow = Some(HeaderValue::from_static("GET, POST, DELETE"));
            Err(refusal)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether the message is an initialize request. The TypeScript SDK does not accept one that lacks a
/// parameter.
fn is_initialize(message: &Value) -> bool {
    let params = &message["params"];
    message["method"] == "initialize"
        && message.get("id").is_some()
        && params["protocolVersion"].is_string()
        && params["capabilities"].is_object()
        && params["clientInfo"]["name"].is_string()
        && params["clientInfo"]["version"].is_string()
}

fn check_protocol_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(version) = headers.get(PROTOCOL_VERSION) else { return Ok(()) };
    if PROTOCOL_VERSIONS.iter().any(|supported| supported.as_str().as_bytes() == version.as_bytes())
    {
        return Ok(());
    }
    let supported: Vec<_> = PROTOCOL_VERSIONS.iter().map(|version| version.as_str()).collect();
    let supported = supported.join(", ");
    let version = version.to_str().unwrap_or_default();
    Err(Refusal::rpc(
        StatusCode::BAD_REQUEST,
        format!(
            "Bad Request: Unsupported protocol version: {version} (supported versions: {supported})"
        ),
    ))
}

/// The answer to a request that fails the checks.
struct Refusal {
    status: StatusCode,
    body: Value,
    allow: Option<HeaderValue>,
}

impl Refusal {
    /// An error of Mana's own: `{"error": "…"}`, without a challenge even on 401.
    fn plain(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, body: json!({"error": error.into()}), allow: None }
    }

    fn unauthorized(error: impl Into<String>) -> Self {
        Self::plain(StatusCode::UNAUTHORIZED, error)
    }

    /// An error in the TypeScript transport's form.
    fn rpc(status: StatusCode, message: impl Into<String>) -> Self {
        Self::rpc_with(status, -32000, message.into())
    }

    /// The TypeScript transport's error for an invalid message.
    fn message(code: i32, message: &str) -> Self {
        Self::rpc_with(StatusCode::BAD_REQUEST, code, message.into())
    }

    fn rpc_with(status: StatusCode, code: i32, message: String) -> Self {
        let error = json!({"code": code, "message": message});
        Self { status, body: json!({"jsonrpc": "2.0", "error": error, "id": null}), allow: None }
    }

    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }
}
