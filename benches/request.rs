//! Measures how long it takes to build a request late in a run: earlier messages are copied, not encoded
//! again.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use mana_persona_runner::{
    clients::claude::{Ask, ClaudeClient, Message, ResultBlock, ToolDefinitions, ToolResult},
    clock::Clock,
    config::Config,
    domain::Redactor,
    http::HttpClient,
    metrics::Metrics,
    pricing::Pricing,
};
use serde_json::{Map, Value, json, value::to_raw_value};

/// Number of the request that is built; one reply and its results precede it for each earlier request.
const REQUEST: usize = 15;
const TOOLS_BYTES: usize = 60_000;
const HISTORY_BYTES: usize = 200_000;
const GOAL: Duration = Duration::from_micros(200);

fn main() {
    let claude = claude();
    let tools = tools();
    let messages = history();
    let history_bytes: usize = messages.iter().map(|message| message.as_json().len()).sum();
    let ask = Ask {
        system: "Du bist Anna, 28, und schreibst kurz.",
        tools: Some(&tools),
        messages: &messages,
        max_tokens: NonZeroU32::new(8_192).unwrap(),
        format: None,
        cached: true,
        spare: Default::default(),
    };
    let body = claude.encode(ask);
    // Checks that the measured body is the one that would be sent.
    let sent: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2 * REQUEST - 1);

    let mut took = Vec::new();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("build", |bencher| {
        bencher.iter_custom(|rounds| {
            let rounds = (0..rounds).map(|_| {
                let started = Instant::now();
                let body = claude.encode(black_box(ask));
                let round = started.elapsed();
                drop(black_box(body));
                round
            });
            let before = took.len();
            took.extend(rounds);
            took[before..].iter().sum()
        });
    });
    group.finish();
    criterion.final_summary();
    if took.is_empty() {
        return;
    }
    took.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "building request {REQUEST} of a run ({} kB of tools, {} kB of history): median {:.3} ms of {} \
         (goal: at most {:.1} ms)\n",
        tools.as_json().len() / 1_000,
        history_bytes / 1_000,
        ms(took[took.len() / 2]),
        took.len(),
        ms(GOAL),
    );
}

fn claude() -> ClaudeClient {
    let config =
        Config::from_vars([("ANTHROPIC_API_KEY".into(), "sk-ant-benchmark".into())]).unwrap();
    let pricing = Pricing::load(None, &config.claude.model).unwrap();
    let metrics = Arc::new(Metrics::new("benchmark").unwrap());
    let http = HttpClient::new(metrics, Redactor::default()).unwrap();
    ClaudeClient::new(http, &config.claude, pricing, Clock::system(), 1).unwrap()
}

/// Tools like those of mana-mcp, with `TOOLS_BYTES` in total.
fn tools() -> ToolDefinitions {
    let schema = |n: usize| -> Map<String, Value> {
        let schema = json!({
            "type": "object",
            "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Title of the entry."},
                "date": {"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$"},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": n + 1},
            },
            "required": ["title"],
            "additionalProperties": false,
        });
        serde_json::from_value(schema).unwrap()
    };
    let mut tools: Vec<(String, Map<String, Value>)> = Vec::new();
    loop {
        let description = "Creates an entry in the given module, in the persona's own space.";
        let offered = tools.iter().map(|(name, schema)| (name.as_str(), description, schema));
        let definitions = ToolDefinitions::new(offered);
        if definitions.as_json().len() >= TOOLS_BYTES {
            return definitions;
        }
        tools.push((format!("module{:03}_create", tools.len()), schema(tools.len())));
    }
}

/// The first message and, for each reply so far, the reply and the results of its calls.
fn history() -> Vec<Message> {
    let round = HISTORY_BYTES / (REQUEST - 1);
    let mut messages = vec![Message::user("Verbringe einen kurzen Tag in deiner Mana-App.")];
    for n in 1..REQUEST {
        let id = format!("toolu_{n:02}");
        let content = json!([
            {"type": "thinking", "thinking": "", "signature": "EqoB".repeat(150)},
            {"type": "tool_use", "id": id, "name": "module001_create", "input": {"title": "Referat"}},
        ]);
        let reply = Message::assistant(&to_raw_value(&content).unwrap(), &[]).unwrap();
        // Quotes and line breaks, as in the pretty-printed JSON that tools return.
        let line = "  \"title\": \"Müsli kaufen\",\n";
        let lines = round.saturating_sub(reply.as_json().len() + 150) / (line.len() + 5);
        let content = vec![ResultBlock::Text(line.repeat(lines))];
        let result = ToolResult { tool_use_id: id, content, is_error: false };
        messages.extend([reply, Message::tool_results(&[result], None)]);
    }
    messages
}
