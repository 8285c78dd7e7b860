//! Serving to whoever connects, those who mean no good included.
//!
//! A client that never ends its headers or its body or never reads an answer is cut off, what is too large
//! is refused before it is held in memory, and when too many are connected an old one that asks for nothing
//! makes room: so /health answers, and no client takes the descriptors and the memory that runs need. What is
//! refused here is in no metric.

use std::{
    error::Error,
    io, iter,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{self, StatusCode},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, copy, sink},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{AbortHandle, Id, JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::failure;

/// Connections that may wait to be taken. A burst that finds no place in it is seconds late, /health among
/// it. The system has a limit of its own (net.core.somaxconn), which wins where it is lower.
const BACKLOG: u32 = 4_096;

/// Before the next try where the system takes no connection, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What one client, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the beginning of a connection, or the end of its last answer, to the end of the next
    /// request's headers.
    pub header_read: Duration,
    /// Request line and headers, in bytes; at least 8 KiB.
    pub header_bytes: usize,
    /// Headers of one request.
    pub headers: usize,
    /// From the end of a request's headers to the end of its body.
    pub body_read: Duration,
    /// Body of a request, in bytes.
    pub body_bytes: usize,
    /// How long an answer may make no progress because the client does not read it.
    pub write: Duration,
    /// How long what a refused client still sends is thrown away. Closing on unread input would take the
    /// refusal away from a client that has not read it yet.
    pub discard: Duration,
    /// The same in bytes.
    pub discard_bytes: u64,
    /// Connections at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            headers: 64,
            body_read: Duration::from_secs(10),
            body_bytes: 16 * 1024,
            write: Duration::from_secs(30),
            discard: Duration::from_secs(1),
            discard_bytes: 16 << 20,
            connections: 256,
        }
    }
}

impl Limits {
    /// Limits that leave most of so many descriptors to others.
    pub fn within(descriptors: usize) -> Self {
        let ordinary = Self::default();
        Self { connections: ordinary.connections.min(descriptors / 4).max(1), ..ordinary }
    }
}

/// Listens, with room for a burst.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `end`, then closes the port and lets the answers under way come to their end.
#[expect(clippy::disallowed_methods, reason = "a connection has a task of its own")]
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, end: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut open = OpenConnections::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = end.cancelled() => break,
            Some(ended) = tasks.join_next_with_id() => {
                open.forget(ended.map_or_else(|error| error.id(), |(id, ())| id));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, caller)) => {
                if open.0.len() >= limits.connections {
                    // Whoever has sent a request by now is heard before it could be taken for silent.
                    yield_now().await;
                    if !open.close_one() {
                        // All of them are at work: the new one is dropped.
                        continue;
                    }
                }
                let requests = Arc::new(Requests::default());
                let peer = (stream, caller);
                let task = converse(peer, router.clone(), limits, requests.clone(), end.clone());
                open.0.push(OpenConnection { task: tasks.spawn(task), requests });
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!("no connection can be taken for now: {error}");
                tokio::select! { () = end.cancelled() => {}, () = sleep(ACCEPT_PAUSE) => {} }
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// One connection, to its end.
async fn converse(
    (stream, caller): (TcpStream, SocketAddr),
    router: Router,
    limits: Limits,
    requests: Arc<Requests>,
    end: CancellationToken,
) {
    // Only latency is at stake.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write));
    let router = TowerToHyperService::new(router);
    let service = service_fn({
        let requests = requests.clone();
        move |mut request: http::Request<Incoming>| {
            let (router, requests) = (router.clone(), requests.clone());
            request.extensions_mut().insert(ConnectInfo(caller));
            async move {
                match whole(request, limits).await {
                    Ok(request) => {
                        // Only now does the connection count as at work: a body that trickles in is none.
                        let _under_way = requests.begin();
                        let answer = router.call(request).await;
                        // Requests may come in one burst: between two of them everybody else has a turn.
                        yield_now().await;
                        answer
                    }
                    Err(refusal) => {
                        requests.refused.store(true, Ordering::Relaxed);
                        Ok(refusal)
                    }
                }
            }
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = end.cancelled() => None,
    };
    // How a connection ends is the client's affair, unless it was refused.
    let Some(ended) = ended else {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = connection.await;
        return;
    };
    if requests.refused.load(Ordering::Relaxed) || ended.is_err_and(|error| error.is_parse()) {
        let rest = connection.into_parts().io.into_inner();
        tokio::select! { () = discard(rest, limits) => {}, () = end.cancelled() => {} }
    }
}

/// Throws away what comes, until the other side has ended or has had enough time.
async fn discard(rest: impl AsyncRead + Unpin, limits: Limits) {
    let mut rest = rest.take(limits.discard_bytes);
    // Whatever ends it, the connection is closed next.
    let _ = timeout(limits.discard, copy(&mut rest, &mut sink())).await;
}

/// The request with all of its body.
async fn whole(
    request: http::Request<Incoming>,
    limits: Limits,
) -> Result<http::Request<Body>, Response> {
    let (head, body) = request.into_parts();
    match timeout(limits.body_read, to_bytes(Body::new(body), limits.body_bytes)).await {
        Ok(Ok(body)) => Ok(http::Request::from_parts(head, body.into())),
        // Or broken off; then nobody reads this.
        Ok(Err(error)) if is_of_the_protocol(&error) => {
            Err(failure(StatusCode::BAD_REQUEST, "the body is not what its headers say"))
        }
        Ok(Err(_)) => Err(failure(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")),
        Err(_) => Err(failure(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// Whether it was hyper that could not read the body, and not the limit that ended it.
fn is_of_the_protocol(error: &axum::Error) -> bool {
    let error: &(dyn Error + 'static) = error;
    iter::successors(Some(error), |error| (*error).source()).any(|cause| cause.is::<hyper::Error>())
}

/// Whether the client is to blame: it has gone before it was taken.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The connections, the oldest first.
#[derive(Default)]
struct OpenConnections(Vec<OpenConnection>);

struct OpenConnection {
    task: AbortHandle,
    requests: Arc<Requests>,
}

impl OpenConnections {
    fn forget(&mut self, task: Id) {
        self.0.retain(|connection| connection.task.id() != task);
    }

    /// Closes one without a request under way; `false` if there is none. Of those that never asked for
    /// anything and those that have and were kept, the oldest of the larger group goes: neither a flood
    /// of silent ones ends a scraper's, nor can kept ones keep newcomers out.
    fn close_one(&mut self) -> bool {
        let group = |asked: bool| {
            let fits = move |open: &OpenConnection| open.requests.idle_after_any() == Some(asked);
            self.0.iter().enumerate().filter(move |(_, open)| fits(open)).map(|(at, _)| at)
        };
        let asked = group(true).count() > group(false).count();
        let Some(at) = group(asked).next() else {
            return false;
        };
        self.0.remove(at).task.abort();
        true
    }
}

/// The requests of a connection.
#[derive(Default)]
struct Requests {
    under_way: AtomicUsize,
    any: AtomicBool,
    /// Whether one was refused before its end; the client may still be sending it.
    refused: AtomicBool,
}

impl Requests {
    /// A request is under way until what this returns is dropped, however that ends.
    fn begin(self: &Arc<Self>) -> UnderWay {
        self.any.store(true, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Whether there has been any; `None` while one is under way.
    fn idle_after_any(&self) -> Option<bool> {
        let idle = self.under_way.load(Ordering::Relaxed) == 0;
        idle.then(|| self.any.load(Ordering::Relaxed))
    }
}

struct UnderWay(Arc<Requests>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
