//! Replies and results with malformed parts: one malformed part does not invalidate the rest, and blocks that
//! cannot be sent back are not sent back.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour};
use mana_persona_runner::{domain::Usd, journal::RunState};
use serde_json::{Value, json};

use crate::{
    script::{
        billed, calls_that_meet, habits_list, main_requests, make_due, only_failure, outcomes,
        play, play_well, rating_requests, raw, results, rpc,
    },
    support::{Setup, World, logs::Logs, patiently},
};

async fn world() -> World {
    Setup::one(&["habits"]).start().await
}

fn no_violation(world: &World) {
    assert_eq!(world.peers.claude.violations(), [""; 0]);
}

fn call(id: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"habits_list","input":{{}}}}"#)
}

fn text(text: &str) -> String {
    format!(r#"{{"type":"text","text":"{text}"}}"#)
}

#[tokio::test]
async fn a_result_that_says_nothing_is_empty_or_says_that_the_tool_failed_silently() {
    let world = world().await;
    let result = |is_error: bool, content: Value| {
        Behaviour::Result(json!({"isError": is_error, "content": content}))
    };
    let blank = |text: &str| json!([{"type": "text", "text": text}]);
    let resource = json!([{"type": "resource", "resource": {"uri": "mana://x", "text": " \n"}}]);
    let behaviours = [
        result(true, json!([])),
        result(true, blank("")),
        result(true, blank("\n")),
        result(true, blank("\u{a0}\u{3000}")),
        result(false, blank("\n\t ")),
        result(false, json!([])),
        result(false, json!([{"type": "text", "text": " "}, {"type": "text", "text": "Da. \n"}])),
        result(false, resource),
    ];
    let tools = calls_that_meet(&world, behaviours);
    let calls: Vec<_> = tools.iter().map(|tool| (tool.as_str(), json!({}))).collect();
    play_well(&world, [Scripted::tools(&calls), Scripted::text("Aha.")]).await;
    no_violation(&world);
    let results = results(&main_requests(&world)[1]);
    for result in &results[..4] {
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(result["is_error"] == true && text.contains("without saying why"), "{result}");
    }
    assert!(results[4].get("content").is_none() && results[5].get("content").is_none());
    assert_eq!(results[6]["content"], blank("Da. \n"), "what is no blank stays as it is");
    assert_eq!(results[7]["content"], blank("[resource mana://x is empty]"));
    for row in &world.actions().await[..4] {
        assert_eq!(row.error_message.as_deref(), Some("the tool failed without saying why"));
    }
    assert_eq!(world.feedback().await.len(), tools.len(), "one module each");
}

/// A day with a paused reply that ends in white space, blank texts, and malformed calls.
fn odd_day(turn: usize) -> Scripted {
    let thinking = r#"{"type":"thinking","thinking":"","signature":"sig_1"}"#;
    match turn {
        0 => raw(&format!("[{}]", text(r"Moment …\u00a0\n ")), Some("pause_turn")),
        1 => {
            let content = [&text(""), thinking, &text(r" \n"), &call("toolu_a"), &text("\u{2003}")];
            raw(&format!("[{}]", content.join(" , ")), Some("tool_use"))
        }
        2 => {
            let null = call("toolu_b").replace("{}}", "null}");
            raw(&format!("[{}, {null}, {null}]", text("Noch was. ")), Some("end_turn"))
        }
        _ => Scripted::text("Gut."),
    }
}

#[tokio::test]
async fn a_reply_is_sent_back_without_what_claude_refuses_and_with_the_same_bytes_after_a_kill() {
    let mut world = world().await;
    world.peers.claude.answer_with(|r| (!r.is_rating()).then(|| odd_day(r.turn())));
    let third = |r: &devstack::recorder::Recorded| {
        let messages = r.json()["messages"].as_array().map_or(0, Vec::len);
        messages >= 6 && !r.json()["tools"].is_null()
    };
    let faults = &world.peers.claude.served.faults;
    faults.inject(usize::MAX, Fault::Hang, third);
    drop(world.begin_tick());
    patiently("the request that hangs", async {
        while world.peers.claude.served.recorder.matching(third).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    let rated = async |journal: &mana_persona_runner::journal::Journal| {
        journal.latest_runs(1).await.unwrap()[0].state == RunState::Finished
    };
    world.journal_reaches("the end of the run", rated).await;

    no_violation(&world);
    let asked = world.peers.claude.served.recorder.matching(third);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].json(), asked[1].json());
    let body = asked[0].json();
    let messages: Vec<_> = body["messages"].as_array().unwrap().iter().collect();
    assert_eq!(messages[1]["content"], json!([{"type": "text", "text": "Moment …"}]));
    let kinds = |message: &Value| {
        let blocks = message["content"].as_array().unwrap().iter();
        blocks.map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(messages[2]), ["thinking", "tool_use"]);
    let odd = messages.iter().rfind(|message| message["role"] == "assistant").unwrap();
    assert_eq!(odd["content"][0]["text"], "Noch was. ", "it ends no request");
    assert!((1..3).all(|n| odd["content"][n]["input"] == json!({})));
    assert_ne!(odd["content"][1]["id"], odd["content"][2]["id"]);
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 3]);
    assert_eq!(world.peers.mcp.calls().len(), 3);
}

