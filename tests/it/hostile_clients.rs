//! Hostile HTTP clients: the personas' runs and /health are not affected.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;

use crate::{
    process::daemon::{Daemon, finish},
    support::{PATIENCE, Setup, path, patiently, start_peers},
};

/// Number of silent connections at the same time.
const IDLE: usize = 2_000;
/// Number of connections that send their headers slowly.
const SLOW: usize = 50;

/// Allows this process to hold the test's connections: many systems give a process 1,024 descriptors by
/// default.
async fn raise_the_descriptor_limit() {
    let own = std::process::id().to_string();
    let raise = Command::new("prlimit").args(["--pid", &own, "--nofile=4096:"]).status();
    assert!(patiently("prlimit", raise).await.unwrap().success());
}

/// Sends a header byte by byte for as long as the daemon allows, and connects again when the connection is
/// closed.
async fn slow_loris(address: SocketAddr) {
    let mut pace = interval(Duration::from_millis(50));
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { return };
        let mut sent = stream.write_all(b"GET /health HTTP/1.1\r\nX-Slow: ").await;
        while sent.is_ok() {
            pace.tick().await;
            sent = stream.write_all(b"x").await;
        }
    }
}

/// The resident memory of the daemon, in bytes.
async fn memory(daemon: &Daemon) -> f64 {
    let metrics = daemon.metrics().await;
    let value = metrics.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
    value.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_and_health_work_despite_slow_idle_and_oversized_clients() {
    raise_the_descriptor_limit().await;
    let names: Vec<_> = (0..5).map(|n| format!("p{n}")).collect();
    let setup = Setup::many(&names).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let daemon = Daemon::start(&peers, &[]).await;
    let address: SocketAddr = daemon.url.strip_prefix("http://").unwrap().parse().unwrap();
    let before = memory(&daemon).await;

    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        slow.spawn(slow_loris(address));
    }
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(patiently("a connection", TcpStream::connect(address)).await.unwrap());
        if idle.len() % 100 == 0 {
            assert_eq!(daemon.call(Method::GET, "/health").await.0, StatusCode::OK);
        }
    }
    for _ in 0..5 {
        assert!(refuses_a_header_of_10_mb(address).await);
    }
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["result"]["ranSuccessfully"], json!(names.len()), "{body}");
    assert_eq!(body["result"]["failed"], json!([]));
    assert_eq!(daemon.call(Method::GET, "/health").await.1["status"], "ok");
    let vars = [("PORT".into(), address.port().to_string().into())];
    assert_eq!(finish(vars, &["--healthcheck"]).await.code, Some(0));
    assert_eq!(slow.len(), SLOW, "the slow ones were at it all the time");
    let grown = memory(&daemon).await - before;
    assert!(grown < 24e6, "{grown} bytes more than before");

    // The idle connections that were closed in favour of others have been released by now; the daemon holds a
    // few hundred at most.
    let metrics = daemon.metrics().await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("process_open_fds ")).unwrap();
    assert!(open.parse::<f64>().unwrap() < 400.0, "{open} descriptors");
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
}

#[tokio::test]
async fn with_few_descriptors_there_are_fewer_connections_and_ticks_go_on() {
    raise_the_descriptor_limit().await;
    let names: Vec<_> = (0..10).map(|n| format!("p{n}")).collect();
    let setup = Setup::many(&names).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let vars = [("PERSONA_CONCURRENCY", "10".to_owned())];
    let daemon = Daemon::start_with_descriptors((160, 160), &peers, &vars).await;
    let address: SocketAddr = daemon.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(patiently("a connection", TcpStream::connect(address)).await.unwrap());
    }
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["result"]["ranSuccessfully"], json!(names.len()), "{body}");
    daemon.signal("TERM").await;
    let ended = daemon.ended().await;
    for complaint in ["descriptors", "no connection can be taken"] {
        assert!(!ended.stdout.contains(complaint), "they are enough: {}", ended.stdout);
    }
}

