//! The replies that tests can plan, and the form of the answers.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fault::Fault;

use super::{
    super::Scripted,
    fixture::{Client, base, tool, with},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_answer_has_the_full_shape_and_the_headers_of_the_contract() {
    let client = Client::start().await;
    client.claude.enqueue(Scripted::text("Hallo Welt"));
    let answer = client.accepts(with("system", json!("Du bist Anna."))).await;
    let keys: Vec<&String> = answer.json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "type",
            "role",
            "model",
            "content",
            "stop_reason",
            "stop_sequence",
            "stop_details",
            "container",
            "diagnostics",
            "usage"
        ]
    );
    assert!(answer.json["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(answer.json["model"], "claude-haiku-5-5");
    let blocks = [r#"{"type":"text","text":"Du bist Anna."}"#, r#"{"type":"text","text":"Hallo"}"#];
    let estimate: usize = blocks.iter().map(|block| block.len().div_ceil(4)).sum();
    assert_eq!(answer.json["usage"]["input_tokens"], estimate);
    assert!(answer.json["usage"]["output_tokens"].as_u64().unwrap() > 0);
    assert_eq!(answer.json["usage"]["cache_read_input_tokens"], 0);
    for header in [
        "request-id",
        "anthropic-organization-id",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-tokens-limit",
    ] {
        assert!(answer.headers.contains_key(header), "{header}");
    }
}

#[tokio::test]
async fn queued_replies_go_first_then_the_rule_then_the_persona() {
    let client = Client::start().await;
    client.claude.answer_with(|request| {
        request.last_user_text().contains("Regel").then(|| Scripted::text("von der Regel"))
    });
    client.claude.enqueue(Scripted::text("eins"));
    client.claude.enqueue(Scripted::text("zwei"));
    let ask = |text: &str| with("messages", json!([{"role": "user", "content": text}]));
    for (question, reply) in [("Regel", "eins"), ("x", "zwei"), ("Regel", "von der Regel")] {
        // A refused request uses up nothing.
        client.refuses(with("top_k", json!(1)), "top_k").await;
        let answer = client.accepts(ask(question)).await;
        assert_eq!(answer.json["content"][0]["text"], reply);
    }
    assert_eq!(client.accepts(ask("x")).await.json["content"][0]["type"], "thinking");
    assert_eq!(client.claude.requests().len(), 4, "only valid requests are listed");
}

#[tokio::test]
async fn every_way_for_a_reply_to_end_can_be_scripted() {
    let client = Client::start().await;
    let ask = || with("tools", json!([tool("todo_list"), tool("todo_create")]));
    client.claude.enqueue(Scripted::refusal("cyber"));
    let refusal = client.accepts(ask()).await.json;
    assert_eq!((&refusal["stop_reason"], &refusal["content"]), (&json!("refusal"), &json!([])));
    assert_eq!(refusal["stop_details"]["category"], "cyber");

    client.claude.enqueue(Scripted::truncated_tool_use("todo_create", json!({"ti": "x"})));
    let truncated = client.accepts(ask()).await.json;
    assert_eq!(truncated["stop_reason"], "max_tokens");
    assert_eq!(truncated["content"][0]["type"], "tool_use");

    client.claude.enqueue(Scripted::tools(&[("todo_list", json!({})), ("todo_create", json!({}))]));
    let tools = client.accepts(ask()).await.json;
    assert_eq!(tools["stop_reason"], "tool_use");
    assert_ne!(tools["content"][0]["id"], tools["content"][1]["id"]);

    client.claude.enqueue(Scripted::ratings(&[("todo", 4, "Gut")]));
    let ratings = client.accepts(base()).await.json;
    let text: Value =
        serde_json::from_str(ratings["content"][0]["text"].as_str().unwrap()).unwrap();
    let rating = json!({"module": "todo", "notes": "Gut", "calls": [], "rating": 4});
    assert_eq!(text, json!({"ratings": [rating]}));

    client.claude.enqueue(Scripted::stop("pause_turn", "Moment"));
    assert_eq!(client.accepts(base()).await.json["stop_reason"], "pause_turn");
    client.claude.enqueue(Scripted::nothing("end_turn"));
    assert_eq!(client.accepts(base()).await.json["content"], json!([]));

    let headers = vec![("content-type", "text/html".to_owned())];
    client.claude.enqueue(Scripted::Raw { status: 502, headers, body: "<html>".into() });
    let raw = client.post(base().to_string()).await;
    assert_eq!((raw.status, raw.text.as_str()), (502, "<html>"));
}

#[tokio::test]
async fn a_request_for_no_tokens_only_warms_the_cache() {
    let client = Client::start().await;
    client.claude.enqueue(Scripted::text("bleibt liegen"));
    let warm = client.accepts(with("max_tokens", json!(0))).await.json;
    assert_eq!((&warm["content"], &warm["stop_reason"]), (&json!([]), &json!("max_tokens")));
    assert_eq!(client.accepts(base()).await.json["content"][0]["text"], "bleibt liegen");
}

#[tokio::test]
async fn slow_answers_are_counted_as_in_flight_and_faults_strike_at_the_socket() {
    let client = Client::start().await;
    client.claude.set_latency(Duration::from_millis(300));
    let body = base().to_string();
    let both = async { tokio::join!(client.post(body.clone()), client.post(body.clone())) };
    let (one, two) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(client.claude.in_flight(), 0);
    assert_eq!(client.claude.peak_in_flight(), 2);

    client.claude.set_latency(Duration::ZERO);
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
    client.claude.served.faults.on(1, Method::POST, "/messages", Fault::status(529, overloaded));
    assert_eq!(client.post(body.clone()).await.status, 529);
    assert_eq!(client.post(body).await.status, 200);
}