#[tokio::test]
async fn a_pause_or_a_rating_of_nothing_but_blanks_is_left_out() {
    let world = world().await;
    let blank = |stop| raw(&format!("[{}]", text(r" \n")), Some(stop));
    let day = [
        blank("pause_turn"),
        Scripted::tools(&[habits_list()]),
        blank("end_turn"),
        blank("end_turn"),
        Scripted::ratings(&[("habits", 4, "Ja.")]),
    ];
    play_well(&world, day).await;
    no_violation(&world);
    let requests = main_requests(&world);
    assert_eq!(requests[0].raw, requests[1].raw);
    assert_eq!(rating_requests(&world)[1].messages.len(), 2, "both questions, and nothing between");
    assert_eq!(world.feedback().await[0].rating, 4);
}

#[tokio::test]
async fn calls_of_a_complete_reply_are_made_whatever_reason_it_gives() {
    for stop in ["end_turn", "stop_sequence", "pause_turn", "tool_use"] {
        let world = world().await;
        let day = [raw(&format!("[{}]", call("toolu_a")), Some(stop)), Scripted::text("Gut.")];
        play_well(&world, day).await;
        no_violation(&world);
        assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")], "{stop}");
        assert_eq!((main_requests(&world).len(), world.feedback().await.len()), (2, 1), "{stop}");
    }
}

#[tokio::test]
async fn a_reply_that_announces_a_call_without_one_has_an_end_reason_of_its_own() {
    let logs = Logs::capture("warn");
    let announced = || Scripted::stop("tool_use", "Gleich.");
    let world = world().await;
    let result = play(&world, [announced()]).await;
    assert!(only_failure(&result).contains("tool_use"), "{result}");
    assert_eq!((main_requests(&world).len(), rpc(&world, "tools/call").len()), (1, 0));
    world.clock.advance(Duration::from_secs(61));
    play_well(&world, [Scripted::tools(&[habits_list()]), announced()]).await;
    assert_eq!(main_requests(&world).len(), 3, "no further request");
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
    assert_eq!(world.feedback().await.len(), 1);
    let run = world.journal().await.latest_runs(1).await.unwrap().remove(0);
    assert_eq!(run.end_reason.as_deref(), Some("a call was announced, and none came"));
    assert_eq!(logs.lines_with("the day ended before its time").len(), 2);
}

