//! What the answers of peers cost in memory: limits are in bytes on the wire, and must bound it.

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

/// So many bytes of this piece, again and again.
fn list(piece: &str, bytes: usize) -> String {
    format!("[{}{piece}]", format!("{piece},").repeat(bytes / (piece.len() + 1)))
}

/// Whose answer it is.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Mcp,
    Claude,
    Auth,
}

/// A request by its JSON-RPC method or the end of its path.
fn is_for(request: &Recorded, what: &str) -> bool {
    request.path().ends_with(what) || request.json()["method"] == what
}

/// What the daemon's memory grows by at most, in KiB, in a tick of so many personas at once whose requests
/// of this kind meet this. `patience`: how many of the requests there have to be at least.
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
    let (status, _) = daemon.call(Method::POST, "/diag/tick").await;
    let least = if what == "/due" { 1 } else { personas };
    assert!(what == "/due" || status == StatusCode::OK, "{status}");
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

/// The answers of the other peers: JSON of this status.
fn others() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name: String, peer, what, status, body: String| {
        let media_type = "application/json";
        cases.push((
            name,
            peer,
            what,
            Fault::Bytes { status, media_type, body: body.into_bytes() },
        ));
    };
    let pieces = [r#"{"a":{}}"#, "{}", "1e400", r#"{"a":1,"b":"c"}"#, r#""\ud83d""#, "[[[[]]]]"];
    for bytes in [3_900_000, 15 << 20] {
        for piece in pieces {
            let tiny = list(piece, bytes);
            let reply = |content: &str, more: &str| {
                format!(
                    r#"{{"type":"message","role":"assistant","model":"m","content":{content},"stop_reason":"tool_use","usage":{{"input_tokens":9,"output_tokens":9}}{more}}}"#
                )
            };
            let call = |input: &str| {
                reply(
                    &format!(
                        r#"[{{"type":"tool_use","id":"t1","name":"habits_list","input":{{"a":{input}}}}}]"#
                    ),
                    "",
                )
            };
            let kinds = [
                ("content", reply(&tiny, "")),
                ("input", call(&tiny)),
                ("thinking", reply(&format!(r#"[{{"type":"thinking","x":{tiny}}}]"#), "")),
                ("stop_details", reply("[]", &format!(r#","stop_details":{tiny}"#))),
            ];
            for (kind, body) in kinds {
                add(format!("{kind} of {piece} {bytes}"), Peer::Claude, "/v1/messages", 200, body);
            }
            let refusal = format!(r#"{{"type":"error","error":{{"type":"x","message":{tiny}}}}}"#);
            add(format!("refusal {piece} {bytes}"), Peer::Claude, "/v1/messages", 400, refusal);
        }
    }
    for piece in pieces {
        let tiny = list(piece, 1_000_000);
        add(
            format!("login {piece}"),
            Peer::Auth,
            "/login",
            200,
            format!(r#"{{"user":{{"id":"u","x":{tiny}}},"accessToken":"a.b.c","token":{tiny}}}"#),
        );
        add(
            format!("login 429 {piece}"),
            Peer::Auth,
            "/login",
            429,
            format!(r#"{{"error":{tiny},"code":{tiny}}}"#),
        );
        add(format!("spaces {piece}"), Peer::Auth, "/organization/list", 200, tiny.clone());
        add(
            format!("actions {piece}"),
            Peer::Auth,
            "/actions",
            200,
            format!(r#"{{"ok":true,"written":{tiny}}}"#),
        );
        add(
            format!("actions 400 {piece}"),
            Peer::Auth,
            "/actions",
            400,
            format!(r#"{{"error":{tiny},"message":{tiny}}}"#),
        );
    }
    let row = |n: usize, prompt: &str, mix: &str| {
        format!(
            r#"{{"userId":"u{n}","email":"p{n}@x.example","systemPrompt":"{prompt}","moduleMix":{mix},"tickCadence":"daily"}}"#
        )
    };
    let due = |rows: &str| format!(r#"{{"personas":{rows},"serverTime":"2026-03-09T10:00:00Z"}}"#);
    let rows = |count: usize, prompt: &str, mix: &str| {
        let rows: Vec<_> = (0..count).map(|n| row(n, prompt, mix)).collect();
        due(&format!("[{}]", rows.join(",")))
    };
    for bytes in [15 << 20, 31 << 20] {
        for piece in pieces {
            add(format!("due {piece} {bytes}"), Peer::Auth, "/due", 200, due(&list(piece, bytes)));
        }
        let mix: Vec<_> = (0..bytes / 10).map(|n| format!(r#""m{n:x}":1"#)).collect();
        let mix = format!("{{{}}}", mix.join(","));
        add(format!("due, one mix {bytes}"), Peer::Auth, "/due", 200, rows(1, "x", &mix));
        let mix: Vec<_> = (0..100).map(|n| format!(r#""m{n:x}":1"#)).collect();
        let mix = format!("{{{}}}", mix.join(","));
        add(format!("due, mixes {bytes}"), Peer::Auth, "/due", 200, rows(bytes / 1_000, "x", &mix));
        add(format!("due, minimal {bytes}"), Peer::Auth, "/due", 200, rows(bytes / 100, "x", "{}"));
        add(
            format!("due, prompts {bytes}"),
            Peer::Auth,
            "/due",
            200,
            rows(10_000, &"x".repeat(bytes / 10_000 - 120), "{}"),
        );
        add(
            format!("due, half a pair {bytes}"),
            Peer::Auth,
            "/due",
            200,
            rows(10_000, &format!("\\ud83d{}", "x".repeat(bytes / 10_000 - 120)), "{}"),
        );
        let cadence = due(&list(
            r#"{"userId":"u","email":"e","systemPrompt":"x","moduleMix":{},"tickCadence":"$"}"#,
            1,
        )
        .replace('$', &"x".repeat(bytes)));
        add(format!("due, cadence {bytes}"), Peer::Auth, "/due", 200, cadence);
        let time = format!(r#"{{"personas":[],"serverTime":{}}}"#, list("{}", bytes));
        add(format!("due, time {bytes}"), Peer::Auth, "/due", 200, time);
        let refusal = format!(r#"{{"error":{}}}"#, list("{}", bytes));
        add(format!("due, refused {bytes}"), Peer::Auth, "/due", 400, refusal);
    }
    let bad = |bytes: usize| Fault::Bytes {
        status: 200,
        media_type: "application/json",
        body: [br#"{"personas":[""#.as_slice(), &vec![0xff; bytes], br#""]}"#].concat(),
    };
    cases.push(("due, no text 31 MB".into(), Peer::Auth, "/due", bad(31 << 20)));
    cases.push(("reply, no text 15 MB".into(), Peer::Claude, "/v1/messages", bad(15 << 20)));
    cases
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
        cases.push((size, "tools/list", answer(&tools, true)));
        cases.push((size, "tools/list", answer(&schema, true)));
        cases.push((size, "initialize", answer(&structured, false)));
    }
    // As much as a list may hold.
    let schema = format!(r#"{{"name":"a.list","inputSchema":{{"enum":{}}}}}"#, list("{}", 70_000));
    cases.push(("most", "tools/list", answer(&format!(r#"{{"tools":[{schema}]}}"#), true)));
    let ping = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n\n".repeat(600_000);
    let pings =
        Fault::Bytes { status: 200, media_type: "text/event-stream", body: ping.into_bytes() };
    cases.push(("30 MB of pings", "tools/call", pings));
    cases
}

/// Whatever of these takes more than this for so many at once.
async fn check(personas: usize, most: u64, cases: Vec<Case>) {
    let mut greedy = Vec::new();
    for (n, (name, peer, what, fault)) in cases.into_iter().enumerate() {
        let grown = growth(personas, peer, what, fault).await;
        let said = format!("{n} {peer:?} {what}, {name}, {personas} at once: {} MB", grown >> 10);
        println!("{said}");
        if grown > most {
            greedy.push(said);
        }
    }
    assert!(greedy.is_empty(), "{greedy:#?}");
}

#[tokio::test]
async fn no_answer_of_mana_mcp_takes_more_than_its_share_of_memory() {
    check(1, ALONE, answers()).await;
}

#[tokio::test]
async fn nor_do_ten_at_once() {
    check(10, TEN_AT_ONCE, answers()).await;
}

#[tokio::test]
async fn no_answer_of_another_peer_takes_more_than_its_share_of_memory() {
    check(1, ALONE, others()).await;
}

#[tokio::test]
async fn nor_do_ten_at_once_of_the_other_peers() {
    check(10, TEN_AT_ONCE, others()).await;
}
