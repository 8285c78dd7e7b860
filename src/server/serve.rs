//! Accepts connections and serves them, with limits that hold against malicious clients too.
//!
//! A client that does not end its headers or its body, or does not read its answer, is cut off. A request
//! that is too large is refused before it is held in memory. When too many clients are connected, an old
//! connection without a request is closed for a new one. So /health always answers, and no client takes the
//! descriptors and the memory that runs need. No metric counts what is refused here.

use std::{io, net::SocketAddr, pin::Pin, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
    response::IntoResponse,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, copy, sink},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::{Failure, failure};
use crate::ui;

/// How many connections may wait until they are accepted. A connection that finds the backlog full is seconds
/// late, also one for /health. The system's limit (net.core.somaxconn) wins if it is lower.
const BACKLOG: u32 = 4_096;

/// The pause after the system has refused to accept a connection, for example because no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Largest request line and headers together, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// How many headers a request may have.
const HEADERS: usize = 64;
/// Largest body of a request, in bytes.
const BODY_BYTES: usize = 16 * 1024;

/// How many connections may be open at once, if there are enough descriptors.
const CONNECTIONS: usize = 256;

/// Limits of one client and of all clients together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The time from the beginning of a connection, or from the end of its last answer, to the end of the
    /// headers of the next request.
    pub header_read: Duration,
    /// The time from the end of a request's headers to the end of its body.
    pub body_read: Duration,
    /// How long an answer may make no progress because the client does not read it.
    pub write: Duration,
    /// How long the server reads and drops what a client still sends at the end of a connection. If the
    /// server closed the connection with unread input, the client could lose the last answer, for example a
    /// refusal.
    pub discard: Duration,
    /// How many bytes the server reads and drops at the end of a connection.
    pub discard_bytes: u64,
    /// How many connections may be open at once.
    pub connections: usize,
}

impl Limits {
    /// Limits for a process that may have `descriptors` open. Connections take at most a quarter of them.
    pub(crate) fn within(descriptors: usize) -> Self {
        Self {
            header_read: Duration::from_secs(10),
            body_read: Duration::from_secs(10),
            write: Duration::from_secs(30),
            discard: Duration::from_secs(1),
            discard_bytes: 16 << 20,
            connections: (descriptors / 4).clamp(1, CONNECTIONS),
        }
    }
}

/// Listens on `address`, with a backlog for bursts of connections.
///
/// # Errors
/// If the system refuses the address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Without this option a restart fails as long as the system still remembers old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `end` is cancelled. Then closes the port and waits for the answers under way.
#[expect(clippy::disallowed_methods, reason = "a connection has a task of its own")]
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    end: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    // Ordered by age, the oldest first.
    let mut open: Vec<Connection> = Vec::new();
    loop {
        let Some(accepted) = end.run_until_cancelled(listener.accept()).await else { break };
        let peer = match accepted {
            Ok(peer) => peer,
            Err(error) if is_client_error(&error) => continue,
            Err(error) => {
                tracing::warn!("no connection can be taken for now: {error}");
                end.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= limits.connections {
            // The tasks of connections that have already sent a request run first, so that these connections
            // do not count as silent.
            yield_now().await;
            // If all connections are busy, the new one is dropped.
            let Some(index) = index_to_close(&open) else { continue };
            open.remove(index).task.abort();
        }
        let (sender, phase) = watch::channel(Phase::Silent);
        let task = tasks.spawn(serve_connection(peer, router.clone(), limits, sender, end.clone()));
        open.push(Connection { task, phase });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Serves one connection until it ends.
async fn serve_connection(
    (stream, caller): (TcpStream, SocketAddr),
    router: Router,
    limits: Limits,
    phase: watch::Sender<Phase>,
    end: CancellationToken,
) {
    // A failure would cost only latency.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write));
    let (router, phase) = (&TowerToHyperService::new(router), &phase);
    let service = service_fn(move |mut request: Request<Incoming>| async move {
        request.extensions_mut().insert(ConnectInfo(caller));
        let path = request.uri().path().to_owned();
        let request = match read_body(request, limits).await {
            Ok(request) => request,
            Err(refusal) => return Ok(ui::for_path(&path, refusal.into_response())),
        };
        // The connection counts as busy only from here on. While its body arrives slowly it may be closed for
        // a new connection.
        phase.send_replace(Phase::Busy);
        let answer = router.call(request).await;
        phase.send_replace(Phase::Idle);
        // A client may send many requests in one burst. Between two of them other tasks run.
        yield_now().await;
        answer
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    // Errors of a connection are the client's and are ignored.
    if end.run_until_cancelled(&mut connection).await.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = connection.await;
        return;
    }
    phase.send_replace(Phase::Silent);
    let mut rest = connection.into_parts().io.into_inner().take(limits.discard_bytes);
    // The connection is closed next, so an error or a timeout does not matter.
    let _ = end.run_until_cancelled(timeout(limits.discard, copy(&mut rest, &mut sink()))).await;
}

/// Reads the whole body of a request.
async fn read_body(request: Request<Incoming>, limits: Limits) -> Result<Request<Body>, Failure> {
    let (head, body) = request.into_parts();
    match timeout(limits.body_read, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes().into())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(failure(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
        }
        // If the client has broken off, nobody reads this answer.
        Ok(Err(_)) => Err(failure(StatusCode::BAD_REQUEST, "the body is not what its headers say")),
        Err(_) => Err(failure(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// Whether the client closed the connection before it was accepted.
fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Connection {
    task: AbortHandle,
    phase: watch::Receiver<Phase>,
}

/// The state of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client has not sent a whole request yet.
    Silent,
    /// A request is under way.
    Busy,
    /// A request was answered, and the connection is kept open for another request.
    Idle,
}

/// The index of the connection that is closed for a new one; `None` if all connections are busy. Chosen is
/// the oldest connection of the larger of two groups, silent and idle. So a flood of silent connections
/// cannot close the idle connection of a scraper, and idle connections cannot keep new clients out.
fn index_to_close(open: &[Connection]) -> Option<usize> {
    let group = |phase| (0..open.len()).filter(move |index| *open[*index].phase.borrow() == phase);
    let more_are_idle = group(Phase::Idle).count() > group(Phase::Silent).count();
    group(if more_are_idle { Phase::Idle } else { Phase::Silent }).next()
}

#[cfg(test)]
mod tests;
