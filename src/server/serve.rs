//! Serving to whoever connects, those who mean no good included.
//!
//! A client that never ends its headers or its body is cut off, what is too large is refused before it is
//! held in memory, and when too many are connected an old one that asks for nothing makes room: so
//! /health answers, and no client takes the descriptors and the memory that runs need. What is refused here
//! is in no metric.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
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
    net::{TcpListener, TcpStream},
    task::{AbortHandle, Id, JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::failure;

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
            connections: 256,
        }
    }
}

/// Serves until `end`, then closes the port and lets the answers under way come to their end.
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
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let (router, requests) = (router.clone(), requests.clone());
        request.extensions_mut().insert(ConnectInfo(caller));
        async move {
            match whole(request, limits).await {
                Ok(request) => {
                    // Only now does the connection count as at work: a body that trickles in is none.
                    let _under_way = requests.begin();
                    router.call(request).await
                }
                Err(refusal) => Ok(refusal),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How a connection ends is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
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
        Ok(Err(_)) => Err(failure(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")),
        Err(_) => Err(failure(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
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
