//! The sessions of the server: their owners, and rmcp's session manager with answers in the form of the
//! TypeScript server.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt, future::ready};
use rmcp::{
    model::{
        ClientJsonRpcMessage, CustomResult, GetExtensions, JsonRpcMessage, ServerJsonRpcMessage,
        ServerResult,
    },
    transport::streamable_http_server::session::{
        ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError},
    },
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The JWT and the space that a session was opened with; the tools never use those of later requests.
#[derive(Clone, Debug)]
pub(super) struct SessionCaller {
    pub token: String,
    pub user_id: String,
    pub email: String,
    pub space_id: String,
}

/// Gives the handler of a request access to the stream on which its answer is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    verbatim: Arc<OnceLock<Value>>,
    end: CancellationToken,
}

impl Exchange {
    /// Sends `result` in place of the handler's return value, for results that rmcp's types cannot express.
    pub(super) fn answer_verbatim(&self, result: Value) {
        // A request is answered once, so the first result is kept.
        let _ = self.verbatim.set(result);
    }

    /// Ends the stream without sending an event.
    pub(super) fn end_stream(&self) {
        self.end.cancel();
    }

    /// The message as the TypeScript server sends it: no event id, no retry hint and no priming event,
    /// because Mana keeps no event store and its streams cannot be resumed.
    fn framed(&self, event: ServerSseMessage) -> Option<ServerSseMessage> {
        let message = event.message?;
        let message = match (&*message, self.verbatim.get()) {
            (JsonRpcMessage::Response(response), Some(result)) => ServerJsonRpcMessage::response(
                ServerResult::CustomResult(CustomResult::new(result.clone())),
                response.id.clone(),
            ),
            _ => Arc::unwrap_or_clone(message),
        };
        Some(ServerSseMessage::from_message(message))
    }
}

/// rmcp's in-memory sessions, without their timeouts and resumable streams.
#[derive(Debug)]
pub(super) struct Manager {
    local: LocalSessionManager,
    /// Time without an event after which the server ends a stream.
    idle_timeout: Option<Duration>,
}

impl Manager {
    pub(super) fn new(idle_timeout: Option<Duration>) -> Self {
        let mut local = LocalSessionManager::default();
        // Mana's sessions never expire.
        local.session_config.keep_alive = None;
        local.session_config.init_timeout = None;
        local.session_config.sse_retry = None;
        Self { local, idle_timeout }
    }
}

impl SessionManager for Manager {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        self.local.create_session().await
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.local.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.local.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.local.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let exchange = Exchange::default();
        if let JsonRpcMessage::Request(request) = &mut message {
            request.request.extensions_mut().insert(exchange.clone());
        }
        let events = self.local.create_stream(id, message).await?;
        let idle = tokio::time::sleep(self.idle_timeout.unwrap_or(Duration::MAX));
        let ended = exchange.end.clone();
        let silent = async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = idle => {}
            }
        };
        // A tool sends nothing before its answer, so the idle time equals the time since the request.
        Ok(events.filter_map(move |event| ready(exchange.framed(event))).take_until(silent))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.local.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let events = self.local.create_standalone_stream(id).await?;
        Ok(events.filter_map(|event| ready(Exchange::default().framed(event))))
    }

    async fn resume(
        &self,
        id: &SessionId,
        _last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        // Without an event store the TypeScript server ignores Last-Event-ID.
        self.create_standalone_stream(id).await
    }
}

/// The owner of each open session.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<HashMap<String, Owned>>);

#[derive(Debug)]
struct Owned {
    user_id: String,
    /// Alive while the session's GET stream is open.
    listener: Weak<()>,
}

impl Owners {
    pub(super) fn opened(&self, session: &str, user_id: &str) {
        let owned = Owned { user_id: user_id.to_owned(), listener: Weak::new() };
        self.lock().insert(session.to_owned(), owned);
    }

    /// User id of the owner of `session`, if the session is open.
    pub(super) fn owner(&self, session: &str) -> Option<String> {
        self.lock().get(session).map(|owned| owned.user_id.clone())
    }

    /// Reserves the only GET stream of `session` until the guard is dropped; `None` if it is taken.
    pub(super) fn listen(&self, session: &str) -> Option<Arc<()>> {
        let mut owners = self.lock();
        let owned = owners.get_mut(session)?;
        if owned.listener.strong_count() > 0 {
            return None;
        }
        let guard = Arc::new(());
        owned.listener = Arc::downgrade(&guard);
        Some(guard)
    }

    pub(super) fn closed(&self, session: &str) {
        self.lock().remove(session);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Removes all sessions and returns their ids.
    pub(super) fn drain(&self) -> Vec<String> {
        self.lock().drain().map(|(session, _)| session).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Owned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
