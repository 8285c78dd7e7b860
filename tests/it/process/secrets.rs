//! Secrets stay inside the daemon even if peers echo everything that they received and everything is logged.

use std::time::Duration;

use devstack::{
    Devstack,
    auth::SeedPersona,
    claude::Scripted,
    fault::{Fault, Faults},
    recorder::Recorded,
    webhook::{SECRET, Webhook},
};
use mana_persona_runner::{domain::derive_password, journal::Journal};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::daemon::Daemon;
use crate::support::{SEED_SECRET, Setup, path::VAULT, patiently, start_peers};

type Matcher = fn(&Recorded) -> bool;

/// Longer than the cadence of a daily persona.
const DAY: Duration = Duration::from_secs(25 * 3_600);

/// Every kind of request of a run, in order.
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

/// Texts that must not be disclosed: name and text.
type Secrets = Vec<(&'static str, String)>;

/// The secrets of the process and those that a run received, as the peers saw them.
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

/// A text in base64, in hex, and in base64 after a user name.
fn encodings(text: &str) -> [String; 3] {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    [STANDARD.encode(text), hex, STANDARD.encode(format!("user:{text}"))]
}

/// The lines of `text` that contain a secret, with the secret's name.
fn leaks(place: &str, text: &str, secrets: &Secrets) -> Vec<String> {
    let of_line = |line: &str| {
        let leaked = secrets.iter().find(|(_, secret)| line.contains(secret.as_str()));
        leaked.map(|(name, _)| format!("{name} in {place}: {line}"))
    };
    text.lines().filter_map(of_line).collect()
}

/// Requests ticks until the persona is not held back.
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

/// The requests that open a session; the session is then kept.
const FIRST_LOGIN: [&str; 3] = ["login", "spaces by JWT", "sign-in"];

/// Makes every request of a run fail: first each one permanently, one after another, then all of them once in
/// a way that the run survives. Returns the answers of /diag.
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
            for (name, faults, matches) in &operations {
                // An answer of /due is not known to belong to a persona, so its secrets are not known.
                let fault = if *name == "due" { Fault::Echo(503) } else { transient.clone() };
                faults.inject(1, fault, *matches);
            }
            let (_, body) = tick(daemon).await;
            assert_eq!(body["result"]["ranSuccessfully"], 1, "{body}");
            assert!(operations.iter().all(|(_, faults, _)| faults.is_empty()), "all were met");
        }
        for (name, faults, matches) in for_good {
            let of_no_persona = known.splitn(3, '\n').last().unwrap();
            let known = if *name == "due" { of_no_persona } else { known };
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

/// A webhook that repeats each request, or cannot be reached.
async fn failing_webhook(is_up: bool) -> Webhook {
    let webhook = Webhook::start().await.unwrap();
    webhook.served.faults.inject(usize::MAX, Fault::Echo(503), |_| true);
    if !is_up {
        webhook.served.refuse_connections().await.unwrap();
    }
    webhook
}

/// Waits until the webhook has not taken a report.
async fn report_is_refused(peers: &Devstack) {
    let journal = Journal::open_read_only(peers.data_folder()).await.unwrap();
    patiently("a report that is not taken", async {
        while journal.kept_report_posts().await.unwrap().iter().all(|post| post.attempts == 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Peers fail and disclose what they received or know; a tick with the most detailed log discloses nothing.
async fn peers_tell_everything(format: &str, transient: impl Fn(&str) -> Fault) {
    let setup = Setup::many(&["anna"]).short_days();
    let anna = setup.personas[0].clone();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let webhook = failing_webhook(format == "text").await;
    let vars = [
        ("LOG_FORMAT", format.to_owned()),
        ("RUST_LOG", "trace".into()),
        ("RUN_BACKOFF_MS", "1".into()),
        ("REPORT_WEBHOOK_URL", webhook.url()),
    ];
    let daemon = Daemon::start(&peers, &vars).await;
    let password = derive_password(SEED_SECRET, &anna.email);
    let encoded = encodings(&password);
    let known = format!("{password}\n{encoded:?}\n{}\n{}", anna.email, json!(peers.environment()));
    let mut answers = fail_everywhere(&peers, &daemon, &transient(&known), &known).await;

    // Truncated answers and invalid rows contain e-mails too.
    peers.clock.advance(DAY);
    peers.auth.served.faults.on(3, Method::GET, "/due", Fault::EndBody(290));
    let (status, body) = tick(&daemon).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    answers.push_str(&body.to_string());
    let health = daemon.call(Method::GET, "/health").await.1;
    assert_eq!(health["status"], "degraded");
    peers.auth.set_raw_due_rows(vec![json!(anna.email), json!({"moduleMix": anna.email})]);
    assert_eq!(tick(&daemon).await.1["result"]["failed"].as_array().unwrap().len(), 2);

    report_is_refused(&peers).await;
    let metrics = daemon.metrics().await;
    daemon.signal("TERM").await;
    let ended = daemon.ended().await;
    assert!(ended.stdout.contains("waits to be posted"), "{}", ended.stdout);
    let asked = peers.auth.served.recorder.matching(|r| r.path().ends_with("/due")).len();
    let logged = ended.stdout.lines().filter(|line| line.contains("fetch_due")).count();
    assert!(logged >= asked, "{logged} of {asked} requests are in the log: {}", ended.stdout);
    let rows = format!("{:#?}{:#?}", peers.auth.actions().await, peers.auth.feedback().await);
    let prompts: Vec<_> = peers.claude.requests().into_iter().map(|request| request.raw).collect();
    let mut secrets = secrets(&peers, &anna);
    secrets.push(("webhook", SECRET.into()));
    // The first and last characters of the encoding may depend on adjacent text.
    let middle = |encoded: String| encoded[8..encoded.len() - 4].to_owned();
    secrets.extend(encoded.map(|encoded| ("password, encoded,", middle(encoded))));
    let mut found = leaks("an answer of /diag", &answers, &secrets);
    // An e-mail may be in answers of /diag, but nowhere else.
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

#[tokio::test]
async fn what_mana_auth_echoes_where_a_vault_is_set_up_is_not_logged() {
    let setup = Setup::one(&["todo"]);
    let anna = setup.personas[0].clone();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    peers.auth.vaults().initialise_all(false);
    let password = derive_password(SEED_SECRET, &anna.email);
    let refusal = || Fault::status(400, format!("{password} {} is wrong", anna.email));
    peers.auth.served.faults.on(1, Method::POST, VAULT, refusal());
    let create = Scripted::tools(&[("todo_create", json!({"title": "Lernen"}))]);
    peers.claude.enqueue(create);
    peers.claude.enqueue(Scripted::text("Fertig."));
    let daemon = Daemon::start(&peers, &[]).await;
    tick(&daemon).await;
    assert!(peers.auth.served.faults.is_empty());
    daemon.signal("TERM").await;
    let log = daemon.ended().await.stdout;
    assert!(log.contains("400: [redacted] [redacted] is wrong"), "{log}");
    assert!(!log.contains(&password), "{log}");
}

#[tokio::test]
async fn a_setting_that_names_no_tool_is_warned_about_once_and_the_default_never() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let vars = [
        ("POLICY_HIDDEN_TOOLS", "+todo.odd".to_owned()),
        ("POLICY_ALLOW_DESTRUCTIVE", "todo.odd,habits.create".into()),
        ("PERSONA_READ_TOOLS", "habits.list,habits.peek".into()),
    ];
    let daemon = Daemon::start(&peers, &vars).await;
    for _ in 0..2 {
        assert_eq!(tick(&daemon).await.1["result"]["ranSuccessfully"], 2);
        peers.clock.advance(DAY);
    }
    daemon.signal("TERM").await;
    let log = daemon.ended().await.stdout;
    let warned: Vec<_> = log.lines().filter(|line| line.contains("lists no tool of")).collect();
    assert_eq!(warned.len(), 3, "{warned:#?}");
    for (variable, name) in [
        ("POLICY_HIDDEN_TOOLS", "todo.odd"),
        ("POLICY_ALLOW_DESTRUCTIVE", "todo.odd"),
        ("PERSONA_READ_TOOLS", "habits.peek"),
    ] {
        let is_it = |line: &&&str| line.contains(variable) && line.contains(name);
        assert_eq!(warned.iter().filter(is_it).count(), 1, "{variable}: {warned:#?}");
        assert!(warned.iter().all(|line| line.contains("WARN")), "{warned:#?}");
    }
}
