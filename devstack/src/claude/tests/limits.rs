//! Rate limits: buckets that fill by the clock, and the headers that report their levels.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{
    super::{ClaudeOptions, RateLimit, Scripted},
    fixture::{Answer, Client, base, talk, tool, user, with},
};

const PLENTY: RateLimit = RateLimit {
    requests_per_minute: 60,
    input_tokens_per_minute: 60_000,
    output_tokens_per_minute: 60_000,
};

async fn limited(limit: RateLimit) -> Client {
    Client::with(ClaudeOptions { rate_limit: Some(limit), ..ClaudeOptions::default() }).await
}

fn header<'a>(answer: &'a Answer, kind: &str, what: &str) -> &'a str {
    answer.headers[format!("anthropic-ratelimit-{kind}-{what}")].to_str().unwrap()
}

/// Checks that this body is refused with 429, with the API's message.
async fn too_early(client: &Client, body: Value, seconds: u64, what: &str) -> Answer {
    let answer = client.post(body.to_string()).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert_eq!(answer.json["error"]["type"], "rate_limit_error");
    assert!(answer.json["error"].get("details").is_none(), "a plain rate limit has no code");
    let message = answer.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("{what} per minute")), "{message}");
    assert_eq!(answer.headers["retry-after"], seconds.to_string().as_str());
    answer
}

/// A question that counts this many tokens.
fn question(tokens: usize) -> Value {
    let frame = json!({"type": "text", "text": ""}).to_string().len();
    talk(json!([user(json!("x".repeat(tokens * 4 - frame)))]))
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_use_up_nothing() {
    let client = limited(RateLimit { requests_per_minute: 2, ..PLENTY }).await;
    for reply in ["eins", "zwei", "drei"] {
        client.claude.enqueue(Scripted::text(reply));
    }
    client.accepts(base()).await;
    client.clock.advance(Duration::from_secs(10));
    client.accepts(base()).await;
    let refused = too_early(&client, base(), 20, "requests").await;
    assert_eq!(header(&refused, "requests", "remaining"), "0");
    client.clock.advance(Duration::from_secs(19));
    too_early(&client, base(), 1, "requests").await;
    client.clock.advance(Duration::from_secs(1));
    assert_eq!(client.accepts(base()).await.json["content"][0]["text"], "drei");
    assert_eq!(client.claude.requests().len(), 3);
    assert!(client.claude.violations().is_empty(), "to come too early breaks no rule");
}

#[tokio::test]
async fn input_counts_unless_it_is_read_from_the_cache() {
    let client = limited(RateLimit { input_tokens_per_minute: 1_500, ..PLENTY }).await;
    let mut body = question(1_000);
    body["cache_control"] = json!({"type": "ephemeral"});
    client.accepts(body.clone()).await;
    for _ in 0..5 {
        client.accepts(body.clone()).await;
    }
    // 500 are left: 600 need 4 s more at 25 a second.
    too_early(&client, question(600), 4, "input tokens").await;
    client.accepts(question(500)).await;
    client.accepts(body).await;
    too_early(&client, question(10), 1, "input tokens").await;
}

#[tokio::test]
async fn output_counts_once_it_is_known_and_may_leave_a_debt() {
    let client = limited(RateLimit { output_tokens_per_minute: 600, ..PLENTY }).await;
    let mut asks_for_much = base();
    asks_for_much["max_tokens"] = 16_000.into();
    let frame = Scripted::text("");
    let Scripted::Message { content, .. } = frame else { panic!("a text is a message") };
    client.claude.enqueue(Scripted::text(&"x".repeat(900 * 4 - content.len())));
    let answer = client.accepts(asks_for_much).await;
    assert_eq!(answer.json["usage"]["output_tokens"], 900);
    assert_eq!(header(&answer, "output-tokens", "remaining"), "0");
    // The bucket is at -300 and gains ten per second; one token is needed to begin.
    too_early(&client, base(), 31, "output tokens").await;
    client.clock.advance(Duration::from_secs(31));
    client.accepts(base()).await;
}

#[tokio::test]
async fn every_answer_tells_the_limits_rounded_and_when_they_are_full_again() {
    let client = limited(PLENTY).await;
    client.claude.enqueue(Scripted::text("Gut"));
    let answer = client.accepts(question(12_400)).await;
    for (kind, limit, remaining) in [
        ("requests", "60", "59"),
        ("input-tokens", "60000", "48000"),
        ("output-tokens", "60000", "60000"),
        ("tokens", "60000", "48000"),
    ] {
        assert_eq!(header(&answer, kind, "limit"), limit, "{kind}");
        assert_eq!(header(&answer, kind, "remaining"), remaining, "{kind}");
    }
    let reset: Timestamp = header(&answer, "requests", "reset").parse().unwrap();
    assert_eq!(reset, client.clock.now() + 1.second());
    let reset: Timestamp = header(&answer, "input-tokens", "reset").parse().unwrap();
    assert_eq!(reset, client.clock.now() + 13.seconds(), "12.4 s, in whole seconds");
    let invalid = client.post(with("top_k", json!(1)).to_string()).await;
    assert_eq!((invalid.status, header(&invalid, "requests", "remaining")), (400, "59"));
    client.clock.advance(Duration::from_secs(1));
    let invalid = client.post(with("top_k", json!(1)).to_string()).await;
    assert_eq!(header(&invalid, "requests", "remaining"), "60");
    assert_eq!(header(&invalid, "input-tokens", "remaining"), "49000", "48,600, rounded");
}

#[tokio::test]
async fn without_limits_the_headers_are_generous_and_no_request_is_refused() {
    let client = Client::start().await;
    for _ in 0..20 {
        let answer = client.accepts(with("tools", json!([tool("todo_list")]))).await;
        assert_eq!(header(&answer, "requests", "remaining"), "999");
        assert_eq!(header(&answer, "input-tokens", "remaining"), "2000000");
        let reset: Timestamp = header(&answer, "tokens", "reset").parse().unwrap();
        assert_eq!(reset, client.clock.now());
    }
}

#[tokio::test]
async fn the_headers_of_the_next_answers_can_be_set() {
    let client = Client::start().await;
    let remaining = "anthropic-ratelimit-requests-remaining";
    client.claude.headers_once(vec![(remaining, "0".into()), ("x-should-retry", "false".into())]);
    client.claude.headers_once(vec![(remaining, "7".into())]);
    client.refuses(with("top_k", json!(1)), "top_k").await;
    let first = client.accepts(base()).await;
    assert_eq!(header(&first, "requests", "remaining"), "0");
    assert_eq!(header(&first, "requests", "limit"), "1000", "the others stay");
    assert_eq!(first.headers["x-should-retry"], "false");
    client.claude.enqueue(Scripted::error(529, "overloaded_error", None, &[]));
    let second = client.post(base().to_string()).await;
    assert_eq!((second.status, header(&second, "requests", "remaining")), (529, "7"));
    let third = client.accepts(base()).await;
    assert_eq!(header(&third, "requests", "remaining"), "999");
}
