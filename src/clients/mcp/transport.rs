//! The HTTP side of an MCP session: rmcp's own client, observed, with one gap closed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue, StatusCode};
use rmcp::{
    model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, RequestId},
    transport::streamable_http_client::{
        StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use secrecy::{ExposeSecret, SecretString};
use sse_stream::{Error as SseError, Sse};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{EVENT_LIMIT, PEER, error::describe_setup};
use crate::http::{HttpClient, status_class};

const INITIALIZE: &str = "initialize";
const NOTIFICATION: &str = "notification";

type Failure = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// rmcp's client on the shared connection pool. It counts every request, and gives errors that the
/// server sends with `id: null` the id of the request they answer; without it such a call would only
/// end by its timeout (contracts/mcp-client.md, 4.3).
///
/// It also knows whether the server has a session open, whatever rmcp made of the handshake.
#[derive(Clone, Debug)]
pub(super) struct ObservedClient {
    http: HttpClient,
    seen: Arc<Mutex<Seen>>,
    opened: CancellationToken,
}

/// What passed by.
#[derive(Debug, Default)]
struct Seen {
    /// The session the server opened and did not end.
    session: Option<Arc<str>>,
    /// Why it refused a notification, and whether it may take it later.
    refusal: Option<(String, bool)>,
    /// The JWT the session is to be ended with, if not the one it was opened with.
    jwt_for_end: Option<SecretString>,
    /// A session that is still open, because the server did not accept the JWT it was to be ended with.
    unended: Option<Unended>,
}

/// A session that could not be ended.
#[derive(Debug)]
pub(super) struct Unended {
    uri: Arc<str>,
    session_id: Arc<str>,
    custom_headers: Headers,
}

impl ObservedClient {
    pub(super) fn new(http: HttpClient) -> Self {
        Self { http, seen: Arc::default(), opened: CancellationToken::new() }
    }

    /// Resolves once the server has said which session it opened.
    pub(super) async fn session_opened(&self) {
        self.opened.cancelled().await;
    }

    /// Why the server refused a notification, if it did.
    pub(super) fn take_refusal(&self) -> Option<(String, bool)> {
        self.seen().refusal.take()
    }

    /// The session will be ended with this JWT.
    pub(super) fn end_with(&self, jwt: &SecretString) {
        self.seen().jwt_for_end = Some(jwt.clone());
    }

    /// The session, if the server did not accept the JWT it was to be ended with.
    pub(super) fn take_unended(&self) -> Option<Unended> {
        self.seen().unended.take()
    }

    /// Ends a session that could not be ended, with this JWT.
    pub(super) async fn end_again(&self, unended: Unended, jwt: &SecretString) {
        self.end_with(jwt);
        let Unended { uri, session_id, custom_headers } = unended;
        // Best effort: there is nothing else to do about a failure.
        let _ = self.delete_session(uri, session_id, None, custom_headers).await;
    }

    /// Ends the session, if the server has one open.
    pub(super) async fn end_session(
        &self,
        uri: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) {
        let session = self.seen().session.take();
        if let Some(session) = session {
            // Best effort: there is nothing else to do about a failure.
            let _ = self.delete_session(uri, session, auth_header, custom_headers).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request; its duration ends with the head of the answer, as the rest may stream.
    async fn observe<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let result = request.await;
        let outcome = match &result {
            Ok(_) => "2xx",
            Err(StreamableHttpError::Client(error)) if error.is_connect() => "unreachable",
            Err(StreamableHttpError::Client(error)) => {
                error.status().map_or("interrupted", status_class)
            }
            Err(StreamableHttpError::HttpStatus(error)) if error.status == 429 => "429",
            Err(StreamableHttpError::HttpStatus(error)) if error.status >= 500 => "5xx",
            Err(StreamableHttpError::ResponseBodyTooLarge { .. }) => "too_large",
            Err(
                StreamableHttpError::UnexpectedContentType(_) | StreamableHttpError::Deserialize(_),
            ) => "unreadable",
            Err(_) => "4xx",
        };
        self.http.metrics().record_client_request(PEER.0, operation, outcome, started.elapsed());
        result
    }
}

impl StreamableHttpClient for ObservedClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.post_message_with_max_sse_event_size(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            EVENT_LIMIT,
        )
        .await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let (operation, id) = identify(&message);
        let post = self.http.inner().post_message_with_max_sse_event_size(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            max_sse_event_size,
        );
        let mut response = self.observe(operation, post).await.inspect_err(|error| {
            if operation == NOTIFICATION {
                self.seen().refusal = Some(describe_setup(error));
            }
        })?;
        match &mut response {
            StreamableHttpPostResponse::Json(_, Some(session))
            | StreamableHttpPostResponse::Sse(_, Some(session))
                if operation == INITIALIZE =>
            {
                self.seen().session = Some(session.as_str().into());
                self.opened.cancel();
            }
            _ => {}
        }
        if id.is_some() {
            correlate(&mut response, id)?;
        }
        Ok(response)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), Failure> {
        let auth_header = {
            let mut seen = self.seen();
            seen.session = None;
            let jwt = seen.jwt_for_end.as_ref().map(|jwt| jwt.expose_secret().to_owned());
            jwt.or(auth_header)
        };
        let delete = self.http.inner().delete_session(
            uri.clone(),
            session_id.clone(),
            auth_header,
            custom_headers.clone(),
        );
        let deleted = self.observe("delete_session", delete).await;
        let status = match &deleted {
            Err(StreamableHttpError::Client(error)) => error.status(),
            _ => None,
        };
        match status {
            // It is gone, which is all that was wanted.
            Some(StatusCode::NOT_FOUND) => Ok(()),
            // rmcp could only log it; whoever ends the session may have another JWT.
            Some(StatusCode::UNAUTHORIZED) => {
                self.seen().unended = Some(Unended { uri, session_id, custom_headers });
                Ok(())
            }
            _ => deleted,
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            EVENT_LIMIT,
        )
        .await
    }

    /// Resumes an answer. The standing stream for notifications, which is optional, is never opened:
    /// the tool list is frozen for a session, and nothing else could come.
    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        if last_event_id.is_none() {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        let get = self.http.inner().get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            max_sse_event_size,
        );
        self.observe("resume_stream", get).await.map_err(|error| match error {
            // rmcp would go on trying; the answer is lost for good.
            StreamableHttpError::HttpStatus(_)
            | StreamableHttpError::UnexpectedServerResponse(_) => {
                StreamableHttpError::ServerDoesNotSupportSse
            }
            StreamableHttpError::Client(error) if error.is_status() => {
                StreamableHttpError::ServerDoesNotSupportSse
            }
            error => error,
        })
    }
}

