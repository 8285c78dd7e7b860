//! Serving to whoever connects, those who mean no good included.
//!
//! A client that never ends its headers or its body or never reads an answer is cut off, what is too large
//! is refused before it is held in memory, and when too many are connected an old one that asks for nothing
//! makes room: so /health answers, and no client takes the descriptors and the memory that runs need. What is
//! refused here is in no metric.

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

/// Connections that may wait to be taken. A burst that finds no room in it is seconds late, /health among
/// it. The system has a limit of its own (net.core.somaxconn), which wins where it is lower.
const BACKLOG: u32 = 4_096;

/// Before the next try where the system takes no connection, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Request line and headers, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// Headers of one request.
const HEADERS: usize = 64;
/// Body of a request, in bytes.
const BODY_BYTES: usize = 16 * 1024;

/// Connections at once, where there are descriptors for them.
const CONNECTIONS: usize = 256;

/// What one client, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the beginning of a connection, or the end of its last answer, to the end of the next
    /// request's headers.
    pub header_read: Duration,
    /// From the end of a request's headers to the end of its body.
    pub body_read: Duration,
    /// How long an answer may make no progress because the client does not read it.
    pub write: Duration,
    /// How long what a client still sends at the end is thrown away. Closing on unread input would take the
    /// last answer, a refusal for example, away from a client that has not read it yet.
    pub discard: Duration,
    /// The same in bytes.
    pub discard_bytes: u64,
    /// Connections at once.
    pub connections: usize,
}

impl Limits {
    /// Limits that leave most of so many descriptors to others.
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

/// Listens, with room for a burst.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `end`, then closes the port and lets the answers under way come to their end.
#[expect(clippy::disallowed_methods, reason = "a connection has a task of its own")]
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    end: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    // The oldest first.
    let mut open: Vec<Connection> = Vec::new();
    loop {
        let Some(accepted) = end.run_until_cancelled(listener.accept()).await else { break };
        let peer = match accepted {
            Ok(peer) => peer,
            Err(error) if is_of_the_client(&error) => continue,
            Err(error) => {
                tracing::warn!("no connection can be taken for now: {error}");
                end.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= limits.connections {
            // Whoever has sent a request by now is heard before it could be taken for silent.
            yield_now().await;
            // Where all of them are at work, the new one is dropped.
            let Some(index) = who_makes_room(&open) else { continue };
            open.remove(index).task.abort();
        }
        let (phase, seen) = watch::channel(Phase::Silent);
        let task = tasks.spawn(converse(peer, router.clone(), limits, phase, end.clone()));
        open.push(Connection { task, phase: seen });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// One connection, to its end.
async fn converse(
    (stream, caller): (TcpStream, SocketAddr),
    router: Router,
    limits: Limits,
    phase: watch::Sender<Phase>,
    end: CancellationToken,
) {
    // Only latency is at stake.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write));
    let (router, phase) = (&TowerToHyperService::new(router), &phase);
    let service = service_fn(move |mut request: Request<Incoming>| async move {
        request.extensions_mut().insert(ConnectInfo(caller));
        let request = match whole(request, limits).await {
            Ok(request) => request,
            Err(refusal) => return Ok(refusal.into_response()),
        };
        // Only now does the connection count as at work: a body that trickles in is none.
        phase.send_replace(Phase::AtWork);
        let answer = router.call(request).await;
        phase.send_replace(Phase::Kept);
        // Requests may come in one burst: between two of them everybody else has a turn.
        yield_now().await;
        answer
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    // How a connection ends is the client's affair.
    if end.run_until_cancelled(&mut connection).await.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = connection.await;
        return;
    }
    phase.send_replace(Phase::Silent);
    let mut rest = connection.into_parts().io.into_inner().take(limits.discard_bytes);
    // Whatever ends it, the connection is closed next.
    let _ = end.run_until_cancelled(timeout(limits.discard, copy(&mut rest, &mut sink()))).await;
}

/// The request with all of its body.
async fn whole(request: Request<Incoming>, limits: Limits) -> Result<Request<Body>, Failure> {
    let (head, body) = request.into_parts();
    match timeout(limits.body_read, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes().into())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(failure(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
        }
        // Or broken off; then nobody reads this.
        Ok(Err(_)) => Err(failure(StatusCode::BAD_REQUEST, "the body is not what its headers say")),
        Err(_) => Err(failure(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// Whether the client is to blame: it has gone before it was taken.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Connection {
    task: AbortHandle,
    phase: watch::Receiver<Phase>,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It never asked for anything.
    Silent,
    /// A request is under way.
    AtWork,
    /// It has asked, and is kept for more.
    Kept,
}

/// Which of these is closed for a new one; `None` if all of them are at work. Of those that never asked for
/// anything and those that have and were kept, the oldest of the larger group goes: neither a flood of silent
/// ones ends a scraper's, nor can kept ones keep newcomers out.
fn who_makes_room(open: &[Connection]) -> Option<usize> {
    let group = |phase| (0..open.len()).filter(move |index| *open[*index].phase.borrow() == phase);
    let kept_are_more = group(Phase::Kept).count() > group(Phase::Silent).count();
    group(if kept_are_more { Phase::Kept } else { Phase::Silent }).next()
}

#[cfg(test)]
mod tests;
