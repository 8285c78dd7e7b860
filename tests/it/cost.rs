//! The cost of a run: the prompt cache, prices and the cap.

use devstack::{
    claude::{ParsedRequest, Scripted},
    fault::Fault,
    mcp::Behaviour,
    recorder::Recorded,
};
use mana_persona_runner::journal::{RunRow, RunState};
use serde_json::{Value, json};

use crate::{
    script::{
        anything, main_requests, no_tools, only_failure, play_well, rating_requests, results,
    },
    support::{Setup, World, failure_of, logs::Logs, patiently, persona},
};

/// The raw bytes of a request before its first message.
fn prefix(request: &ParsedRequest) -> &str {
    request.raw.split_once(r#""messages":"#).expect("messages").0
}

fn tools(request: &ParsedRequest) -> &str {
    let from = request.raw.find(r#""tools":"#).expect("tools");
    &prefix(request)[from..]
}

fn markers(value: &Value) -> usize {
    match value {
        Value::Object(members) => {
            usize::from(members.contains_key("cache_control"))
                + members.values().map(markers).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(markers).sum(),
        _ => 0,
    }
}

#[tokio::test]
async fn the_prefix_is_the_same_from_turn_to_turn_and_its_tools_from_persona_to_persona() {
    let world = Setup::catalog().var("PERSONA_CONCURRENCY", 3).start().await;
    world.good_tick().await;
    let requests = main_requests(&world);
    assert_eq!(requests.len(), 50, "five replies each");
    for request in &requests {
        let same_persona = requests.iter().find(|first| first.system == request.system).unwrap();
        assert_eq!(prefix(request), prefix(same_persona));
        assert_eq!(tools(request), tools(&requests[0]));
        assert_eq!(markers(&request.body), 3, "last tool, system block, automatic");
        assert!(request.tools.last().unwrap()["cache_control"].is_object());
        assert!(request.body["system"][0]["cache_control"].is_object());
        assert!(request.body["cache_control"].is_object());
        // Text that varies from run to run comes after the prefix.
        assert!(!prefix(request).contains("2026-03-09"));
    }
    for request in rating_requests(&world) {
        assert_eq!(markers(&request.body), 0, "a single request is not worth a cache write");
    }
}

#[tokio::test]
async fn the_history_before_a_long_turn_is_read_from_the_cache_too() {
    let world = no_tools().await;
    world.peers.mcp.add_tool("books.list", "", anything());
    let text = json!({"content": [{"type": "text", "text": "Seite ".repeat(4_000)}]});
    world.peers.mcp.override_tool("books.list", 1, Behaviour::Result(text));
    let calls = |number| Scripted::tools(&vec![("books_list", json!({})); number]);
    play_well(&world, [calls(1), calls(12), calls(1), Scripted::text("Viel gelesen.")]).await;
    let requests = main_requests(&world);
    let marked: Vec<_> = requests.iter().map(|request| markers(&request.body)).collect();
    assert_eq!(marked, [3, 3, 4, 3]);
    // Each part of the last prompt was written once, at four characters per token.
    let (written, last) = (world.peers.claude.cache_usage().written, requests[3].raw.len() as u64);
    assert!(written * 4 < last + 2_000, "{written} tokens written of {last} characters");
}

#[tokio::test]
async fn most_of_the_input_of_ten_days_is_read_from_the_cache() {
    let world = Setup::catalog().start().await;
    world.good_tick().await;
    let claude = &world.peers.claude;
    let usage = claude.cache_usage();
    let (billed, whole) = (usage.billed_input_tokens(), usage.prompt_tokens() as f64);
    assert!(billed <= 0.30 * whole, "{billed} of {whole} tokens");
    let read = world.metric(r#"claude_tokens_total{kind="cache_read"}"#).await.unwrap();
    assert_eq!(read, claude.cache_usage().read as f64, "only main turns read from the cache");
}

#[tokio::test]
async fn a_tick_says_what_it_cost_and_so_do_the_metrics() {
    let world = Setup::one(&["habits"]).start().await;
    let result = world.good_tick().await;
    let mut sum = 0.0;
    for (kind, price) in
        [("input", 0.10), ("output", 0.50), ("cache_read", 0.01), ("cache_write", 0.125)]
    {
        let tokens = world.metric(&format!(r#"claude_tokens_total{{kind="{kind}"}}"#)).await;
        let cost = world.metric(&format!(r#"cost_usd_total{{kind="{kind}"}}"#)).await.unwrap();
        assert!((cost - tokens.unwrap() * price / 1e6).abs() < 1e-9, "{kind}");
        sum += cost;
    }
    let cost = result["costUsd"].as_f64().unwrap();
    assert!(cost > 0.0 && (cost - sum).abs() < 1e-9, "{cost} and {sum}");
}

/// The only run in the journal.
async fn the_run(world: &World) -> RunRow {
    world.journal().await.latest_runs(2).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_run_whose_next_request_might_exceed_its_cap_keeps_its_actions_and_is_rated() {
    // A first request may cost less than a cent, and so may the rating request.
    let world = Setup::one(&["habits"]).var("PERSONA_MAX_COST_USD", "0.02").start().await;
    let books = json!({"content": [{"type": "text", "text": "Seite ".repeat(4_000)}]});
    world.peers.mcp.add_tool("books.list", "", anything());
    world.peers.mcp.override_tool("books.list", usize::MAX, Behaviour::Result(books));
    let reads = || Scripted::tools(&[("books_list", json!({}))]);
    let result = play_well(&world, std::iter::repeat_with(reads).take(9)).await;
    assert_eq!(result["ranSuccessfully"], 1);
    let asked = main_requests(&world).len();
    assert!((2..9).contains(&asked), "{asked}");
    assert_eq!(world.actions().await.len(), asked);
    assert_eq!(world.feedback().await.len(), 1, "the rating's share was left alone");
    let reason = the_run(&world).await.end_reason;
    assert_eq!(reason.as_deref(), Some("PERSONA_MAX_COST_USD reached"));
    assert!(the_run(&world).await.spent.dollars() <= 0.02);
}

#[tokio::test]
async fn a_first_request_above_the_cap_is_not_made_and_its_persona_is_named_and_held_back() {
    let world = Setup::many(&["anna"]).var("PERSONA_MAX_COST_USD", "0.0000001").start().await;
    let result = world.tick().await;
    let error = only_failure(&result);
    assert!(error.contains("PERSONA_MAX_COST_USD"), "{error}");
    assert_eq!(world.peers.claude.requests().len(), 0);
    assert_eq!((world.actions().await.len(), the_run(&world).await.state), (0, RunState::Failed));
    assert_eq!(world.tick().await["skipped"], 1, "it is not tried every minute");
}

#[tokio::test]
async fn a_day_of_fifteen_turns_and_a_full_context_is_not_cut_by_the_ordinary_cap() {
    let world = no_tools().await;
    world.peers.mcp.add_tool("books.list", "", anything());
    let text = json!({"content": [{"type": "text", "text": "Seite ".repeat(4_400)}]});
    world.peers.mcp.override_tool("books.list", usize::MAX, Behaviour::Result(text));
    let reads = || Scripted::tools(&[("books_list", json!({}))]);
    play_well(&world, std::iter::repeat_with(reads).take(15)).await;
    let requests = main_requests(&world);
    assert_eq!(requests.len(), 15);
    let last = &requests[14];
    assert!(last.raw.len() > 360_000 && !last.raw.contains("[cut: "), "{}", last.raw.len());
    assert!(requests.iter().all(|request| request.body["max_tokens"] == 8_192));
    assert_eq!(world.feedback().await.len(), 1);
    assert_eq!(the_run(&world).await.end_reason.as_deref(), Some("PERSONA_MAX_TURNS reached"));
}

#[tokio::test]
async fn a_turn_of_many_results_is_cut_visibly_to_what_the_cap_allows() {
    let world = no_tools().await;
    world.peers.mcp.add_tool("books.list", "", anything());
    let text = json!({"content": [{"type": "text", "text": "Seite ".repeat(4_900)}]});
    world.peers.mcp.override_tool("books.list", usize::MAX, Behaviour::Result(text));
    world.peers.mcp.add_tool("books.lost", "", anything());
    let lost =
        json!({"content": [{"type": "text", "text": "weg ".repeat(7_000)}], "isError": true});
    world.peers.mcp.override_tool("books.lost", usize::MAX, Behaviour::Result(lost));
    let mut calls = vec![("books_list", json!({})); 99];
    calls.push(("books_lost", json!({})));
    play_well(&world, [Scripted::tools(&calls), Scripted::text("Viel gelesen.")]).await;
    let requests = main_requests(&world);
    let results = results(&requests[1]);
    assert_eq!(results.len(), 100, "every call has its result");
    let is_cut = |result: &&Value| result.to_string().contains("[cut: ");
    let cut = results.iter().filter(is_cut).count();
    assert!((50..95).contains(&cut), "{cut}");
    assert!(!is_cut(&&results[0]) && is_cut(&&results[99]));
    assert_eq!(results[99]["is_error"], true);
    assert_eq!(world.feedback().await.len(), 1);
    let spent = the_run(&world).await.spent.dollars();
    assert!(spent > 0.03 && spent <= 0.25, "{spent}");
}

#[tokio::test]
async fn a_cut_turn_is_replayed_unchanged() {
    let mut world = no_tools().await;
    world.peers.mcp.add_tool("books.list", "", anything());
    let text = json!({"content": [{"type": "text", "text": "Seite ".repeat(4_900)}]});
    world.peers.mcp.override_tool("books.list", usize::MAX, Behaviour::Result(text));
    let calls = vec![("books_list", json!({})); 60];
    world.peers.claude.enqueue(Scripted::tools(&calls));
    let second = |r: &Recorded| !r.json()["tools"].is_null() && !r.json()["messages"][1].is_null();
    let recorder = world.peers.claude.served.recorder.clone();
    world.peers.claude.served.faults.inject(1, Fault::Hang, second);
    drop(world.begin_tick());
    patiently("the second request", recorder.wait_for(1, second)).await;
    world.kill().await;
    world.peers.claude.answer_with(|r| (!r.is_rating()).then(|| Scripted::text("Viel gelesen.")));
    world.start_again(&[("PERSONA_MAX_COST_USD", "9")]).await;
    patiently("the same once more", recorder.wait_for(2, second)).await;
    world.nothing_in_flight().await;
    let requests = recorder.matching(second);
    assert!(requests[0].json().to_string().contains("[cut: "));
    assert_eq!(requests[0].json()["messages"], requests[1].json()["messages"]);
}

#[tokio::test]
async fn lost_answers_count_towards_the_cap() {
    let world = Setup::one(&["habits"]).var("PERSONA_MAX_COST_USD", "0.012").start().await;
    let broken = || Scripted::Raw { status: 200, headers: vec![], body: "{}".into() };
    for _ in 0..9 {
        world.peers.claude.enqueue(broken());
    }
    world.tick().await;
    let run = the_run(&world).await;
    assert!(run.spent.dollars() > 0.0 && run.spent.dollars() <= 0.012, "{}", run.spent);
    assert_eq!(run.end_reason.as_deref(), Some("PERSONA_MAX_COST_USD reached"));
}

#[tokio::test]
async fn a_persona_that_is_too_dear_costs_the_others_nothing() {
    let mut setup = Setup::many(&["anna", "ben"]).short_days();
    setup.personas.extend(["huge", "liked"].map(|name| persona(name, &["habits"])));
    setup.personas[2].system_prompt = "x".repeat(2_200_000);
    setup.personas[3].module_mix = (0..101).map(|n| (format!("m{n}"), json!(0.1))).collect();
    // Within the limits, but too expensive for the daily budget.
    setup.personas.push(persona("dear", &["habits"]));
    setup.personas[4].system_prompt = "Du schreibst gern. ".repeat(3_400);
    let world = setup.var("BUDGET_DAILY_USD", "0.007").start().await;
    let result = world.tick().await;
    assert_eq!(result["ranSuccessfully"], 2, "{result}");
    assert!(failure_of(&result, "huge").unwrap().contains("65536"), "{result}");
    assert!(failure_of(&result, "liked").unwrap().contains("100"), "{result}");
    assert!(failure_of(&result, "dear").unwrap().contains("BUDGET_DAILY_USD"), "{result}");
    assert!(world.health().await["reason"].is_null(), "{}", world.health().await);
    assert_eq!(world.journal().await.latest_runs(9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_configured_price_table_replaces_the_built_in_one() {
    let path = format!("{}/prices-of-one-dollar.toml", env!("CARGO_TARGET_TMPDIR"));
    let band = "{input = 1.0, write_5m = 1.0, write_1h = 1.0, read = 1.0, output = 1.0}";
    let table = format!(
        "version = 1\nas_of = '2026-03-09'\n[[models]]\nids = ['claude-haiku-5-5']\nbands = [{band}]\n"
    );
    std::fs::write(&path, table).unwrap();
    let world = Setup::one(&["habits"]).var("PRICING_FILE", path).start().await;
    let result = world.good_tick().await;
    let mut tokens = 0.0;
    for kind in ["input", "output", "cache_read", "cache_write"] {
        let series = format!(r#"claude_tokens_total{{kind="{kind}"}}"#);
        tokens += world.metric(&series).await.unwrap();
    }
    let cost = result["costUsd"].as_f64().unwrap();
    assert!(tokens > 0.0 && (cost - tokens / 1e6).abs() < 1e-9, "{cost} for {tokens} tokens");
}

#[tokio::test]
async fn a_model_without_a_price_is_one_warning_at_the_start() {
    for (model, warnings) in [("claude-of-tomorrow", 1), ("claude-haiku-5-5", 0)] {
        let logs = Logs::capture("warn");
        let _world = Setup::one(&["habits"]).var("ANTHROPIC_MODEL", model).start().await;
        let lines = logs.lines_with("price");
        assert_eq!(lines.len(), warnings, "{lines:?}");
    }
}
