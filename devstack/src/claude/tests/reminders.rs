//! How `system` messages in the middle of a conversation affect the persona.

use serde_json::{Value, json, value::RawValue};

use super::fixture::{Client, tool, with};

/// A conversation in which the persona has just made its first calls, followed by `hint`.
async fn after_the_first_calls(client: &Client, hint: impl Fn(&mut Vec<Value>)) -> Value {
    let mut body = with("tools", json!([tool("todo_list"), tool("todo_create")]));
    let first = client.accepts(body.clone()).await;
    let fields: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_str(&first.text).unwrap();
    let calls = first.json["content"].as_array().unwrap().iter();
    let results: Vec<Value> = calls
        .filter(|block| block["type"] == "tool_use")
        .map(|block| json!({"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}))
        .collect();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "HERE"}));
    messages.push(json!({"role": "user", "content": results}));
    hint(messages);
    let answer = client.post(body.to_string().replace("\"HERE\"", fields["content"].get())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json["stop_reason"].clone()
}

fn system(text: &str) -> Value {
    json!({"role": "system", "content": text})
}

#[tokio::test]
async fn the_day_continues_unless_a_hint_ends_it() {
    for (hint, stop_reason) in [
        ("Du hast noch drei Antworten für heute.", "tool_use"),
        ("Wiederhole die letzten Aufrufe nicht.", "tool_use"),
        ("Das ist deine letzte Antwort für heute.", "end_turn"),
        ("Du hast heute schon viel gemacht. Runde den Tag ab.", "end_turn"),
        ("Das Budget ist fast verbraucht. Komm zum Schluss.", "end_turn"),
    ] {
        let client = Client::start().await;
        let hint = format!("<reminder>{hint}</reminder>");
        let alone = after_the_first_calls(&client, |messages| messages.push(system(&hint))).await;
        assert_eq!(alone, stop_reason, "{hint}");
        let second = after_the_first_calls(&client, |messages| {
            messages.extend([system("Noch etwas."), system(&hint)]);
        });
        assert_eq!(second.await, stop_reason, "{hint}");
        // Models without such messages get the hint beside the results.
        let beside = after_the_first_calls(&client, |messages| {
            let results = messages.last_mut().unwrap()["content"].as_array_mut().unwrap();
            results.push(json!({"type": "text", "text": hint}));
        });
        assert_eq!(beside.await, stop_reason, "{hint}");
    }
}

#[tokio::test]
async fn a_system_message_is_a_role_and_texts_and_nothing_else() {
    let client = Client::start().await;
    let ask = |message: Value| with("messages", json!([{"role": "user", "content": "x"}, message]));
    let marker = json!({"type": "ephemeral"});
    let texts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": marker}]);
    client.accepts(ask(json!({"role": "system", "content": texts}))).await;
    // A `system` message that is limited to a turn needs a beta.
    let scoped = json!({"role": "system", "content": "x", "clear_at": "next_user_message"});
    client.refuses(ask(scoped), "messages.1.clear_at: Extra inputs are not permitted").await;
    client.refuses(ask(json!({"role": "system", "content": " "})), "messages.1.content: ").await;
    let result = json!({"role": "system", "content": [super::fixture::tool_result("toolu_1")]});
    client.refuses(ask(result), "messages.1.content.0.").await;
}
