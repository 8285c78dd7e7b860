//! The HTTP side of an MCP session (contracts/mcp-client.md, section 2): each message is a request of its
//! own, and its answer is JSON or a stream of events.
//!
//! What is read is bounded, and read no further than the answer: of a message no more than its envelope
//! becomes anything but text here.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{
    ANSWER_LIMIT, CLOSE_TIMEOUT, PEER,
    error::CallError,
    hearing::{Heard, Hearing},
    sse::Events,
};
use crate::{
    config::BaseUrl,
    http::{HttpClient, retry_after, root_cause, secret_header, status_class},
};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const SPACE: HeaderName = HeaderName::from_static("x-mana-space");
pub(super) const INITIALIZE: &str = "initialize";
/// Longest body of a refusal that is looked at.
const REFUSAL_LIMIT: usize = 64 << 10;
/// How often in a row an answer stream is resumed that breaks without anything new.
const MAX_RECONNECTS: u32 = 3;
/// The pause before that, where the server names none, and the longest it may name.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Longest wait for the body of a refusal, and until the server takes the answer to a request of its own.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A session's way to the server.
#[derive(Debug)]
pub(super) struct Link {
    http: HttpClient,
    url: BaseUrl,
    /// What goes with every request.
    headers: HeaderMap,
    last_id: AtomicU64,
    state: Mutex<State>,
    opened: CancellationToken,
    /// What is sent when nobody waits for it.
    background: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// The session the server opened and did not end.
    session: Option<HeaderValue>,
    /// The revision it speaks.
    revision: Option<HeaderValue>,
    /// The JWT the session is to be ended with, if not the one it was opened with.
    jwt_for_end: Option<SecretString>,
}

/// A session that is still open: the server did not accept the JWT it was to be ended with.
#[derive(Debug)]
pub(super) struct Unended(HeaderValue);

#[derive(Serialize)]
struct Outgoing<'a, P> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    params: P,
}

impl Link {
    /// The way to the server at `url` with this JWT and space, which go with every request. `None` if the
    /// space or the JWT does not fit in a header.
    pub(super) fn new(
        http: HttpClient,
        url: BaseUrl,
        jwt: &SecretString,
        space_id: &str,
        background: TaskTracker,
    ) -> Option<Self> {
        let headers =
            HeaderMap::from_iter([bearer(jwt)?, (SPACE, HeaderValue::from_str(space_id).ok()?)]);
        let (last_id, state, opened) = Default::default();
        Some(Self { http, url, headers, last_id, state, opened, background })
    }

    /// Resolves once the server has said which session it opened.
    pub(super) async fn session_opened(&self) {
        self.opened.cancelled().await;
    }

    /// Every further request names this revision.
    pub(super) fn speak(&self, revision: &'static str) {
        self.state().revision = Some(HeaderValue::from_static(revision));
    }

