//! The socket of a peer: a listener on a free loopback port whose connections can be reset, and the layer
//! that records every request and applies the planned faults.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener},
};
use futures_util::Stream;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{AbortHandle, JoinHandle},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    fault::{Fault, Faults},
    recorder::{Recorded, Recorder},
};

/// Largest request body that is read, in bytes. It is larger than the limit of any peer, so that the peer's
/// own limit answers first.
const BODY_LIMIT: usize = 64 << 20;

/// One peer being served. Dropping it closes the socket.
#[derive(Debug)]
pub struct Served {
    /// The peer's base URL without a trailing slash: `http://127.0.0.1:PORT`.
    pub url: String,
    /// The requests that the peer received.
    pub recorder: Recorder,
    /// The faults that are planned for coming requests.
    pub faults: Faults,
    app: Router,
    addr: SocketAddr,
    listening: Mutex<Listening>,
}

/// The serving task of a peer that is up, or the reserved port of a peer that is down.
#[derive(Debug)]
struct Listening {
    task: JoinHandle<()>,
    connections: CancellationToken,
    /// Keeps the port reserved while the peer is down. No process listens on it.
    _kept: Option<TcpSocket>,
}

impl Served {
    /// Serves `router` on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(router: Router) -> io::Result<Self> {
        Self::start_at(router, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Serves `router` at `addr`, for a peer that restarts on its old port.
    ///
    /// # Errors
    /// When `addr` cannot be bound.
    pub async fn start_at(router: Router, addr: SocketAddr) -> io::Result<Self> {
        let (recorder, faults) = (Recorder::default(), Faults::default());
        let layer = Wire { recorder: recorder.clone(), faults: faults.clone() };
        let app = router.layer(middleware::from_fn_with_state(layer, observe));
        let socket = bind(addr)?.listen(BACKLOG)?;
        let addr = socket.local_addr()?;
        let listening = Mutex::new(Listening::begin(socket, app.clone()));
        Ok(Self { url: format!("http://{addr}"), recorder, faults, app, addr, listening })
    }

    /// Closes the socket and resets every connection, so that further connections are refused. The port stays
    /// reserved for this peer.
    ///
    /// # Errors
    /// When the port cannot be reserved.
    pub async fn refuse_connections(&self) -> io::Result<()> {
        let kept = Some(bind(self.addr)?);
        self.stop();
        while !self.listening().task.is_finished() {
            tokio::task::yield_now().await;
        }
        self.listening()._kept = kept;
        Ok(())
    }

    /// Serves again on the port where connections were refused. The peer keeps all of its state.
    ///
    /// # Errors
    /// When the port is no longer free.
    pub fn accept_again(&self) -> io::Result<()> {
        let socket = bind(self.addr)?.listen(BACKLOG)?;
        *self.listening() = Listening::begin(socket, self.app.clone());
        Ok(())
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the socket and resets every connection: the peer is down.
    pub fn stop(&self) {
        self.switch().off();
    }

    /// A handle that stops this peer from another place, for example from another peer's answer.
    pub fn switch(&self) -> Switch {
        let listening = self.listening();
        let task = listening.task.abort_handle();
        Switch { task, connections: listening.connections.clone() }
    }
}

/// Length of the queue of connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Binds a port so that a second socket of this peer can bind it too: one socket reserves the port while the
/// other one is closed.
fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

impl Listening {
    fn begin(socket: TcpListener, app: Router) -> Self {
        let connections = CancellationToken::new();
        let listener = ResettableListener { socket, all: connections.clone() };
        let task = tokio::spawn(async move {
            let service = app.into_make_service_with_connect_info::<Connection>();
            // The listener retries its own errors, so serving ends only when the task is aborted.
            let _ = axum::serve(listener, service).await;
        });
        Self { task, connections, _kept: None }
    }
}

/// Stops a peer without access to its [`Served`].
#[derive(Clone, Debug)]
pub struct Switch {
    task: AbortHandle,
    connections: CancellationToken,
}

impl Switch {
    /// Closes the socket and resets every connection, as [`Served::stop`] does.
    pub fn off(&self) {
        self.task.abort();
        self.connections.cancel();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Wire {
    recorder: Recorder,
    faults: Faults,
}

/// Records the request, then handles it or applies the planned fault.
async fn observe(
    State(wire): State<Wire>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let recorded = Recorded {
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        body: body.clone(),
        at: Instant::now(),
        status: None,
    };
    let fault = wire.faults.take(&recorded);
    let index = wire.recorder.arrived(recorded.clone());
    let handle = next.run(Request::from_parts(parts, Body::from(body)));
    let response = match fault {
        None => handle.await,
        Some(Fault::Respond { status, headers, body }) => respond(status, headers, body),
        Some(Fault::Echo(status)) => respond(status, Vec::new(), echo(&recorded)),
        Some(Fault::HandledThenRespond { status, body }) => {
            handle.await;
            respond(status, vec![("content-type", "application/json".into())], body)
        }
        Some(Fault::Delay(pause)) => {
            tokio::time::sleep(pause).await;
            handle.await
        }
        Some(Fault::Hold(released)) => {
            released.cancelled().await;
            handle.await
        }
        Some(Fault::Spliced(members)) => splice(handle.await, &members).await,
        Some(Fault::Bytes { status, media_type, body }) => {
            respond(status, vec![("content-type", media_type.into())], body)
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => connection.reset().await,
        Some(Fault::HandledThenReset) => {
            handle.await;
            connection.reset().await
        }
        Some(Fault::CutBody(after)) => shorten(handle.await, after, Some(connection)),
        Some(Fault::EndBody(after)) => shorten(handle.await, after, None),
    };
    if let Some(index) = index {
        wire.recorder.answered(index, response.status());
    }
    response
}

fn respond(status: u16, headers: Vec<(&'static str, String)>, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The response with `members` inserted after the first `{` of its body.
async fn splice(response: Response, members: &[u8]) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    let mut body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default().to_vec();
    if let Some(bracket) = body.iter().position(|byte| *byte == b'{') {
        body.splice(bracket + 1..bracket + 1, members.iter().copied());
    }
    Response::from_parts(parts, body.into())
}

/// The request line, headers and body of a request as text.
fn echo(request: &Recorded) -> String {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let body = String::from_utf8_lossy(&request.body);
    format!("{} {}\n{}\n\n{body}", request.method, request.uri, headers.join("\n"))
}

/// The response, its body ending after `after` bytes. With `cut`, the connection is reset at that point.
fn shorten(response: Response, after: usize, cut: Option<Connection>) -> Response {
    let (mut parts, body) = response.into_parts();
    if cut.is_none() {
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    }
    let body = Shortened { inner: body.into_data_stream(), left: after, cut };
    Response::from_parts(parts, Body::from_stream(body))
}

/// A body that yields up to `left` bytes of `inner`, then ends or resets the connection.
struct Shortened<S> {
    inner: S,
    left: usize,
    cut: Option<Connection>,
}

impl<S> Stream for Shortened<S>
where
    S: Stream<Item = Result<Bytes, axum::Error>> + Unpin,
{
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return match &self.cut {
                None => Poll::Ready(None),
                // An error in the middle of a body makes the server drop the connection after the bytes
                // already sent.
                Some(_) => {
                    Poll::Ready(Some(Err(axum::Error::new(io::Error::other("cut by a fault")))))
                }
            };
        }
        match Pin::new(&mut self.inner).poll_next(cx) {
            Poll::Ready(Some(Ok(mut bytes))) => {
                bytes.truncate(self.left);
                self.left -= bytes.len();
                Poll::Ready(Some(Ok(bytes)))
            }
            other => other,
        }
    }
}

/// A handle to one accepted connection, given to the requests that arrive on that connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    reset: CancellationToken,
}

impl Connection {
    /// Resets the connection. The request that asked for the reset is never answered.
    async fn reset(&self) -> Response {
        self.reset.cancel();
        std::future::pending().await
    }
}

impl Connected<IncomingStream<'_, ResettableListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, ResettableListener>) -> Self {
        Self { reset: stream.io().reset.clone() }
    }
}

struct ResettableListener {
    socket: TcpListener,
    /// Parent of the tokens of all connections.
    all: CancellationToken,
}

impl Listener for ResettableListener {
    type Io = ResettableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, addr) = <TcpListener as Listener>::accept(&mut self.socket).await;
        // Without this option the body of an SSE answer waits 40 ms for the acknowledgement of its head. If
        // the socket refuses the option, the connection is only slower.
        let _ = stream.set_nodelay(true);
        let reset = self.all.child_token();
        let until_reset = Box::pin(reset.clone().cancelled_owned());
        (ResettableStream { stream, reset, until_reset }, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.socket.local_addr()
    }
}

/// A TCP stream that resets its connection once its token is cancelled.
pub(crate) struct ResettableStream {
    stream: TcpStream,
    reset: CancellationToken,
    until_reset: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl ResettableStream {
    /// The error that reads and writes return once a reset was requested. Closing with SO_LINGER 0 sends an
    /// RST.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        self.until_reset.as_mut().poll(cx).is_ready().then(|| {
            // Where the option cannot be set, the connection is closed without a reset; tests would notice
            // the difference.
            let _ = SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO));
            io::ErrorKind::ConnectionReset.into()
        })
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.poll_reset(cx) {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_reset(cx) {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