/// Gives the answer to a request that request's id: it belongs to the exchange it came in, whatever it
/// says. An exchange without an answer is an error, or the caller would wait for its timeout.
fn correlate(
    response: &mut StreamableHttpPostResponse,
    id: Option<RequestId>,
) -> Result<(), Failure> {
    match response {
        StreamableHttpPostResponse::Accepted => {
            return Err(StreamableHttpError::UnexpectedServerResponse(
                "the request was accepted without an answer".into(),
            ));
        }
        StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), _) => error.id = id,
        StreamableHttpPostResponse::Json(JsonRpcMessage::Response(response), _) => {
            response.id = id.unwrap_or_else(|| response.id.clone());
        }
        _ => {}
    }
    Ok(())
}

/// Metric label of a message, and its id if it is a request.
fn identify(message: &ClientJsonRpcMessage) -> (&'static str, Option<RequestId>) {
    match message {
        JsonRpcMessage::Request(request) => {
            let operation = match &request.request {
                ClientRequest::InitializeRequest(_) => INITIALIZE,
                ClientRequest::ListToolsRequest(_) => "tools_list",
                ClientRequest::CallToolRequest(_) => "tools_call",
                _ => "other_request",
            };
            (operation, Some(request.id.clone()))
        }
        JsonRpcMessage::Notification(_) => (NOTIFICATION, None),
        _ => ("response", None),
    }
}
