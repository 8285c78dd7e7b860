//! Claude's replies are replayed byte for byte, after the history that they were generated for.

use serde_json::{Value, json};

use super::{
    super::Scripted,
    fixture::{Client, base, talk, tool, tool_result, user, with},
};

/// Content in a form that no serializer writes.
const CONTENT: &str = r#"[{"type": "thinking","thinking":"","signature":"sig_a"},
    {"type":"text", "text":"Ich sehe \u00fcberall nach."},{"type":"hologram","id":"h1","n":1.0},
    {"type":"tool_use","id":"toolu_a","name":"todo_list","input":{ "limit": 1e1 }}]"#;

fn scripted(content: &str) -> Scripted {
    Scripted::Message {
        content: content.into(),
        stop_reason: Some("tool_use".into()),
        stop_details: Value::Null,
    }
}

/// The request after `content`, as text: the content is inserted unchanged.
fn follow_up(mut request: Value, content: &str) -> String {
    let messages = request["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "HERE"}));
    messages.push(user(json!([tool_result("toolu_a")])));
    request.to_string().replace("\"HERE\"", content)
}

fn start() -> Value {
    let mut body = with("tools", json!([tool("todo_list")]));
    body["system"] = json!("Du bist Anna.");
    body
}

/// A client that has just been served [`CONTENT`] for [`start`].
async fn served() -> Client {
    let client = Client::start().await;
    client.claude.enqueue(scripted(CONTENT));
    let answer = client.post(start().to_string()).await;
    assert!(answer.text.contains(CONTENT), "served byte for byte: {}", answer.text);
    client
}

async fn refuses_text(client: &Client, body: String, message: &str) {
    let answer = client.post(body).await;
    assert_eq!(answer.status, 400, "expected {message:?}: {}", answer.text);
    let said = answer.json["error"]["message"].as_str().unwrap();
    assert!(said.starts_with(message), "expected {message:?}, got {said:?}");
}

#[tokio::test]
async fn the_served_bytes_are_accepted_with_blocks_of_unknown_type() {
    let client = served().await;
    let answer = client.post(follow_up(start(), CONTENT)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(client.claude.violations().is_empty());
}

#[tokio::test]
async fn a_client_that_serializes_again_or_drops_a_block_is_caught() {
    let client = served().await;
    let again = serde_json::from_str::<Value>(CONTENT).unwrap().to_string();
    let without = |kind: &str| {
        let mut blocks: Vec<Value> = serde_json::from_str(&again).unwrap();
        blocks.retain(|block| block["type"] != kind);
        Value::from(blocks).to_string()
    };
    for changed in [again.clone(), without("hologram"), without("text")] {
        let message = "messages.1.content: this reply was changed";
        refuses_text(&client, follow_up(start(), &changed), message).await;
    }
}

#[tokio::test]
async fn a_reply_of_text_alone_is_recognised_by_its_text() {
    let client = Client::start().await;
    client.claude.enqueue(scripted(r#"[{"type":"text","text":"Gut","citations":null}]"#));
    client.accepts(base()).await;
    let next = |content: &str| {
        talk(json!([user(json!("Hallo")), {"role": "assistant", "content": "HERE"}, user(json!("?"))]))
            .to_string()
            .replace("\"HERE\"", content)
    };
    let spaced = r#"[{"type":"text","text":"Gut", "citations":null}]"#;
    refuses_text(&client, next(spaced), "messages.1.content: this reply was changed").await;
    let same = r#"[{"type":"text","text":"Gut","citations":null}]"#;
    assert_eq!(client.post(next(same)).await.status, 200);
}

#[tokio::test]
async fn thinking_is_bound_to_system_tools_messages_and_model() {
    let client = served().await;
    let unbound = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is \
                   bound to a different conversation";
    let edited = |edit: fn(&mut Value)| {
        let mut body = start();
        edit(&mut body);
        follow_up(body, CONTENT)
    };
    for edit in [
        (|body| body["system"] = json!("Du bist Ben.")) as fn(&mut Value),
        |body| body["tools"][0]["description"] = json!("anders"),
        |body| body["tools"] = json!([]),
        |body| body["messages"][0]["content"] = json!("Hallo!"),
        |body| body["model"] = json!("claude-sonnet-5-5"),
    ] {
        refuses_text(&client, edited(edit), unbound).await;
    }
    let longer = edited(|body| {
        body["messages"] = json!([user(json!("Hallo")), user(json!("Noch etwas"))]);
    });
    refuses_text(&client, longer, "messages.2.content.0: Invalid `signature`").await;
    for edit in [
        (|body| body["cache_control"] = json!({"type": "ephemeral"})) as fn(&mut Value),
        |body| body["tools"][0]["cache_control"] = json!({"type": "ephemeral"}),
        |body| body["output_config"] = json!({"effort": "low"}),
        |body| body["max_tokens"] = json!(16_000),
        |body| {
            body["system"] = json!([{"type": "text", "text": "Du bist Anna.", "cache_control": {"type": "ephemeral"}}]);
        },
    ] {
        let answer = client.post(edited(edit)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let forged = r#"[{"type":"thinking","thinking":"","signature":"sig_forged"}]"#;
    let next =
        json!([user(json!("x")), {"role": "assistant", "content": "HERE"}, user(json!("y"))]);
    refuses_text(&client, talk(next).to_string().replace("\"HERE\"", forged), unbound).await;
}

#[tokio::test]
async fn thinking_may_be_stripped_from_all_of_the_history_or_oldest_first() {
    let client = served().await;
    let bare = format!("[{}", CONTENT.split_once("},").unwrap().1);
    let mut edited = start();
    edited["system"] = json!("Du bist Ben.");
    assert_eq!(
        client.post(follow_up(edited, &bare)).await.status,
        200,
        "nothing is bound any more"
    );

    // A second reply with thinking.
    let second =
        CONTENT.replace("sig_a", "sig_b").replace("toolu_a", "toolu_b").replace("h1", "h2");
    client.claude.enqueue(scripted(&second));
    assert_eq!(client.post(follow_up(start(), CONTENT)).await.status, 200);
    let bare_second = format!("[{}", second.split_once("},").unwrap().1);
    let whole = |one: &str, two: &str| {
        let mut body: Value = serde_json::from_str(&follow_up(start(), "\"ONE\"")).unwrap();
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": "TWO"}));
        messages.push(user(json!([tool_result("toolu_b")])));
        body.to_string().replace("\"ONE\"", one).replace("\"TWO\"", two)
    };
    for (one, two) in [(CONTENT, second.as_str()), (&bare, &second), (&bare, &bare_second)] {
        let answer = client.post(whole(one, two)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    refuses_text(&client, whole(CONTENT, &bare_second), "messages.3.content.0: Invalid").await;
}

#[tokio::test]
async fn a_paused_reply_is_the_only_one_a_conversation_may_end_with() {
    let client = Client::start().await;
    let content =
        r#"[{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}]"#;
    client.claude.enqueue(Scripted::Message {
        content: content.into(),
        stop_reason: Some("pause_turn".into()),
        stop_details: Value::Null,
    });
    client.accepts(base()).await;
    let messages = json!([user(json!("Hallo")), {"role": "assistant", "content": "HERE"}]);
    let next = talk(messages).to_string().replace("\"HERE\"", content);
    assert_eq!(client.post(next).await.status, 200);
}