#[tokio::test]
async fn an_odd_call_costs_that_call_at_most() {
    let ok = ("habits.list", "ok");
    let error = ("habits.list", "error");
    let of = |members: &str| format!(r#"{{"type":"tool_use",{members}}}"#);
    for (blocks, rows, hash) in [
        (vec![of(r#""id":"a","name":"habits_list","input":null"#)], vec![ok], Some(NONE)),
        (vec![of(r#""id":"a","name":"habits_list""#)], vec![ok], Some(NONE)),
        (
            vec![of(r#""id":"a","name":"habits_list","input":[1]"#), call("b")],
            vec![error, ok],
            None,
        ),
        (vec![of(r#""id":"a","name":"habits_list","input":"{}""#)], vec![error], None),
        (vec![of(r#""id":"a","name":"habits_list","input":7"#)], vec![error], None),
        (vec![of(r#""name":"habits_list","input":{}"#)], vec![ok], Some(NONE)),
        (
            vec![of(r#""id":7,"name":"habits_list","input":{}"#), call("b")],
            vec![ok, ok],
            Some(NONE),
        ),
        (vec![call("a"), call("a"), call("")], vec![ok, ok, ok], Some(NONE)),
        (vec![call("functions.habits:0")], vec![ok], Some(NONE)),
        (
            vec![of(r#""id":"a","name":"","input":{}"#), call("b")],
            vec![("unnamed", "error"), ok],
            Some(NONE),
        ),
        (vec![of(r#""id":"a""#), call("b")], vec![("unnamed", "error"), ok], Some(NONE)),
        (
            vec![of(r#""id":"a","name":"habits.list","input":{}"#), call("b")],
            vec![("habits.list", "error"), ok],
            Some(NONE),
        ),
        // A malformed input belongs to its own block, even if another block has the same id.
        (
            vec![
                of(r#""id":"a","name":"habits_list","input":{"n":1e400}"#),
                call("a"),
                of(r#""name":"habits_list","input":{"n":1e400}"#),
            ],
            vec![error, ok, error],
            None,
        ),
        (
            vec!["7".into(), "{}".into(), r#"{"type":"text"}"#.into(), call("a")],
            vec![ok],
            Some(NONE),
        ),
    ] {
        let world = world().await;
        let content = format!("[{}]", blocks.join(","));
        // Two replies, so that the ids of the second are those of the first.
        let day = [
            raw(&content, Some("tool_use")),
            raw(&content, Some("tool_use")),
            Scripted::text("Gut."),
        ];
        play_well(&world, day).await;
        no_violation(&world);
        let actions = world.actions().await;
        let expected: Vec<_> = rows.iter().chain(&rows).copied().collect();
        assert_eq!(outcomes(&actions), expected, "{content}");
        assert_eq!(main_requests(&world).len(), 3, "{content}");
        if let Some(hash) = hash {
            assert_eq!(actions[0].input_hash.as_deref(), Some(hash), "{content}");
        }
        let shown = results(&main_requests(&world)[2]);
        assert_eq!(shown.len(), rows.len(), "{content}");
    }
}

/// The input hash of `{}`.
const NONE: &str = "44136fa355b3678a";

/// The cost according to the tick, the journal's run and its steps; all must be equal.
async fn booked(world: &World, result: &Value) -> Usd {
    let journal = world.journal().await;
    let spent = journal.latest_runs(1).await.unwrap().remove(0).spent;
    let cost = result["costUsd"].as_f64().unwrap();
    assert!((cost - spent.dollars()).abs() < 1e-9, "{cost} and {spent}");
    spent
}

#[tokio::test]
async fn a_reply_without_usage_keeps_its_reservation_and_is_logged_once() {
    let logs = Logs::capture("warn");
    let world = world().await;
    let content = r#"[{"type":"text","text":"Heute nicht."}]"#;
    let (mut days, mut least) = (0, Usd::MAX);
    for usage in [
        "null",
        r#"{"input_tokens":"900","output_tokens":"20"}"#,
        r#"{"input_tokens":900.5,"output_tokens":20}"#,
        r#"{"input_tokens":-900,"output_tokens":20}"#,
        r#"{"input_tokens":900}"#,
        r#"{"input_tokens":900,"output_tokens":20,"cache_read_input_tokens":"9000"}"#,
    ] {
        make_due(&world).await;
        let reply = billed(content, "end_turn", usage, "claude-haiku-5-5");
        let spent = booked(&world, &play_well(&world, [reply]).await).await;
        least = least.min(spent);
        days += 1;
        assert_eq!(main_requests(&world).len(), days, "asked once: {usage}");
    }
    // The reservation included 8,192 tokens of output.
    assert!(least > Usd::from_dollars(0.5).unwrap().per_million(8_192), "{least}");
    assert_eq!(logs.lines_with("does not say what it took").len(), 1);
    make_due(&world).await;
    let zero =
        billed(content, "end_turn", r#"{"input_tokens":0,"output_tokens":0}"#, "claude-haiku-5-5");
    assert!(booked(&world, &play_well(&world, [zero]).await).await >= least);
    assert_eq!(logs.lines_with("does not say what it took").len(), 2, "another reason, once");
    let believed = billed(content, "end_turn", r#"{"input_tokens":900,"output_tokens":20}"#, "");
    make_due(&world).await;
    let spent = booked(&world, &play_well(&world, [believed]).await).await;
    assert_eq!(spent, Usd::from_dollars(0.0001).unwrap());
}

#[tokio::test]
async fn a_killed_run_continues_with_the_amount_booked_for_a_reply_without_usage() {
    let mut world = world().await;
    let odd = format!("[{}]", call("toolu_a"));
    let odd =
        billed(&odd, "tool_use", r#"{"input_tokens":0,"output_tokens":0}"#, "claude-haiku-5-5");
    world.peers.claude.enqueue(odd);
    let second = |r: &devstack::recorder::Recorded| {
        r.json()["messages"].as_array().is_some_and(|messages| messages.len() >= 3)
    };
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, second);
    drop(world.begin_tick());
    patiently("the request that hangs", async {
        while world.peers.claude.served.recorder.matching(second).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.kill().await;
    let before = world.journal().await.latest_runs(1).await.unwrap().remove(0).spent;
    world.peers.claude.served.faults.clear();
    world.peers.claude.answer_with(|r| (!r.is_rating()).then(|| Scripted::text("Gut.")));
    // The booked amount leaves no room under this cap, so the day is over.
    let cap = before.dollars().to_string();
    world.start_again(&[("PERSONA_MAX_COST_USD", &cap)]).await;
    let over = async |journal: &mana_persona_runner::journal::Journal| {
        journal.latest_runs(1).await.unwrap()[0].state == RunState::Finished
    };
    world.journal_reaches("the end of the run", over).await;
    let run = world.journal().await.latest_runs(1).await.unwrap().remove(0);
    assert_eq!(run.spent, before, "nothing more was asked");
}

#[tokio::test]
async fn what_was_written_to_the_cache_counts_where_the_sum_is_missing() {
    let world = world().await;
    let usage = r#"{"input_tokens":10,"output_tokens":20,"cache_creation":
        {"ephemeral_5m_input_tokens":8000,"ephemeral_1h_input_tokens":1000}}"#;
    let reply =
        billed(r#"[{"type":"text","text":"Nein."}]"#, "end_turn", usage, "claude-haiku-5-5");
    let spent = booked(&world, &play_well(&world, [reply]).await).await;
    assert_eq!(spent, Usd::from_dollars(0.000_001 + 0.000_01 + 0.001 + 0.000_2).unwrap());
}

#[tokio::test]
async fn an_answer_of_another_model_gets_the_higher_price_and_is_logged_once() {
    let logs = Logs::capture("warn");
    let usage = r#"{"input_tokens":1000,"output_tokens":100}"#;
    for (asked, answered, dollars, warnings) in [
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", 0.0015, 0),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", 0.0015, 0),
        ("claude-haiku-4-5", "", 0.0015, 0),
        ("claude-haiku-5-5", "claude-opus-5-5", 0.006, 1),
        ("claude-haiku-5-5", "somebody-else\\u0007", 0.006, 1),
        ("claude-sonnet-5-5", "claude-haiku-5-5", 0.003, 1),
    ] {
        let before = logs.lines_with("another model answered").len();
        let effort = if asked.starts_with("claude-haiku-4") { "none" } else { "low" };
        let setup = Setup::one(&["habits"]).var("ANTHROPIC_MODEL", asked);
        let world = setup.var("ANTHROPIC_EFFORT", effort).start().await;
        for _ in 0..2 {
            make_due(&world).await;
            let reply = billed(r#"[{"type":"text","text":"Nein."}]"#, "end_turn", usage, answered);
            let spent = booked(&world, &play_well(&world, [reply]).await).await;
            assert_eq!(spent, Usd::from_dollars(dollars).unwrap(), "{asked} {answered}");
        }
        let lines = logs.lines_with("another model answered").len() - before;
        assert_eq!(lines, warnings, "{asked} {answered}");
    }
}

#[tokio::test]
async fn zero_prices_cause_one_warning_at_the_start() {
    let path = format!("{}/prices-of-nothing.toml", env!("CARGO_TARGET_TMPDIR"));
    let band =
        "{input = 0, write_5m = 0, write_1h = 0, read = 0, output = 0}".replace(" 0", " 0.0");
    let table = format!(
        "version = 1\nas_of = '2026-03-09'\n[[models]]\nids = ['claude-haiku-5-5']\nbands = [{band}]\n"
    );
    std::fs::write(&path, table).unwrap();
    let logs = Logs::capture("warn");
    let world = Setup::one(&["habits"]).var("PRICING_FILE", path).start().await;
    world.good_tick().await;
    assert_eq!(logs.lines_with("PRICING_FILE").len(), 1);
}