    /// The session will be ended with this JWT.
    pub(super) fn end_with(&self, jwt: &SecretString) {
        self.state().jwt_for_end = Some(jwt.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and waits for its result, at most as long as `limit`. A request nobody waits for
    /// any more is cancelled on the server.
    pub(super) async fn request(
        self: &Arc<Self>,
        method: &'static str,
        params: impl Serialize,
        limit: Duration,
    ) -> Result<Box<RawValue>, CallError> {
        let id = self.last_id.fetch_add(1, Relaxed);
        // The protocol forbids it for the first request.
        let mut cancel = CancelOnDrop { link: self.clone(), id, is_over: method == INITIALIZE };
        let answer = timeout(limit, self.ask(id, method, params)).await;
        cancel.is_over |= answer.is_ok();
        answer.unwrap_or_else(|_| {
            let reason = format!("no answer within {} ms", limit.as_millis());
            Err(CallError::OutcomeUnknown { reason })
        })
    }

    /// Sends a notification.
    pub(super) async fn notify(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<(), CallError> {
        let message = Outgoing { jsonrpc: "2.0", id: None, method, params };
        self.post("notification", encode(&message)).await.map(drop)
    }

    /// The id of the session, if the server opened one.
    pub(super) fn session(&self) -> Option<String> {
        self.state().session.as_ref()?.to_str().ok().map(str::to_owned)
    }

    /// Ends the session, if the server has one open; whether it says that it has none any more.
    ///
    /// # Errors
    /// When it takes another JWT to end it.
    pub(super) async fn end(&self, limit: Duration) -> Result<bool, Unended> {
        let session = self.state().session.take();
        match session {
            Some(session) => self.delete(session, limit).await,
            None => Ok(true),
        }
    }

    /// Ends a session that an earlier process has left, likewise.
    pub(super) async fn end_left(&self, session: &str) -> bool {
        match HeaderValue::from_str(session) {
            Ok(session) => self.delete(session, CLOSE_TIMEOUT).await.unwrap_or(false),
            Err(_) => true,
        }
    }

    /// Ends a session that could not be ended, with this JWT.
    pub(super) async fn end_again(&self, unended: Unended, jwt: &SecretString) -> bool {
        self.end_with(jwt);
        self.delete(unended.0, CLOSE_TIMEOUT).await.unwrap_or(false)
    }

    async fn delete(&self, session: HeaderValue, limit: Duration) -> Result<bool, Unended> {
        let mut headers = self.request_headers();
        headers.insert(SESSION, session.clone());
        if let Some((name, value)) = self.state().jwt_for_end.as_ref().and_then(bearer) {
            headers.insert(name, value);
        }
        let delete = self.http.inner().delete(self.url.as_url().clone()).headers(headers);
        let Ok(Ok(answer)) = timeout(limit, self.send("delete_session", delete)).await else {
            return Ok(false);
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(Unended(session)),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(true),
            status => Ok(status.is_success()),
        }
    }

    /// Ends the session when nobody waits for it.
    pub(super) fn end_in_background(self: &Arc<Self>) {
        let link = self.clone();
        if link.state().session.is_some() {
            self.spawn(async move { drop(link.end(CLOSE_TIMEOUT).await) });
        }
    }

    #[expect(clippy::disallowed_methods, reason = "what mana-mcp is told after its last answer")]
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // What is dropped after the runtime has nobody to send it.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.background.spawn(task.in_current_span());
        }
    }

    fn request_headers(&self) -> HeaderMap {
        let state = self.state();
        let mut headers = self.headers.clone();
        headers.extend(state.session.clone().map(|session| (SESSION, session)));
        headers.extend(state.revision.clone().map(|revision| (REVISION, revision)));
        headers
    }

    /// Sends one request and counts it; its duration ends with the head of the answer, as the rest may
    /// stream.
    #[expect(clippy::disallowed_methods, reason = "an answer of mana-mcp may be a stream")]
    async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Response, CallError> {
        let started = Instant::now();
        let sent = request.send().await;
        let (outcome, result) = match sent {
            Ok(response) => (status_class(response.status()), Ok(response)),
            Err(error) if error.is_connect() => {
                let reason = format!("mana-mcp cannot be reached ({})", root_cause(&error));
                ("unreachable", Err(CallError::Away { reason }))
            }
            Err(error) => {
                let reason = format!("the connection to mana-mcp broke ({})", root_cause(&error));
                ("interrupted", Err(CallError::OutcomeUnknown { reason }))
            }
        };
        self.http.metrics().record_client_request(PEER.0, operation, outcome, started.elapsed());
        result
    }

    async fn post(&self, operation: &'static str, body: Vec<u8>) -> Result<Response, CallError> {
        let headers = self.request_headers();
        let has_session = headers.contains_key(SESSION);
        let request = self
            .http
            .inner()
            .post(self.url.as_url().clone())
            .headers(headers)
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let response = self.send(operation, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, has_session).await)
    }

