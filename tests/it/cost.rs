//! What a run costs: the prompt cache, prices, and the cap.

use devstack::{
    claude::{ParsedRequest, Scripted},
    mcp::Behaviour,
};
use serde_json::{Value, json};

use crate::{
    script::{
        anything, habits_list, main_requests, no_tools, outcomes, play_well, rating_requests,
    },
    support::{Setup, logs::Logs},
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
        // What varies from run to run comes after it.
        assert!(!prefix(request).contains("2026-03-09"));
    }
    for request in rating_requests(&world) {
        assert_eq!(markers(&request.body), 0, "a single request is not worth a cache write");
    }
}

#[tokio::test]
async fn what_a_long_turn_follows_is_read_from_the_cache_too() {
    let world = no_tools().await;
    world.peers.mcp.add_tool("books.list", "", anything());
    let text = json!({"content": [{"type": "text", "text": "Seite ".repeat(4_000)}]});
    world.peers.mcp.override_tool("books.list", 1, Behaviour::Result(text));
    let calls = |number| Scripted::tools(&vec![("books_list", json!({})); number]);
    play_well(&world, [calls(1), calls(12), calls(1), Scripted::text("Viel gelesen.")]).await;
    let requests = main_requests(&world);
    let marked: Vec<_> = requests.iter().map(|request| markers(&request.body)).collect();
    assert_eq!(marked, [3, 3, 4, 3]);
    // Each part of the last prompt was written once, at four characters a token.
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
    let said = result["costUsd"].as_f64().unwrap();
    assert!(said > 0.0 && (said - sum).abs() < 1e-9, "{said} and {sum}");
}

#[tokio::test]
async fn a_run_that_has_cost_what_it_may_keeps_its_actions_and_asks_for_nothing_more() {
    let world = Setup::one(&["habits"]).var("PERSONA_MAX_COST_USD", "0.0000001").start().await;
    let result = play_well(&world, [Scripted::tools(&[habits_list(), habits_list()])]).await;
    assert_eq!(result["ranSuccessfully"], 1);
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 2]);
    assert_eq!(world.peers.claude.requests().len(), 1);
    assert_eq!(world.metric("unrated_modules_total").await, Some(1.0));
    assert_eq!(world.tick().await["due"], json!(0));
}

#[tokio::test]
async fn a_price_table_of_ones_own_takes_the_place_of_the_one_in_the_binary() {
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
    let said = result["costUsd"].as_f64().unwrap();
    assert!(tokens > 0.0 && (said - tokens / 1e6).abs() < 1e-9, "{said} for {tokens} tokens");
}

#[tokio::test]
async fn a_model_without_a_price_is_one_warning_at_the_start() {
    for (model, warnings) in [("claude-of-tomorrow", 1), ("claude-haiku-5-5", 0)] {
        let logs = Logs::capture("warn");
        let _world = Setup::one(&["habits"]).var("ANTHROPIC_MODEL", model).start().await;
        let said = logs.lines_with("price");
        assert_eq!(said.len(), warnings, "{said:?}");
    }
}
