use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::routing::get;
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    task::JoinHandle,
    time::interval,
};

use super::*;

/// Timeout of every wait. It is reached only if the test fails.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK: &[u8] = b"GET /quick HTTP/1.1\r\nHost: h\r\n\r\n";

/// A server with three routes: one answers at once, one waits for a permit, and one never ends its answer.
struct Server {
    address: SocketAddr,
    gate: Arc<Semaphore>,
    /// Cancelled when the server drops an endless answer.
    given_up: CancellationToken,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, end) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
        let waits = {
            let gate = gate.clone();
            async move || {
                gate.acquire().await.unwrap().forget();
                "late"
            }
        };
        let given_up = CancellationToken::new();
        let endless = {
            let given_up = given_up.clone();
            async move || {
                let guard = given_up.drop_guard();
                Body::from_stream(stream::repeat_with(move || {
                    let _until_dropped = &guard;
                    Ok::<_, Infallible>(vec![b'x'; 64 << 10])
                }))
            }
        };
        let router = Router::new()
            .route("/quick", get("quick"))
            .route("/waits", get(waits))
            .route("/endless", get(endless));
        let task = tokio::spawn(serve(listener, router, limits, end.clone()));
        Self { address, gate, given_up, end, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Everything that the server sends until it closes or resets the connection.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut received)).await.expect("it ends");
    // A connection that is cut off may end with a reset.
    let _ = read;
    String::from_utf8(received).unwrap()
}

/// The server's answer to a request on a connection that stays open.
async fn answer(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut received = vec![0; 4_096];
    let length = timeout(PATIENCE, stream.read(&mut received)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&received[..length]).into_owned()
}

#[tokio::test]
async fn headers_that_trickle_in_forever_end_the_connection() {
    let limits = Limits { header_read: Duration::from_secs(1), ..Limits::within(usize::MAX) };
    let server = Server::start(limits).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        writer.write_all(b"GET /quick HTTP/1.1\r\nX-Slow: ").await.unwrap();
        let mut pace = interval(Duration::from_millis(20));
        while writer.write_all(b"x").await.is_ok() {
            pace.tick().await;
        }
    });
    let mut received = Vec::new();
    let ended = timeout(PATIENCE, reader.read_to_end(&mut received)).await;
    assert!(ended.is_ok(), "the slow client is still connected");
    timeout(PATIENCE, trickle).await.expect("it notices").unwrap();
    // The server also closes the connections of clients that send nothing at all, or nothing after a request.
    assert_eq!(to_the_end(&mut server.connect().await).await, "");
    let mut kept = server.connect().await;
    assert!(answer(&mut kept, ASK).await.ends_with("quick"));
    assert_eq!(to_the_end(&mut kept).await, "");
}

