//! Memory that answers of peers need: limits are in bytes on the wire and must also limit the memory.

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::daemon::Daemon;
use crate::support::{Setup, start_peers};

const ALONE: u64 = 64 << 10;
const TEN_AT_ONCE: u64 = 160 << 10;

/// JSON or an event stream with this result.
fn answer(result: &str, as_event: bool) -> Fault {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    let (media_type, body) = match as_event {
        true => ("text/event-stream", format!("data: {body}\n\n")),
        false => ("application/json", body),
    };
    Fault::Bytes { status: 200, media_type, body: body.into_bytes() }
}

/// A JSON list that repeats this piece up to about `bytes` bytes.
fn list(piece: &str, bytes: usize) -> String {
    format!("[{}{piece}]", format!("{piece},").repeat(bytes / (piece.len() + 1)))
}

/// The peer that sends the answer.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Mcp,
    Claude,
    Auth,
}

/// Whether a request has this JSON-RPC method or this end of its path.
fn is_for(request: &Recorded, what: &str) -> bool {
    request.path().ends_with(what) || request.json()["method"] == what
}

/// The largest growth of the daemon's memory, in KiB, in a tick of this many concurrent personas whose
/// requests of this kind get this answer.
async fn growth(personas: usize, peer: Peer, what: &'static str, fault: Fault) -> u64 {
    let names: Vec<_> = (0..personas).map(|n| format!("p{n}")).collect();
    let setup = Setup::many(&names).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[("habits_list", json!({}))])),
        _ => Some(Scripted::text("Gut.")),
    });
    let daemon = Daemon::start(&peers, &[("PERSONA_CONCURRENCY", personas.to_string())]).await;
    let idle = daemon.peak_memory();
    let matches = move |r: &Recorded| is_for(r, what);
    let served = match peer {
        Peer::Mcp => &peers.mcp.served,
        Peer::Claude => &peers.claude.served,
        Peer::Auth => &peers.auth.served,
    };
    served.faults.inject(usize::MAX, fault, matches);
    let begun = async {
        // Runs of thousands of personas would take too long; the list has been processed when the first login
        // arrives.
        match what {
            "/due" => drop(served.recorder.wait_for(1, |r| r.path().ends_with("/login")).await),
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        (status, _) = daemon.call(Method::POST, "/diag/tick") => {
            assert!(what == "/due" || status == StatusCode::OK, "{status}");
        }
        () = begun => {}
    }
    // On a busy machine some runs may find a peer unreachable.
    let least = if what == "/due" { 1 } else { personas.div_ceil(2) };
    assert!(served.recorder.matching(matches).len() >= least);
    daemon.peak_memory() - idle
}

