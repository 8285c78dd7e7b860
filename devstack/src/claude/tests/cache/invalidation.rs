//! Which changes invalidate a prefix, and which do not.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{super::fixture::Client, big_tool, for_an_hour, marked, persona, short_lived, words};

type Edit = fn(&mut Value);

/// Tokens that an edited request reads after the unedited request has written everything.
async fn still_read(edit: Edit) -> u64 {
    let client = Client::start().await;
    client.accepts(persona("Anna")).await;
    let mut body = persona("Anna");
    edit(&mut body);
    client.spends(body).await.2
}

#[tokio::test]
async fn any_change_of_the_tools_or_the_model_loses_everything() {
    for edit in [
        (|body| body["tools"][0]["description"] = json!("anders")) as Edit,
        |body| body["tools"].as_array_mut().unwrap().reverse(),
        |body| drop(body["tools"].as_array_mut().unwrap().remove(0)),
        |body| body["tools"].as_array_mut().unwrap().insert(0, big_tool("a_b", 100)),
        // The same schema with its keys in another order is a different text.
        |body| body["tools"][0]["input_schema"] = json!({"properties": {}, "type": "object"}),
        |body| body["model"] = json!("claude-sonnet-5-5"),
    ] {
        assert_eq!(still_read(edit).await, 0);
    }
}

#[tokio::test]
async fn the_system_prompt_and_the_speed_lose_all_but_the_tools() {
    for edit in [
        (|body| body["system"][0]["text"] = json!(words(199))) as Edit,
        |body| body["system"].as_array_mut().unwrap().insert(0, super::text("Heute")),
        |body| body["speed"] = json!("fast"),
    ] {
        assert_eq!(still_read(edit).await, 600);
    }
}

#[tokio::test]
async fn messages_and_how_they_are_answered_lose_only_the_messages() {
    for edit in [
        (|body| body["messages"][0]["content"] = json!(words(99))) as Edit,
        |body| body["messages"][0]["content"] = json!([super::text("davor"), super::text("x")]),
        |body| body["tool_choice"] = json!({"type": "none"}),
        |body| body["tool_choice"] = json!({"type": "auto", "disable_parallel_tool_use": true}),
        |body| body["thinking"] = json!({"type": "disabled"}),
        |body| body["output_config"] = json!({"effort": "low"}),
        |body| {
            let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
            body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
        },
        |body| {
            let data = STANDARD.encode(crate::picture::png(1, 1));
            let source = json!({"type": "base64", "media_type": "image/png", "data": data});
            let image = json!({"type": "image", "source": source});
            let messages = body["messages"].as_array_mut().unwrap();
            messages.push(json!({"role": "user", "content": [image]}));
        },
    ] {
        assert_eq!(still_read(edit).await, 800);
    }
}

#[tokio::test]
async fn markers_spelling_and_other_settings_lose_nothing() {
    for edit in [
        (|body| body["max_tokens"] = json!(16_000)) as Edit,
        |body| body["metadata"] = json!({"user_id": "p-1"}),
        |body| drop(body["system"][0].as_object_mut().unwrap().remove("cache_control")),
        |body| drop(body["tools"][1].as_object_mut().unwrap().remove("cache_control")),
        |body| body["tools"][0] = marked(body["tools"][0].clone(), short_lived()),
        |body| body["tools"][1] = marked(body["tools"][1].clone(), for_an_hour()),
        // A text is equivalent to one text block.
        |body| body["messages"][0]["content"] = json!([super::text(&words(100))]),
        |body| body["system"] = body["system"][0]["text"].clone(),
    ] {
        assert_eq!(still_read(edit).await, 900);
    }
    let client = Client::start().await;
    client.accepts(persona("Anna")).await;
    let spaced = serde_json::to_string_pretty(&persona("Anna")).unwrap();
    assert_eq!(super::usage(&client.post(spaced).await).read, 900);
}

#[tokio::test]
async fn an_edited_history_is_read_up_to_the_edit_and_no_further() {
    let client = Client::start().await;
    client.accepts(persona("Anna")).await;
    let longer = |reminder: &str| {
        let mut body = persona("Anna");
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "system", "content": reminder}));
        messages.push(json!({"role": "assistant", "content": words(30)}));
        messages.push(json!({"role": "user", "content": words(30)}));
        body
    };
    assert_eq!(client.spends(longer(&words(20))).await, (0, 80, 900));
    assert_eq!(client.spends(longer(&words(20))).await, (0, 0, 980));
    assert_eq!(client.spends(longer(&words(21))).await, (0, 81, 900));
}
