//! The prompt cache: what is written, what is read, and when neither happens.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{CacheUsage, ClaudeOptions, Scripted},
    fixture::{Answer, Client, assistant, tool, tool_result, user, with},
};

mod invalidation;
mod lifetime;
mod look_back;

/// A text whose block has this many tokens, including the block's own bytes.
fn words(tokens: usize) -> String {
    "x".repeat(tokens * 4 - json!({"type": "text", "text": ""}).to_string().len())
}

fn short_lived() -> Value {
    json!({"type": "ephemeral"})
}

fn for_an_hour() -> Value {
    json!({"type": "ephemeral", "ttl": "1h"})
}

/// Adds a cache marker to this tool or block.
fn marked(mut block: Value, marker: Value) -> Value {
    block["cache_control"] = marker;
    block
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A tool of this many tokens.
fn big_tool(name: &str, tokens: usize) -> Value {
    let mut big = tool(name);
    big["description"] = "".into();
    let rest = tokens * 4 - big.to_string().len();
    big["description"] = "x".repeat(rest).into();
    big
}

/// The recommended layout: 600 tokens of tools and a marker on the last, 200 of system prompt with
/// another, 100 of question, and a marker that moves with the history.
fn persona(name: &str) -> Value {
    let tools =
        json!([big_tool("todo_create", 300), marked(big_tool("todo_list", 300), short_lived())]);
    let system = format!("{name}{}", &words(200)[name.len()..]);
    let mut body = with("tools", tools);
    body["system"] = json!([marked(text(&system), short_lived())]);
    body["messages"] = json!([user(json!(words(100)))]);
    body["cache_control"] = short_lived();
    body
}

/// The cache usage that an answer reports.
fn usage(answer: &Answer) -> CacheUsage {
    let usage = &answer.json["usage"];
    let count = |key: &str| usage[key].as_u64().unwrap();
    let split = &usage["cache_creation"];
    let parts = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];
    let parts: u64 = parts.iter().map(|part| split[*part].as_u64().unwrap()).sum();
    assert_eq!(count("cache_creation_input_tokens"), parts);
    CacheUsage {
        uncached: count("input_tokens"),
        written: count("cache_creation_input_tokens"),
        read: count("cache_read_input_tokens"),
    }
}

impl Client {
    /// Sends a valid request and returns the uncached, written and read tokens.
    async fn spends(&self, body: Value) -> (u64, u64, u64) {
        let usage = usage(&self.accepts(body).await);
        (usage.uncached, usage.written, usage.read)
    }
}

#[tokio::test]
async fn without_markers_nothing_is_ever_cached() {
    let client = Client::start().await;
    let mut body = persona("Anna");
    body.as_object_mut().unwrap().remove("cache_control");
    body["tools"][1].as_object_mut().unwrap().remove("cache_control");
    body["system"] = body["system"][0]["text"].clone();
    for _ in 0..2 {
        assert_eq!(client.spends(body.clone()).await, (900, 0, 0));
    }
    // A marker cannot read what no marker wrote.
    assert_eq!(client.spends(persona("Anna")).await, (0, 900, 0));
}

#[tokio::test]
async fn each_turn_reads_the_one_before_and_writes_what_is_new() {
    let client = Client::start().await;
    assert_eq!(client.spends(persona("Anna")).await, (0, 900, 0));
    assert_eq!(client.spends(persona("Anna")).await, (0, 0, 900));
    let mut next = persona("Anna");
    let messages = next["messages"].as_array_mut().unwrap();
    messages.push(assistant(json!([text(&words(50))])));
    messages.push(user(json!([text(&words(30))])));
    assert_eq!(client.spends(next.clone()).await, (0, 80, 900));
    // Without the moving marker, new content is neither written nor read.
    next.as_object_mut().unwrap().remove("cache_control");
    next["messages"].as_array_mut().unwrap().push(user(json!(words(20))));
    assert_eq!(client.spends(next).await, (200, 0, 800));
}

#[tokio::test]
async fn the_second_persona_reads_the_tools_the_first_one_wrote() {
    let client = Client::start().await;
    assert_eq!(client.spends(persona("Anna")).await, (0, 900, 0));
    assert_eq!(client.spends(persona("Ben")).await, (0, 300, 600));
    // Personas without a marker on the tools share no prefix, even if the tools are equal.
    let own = |name: &str| {
        let mut body = persona(name);
        body["tools"] = json!([big_tool("journal_add", 600)]);
        body
    };
    assert_eq!(client.spends(own("Anna")).await, (0, 900, 0));
    assert_eq!(client.spends(own("Ben")).await, (0, 900, 0));
}