#[tokio::test]
async fn the_limit_of_descriptors_is_raised_and_too_low_a_one_is_warned_of() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    let vars = [("PERSONA_CONCURRENCY", "100".to_owned())];
    for (hard, warned) in [(200, true), (1_024, false)] {
        let daemon = Daemon::start_with_descriptors((128, hard), &peers, &vars).await;
        assert!(daemon.metrics().await.contains(&format!("\nprocess_max_fds {hard}\n")));
        daemon.signal("TERM").await;
        let ended = daemon.ended().await;
        let warnings = ended.stdout.lines().filter(|line| line.contains("PERSONA_CONCURRENCY;"));
        assert_eq!(warnings.count(), usize::from(warned), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn logins_that_hang_are_few_and_leave_room_for_health() {
    const CALLERS: usize = 40;
    const AT_ONCE: usize = 4;
    let world = Setup::one(&["todo"]).start().await;
    let answers = CancellationToken::new();
    let held = devstack::fault::Fault::Hold(answers.clone());
    world.peers.auth.served.faults.inject(CALLERS, held, |r| r.path() == path::LOGIN);
    let mut callers = JoinSet::new();
    let login = format!("{}/diag/login?email=persona.anna@mana.test", world.url);
    for _ in 0..CALLERS {
        let call = crate::support::client().get(&login).send();
        callers.spawn(async move { call.await.unwrap() });
    }
    for _ in 0..CALLERS - AT_ONCE {
        let refused = patiently("a refusal", callers.join_next()).await.unwrap().unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let body: serde_json::Value =
            serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
        assert_eq!(body["ok"], json!(false));
        assert!(body["error"].as_str().unwrap().contains("under way"), "{body}");
    }
    assert_eq!(world.health().await["status"], "ok");
    answers.cancel();
    while let Some(answer) = patiently("an answer", callers.join_next()).await {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    // The connection slots are free again.
    let (status, _) = world.call(Method::GET, "/diag/login?email=persona.anna@mana.test").await;
    assert_eq!(status, StatusCode::OK);
}

/// Whether the header is refused before it is sent completely. A refusal may arrive while data is still being
/// sent and then appears as a reset.
async fn refuses_a_header_of_10_mb(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let exchange = async {
        let header = format!("GET /health HTTP/1.1\r\nX-Large: {}\r\n\r\n", "x".repeat(10_000_000));
        let sent = stream.write_all(header.as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        answer.starts_with(b"HTTP/1.1 431 ") || sent.is_err() || read.is_err()
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap()
}

#[tokio::test]
async fn a_large_body_is_refused_and_nothing_done_for_it() {
    let world = Setup::one(&["habits"]).idle().start().await;
    let client = crate::support::client();
    for (method, path) in [(Method::POST, "/diag/tick"), (Method::GET, "/health")] {
        for (length, refused) in [(16 * 1024, false), (16 * 1024 + 1, true)] {
            let request = client.request(method.clone(), format!("{}{path}", world.url));
            let answer = patiently(path, request.body(vec![b'x'; length]).send()).await.unwrap();
            let expected = if refused { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::OK };
            assert_eq!(answer.status(), expected, "{path} with {length} bytes");
        }
    }
    let ticks = world.peers.auth.served.recorder.matching(|r| r.path().ends_with("/due"));
    assert_eq!(ticks.len(), 1, "the refused one did not run");
}

#[tokio::test]
async fn public_endpoints_reveal_no_secret_no_e_mail_and_no_credentials_of_a_url() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let emails: Vec<_> = setup.personas.iter().map(|persona| persona.email.clone()).collect();
    let (peers, users) = start_peers(setup.peers, &setup.personas).await;
    let keys = peers.environment().iter().filter(|(name, _)| name.ends_with("_KEY"));
    let keys: Vec<_> = keys.map(|(_, key)| key.clone()).collect();
    let said = format!("{} postgres://mana:hush!hush@db:5432/mana {keys:?}", emails[0]);
    let daemon = Daemon::start(&peers, &[]).await;
    daemon.call(Method::POST, "/diag/tick").await;
    let fault = devstack::fault::Fault::status(400, &said);
    peers.auth.served.faults.on(1, Method::GET, "/due", fault);
    daemon.call(Method::POST, "/diag/tick").await;
    let mut answers = vec![("/metrics", daemon.metrics().await)];
    for path in ["/health", "/ready", "/nowhere"] {
        answers.push((path, daemon.call(Method::GET, path).await.1.to_string()));
    }
    assert!(answers[1].1.contains("degraded") && answers[2].1.contains("\"ready\":false"));
    assert!(answers[1].1.contains("postgres://"), "{}", answers[1].1);
    let mut secrets: Vec<String> = [emails, users, keys].concat();
    secrets.extend(["@mana", "hush", "eyJ", crate::support::SEED_SECRET].map(str::to_owned));
    for (path, answer) in answers {
        for secret in &secrets {
            assert!(!answer.contains(secret), "{secret:?} in {path}: {answer}");
        }
    }
}
