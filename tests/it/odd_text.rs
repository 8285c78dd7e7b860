//! Text and JSON that JavaScript writes and serde_json refuses: one malformed part affects only itself, at
//! every interface.

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    script::{
        anything, calls_of, habits_list, main_requests, no_tools, outcomes, play_well,
        rating_requests, raw, results, rpc,
    },
    support::{Setup, World, path, patiently},
};

/// Malformed members of an object: half a surrogate pair in a key and in a text, a byte that is not UTF-8, a
/// number out of range, values nested too deeply.
fn odd_members() -> Vec<u8> {
    let mut members = br#""\ud83d":"\uDE00"#.to_vec();
    members.extend(b"\xff\xed\xa0\x80");
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    members.extend(format!(r#"","n":[1e400,-1E999],"deep":{deep},"#).bytes());
    members
}

fn spliced() -> Fault {
    Fault::Spliced(odd_members())
}

/// A result of a call or a list as JSON or as an event.
fn answer(result: &str, as_event: bool) -> Fault {
    let body = format!(r#"{{"jsonrpc":"2.0","id":0,"result":{result}}}"#);
    // The placeholder is replaced with a byte that is not UTF-8.
    let mut bytes = body.into_bytes();
    if let Some(at) = bytes.windows(6).position(|window| window == b"%BYTE%") {
        bytes.splice(at..at + 6, *b"\xff");
    }
    let (media_type, body) = match as_event {
        true => (
            "Text/Event-Stream;charset=utf-8",
            [&b"event: message\ndata: "[..], &bytes, b"\n\n"].concat(),
        ),
        false => ("APPLICATION/JSON; charset=utf-8", bytes),
    };
    Fault::Bytes { status: 200, media_type, body }
}

#[tokio::test]
async fn a_write_with_an_odd_answer_is_done_and_a_read_is_made_once_by_stream_and_by_json() {
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let odd = [
        (r#"{"content":[{"type":"text","text":"a\ud83d"}]}"#.to_owned(), "a\u{fffd}"),
        (r#"{"content":[{"type":"text","text":"a\uDe00b"}],"\ud83d":1}"#.to_owned(), "a\u{fffd}b"),
        (r#"{"content":[{"type":"text","text":"a%BYTE%"}]}"#.to_owned(), "a\u{fffd}"),
        (r#"{"content":[{"type":"text","text":"a","_meta":{"n":1e400}}]}"#.to_owned(), "a"),
        (
            format!(r#"{{"content":[{{"type":"text","text":"a"}}],"structuredContent":{deep}}}"#),
            "a",
        ),
        (
            r#"{"structuredContent":{"n":1e400,"t":"\ud83d"}}"#.to_owned(),
            r#"{"n":null,"t":"\ufffd"}"#,
        ),
    ];
    let world = no_tools().await;
    let mcp = &world.peers.mcp;
    let mut tools = Vec::new();
    for (n, (result, shown)) in odd.iter().enumerate() {
        for as_event in [false, true] {
            for verb in ["list", "create"] {
                let tool = format!("t{n}{}.{verb}", if as_event { "e" } else { "j" });
                mcp.add_tool(&tool, "", anything());
                mcp.served.faults.inject(usize::MAX, answer(result, as_event), calls_of(&tool));
                tools.push((tool, *shown));
            }
        }
    }
    let spelled: Vec<_> = tools.iter().map(|(tool, _)| tool.replace('.', "_")).collect();
    let asked: Vec<_> = spelled.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(&world, [Scripted::tools(&asked), Scripted::text("Komisch.")]).await;
    let actions = world.actions().await;
    let results = results(&main_requests(&world)[1]);
    for (n, (tool, shown)) in tools.iter().enumerate() {
        assert_eq!((actions[n].tool_name.as_str(), actions[n].result.as_str()), (&**tool, "ok"));
        assert_eq!(results[n]["content"][0]["text"], *shown, "{tool}");
        assert_eq!(mcp.served.recorder.matching(calls_of(tool)).len(), 1, "{tool}");
    }
}

#[tokio::test]
async fn every_answer_of_mana_mcp_and_mana_auth_may_hold_odd_parts() {
    let world = Setup::one(&["habits"]).start().await;
    world.peers.mcp.served.faults.inject(usize::MAX, spliced(), |r| r.method == Method::POST);
    world.peers.auth.served.faults.inject(usize::MAX, spliced(), |_| true);
    let create = ("habits_create", json!({"title": "Lesen", "frequency": "daily"}));
    play_well(&world, [Scripted::tools(&[create, habits_list()]), Scripted::text("Ok.")]).await;
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), [("habits.create", "ok"), ("habits.list", "ok")]);
    assert_eq!((rpc(&world, "initialize").len(), rpc(&world, "tools/call").len()), (1, 2));
    assert_eq!(world.feedback().await.len(), 1);
    for path_end in ["/due", path::LOGIN, path::SIGN_IN, path::TOKEN, "/actions", "/feedback"] {
        let made = world.peers.auth.served.recorder.matching(|r| r.path().ends_with(path_end));
        assert_eq!(made.len(), 1, "{path_end} is asked for once");
    }
}

#[tokio::test]
async fn a_refusal_with_odd_parts_is_read_for_what_it_is() {
    let world = Setup::one(&["habits"]).start().await;
    let locked = br#"{"error":"ACCOUNT_LOCKED","retryAfterSec":900,"message":"\ud83d"#;
    let body = [&locked[..], b"\xff\"}"].concat();
    let fault = Fault::Bytes { status: 429, media_type: "application/json", body };
    world.peers.auth.served.faults.on(9, Method::POST, path::LOGIN, fault);
    let result = world.tick().await;
    let error = result["failed"][0]["error"].as_str().unwrap();
    assert!(error.contains("ACCOUNT_LOCKED for 900 s"), "{error}");
}

#[tokio::test]
async fn a_malformed_tool_stops_no_run() {
    let world = Setup::one(&["habits"]).start().await;
    let deep =
        format!("{}{}", r#"{"items":"#.repeat(1_000), "}".repeat(1_000)).replace(":}", ":{}}");
    let tools = [
        r#"{"name":"a.list","description":"eins \ud83d%BYTE%","inputSchema":{"type":"object"}}"#.to_owned(),
        r#"{"name":"b.list","inputSchema":{"type":"object","properties":{"n":{"type":"number","maximum":1e400}}}}"#.to_owned(),
        format!(r#"{{"name":"c.list","inputSchema":{{"type":"object","properties":{{"n":{deep}}}}}}}"#),
    ];
    let list = format!(r#"{{"tools":[{}]}}"#, tools.join(","));
    let lists = |r: &Recorded| r.json()["method"] == "tools/list";
    world.peers.mcp.served.faults.inject(usize::MAX, answer(&list, true), lists);
    play_well(&world, [Scripted::text("Nichts zu tun.")]).await;
    let offered = &main_requests(&world)[0].body["tools"];
    let first = offered.as_array().unwrap().iter().find(|tool| tool["name"] == "a_list").unwrap();
    assert!(first["description"].as_str().unwrap().contains("eins \u{fffd}\u{fffd}"), "{first}");
    assert_eq!(rpc(&world, "tools/list").len(), 1);
}

/// The reply of a model that cuts texts as JavaScript does; the hashes are those that Node computes.
const ODD_CALLS: &str = r#"[{"type":"text","text":"Los \ud83d"},
    {"type":"tool_use","id":"toolu_1","name":"t_create","input":{"t":"\ud83d"}},
    {"type":"tool_use","id":"toolu_2","name":"t_create","input":{"\uD83D":"\uDE00x"}},
    {"type":"tool_use","id":"toolu_3","name":"t_create","input":{"n":1e400}}]"#;

async fn odd_model() -> World {
    let world = no_tools().await;
    world.peers.mcp.add_tool("t.create", "", anything());
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(raw(ODD_CALLS, Some("tool_use"))),
        _ => Some(Scripted::text("Gut.")),
    });
    world
}

fn hashes(rows: &[devstack::auth::ActionRow]) -> Vec<&str> {
    rows.iter().map(|row| row.input_hash.as_deref().unwrap_or("none")).collect()
}

const HASHES: [&str; 3] = ["3c265f4d42b969ac", "001ae2fcb34d1468", "5b4da02351c1c209"];

#[tokio::test]
async fn an_odd_reply_is_paid_once_and_its_calls_are_made_where_nothing_is_missing() {
    let world = odd_model().await;
    world.good_tick().await;
    let requests = main_requests(&world);
    assert_eq!(requests.len(), 2, "nothing is asked again");
    let replayed = requests[1].messages[1].to_string();
    assert!(replayed.contains("Los \u{fffd}"), "{replayed}");
    let made: Vec<_> =
        world.peers.mcp.calls().into_iter().map(|c| Value::Object(c.arguments)).collect();
    assert_eq!(made, [json!({"t": "\u{fffd}"}), json!({"\u{fffd}": "\u{fffd}x"})]);
    let actions = world.actions().await;
    let errors: Vec<_> = actions.iter().map(|row| row.result.as_str()).collect();
    assert_eq!(errors, ["ok", "ok", "error"]);
    let result = results(&requests[1])[2].clone();
    assert_eq!(result["is_error"], true);
    assert!(result.to_string().contains("too large or values nested too deep"), "{result}");
    assert_eq!(hashes(&actions), HASHES);
}

#[tokio::test]
async fn the_hash_of_an_odd_input_is_right_after_a_kill_too() {
    let mut world = odd_model().await;
    world.peers.mcp.served.faults.inject(9, Fault::Hang, calls_of("t.create"));
    drop(world.begin_tick());
    let arrived = world.peers.mcp.served.recorder.clone();
    patiently("the call", arrived.wait_for(1, calls_of("t.create"))).await;
    world.kill().await;
    world.peers.mcp.served.faults.clear();
    world.start_again(&[]).await;
    patiently("the rows", async {
        while world.actions().await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let actions = world.actions().await;
    assert_eq!(hashes(&actions), HASHES);
    let made: Vec<_> = actions.iter().map(|row| row.result.as_str()).collect();
    assert_eq!(made, ["error", "ok", "error"]);
}

#[tokio::test]
async fn an_answer_of_claude_with_bytes_that_are_no_utf_8_is_paid_once() {
    let world = Setup::one(&["habits"]).start().await;
    world.peers.claude.served.faults.inject(usize::MAX, spliced(), |_| true);
    play_well(&world, [Scripted::tools(&[habits_list()]), Scripted::text("Fertig.")]).await;
    assert_eq!((main_requests(&world).len(), rating_requests(&world).len()), (2, 1));
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
}

#[tokio::test]
async fn ratings_are_read_out_of_odd_json() {
    let world = Setup::one(&["habits"]).start().await;
    let rating = r#"{"ratings":[{"module":"habits","rating":4,"notes":"gut \ud83d"}],"n":1e400}"#;
    let (day, closing) = (Scripted::tools(&[habits_list()]), Scripted::text("Fertig."));
    play_well(&world, [day, closing, Scripted::text(rating)]).await;
    let feedback = world.feedback().await;
    assert_eq!((feedback.len(), feedback[0].rating), (1, 4));
    assert_eq!(feedback[0].notes.as_deref(), Some("gut \u{fffd}"));
    assert_eq!(rating_requests(&world).len(), 1);
}
