//! The HTTP side of an MCP session (docs/contracts/mcp-client.md, section 2): each message is a request of
//! its own, and its answer is JSON or a stream of events.
//!
//! Everything that is read has a size limit, and reading stops at the answer. Only the envelope of a message
//! is parsed here; the rest stays text.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response};
use scopeguard::ScopeGuard;
use secrecy::SecretString;
use serde_json::{Value, json, value::RawValue};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{
    error::{Fate, McpError, Outcome},
    hearing::{Heard, Hearing},
    sse::Events,
};
use crate::{
    config::BaseUrl,
    http::{HttpClient, Peer, bearer, read, retry_after},
};

/// The name of the service in metrics and logs.
pub(crate) const PEER: Peer = "mana-mcp";
/// Longest time for opening the session, and for each page of the tool list.
pub(super) const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const SPACE: HeaderName = HeaderName::from_static("x-mana-space");
const DELETE: &str = "delete_session";
pub(super) const INITIALIZE: &str = "initialize";
/// Longest time for ending the session, and for cancelling a request. Both are best effort.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest single answer, in bytes. An attachment of the largest kind fits, and the memory suffices for ten
/// such answers at once.
const ANSWER_LIMIT: usize = 4 << 20;
/// The largest number of reconnects in a row for an answer stream that breaks without a new event id.
const MAX_RECONNECTS: u32 = 3;
/// The pause before a reconnect, if the server names none.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before a reconnect that the server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Longest wait for the body of a refusal, and for the server to accept the answer to one of its own
/// requests.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A session's connection to the server. When it is dropped, it ends the session in the background, because
/// the server never ends a session by itself.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) http: HttpClient,
    url: BaseUrl,
    /// The headers of every request: JWT and space, and session id and revision as soon as they are known.
    pub(super) headers: Mutex<HeaderMap>,
    last_id: AtomicU64,
    /// Whether a request that ends the session was made.
    is_ended: AtomicBool,
    /// Runs the requests that no caller waits for.
    background: TaskTracker,
}

/// The result of ending a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server no longer has the session.
    Ended,
    /// The server does not accept the JWT of the request that was to end the session.
    Unauthorized,
    /// There was no usable answer: the server may still have the session.
    Unknown,
}

impl Link {
    /// A link to the server at `url`, with this JWT and this space in every request. `None` if the space or
    /// the JWT does not fit in a header.
    pub(super) fn new(
        http: HttpClient,
        url: BaseUrl,
        (jwt, space_id): (&SecretString, &str),
        background: TaskTracker,
    ) -> Option<Self> {
        let space = HeaderValue::from_str(space_id).ok()?;
        let headers = Mutex::new(HeaderMap::from_iter([bearer(jwt)?, (SPACE, space)]));
        let (last_id, is_ended) = Default::default();
        Some(Self { http, url, headers, last_id, is_ended, background })
    }

