//! What must stay inside does: peers tell everything they were sent, and the log tells everything.

use std::time::Duration;

use devstack::{
    Devstack,
    auth::SeedPersona,
    fault::{Fault, Faults},
    recorder::Recorded,
};
use mana_persona_runner::domain::derive_password;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::daemon::Daemon;
use crate::support::{SEED_SECRET, Setup, patiently, start_peers};

type Matcher = fn(&Recorded) -> bool;

/// Longer than a daily persona rests.
const DAY: Duration = Duration::from_secs(25 * 3_600);

/// Every kind of request a run makes, in order.
fn operations(peers: &Devstack) -> Vec<(&'static str, Faults, Matcher)> {
    let (auth, mcp, claude) =
        (&peers.auth.served.faults, &peers.mcp.served.faults, &peers.claude.served.faults);
    let all: [(_, &Faults, Matcher); 13] = [
        ("due", auth, |r| r.path().ends_with("/due")),
        ("login", auth, |r| r.path().ends_with("/auth/login")),
        ("spaces by JWT", auth, |r| is_spaces(r) && r.header("cookie").is_none()),
        ("sign-in", auth, |r| r.path().ends_with("/sign-in/email")),
        ("spaces by cookie", auth, |r| is_spaces(r) && r.header("cookie").is_some()),
        ("token", auth, |r| r.path().ends_with("/auth/token")),
        ("initialize", mcp, |r| r.json()["method"] == "initialize"),
        ("tools/list", mcp, |r| r.json()["method"] == "tools/list"),
        ("tools/call", mcp, |r| r.json()["method"] == "tools/call"),
        ("main turn", claude, |r| r.json()["tools"].is_array()),
        ("rating turn", claude, |r| r.json()["tools"].is_null()),
        ("actions", auth, |r| r.path().ends_with("/actions")),
        ("feedback", auth, |r| r.path().ends_with("/feedback")),
    ];
    all.map(|(name, faults, matches)| (name, faults.clone(), matches)).into()
}

fn is_spaces(request: &Recorded) -> bool {
    request.path().ends_with("/organization/list")
}

