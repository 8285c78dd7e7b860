//! Errors that a test plans: with an error code, and for thinking blocks.

use serde_json::{Value, json, value::RawValue};

use super::{
    super::Scripted,
    fixture::{Client, base, tool, with},
};

#[tokio::test]
async fn an_error_can_be_scripted_with_its_code_and_headers() {
    let client = Client::start().await;
    let code = "enforced_spend_limit_reached";
    client.claude.enqueue(Scripted::error(429, "rate_limit_error", Some(code), &[]));
    client.claude.enqueue(Scripted::error(
        429,
        "rate_limit_error",
        None,
        &[("retry-after", "7"), ("x-should-retry", "true")],
    ));
    let spent = client.post(base().to_string()).await;
    assert_eq!(spent.status, 429);
    assert_eq!(spent.json["type"], "error");
    assert_eq!(spent.json["error"]["type"], "rate_limit_error");
    assert_eq!(spent.json["error"]["details"]["error_code"], code);
    assert_eq!(spent.json["request_id"], spent.headers["request-id"].to_str().unwrap());
    assert_eq!(spent.headers["content-type"], "application/json");
    assert!(!spent.headers.contains_key("retry-after"), "it does not heal by waiting");
    let limited = client.post(base().to_string()).await;
    assert!(limited.json["error"].get("details").is_none());
    assert_eq!(limited.headers["retry-after"], "7");
    assert_eq!(limited.headers["x-should-retry"], "true");
    assert!(client.claude.violations().is_empty());
}

/// The request after this answer, with or without its thinking.
fn follow_up(answer: &str, keep_thinking: bool) -> String {
    let fields: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_str(answer).unwrap();
    let blocks: Vec<Box<RawValue>> = serde_json::from_str(fields["content"].get()).unwrap();
    let kept: Vec<&str> = blocks
        .iter()
        .map(|block| block.get())
        .filter(|block| keep_thinking || !block.contains("\"thinking\""))
        .collect();
    let results: Vec<Value> = blocks
        .iter()
        .filter_map(|block| serde_json::from_str::<Value>(block.get()).ok())
        .filter(|block| block["type"] == "tool_use")
        .map(|block| json!({"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}))
        .collect();
    let mut body = with("tools", json!([tool("todo_list"), tool("todo_create")]));
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "HERE"}));
    messages.push(json!({"role": "user", "content": results}));
    body.to_string().replace("\"HERE\"", &format!("[{}]", kept.join(",")))
}

#[tokio::test]
async fn thinking_can_be_refused_once_and_the_same_request_without_it_is_fine() {
    let client = Client::start().await;
    client.claude.refuse_thinking_once();
    // A request without thinking is not refused.
    let first = client
        .post(with("tools", json!([tool("todo_list"), tool("todo_create")])).to_string())
        .await;
    assert_eq!(first.json["content"][0]["type"], "thinking", "{}", first.text);
    let refused = client.post(follow_up(&first.text, true)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json["error"]["type"], "invalid_request_error");
    let message = refused.json["error"]["message"].as_str().unwrap();
    let words = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound \
                 to a different conversation";
    assert!(message.starts_with(words), "{message}");
    let stripped = client.post(follow_up(&first.text, false)).await;
    assert_eq!(stripped.status, 200, "{}", stripped.text);
    assert_eq!(client.post(follow_up(&first.text, true)).await.status, 200, "once means once");
    assert!(client.claude.violations().is_empty(), "the client did nothing wrong");
    assert_eq!(client.claude.requests().len(), 3, "a refused request is not answered");
}