#[tokio::test]
async fn a_prefix_below_the_models_minimum_is_silently_not_cached() {
    for (model, minimum) in [
        ("claude-haiku-5-5", 512),
        ("claude-sonnet-5-5", 512),
        ("claude-opus-5-5", 512),
        ("claude-opus-5", 512),
        ("claude-fable-5-1", 512),
        ("claude-sonnet-5", 1_024),
        ("claude-sonnet-4-6", 1_024),
        ("claude-opus-4-8", 1_024),
        ("claude-opus-4-7", 2_048),
        ("claude-haiku-4-5", 4_096),
        ("claude-opus-4-6", 4_096),
    ] {
        let client = Client::start().await;
        let ask = |tokens: usize| {
            let mut body = with("messages", json!([user(json!(words(tokens)))]));
            body["model"] = model.into();
            body["cache_control"] = short_lived();
            body
        };
        let least = u64::try_from(minimum).unwrap();
        for _ in 0..2 {
            assert_eq!(client.spends(ask(minimum - 1)).await, (least - 1, 0, 0), "{model}");
        }
        assert_eq!(client.spends(ask(minimum)).await, (0, least, 0), "{model}");
        assert_eq!(client.spends(ask(minimum)).await, (0, 0, least), "{model}");
    }
    // The length of the whole prefix counts: a short system prompt after long tools is cached.
    let client = Client::start().await;
    let mut body = with("tools", json!([marked(big_tool("todo_list", 500), short_lived())]));
    body["system"] = json!([marked(text(&words(20)), short_lived())]);
    assert_eq!(client.spends(body).await, (8, 520, 0));
}

#[tokio::test]
async fn parallel_first_calls_all_miss_because_an_entry_is_readable_once_its_answer_begins() {
    let latency = Duration::from_millis(700);
    let client = Client::with(ClaudeOptions { latency, ..ClaudeOptions::default() }).await;
    let calls =
        async { tokio::join!(client.spends(persona("Anna")), client.spends(persona("Ben"))) };
    let (anna, ben) = calls.await;
    assert_eq!(client.claude.peak_in_flight(), 2);
    assert_eq!((anna, ben), ((0, 900, 0), (0, 900, 0)));
    assert_eq!(client.spends(persona("Clara")).await, (0, 300, 600));
}

#[tokio::test]
async fn an_error_writes_nothing_and_warming_up_writes_everything() {
    let client = Client::start().await;
    client.claude.enqueue(Scripted::error(529, "overloaded_error", None, &[]));
    assert_eq!(client.post(persona("Anna").to_string()).await.status, 529);
    assert_eq!(client.claude.cache_usage(), CacheUsage::default());
    let mut warm_up = persona("Anna");
    warm_up["max_tokens"] = 0.into();
    assert_eq!(client.spends(warm_up).await, (0, 900, 0));
    assert_eq!(client.spends(persona("Anna")).await, (0, 0, 900));
}

#[tokio::test]
async fn thinking_is_cached_with_its_prefix_and_the_moving_marker_is_placed_before_it() {
    let client = Client::start().await;
    let content = json!([
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "thinking", "thinking": "", "signature": "sig_1"},
    ]);
    client.claude.enqueue(Scripted::blocks(content.as_array().unwrap(), "pause_turn"));
    client.accepts(persona("Anna")).await;
    let paused = |blocks: &Value| {
        let mut body = persona("Anna");
        body["messages"].as_array_mut().unwrap().push(assistant(blocks.clone()));
        body
    };
    let tokens = |block: &Value| u64::try_from(block.to_string().len().div_ceil(4)).unwrap();
    let (search, thought) = (tokens(&content[0]), tokens(&content[1]));
    assert_eq!(client.spends(paused(&content)).await, (thought, search, 900));
    // After other blocks it is part of the prefix: without the block the prefix is a different one.
    let asked_on = |blocks: Value| {
        let mut body = paused(&blocks);
        body["messages"].as_array_mut().unwrap().push(user(json!(words(40))));
        body
    };
    let whole = 900 + search + thought + 40;
    assert_eq!(client.spends(asked_on(content.clone())).await, (0, thought + 40, 900 + search));
    assert_eq!(client.spends(asked_on(content.clone())).await, (0, 0, whole));
    let stripped = asked_on(json!([content[0]]));
    assert_eq!(client.spends(stripped).await, (0, 40, 900 + search));
}

#[tokio::test]
async fn a_marker_on_a_part_of_a_tool_result_marks_the_result() {
    let client = Client::start().await;
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "todo_list", "input": {}});
    let mut result = tool_result("toolu_1");
    result["content"] = json!([marked(text(&words(600)), short_lived())]);
    let body = with(
        "messages",
        json!([user(json!("x")), assistant(json!([call])), user(json!([result]))]),
    );
    let (uncached, written, read) = client.spends(body.clone()).await;
    assert_eq!((uncached, read), (0, 0));
    assert!(written > 600);
    assert_eq!(client.spends(body).await, (0, 0, written));
}

#[tokio::test]
async fn the_totals_are_those_of_main_turns_and_have_a_price() {
    let client = Client::start().await;
    client.accepts(persona("Anna")).await;
    let mut next = persona("Anna");
    next.as_object_mut().unwrap().remove("cache_control");
    next["messages"].as_array_mut().unwrap().push(user(json!(words(20))));
    client.accepts(next).await;
    // Ratings offer no tools.
    client.accepts(with("system", json!("Du bist Anna."))).await;
    let total = client.claude.cache_usage();
    assert_eq!(total, CacheUsage { uncached: 120, written: 900, read: 800 });
    assert_eq!(total.prompt_tokens(), 1_820);
    let billed = 120.0 + 1.25 * 900.0 + 0.1 * 800.0;
    assert!((total.billed_input_tokens() - billed).abs() < 1e-9);
}