/// What must not be told: name and text.
type Secrets = Vec<(&'static str, String)>;

/// The secrets of the process and those a run came by, as the peers saw them.
fn secrets(peers: &Devstack, persona: &SeedPersona) -> Secrets {
    let mut secrets = vec![
        ("seed secret", SEED_SECRET.to_owned()),
        ("password", derive_password(SEED_SECRET, &persona.email)),
    ];
    for (name, value) in peers.environment() {
        if name.ends_with("_KEY") {
            secrets.push((name, value.clone()));
        }
    }
    let requests = [&peers.auth.served, &peers.mcp.served].map(|served| served.recorder.all());
    for request in requests.into_iter().flatten() {
        if let Some(jwt) = request.header("authorization") {
            secrets.push(("JWT", jwt.trim_start_matches("Bearer ").to_owned()));
        }
        if let Some(cookie) = request.header("cookie") {
            let (token, signature) = cookie.split_once('=').unwrap().1.split_once('.').unwrap();
            secrets.push(("session token", token.to_owned()));
            secrets.push(("cookie signature", signature.to_owned()));
        }
    }
    secrets.sort();
    secrets.dedup();
    for kind in ["JWT", "session token", "MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"] {
        assert!(secrets.iter().any(|(name, _)| *name == kind), "the run used no {kind}");
    }
    secrets
}

/// The lines of `text` that tell a secret, with its name.
fn leaks(place: &str, text: &str, secrets: &Secrets) -> Vec<String> {
    let of_line = |line: &str| {
        let told = secrets.iter().find(|(_, secret)| line.contains(secret.as_str()));
        told.map(|(name, _)| format!("{name} in {place}: {line}"))
    };
    text.lines().filter_map(of_line).collect()
}

/// Ticks until the persona is not held back.
async fn tick(daemon: &Daemon) -> (StatusCode, Value) {
    patiently("a tick that runs", async {
        loop {
            let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
            if body["result"]["skipped"] != 1 {
                return (status, body);
            }
        }
    })
    .await
}

/// What it takes to come by a session, which is then kept.
const FIRST_LOGIN: [&str; 3] = ["login", "spaces by JWT", "sign-in"];

/// Lets every request of a run fail: for good one after the other, and once all of them in a way that
/// the run survives. Returns what /diag answered.
async fn fail_everywhere(
    peers: &Devstack,
    daemon: &Daemon,
    transient: &Fault,
    known: &str,
) -> String {
    let mut answers = String::new();
    let operations = operations(peers);
    let (first, later): (Vec<_>, Vec<_>) =
        operations.iter().partition(|(name, ..)| FIRST_LOGIN.contains(name));
    for (round, for_good) in [first, later].into_iter().enumerate() {
        if round == 1 {
            for (_, faults, matches) in &operations {
                faults.inject(1, transient.clone(), *matches);
            }
            let (_, body) = tick(daemon).await;
            assert_eq!(body["result"]["ranSuccessfully"], 1, "{body}");
            assert!(operations.iter().all(|(_, faults, _)| faults.is_empty()), "all were met");
        }
        for (name, faults, matches) in for_good {
            for fault in [Fault::Echo(400), Fault::status(400, known)] {
                peers.clock.advance(DAY);
                faults.inject(1, fault, *matches);
                let (status, body) = tick(daemon).await;
                let went_well = status == StatusCode::OK && body["result"]["failed"] == json!([]);
                assert_eq!(went_well, *name == "tools/call", "{name}: {body}");
                assert!(faults.is_empty(), "{name}");
                answers.push_str(&format!("{body}\n"));
            }
        }
    }
    answers
}

/// Peers fail and tell what they were sent or know; a tick with the log at its fullest tells nothing.
async fn peers_tell_everything(format: &str, transient: impl Fn(&str) -> Fault) {
    let setup = Setup::many(&["anna"]).short_days();
    let anna = setup.personas[0].clone();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let vars = [
        ("LOG_FORMAT", format.to_owned()),
        ("RUST_LOG", "trace".into()),
        ("RUN_BACKOFF_MS", "1".into()),
    ];
    let daemon = Daemon::start(&peers, &vars).await;
    let known = format!("{}\n{}", anna.email, json!(peers.environment()));
    let mut answers = fail_everywhere(&peers, &daemon, &transient(&known), &known).await;

    // Answers that break off and rows that are none hold e-mails too.
    peers.clock.advance(DAY);
    peers.auth.served.faults.on(3, Method::GET, "/due", Fault::EndBody(290));
    let (status, body) = tick(&daemon).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    answers.push_str(&body.to_string());
    let health = daemon.call(Method::GET, "/health").await.1;
    assert_eq!(health["status"], "degraded");
    peers.auth.set_raw_due_rows(vec![json!(anna.email), json!({"moduleMix": anna.email})]);
    assert_eq!(tick(&daemon).await.1["result"]["failed"].as_array().unwrap().len(), 2);

    let metrics = daemon.metrics().await;
    daemon.signal("TERM").await;
    let ended = daemon.ended().await;
    let asked = peers.auth.served.recorder.matching(|r| r.path().ends_with("/due")).len();
    let told = ended.stdout.lines().filter(|line| line.contains("fetch_due")).count();
    assert!(told >= asked, "{told} of {asked} requests are in the log: {}", ended.stdout);
    let rows = format!("{:#?}{:#?}", peers.auth.actions().await, peers.auth.feedback().await);
    let prompts: Vec<_> = peers.claude.requests().into_iter().map(|request| request.raw).collect();
    let mut secrets = secrets(&peers, &anna);
    let mut found = leaks("an answer of /diag", &answers, &secrets);
    // An e-mail may stand in answers of /diag, and nowhere else.
    secrets.push(("e-mail", anna.email));
    for (place, text) in [
        ("the log", &ended.stdout),
        ("the errors", &ended.stderr),
        ("/metrics", &metrics),
        ("/health", &health.to_string()),
        ("the rows", &rows),
        ("a prompt", &prompts.join("\n")),
    ] {
        found.extend(leaks(place, text, &secrets));
    }
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}

#[tokio::test]
async fn nothing_that_peers_echo_leaves_the_process_in_text() {
    peers_tell_everything("text", |_| Fault::Echo(503)).await;
}

#[tokio::test]
async fn nothing_that_peers_know_leaves_the_process_in_json() {
    peers_tell_everything("json", |known| Fault::status(503, known)).await;
}
