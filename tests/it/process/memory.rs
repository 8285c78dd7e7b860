//! What the answers of mana-mcp cost in memory: limits are in bytes on the wire, and must bound it.

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

/// What the daemon's memory grows by at most, in KiB, in a tick of so many personas at once whose requests
/// with this JSON-RPC method meet this.
async fn growth(personas: usize, method: &'static str, fault: Fault) -> u64 {
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
    let matches = move |r: &Recorded| r.json()["method"] == method;
    peers.mcp.served.faults.inject(usize::MAX, fault, matches);
    let (status, _) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK);
    assert!(peers.mcp.served.recorder.matching(matches).len() >= personas);
    daemon.peak_memory() - idle
}

fn answers() -> Vec<(&'static str, &'static str, Fault)> {
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

#[tokio::test]
async fn no_answer_of_mana_mcp_takes_more_than_its_share_of_memory() {
    for (n, (size, method, fault)) in answers().into_iter().enumerate() {
        let grown = growth(1, method, fault).await;
        println!("{n} {method} of {size}: {} MB", grown >> 10);
        assert!(grown <= ALONE, "{n} {method} of {size}: {grown} KiB");
    }
}

#[tokio::test]
async fn nor_do_ten_at_once() {
    for (n, (size, method, fault)) in answers().into_iter().enumerate() {
        let grown = growth(10, method, fault).await;
        println!("{n} {method} of {size}, ten at once: {} MB", grown >> 10);
        assert!(grown <= TEN_AT_ONCE, "{n} {method} of {size}: {grown} KiB");
    }
}