    /// What an answer that is no success says of its request: a refusal at the door means that it did not
    /// run, a failure behind it leaves that open (contracts/mcp-client.md, section 5).
    async fn refusal(&self, response: Response, has_session: bool) -> CallError {
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::NOT_FOUND && has_session {
            return CallError::SessionLost;
        }
        let body = timeout(RESPONSE_TIMEOUT, read(response, REFUSAL_LIMIT)).await;
        let body = body.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
        let code = status.as_u16();
        let said = self.http.snippet(&body);
        let colon = if said.is_empty() { "" } else { ": " };
        let reason = format!("mana-mcp answered {code}{colon}{said}");
        let not_run =
            |reason, transient, retry_after| CallError::NotRun { reason, transient, retry_after };
        match status {
            StatusCode::UNAUTHORIZED => CallError::Unauthorized { reason },
            StatusCode::FORBIDDEN => not_run(reason, false, None),
            StatusCode::TOO_MANY_REQUESTS => not_run(reason, true, retry_after(&headers)),
            status if status.is_redirection() => {
                let target = headers.get(header::LOCATION).map_or(&b""[..], HeaderValue::as_bytes);
                let target = self.http.snippet(target);
                let reason = format!(
                    "mana-mcp answered {code} and points to {target:?}: check MANA_MCP_URL"
                );
                not_run(reason, false, None)
            }
            status => match Heard::of(&body, &self.http) {
                Heard::Answer(Err(error @ CallError::Rejected { .. })) => error,
                _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                    not_run(reason, true, retry_after(&headers))
                }
                _ if status.is_client_error() => not_run(reason, false, None),
                _ => CallError::OutcomeUnknown { reason },
            },
        }
    }

    async fn ask(
        &self,
        id: u64,
        method: &'static str,
        params: impl Serialize,
    ) -> Result<Box<RawValue>, CallError> {
        let message = Outgoing { jsonrpc: "2.0", id: Some(id), method, params };
        let operation = match method {
            "tools/list" => "tools_list",
            "tools/call" => "tools_call",
            method => method,
        };
        let response = self.post(operation, encode(&message)).await?;
        if method == INITIALIZE
            && let Some(session) = response.headers().get(SESSION)
        {
            self.state().session = Some(session.clone());
            self.opened.cancel();
        }
        let unknown = |reason: String| Err(CallError::OutcomeUnknown { reason });
        let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        let kind = String::from_utf8_lossy(kind.split(|b| *b == b';').next().unwrap_or_default())
            .trim()
            .to_ascii_lowercase();
        match &*kind {
            "text/event-stream" => self.follow(response).await,
            "application/json" => {
                let body = read(response, ANSWER_LIMIT).await?;
                match Heard::of(&body, &self.http) {
                    Heard::Answer(answer) => answer,
                    _ => unknown("the answer of mana-mcp is no JSON-RPC response".into()),
                }
            }
            _ if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) => {
                unknown("the request was accepted without an answer".into())
            }
            kind => {
                let kind = self.http.snippet(kind.as_bytes());
                unknown(format!(
                    "the answer of mana-mcp is neither JSON nor an event stream but {kind:?}"
                ))
            }
        }
    }

    /// Reads the answer out of a stream, and out of those it is resumed by.
    async fn follow(&self, mut response: Response) -> Result<Box<RawValue>, CallError> {
        let mut hearing = Hearing::new(ANSWER_LIMIT);
        let mut reconnects = 0;
        loop {
            let resumed_behind = hearing.events.last_id.clone();
            while let Ok(Some(chunk)) = response.chunk().await {
                let mut chunk = &*chunk;
                while let Some(heard) = hearing.next(&mut chunk, &self.http)? {
                    match heard {
                        Heard::Answer(answer) => return answer,
                        // One after the other, so that the server sets no pace but its own.
                        Heard::Asked(answer) => {
                            let _ = timeout(RESPONSE_TIMEOUT, self.post("response", answer)).await;
                        }
                        Heard::Nothing => {}
                    }
                }
            }
            let events = &mut hearing.events;
            reconnects = if events.last_id == resumed_behind { reconnects + 1 } else { 1 };
            response = match self.resume(events, reconnects).await {
                Some(response) => response,
                None => {
                    let reason = "the answer stream ended without an answer".into();
                    return Err(CallError::OutcomeUnknown { reason });
                }
            };
        }
    }

    /// The rest of a broken answer stream, where the server keeps it.
    async fn resume(&self, events: &mut Events, from: u32) -> Option<Response> {
        let last_id = events.last_id.as_ref().filter(|id| !id.is_empty())?;
        let last_id = HeaderValue::from_bytes(last_id).ok()?;
        events.restart();
        for _ in from..=MAX_RECONNECTS {
            sleep(events.retry.unwrap_or(RECONNECT_PAUSE).min(LONGEST_PAUSE)).await;
            let request = self
                .http
                .inner()
                .request(Method::GET, self.url.as_url().clone())
                .headers(self.request_headers())
                .header(header::ACCEPT, "text/event-stream")
                .header(LAST_EVENT_ID, last_id.clone());
            if let Ok(response) = self.send("resume_stream", request).await {
                return response.status().is_success().then_some(response);
            }
        }
        None
    }
}

/// Tells the server that nobody waits for a request any more, unless the request is over.
struct CancelOnDrop {
    link: Arc<Link>,
    id: u64,
    is_over: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (link, id) = (self.link.clone(), self.id);
        self.link.spawn(async move {
            let params = serde_json::json!({"requestId": id, "reason": "given up"});
            // Best effort: the server ends the request by itself sooner or later.
            let _ = timeout(CLOSE_TIMEOUT, link.notify("notifications/cancelled", params)).await;
        });
    }
}

fn bearer(jwt: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    secret_header("authorization", &format!("Bearer {}", jwt.expose_secret()).into())
}

/// Structs of strings, integers and JSON always encode.
fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// A body of at most `limit` bytes.
async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(CallError::Oversized { limit });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => {
                let reason = format!("the connection to mana-mcp broke ({})", root_cause(&error));
                return Err(CallError::OutcomeUnknown { reason });
            }
        }
    }
}