#[tokio::test]
async fn a_request_head_beyond_the_limits_is_refused() {
    let server = Server::start(Limits::within(usize::MAX)).await;
    let long = format!("GET /quick HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(17 * 1024));
    let many = format!("GET /quick HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(65));
    for request in [long, many] {
        let mut stream = server.connect().await;
        let received = answer(&mut stream, request.as_bytes()).await;
        assert!(received.starts_with("HTTP/1.1 431 "), "{received}");
    }
    let fits = format!("GET /quick HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(64));
    assert!(answer(&mut server.connect().await, fits.as_bytes()).await.ends_with("quick"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_and_leaves_room_for_others() {
    let limits =
        Limits { body_read: Duration::from_secs(1), connections: 1, ..Limits::within(usize::MAX) };
    let server = Server::start(limits).await;
    let request = b"POST /quick HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nbegin";
    let mut slow = server.connect().await;
    let received = answer(&mut slow, request).await;
    assert!(received.starts_with("HTTP/1.1 408 "), "{received}");
    assert_eq!(to_the_end(&mut slow).await, "");
    let patient = Limits { body_read: PATIENCE, connections: 1, ..Limits::within(usize::MAX) };
    let server = Server::start(patient).await;
    let mut slow = server.connect().await;
    slow.write_all(request).await.unwrap();
    assert!(answer(&mut server.connect().await, ASK).await.ends_with("quick"));
    assert_eq!(to_the_end(&mut slow).await, "", "it made room");
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up_and_one_that_reads_is_not() {
    let limits = Limits { write: Duration::from_secs(1), ..Limits::within(usize::MAX) };
    let server = Server::start(limits).await;
    let request = b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut reads = server.connect().await;
    reads.write_all(request).await.unwrap();
    let (mut some, begun) = (vec![0; 64 << 10], tokio::time::Instant::now());
    while begun.elapsed() < limits.write * 3 {
        let length = timeout(PATIENCE, reads.read(&mut some)).await.unwrap().unwrap();
        assert_ne!(length, 0, "it is served as long as it reads");
    }
    drop(reads);
    let server = Server::start(limits).await;
    let mut stalls = server.connect().await;
    stalls.write_all(request).await.unwrap();
    timeout(PATIENCE, server.given_up.cancelled()).await.expect("it is given up");
    drop(stalls);
}

#[tokio::test]
async fn whoever_sends_too_much_before_reading_is_told_so_all_the_same() {
    let patient = Limits { discard: PATIENCE, ..Limits::within(usize::MAX) };
    let server = Server::start(patient).await;
    // More than fits into the socket buffers of both sides.
    let large = "x".repeat(12 << 20);
    let head = format!("GET /quick HTTP/1.1\r\nX: {large}\r\n\r\n");
    let body = format!("POST /quick HTTP/1.1\r\nContent-Length: {}\r\n\r\n{large}", large.len());
    for (request, status) in [(head, "431"), (body, "413")] {
        let mut stream = server.connect().await;
        timeout(PATIENCE, stream.write_all(request.as_bytes())).await.unwrap().unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut received)).await.unwrap().expect("no reset");
        let received = String::from_utf8(received).unwrap();
        assert!(received.starts_with(&format!("HTTP/1.1 {status} ")), "{received}");
    }
    // The server does not drop input without a limit.
    let brief = Limits { discard: Duration::from_millis(50), ..Limits::within(usize::MAX) };
    let bounded = Limits { discard_bytes: 1_000, ..patient };
    for limits in [brief, bounded] {
        let server = Server::start(limits).await;
        let (mut reader, mut writer) = server.connect().await.into_split();
        let endless = async { while writer.write_all(&[b'x'; 4_096]).await.is_ok() {} };
        timeout(PATIENCE, endless).await.expect("it is cut off");
        let mut received = Vec::new();
        let _ = timeout(PATIENCE, reader.read_to_end(&mut received)).await.expect("it ends");
    }
}

#[tokio::test]
async fn a_body_that_breaks_the_protocol_is_not_called_too_large() {
    let server = Server::start(Limits::within(usize::MAX)).await;
    let request = |chunk: &str| {
        format!("POST /quick HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\r\n")
    };
    let too_large = format!("5000\r\n{}", "x".repeat(0x5000));
    for (chunk, status) in [("zz", "400"), (too_large.as_str(), "413")] {
        let received = answer(&mut server.connect().await, request(chunk).as_bytes()).await;
        assert!(received.starts_with(&format!("HTTP/1.1 {status} ")), "{received}");
    }
}

#[tokio::test]
async fn a_burst_of_connections_waits_to_be_taken() {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let burst = system.trim().parse().unwrap_or(usize::MAX).min(300);
    let mut waiting = Vec::new();
    for _ in 0..burst {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        waiting.push(connected.expect("there is room").unwrap());
    }
}

#[test]
fn connections_take_a_quarter_of_the_descriptors_at_most() {
    for (descriptors, connections) in [(20, 5), (256, 64), (1_024, 256), (usize::MAX, 256)] {
        assert_eq!(Limits::within(descriptors).connections, connections, "{descriptors}");
    }
}

#[tokio::test]
async fn an_old_silent_connection_makes_room_and_one_at_work_does_not() {
    let server = Server::start(Limits { connections: 5, ..Limits::within(usize::MAX) }).await;
    let mut at_work = server.connect().await;
    at_work.write_all(b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        assert!(answer(&mut stream, ASK).await.ends_with("quick"));
        kept.push(stream);
    }
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(server.connect().await);
    }
    kept.push(server.connect().await);
    assert!(answer(&mut kept[2], ASK).await.ends_with("quick"), "there is room");
    assert_eq!(to_the_end(&mut silent[0]).await, "", "the older one that never asked made it");
    kept.push(server.connect().await);
    assert!(answer(&mut kept[3], ASK).await.ends_with("quick"), "there is room");
    assert_eq!(to_the_end(&mut kept[0]).await, "", "of many kept ones, the oldest made it");
    for stream in &mut kept[1..] {
        assert!(answer(stream, ASK).await.ends_with("quick"), "the others stay");
    }
    assert!(answer(&mut silent[1], ASK).await.ends_with("quick"), "the others stay");
    server.gate.add_permits(1);
    let mut received = vec![0; 4_096];
    let length = timeout(PATIENCE, at_work.read(&mut received)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&received[..length]).ends_with("late"));
}

#[tokio::test]
async fn at_the_end_the_port_is_closed_and_answers_under_way_arrive() {
    let server = Server::start(Limits::within(usize::MAX)).await;
    let mut at_work = server.connect().await;
    at_work.write_all(b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // Connections are accepted in order, so with this answer the first connection is accepted too.
    assert!(answer(&mut server.connect().await, ASK).await.ends_with("quick"));
    server.end.cancel();
    timeout(PATIENCE, async { while TcpStream::connect(server.address).await.is_ok() {} })
        .await
        .expect("the port is closed");
    server.gate.add_permits(1);
    assert!(to_the_end(&mut at_work).await.ends_with("late"));
    timeout(PATIENCE, server.task).await.expect("serving ends").unwrap();
}