    /// Sends a request and waits for its result, at most for `limit`. If the caller stops waiting, the
    /// request is cancelled on the server.
    pub(super) async fn request(
        self: &Arc<Self>,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Outcome<Box<RawValue>> {
        let id = self.last_id.fetch_add(1, Relaxed);
        let cancel = scopeguard::guard(self.clone(), |link| {
            link.clone().spawn(async move {
                let params = json!({"requestId": id, "reason": "given up"});
                // The protocol forbids to cancel `initialize`. Cancelling is best effort: sooner or later the
                // server ends the request by itself.
                if method != INITIALIZE {
                    let _ = link.notify("notifications/cancelled", params, CLOSE_TIMEOUT).await;
                }
            })
        });
        let asked = async move {
            let answer = self.ask(method, encode(Some(id), method, params)).await;
            ScopeGuard::into_inner(cancel);
            answer
        };
        within(limit, asked).await
    }

    /// Sends a message that has no result, and waits at most for `limit` until the server has accepted it.
    pub(super) async fn notify(&self, method: &str, params: Value, limit: Duration) -> Outcome<()> {
        within(limit, self.post("notification", encode(None, method, params))).await.map(drop)
    }

    /// Ends the session, if the server has one open: with `jwt`, or else with the JWT that all requests
    /// carry.
    pub(super) async fn end(&self, jwt: Option<&SecretString>, limit: Duration) -> Ending {
        if !self.has_session() {
            return Ending::Ended;
        }
        self.is_ended.store(true, Relaxed);
        let deletion = self.http.stream(PEER, DELETE, self.deletion(jwt));
        let deleted = timeout(limit.min(CLOSE_TIMEOUT), deletion).await;
        let Ok(Ok(answer)) = deleted else { return Ending::Unknown };
        match answer.status().as_u16() {
            200..=299 | 404 | 405 => Ending::Ended,
            401 => Ending::Unauthorized,
            _ => Ending::Unknown,
        }
    }

    /// Runs a step of the setup. After an error the session is ended.
    pub(super) async fn or_end<T>(&self, step: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let result = step.await;
        if result.is_err() {
            self.end(None, CLOSE_TIMEOUT).await;
        }
        result
    }

    fn has_session(&self) -> bool {
        self.headers.lock().contains_key(SESSION)
    }

    fn to(&self, method: Method) -> RequestBuilder {
        let url = self.url.as_url().clone();
        self.http.inner.request(method, url).headers(self.headers.lock().clone())
    }

    fn deletion(&self, jwt: Option<&SecretString>) -> RequestBuilder {
        self.to(Method::DELETE).headers(jwt.and_then(bearer).into_iter().collect())
    }

    #[expect(clippy::disallowed_methods, reason = "requests that no caller waits for")]
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // A link that is dropped after the runtime has ended cannot send anything.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.background.spawn(task.in_current_span());
        }
    }

    async fn ask(self: &Arc<Self>, method: &str, body: Vec<u8>) -> Outcome<Box<RawValue>> {
        let mut response = match method {
            INITIALIZE => self.post_first(body).await?,
            "tools/list" => self.post("tools_list", body).await?,
            _ => self.post("tools_call", body).await?,
        };
        let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let why = match &*kind.to_ascii_lowercase() {
            b"text/event-stream" => return self.follow(response).await,
            b"application/json" => {
                let body = read(PEER, &mut response, ANSWER_LIMIT).await?;
                if let Heard::Answer(answer) = Heard::of(&body, &self.http) {
                    return answer;
                }
                "the answer of mana-mcp is no JSON-RPC response".to_owned()
            }
            _ if matches!(response.status().as_u16(), 202 | 204) => {
                "the request was accepted without an answer".to_owned()
            }
            kind => {
                let kind = self.http.snippet(kind);
                format!("the answer of mana-mcp is neither JSON nor an event stream but {kind:?}")
            }
        };
        Err(McpError::unknown(why))
    }

    /// Posts the request that opens a session, in a task of its own. If the request were given up half-way,
    /// the server would keep a session whose id is not known here.
    #[expect(clippy::disallowed_methods, reason = "an opening goes on without its caller")]
    async fn post_first(self: &Arc<Self>, body: Vec<u8>) -> Outcome<Response> {
        let link = self.clone();
        let post = async move {
            let response = link.post(INITIALIZE, body).await?;
            if let Some(session) = response.headers().get(SESSION) {
                link.headers.lock().insert(SESSION, session.clone());
            }
            Ok(response)
        };
        let posted = self.background.spawn(within(SETUP_TIMEOUT, post).in_current_span()).await;
        posted.unwrap_or_else(|error| Err(McpError::unknown(error.to_string())))
    }

    async fn post(&self, operation: &'static str, body: Vec<u8>) -> Outcome<Response> {
        let request = self
            .to(Method::POST)
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let response = self.http.stream(PEER, operation, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// The error for an answer without success. Some statuses show that the server refused the request before
    /// it ran. Any other failure leaves open whether the request ran (docs/contracts/mcp-client.md, section
    /// 5).
    async fn refusal(&self, mut response: Response) -> McpError {
        let (status, headers) = (response.status(), response.headers().clone());
        let code = status.as_u16();
        if code == 404 && self.has_session() {
            return McpError::new(Fate::SessionLost, "mana-mcp no longer knows the session (404)");
        }
        let body = timeout(RESPONSE_TIMEOUT, read(PEER, &mut response, ANSWER_LIMIT)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let fate = match code {
            300..=399 | 403 => Fate::NotRun,
            401 => Fate::Unauthorized,
            429 => Fate::Busy(retry_after(&headers)),
            _ => match Heard::of(&body, &self.http) {
                Heard::Answer(Err(rejected)) => return rejected,
                _ if code == 503 => Fate::Busy(retry_after(&headers)),
                _ if status.is_client_error() => Fate::NotRun,
                _ => Fate::Unknown,
            },
        };
        let target = headers.get(header::LOCATION).filter(|_| status.is_redirection());
        let detail = self.http.snippet(target.map_or(&body, |target| target.as_bytes()));
        let detail = match target {
            Some(_) => format!(" and points to {detail:?}: check MANA_MCP_URL"),
            None if detail.is_empty() => detail,
            None => format!(": {detail}"),
        };
        let reason = format!("mana-mcp answered {code}{detail}");
        McpError { fate, reason, status: Some(code) }
    }

    /// Reads the answer from a stream, and from the streams that resume it.
    async fn follow(&self, mut response: Response) -> Outcome<Box<RawValue>> {
        let mut hearing = Hearing::new(ANSWER_LIMIT);
        let mut reconnects = 0;
        loop {
            let resumed_behind = hearing.events.last_id.clone();
            while let Ok(Some(chunk)) = response.chunk().await {
                let mut chunk = &*chunk;
                while let Some(heard) = hearing.next(&mut chunk, &self.http)? {
                    match heard {
                        Heard::Answer(answer) => return answer,
                        // The client answers one request before it reads the next one, so the server cannot
                        // cause many requests at once.
                        Heard::Asked(answer) => {
                            let _ = timeout(RESPONSE_TIMEOUT, self.post("response", answer)).await;
                        }
                        Heard::Nothing => {}
                    }
                }
            }
            if hearing.events.last_id != resumed_behind {
                reconnects = 0;
            }
            let Some(rest) = self.resume(&mut hearing.events, &mut reconnects).await else {
                return Err(McpError::unknown("the answer stream ended without an answer"));
            };
            response = rest;
        }
    }

    /// The rest of a broken answer stream, if the server keeps its events.
    async fn resume(&self, events: &mut Events, reconnects: &mut u32) -> Option<Response> {
        let last_id = events.last_id.as_ref().filter(|id| !id.is_empty())?;
        let last_id = HeaderValue::from_bytes(last_id).ok()?;
        events.restart();
        while *reconnects < MAX_RECONNECTS {
            *reconnects += 1;
            sleep(events.retry.unwrap_or(RECONNECT_PAUSE).min(LONGEST_PAUSE)).await;
            let request = self.to(Method::GET).header(header::ACCEPT, "text/event-stream");
            let request = request.header(LAST_EVENT_ID, last_id.clone());
            if let Ok(response) = self.http.stream(PEER, "resume_stream", request).await {
                return response.status().is_success().then_some(response);
            }
        }
        None
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.has_session() && !self.is_ended.load(Relaxed) {
            let (http, deletion) = (self.http.clone(), self.deletion(None));
            self.spawn(async move {
                drop(timeout(CLOSE_TIMEOUT, http.stream(PEER, DELETE, deletion)).await);
            });
        }
    }
}

async fn within<T>(limit: Duration, exchange: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let late = || McpError::unknown(format!("no answer within {} ms", limit.as_millis()));
    timeout(limit, exchange).await.unwrap_or_else(|_| Err(late()))
}

/// A JSON-RPC message: a request if it has an `id`, else a notification.
fn encode(id: Option<u64>, method: &str, params: Value) -> Vec<u8> {
    let mut message = json!({"jsonrpc": "2.0", "method": method, "params": params});
    if let Some(id) = id {
        message["id"] = id.into();
    }
    message.to_string().into_bytes()
}