type Case = (String, Peer, &'static str, Fault);

fn answers() -> Vec<Case> {
    of_mcp()
        .into_iter()
        .map(|(size, method, fault)| (size.into(), Peer::Mcp, method, fault))
        .collect()
}

fn json(status: u16, body: impl Into<Vec<u8>>) -> Fault {
    Fault::Bytes { status, media_type: "application/json", body: body.into() }
}

/// Answers of the other peers that each persona receives.
fn to_each() -> Vec<Case> {
    let reply = |content: &str| {
        let usage = r#"{"input_tokens":9,"output_tokens":9}"#;
        json(200, format!(r#"{{"content":{content},"stop_reason":"tool_use","usage":{usage}}}"#))
    };
    let call = |input: &str| {
        let block = r#"{"type":"tool_use","id":"t1","name":"habits_list""#;
        reply(&format!(r#"[{block},"input":{{"a":{input}}}}}]"#))
    };
    let text = |text: &str| reply(&format!(r#"[{{"type":"text","text":"{text}"}}]"#));
    let tiny = list(r#"{"a":{}}"#, 1_900_000);
    let no_text = [br#"{"content":[""#.as_slice(), &vec![0xff; 1_900_000], br#""]}"#].concat();
    let spaces = |bytes| json(200, list(r#"{"id":"s","metadata":{}}"#, bytes));
    let claude = [
        ("tiny content", reply(&tiny)),
        ("tiny input", call(&tiny)),
        // The largest amounts that a reply may hold.
        ("most blocks", reply(&list("{}", 4_900 * 3))),
        ("most objects", call(&list(r#"{"a":1}"#, 4_400 * 8))),
        ("most numbers", call(&list("1", 49_000 * 2))),
        ("text", text(&"x".repeat(1_900_000))),
        ("halves of pairs", text(&r"\ud83d".repeat(1_900_000 / 6))),
        ("no text", json(200, no_text)),
        ("too long", reply(&list("{}", 15 << 20))),
        ("refusal", json(400, format!(r#"{{"error":{{"type":"x","message":{tiny}}}}}"#))),
        ("refusal in words", json(400, "a ".repeat(8 << 20))),
    ];
    let auth = [
        ("/organization/list", spaces(1_000_000)),
        ("/organization/list", spaces(2_400 * 25)),
        (
            "/login",
            json(200, format!(r#"{{"user":{{"id":"u"}},"token":{}}}"#, list("{}", 1_000_000))),
        ),
        ("/login", json(429, list("{}", 8 << 20))),
        ("/actions", json(200, format!(r#"{{"ok":true,"written":{}}}"#, list("{}", 1_000_000)))),
        ("/actions", json(400, list("{}", 8 << 20))),
    ];
    let claude = claude.map(|(name, fault)| (name.into(), Peer::Claude, "/v1/messages", fault));
    let auth = auth.map(|(path, fault)| (String::new(), Peer::Auth, path, fault));
    claude.into_iter().chain(auth).collect()
}

/// Lists of due personas, each of the largest allowed size.
fn due() -> Vec<Case> {
    const BYTES: usize = 15 << 20;
    let list_of = |rows: &str| {
        json(200, format!(r#"{{"personas":{rows},"serverTime":"2026-03-09T10:00:00Z"}}"#))
    };
    let rows = |count: usize, prompt: &str, modules: usize, cadence: &str| {
        let mix: Vec<_> = (0..modules).map(|n| format!(r#""m{n:x}":1"#)).collect();
        let rest = format!(
            r#""systemPrompt":"{prompt}","moduleMix":{{{}}},"tickCadence":"{cadence}"}}"#,
            mix.join(",")
        );
        let row = |n| format!(r#"{{"userId":"u{n}","email":"p{n}@x.example",{rest}"#);
        list_of(&format!("[{}]", (0..count).map(row).collect::<Vec<_>>().join(",")))
    };
    let prompt = "x".repeat(BYTES / 10_000 - 120);
    let no_text = [br#"{"personas":[""#.as_slice(), &vec![0xff; BYTES], br#""]}"#].concat();
    let cases = [
        ("tiny rows", list_of(&list("{}", BYTES))),
        ("most rows", list_of(&list("{}", 49_000 * 3))),
        ("numbers out of range", list_of(&list("1e400", BYTES))),
        ("one mix", rows(1, "x", 1_500_000, "daily")),
        ("mixes", rows(3_800, "x", 100, "daily")),
        ("minimal", rows(20_000, "x", 0, "daily")),
        ("prompts", rows(10_000, &prompt, 8, "daily")),
        ("half a pair in each", rows(10_000, &format!(r"\ud83d{prompt}"), 8, "daily")),
        ("an odd cadence", rows(1, "x", 0, &"x".repeat(BYTES))),
        ("odd cadences", rows(38, "x", 0, &"x".repeat(BYTES / 40))),
        ("no text", json(200, no_text)),
        ("refused", json(400, list("{}", BYTES))),
    ];
    cases.map(|(name, fault)| (name.into(), Peer::Auth, "/due", fault)).into()
}

fn of_mcp() -> Vec<(&'static str, &'static str, Fault)> {
    let mut cases = Vec::new();
    let sizes = [("3.9 MB", 3_900_000), ("7 MB", 7 << 20)];
    for (size, bytes) in sizes {
        let structured =
            format!(r#"{{"content":[],"structuredContent":{}}}"#, list(r#"{"a":{}}"#, bytes));
        let blocks = format!(r#"{{"content":{}}}"#, list("{}", bytes));
        let text = format!(
            r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#,
            r"\ud83d".repeat(bytes / 6)
        );
        let no_text = [
            br#"data: {"id":1,"result":{"content":[{"type":"text","text":""#.as_slice(),
            &vec![0xff; bytes],
            b"\"}]}}\n\n",
        ]
        .concat();
        let no_text = Fault::Bytes { status: 200, media_type: "text/event-stream", body: no_text };
        let numbers = format!(r#"{{"structuredContent":{}}}"#, list("1e400", bytes));
        let tools = format!(r#"{{"tools":{}}}"#, list("{}", bytes));
        let schema = format!(
            r#"{{"tools":[{{"name":"a.list","inputSchema":{{"enum":{}}}}}]}}"#,
            list("{}", bytes)
        );
        cases.push((size, "tools/call", answer(&structured, true)));
        cases.push((size, "tools/call", answer(&structured, false)));
        cases.push((size, "tools/call", answer(&blocks, true)));
        cases.push((size, "tools/call", answer(&text, true)));
        cases.push((size, "tools/call", answer(&numbers, true)));
        cases.push((size, "tools/call", no_text));
        cases.push((size, "tools/list", answer(&tools, true)));
        cases.push((size, "tools/list", answer(&schema, true)));
        cases.push((size, "initialize", answer(&structured, false)));
    }
    // The largest amount that a list may hold.
    let schema = format!(r#"{{"name":"a.list","inputSchema":{{"enum":{}}}}}"#, list("{}", 70_000));
    cases.push(("most", "tools/list", answer(&format!(r#"{{"tools":[{schema}]}}"#), true)));
    let ping = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n\n".repeat(600_000);
    let pings =
        Fault::Bytes { status: 200, media_type: "text/event-stream", body: ping.into_bytes() };
    cases.push(("30 MB of pings", "tools/call", pings));
    cases
}

/// Checks that no case needs more than `most` for this many personas at the same time.
async fn check(personas: usize, most: u64, cases: Vec<Case>) {
    let mut greedy = Vec::new();
    for (n, (name, peer, what, fault)) in cases.into_iter().enumerate() {
        let grown = growth(personas, peer, what, fault).await;
        let result = format!("{n} {peer:?} {what}, {name}, {personas} at once: {} MB", grown >> 10);
        println!("{result}");
        if grown > most {
            greedy.push(result);
        }
    }
    assert!(greedy.is_empty(), "{greedy:#?}");
}

#[tokio::test]
async fn no_answer_of_mana_mcp_takes_more_than_its_share_of_memory() {
    check(1, ALONE, answers()).await;
}

#[tokio::test]
async fn ten_answers_of_mana_mcp_at_once_stay_within_their_share_of_memory() {
    // An answer that is longer than the limit is read only up to the limit, so it is like the longest allowed
    // answer.
    let longest = answers().into_iter().filter(|(name, ..)| name != "7 MB");
    check(10, TEN_AT_ONCE, longest.collect()).await;
}

#[tokio::test]
async fn no_answer_of_claude_or_mana_auth_takes_more_than_its_share_of_memory() {
    check(1, ALONE, to_each()).await;
}

#[tokio::test]
async fn ten_answers_of_claude_at_once_stay_within_their_share_of_memory() {
    // Replies may arrive at the same time for all runs; logins are sent one after another.
    let replies =
        to_each().into_iter().filter(|(name, ..)| name.starts_with("most") || name == "text");
    check(10, TEN_AT_ONCE, replies.collect()).await;
}

#[tokio::test]
async fn no_list_of_due_personas_takes_more_than_its_share_of_memory() {
    check(1, ALONE, due()).await;
}
