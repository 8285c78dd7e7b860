//! Headers, top-level settings, tools, cache markers: each rule tested at the socket.

use serde_json::{Value, json};

use super::fixture::{Client, SOUND, base, talk, tool, user, with, with_model};

const VERSION: (&str, &str) = ("anthropic-version", "2026-10-21");
const JSON: (&str, &str) = ("content-type", "application/json");
const KEY: (&str, &str) = ("x-api-key", "sk-ant-devstack");
const BEARER: (&str, &str) = ("authorization", "Bearer sk-ant-devstack");

#[tokio::test]
async fn exactly_one_credential_is_accepted_in_either_header() {
    let client = Client::start().await;
    let wrong: [&[(&str, &str)]; 5] = [
        &[VERSION, JSON],
        &[KEY, BEARER, VERSION, JSON],
        &[("x-api-key", "sk-ant-other"), VERSION, JSON],
        &[("authorization", "Bearer sk-ant-other"), VERSION, JSON],
        &[("authorization", "sk-ant-devstack"), VERSION, JSON],
    ];
    for headers in wrong {
        let request = client.request("/v1/messages", headers).body(base().to_string());
        let answer = client.send(request).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.json["error"]["type"], "authentication_error");
        assert!(answer.json["request_id"].as_str().unwrap().starts_with("req_"));
    }
    for headers in [[KEY, VERSION, JSON], [BEARER, VERSION, JSON]] {
        let request = client.request("/v1/messages", &headers).body(base().to_string());
        assert_eq!(client.send(request).await.status, 200, "{headers:?}");
    }
    assert_eq!(client.claude.violations().len(), wrong.len());
}

#[tokio::test]
async fn a_body_with_half_a_surrogate_pair_or_without_utf_8_is_not_json() {
    let client = Client::start().await;
    let body = base().to_string();
    let first_text = body.find("Hallo").unwrap();
    for (odd, says) in [
        (&br"\ud83d"[..], "no low surrogate in string"),
        (br"\uDE00", "no low surrogate in string"),
        (b"\xff", "utf-8"),
    ] {
        let mut bytes = body.clone().into_bytes();
        bytes.splice(first_text..first_text, odd.iter().copied());
        let request = client.request("/v1/messages", &[KEY, VERSION, JSON]).body(bytes);
        let answer = client.send(request).await;
        assert_eq!(answer.status, 400);
        let message = answer.json["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("The request body is not valid JSON: "), "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn version_content_type_and_betas_are_checked() {
    let client = Client::start().await;
    let wrong: [(&[(&str, &str)], &str); 5] = [
        (&[KEY, JSON], "anthropic-version"),
        (&[KEY, JSON, ("anthropic-version", "2024-01-01")], "anthropic-version"),
        (&[KEY, VERSION], "content-type"),
        (&[KEY, VERSION, ("content-type", "text/plain")], "content-type"),
        (&[KEY, VERSION, JSON, ("anthropic-beta", "compact-2026-01-12")], "anthropic-beta"),
    ];
    for (headers, about) in wrong {
        let request = client.request("/v1/messages", headers).body(base().to_string());
        let answer = client.send(request).await;
        assert_eq!(answer.status, 400, "{headers:?}");
        assert!(answer.json["error"]["message"].as_str().unwrap().starts_with(about));
    }
    let old = [KEY, ("anthropic-version", "2023-06-01"), JSON];
    let request = client.request("/v1/messages", &old).body(base().to_string());
    assert_eq!(client.send(request).await.status, 200);
}

#[tokio::test]
async fn there_is_only_the_messages_endpoint_and_a_limit_to_what_it_reads() {
    let client = Client::start().await;
    for path in ["/v1/messages/count_tokens", "/v1/models", "/", "/v1/messages/"] {
        let answer = client.send(client.request(path, SOUND).body(base().to_string())).await;
        assert_eq!(
            (answer.status, &answer.json["error"]["type"]),
            (404, &json!("not_found_error"))
        );
    }
    let answer = client.post(talk(json!([user(json!("a".repeat(32_000_000)))])).to_string()).await;
    assert_eq!((answer.status, &answer.json["error"]["type"]), (413, &json!("request_too_large")));
    // A body that exceeds axum's own default limit is still read.
    client.accepts(talk(json!([user(json!("a".repeat(4_000_000)))]))).await;
    let answer = client.post("{\"model\":").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn unknown_keys_nulls_and_sampling_parameters_are_refused() {
    let client = Client::start().await;
    client.refuses(with("system_prompt", json!("x")), "system_prompt: Extra inputs").await;
    client.refuses(with("output_format", json!({})), "output_format: Extra inputs").await;
    client
        .refuses(
            with("metadata", json!({"user": "x"})),
            "metadata.user: Extra inputs are not permitted",
        )
        .await;
    let message = json!([{"role": "user", "content": "x", "name": "Anna"}]);
    client.refuses(talk(message), "messages.0.name: Extra inputs are not permitted").await;
    for key in [
        "model",
        "messages",
        "max_tokens",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "service_tier",
        "stream",
    ] {
        client.refuses(with(key, Value::Null), &format!("{key}: ")).await;
    }
    for key in ["temperature", "top_p", "top_k"] {
        client.refuses(with(key, json!(1)), &format!("{key}: ")).await;
    }
    for key in ["model", "messages", "max_tokens"] {
        let mut body = base();
        body.as_object_mut().unwrap().remove(key);
        client.refuses(body, &format!("{key}: Field required")).await;
    }
}

#[tokio::test]
async fn plain_settings_are_checked() {
    let client = Client::start().await;
    for wrong in [json!("8"), json!(1.5), json!(-1), json!(128_001), json!(21_334)] {
        client.refuses(with("max_tokens", wrong), "max_tokens: ").await;
    }
    client.refuses(with("stream", json!(true)), "stream: ").await;
    client.refuses(with("stream", json!("no")), "stream: ").await;
    client.refuses(with("service_tier", json!("priority")), "service_tier: ").await;
    client.refuses(with("inference_geo", json!("eu")), "inference_geo: ").await;
    client.refuses(with("speed", json!("slow")), "speed: ").await;
    client.refuses(with("stop_sequences", json!([" "])), "stop_sequences.0: ").await;
    client.refuses(with("metadata", json!({})), "metadata.user_id: Field required").await;
    client.refuses(with("diagnostics", json!({})), "diagnostics.previous_message_id: ").await;
    let mut body = base();
    body["stream"] = false.into();
    body["service_tier"] = "standard_only".into();
    body["stop_sequences"] = json!([]);
    body["metadata"] = json!({"user_id": "u"});
    body["diagnostics"] = json!({"previous_message_id": null});
    client.accepts(body).await;
}

#[tokio::test]
async fn an_unknown_or_retired_model_is_not_found() {
    let client = Client::start().await;
    for model in ["claude-haiku-5-5-20261001", "claude-3-haiku-20240307", "gpt"] {
        let answer = client.post(with("model", json!(model)).to_string()).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json["error"]["message"], format!("model: {model}"));
    }
    for model in ["claude-haiku-4-5-20251001", "claude-opus-5-5", "claude-fable-5-1"] {
        client.accepts(with("model", json!(model))).await;
    }
}

#[tokio::test]
async fn system_is_a_text_or_text_blocks_that_are_not_empty() {
    let client = Client::start().await;
    client.refuses(with("system", json!(" ")), "system: text content blocks must").await;
    let blank = json!([{"type": "text", "text": "\n"}]);
    client.refuses(with("system", blank), "system.0: text content blocks must").await;
    let image = json!([{"type": "image", "text": "x"}]);
    client.refuses(with("system", image), "system.0.type: Input should be 'text'").await;
    client.refuses(with("system", json!({"type": "text"})), "system: Input should be").await;
    client.accepts(with("system", json!("Du bist Anna."))).await;
    client.accepts(with("system", json!([{"type": "text", "text": "Du bist Anna."}]))).await;
}

#[tokio::test]
async fn each_model_takes_only_its_own_thinking_and_effort() {
    let client = Client::start().await;
    let (haiku, sonnet, opus, old) =
        ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5");
    let budget = json!({"type": "enabled", "budget_tokens": 1024});
    let plain = |kind: &str| json!({"type": kind});
    for (model, thinking) in [
        (haiku, budget.clone()),
        (haiku, plain("between_tools")),
        (sonnet, budget.clone()),
        (sonnet, plain("disabled")),
        (opus, plain("disabled")),
        (opus, plain("between_tools")),
        (old, plain("adaptive")),
        (haiku, plain("often")),
    ] {
        client.refuses(with_model(model, "thinking", thinking), "thinking.type: ").await;
    }
    let display = json!({"type": "adaptive", "display": "full"});
    client.refuses(with("thinking", display), "thinking.display: ").await;
    let extra = json!({"type": "between_tools", "display": "omitted"});
    client.refuses(with_model(sonnet, "thinking", extra), "thinking.display: Extra inputs").await;
    let small = json!({"type": "enabled", "budget_tokens": 1023});
    client.refuses(with_model(old, "thinking", small), "thinking.budget_tokens: ").await;
    // The budget must fit into the 1,024 tokens of the answer.
    client.refuses(with_model(old, "thinking", budget), "thinking.budget_tokens: ").await;
    client
        .refuses(with_model(old, "output_config", json!({"effort": "low"})), "output_config: ")
        .await;
    client
        .refuses(with("output_config", json!({"effort": "none"})), "output_config.effort: ")
        .await;
    let mut body = with("output_config", json!({"effort": "max"}));
    body["thinking"] = plain("disabled");
    client.refuses(body.clone(), "thinking.type: ").await;
    body["output_config"]["effort"] = "high".into();
    client.accepts(body).await;
    let between = with_model(sonnet, "thinking", plain("between_tools"));
    client.accepts(between).await;
    client.accepts(with("output_config", json!({"effort": "low"}))).await;
}

#[tokio::test]
async fn the_format_of_the_answer_keeps_within_the_limits_of_schemas() {
    let client = Client::start().await;
    let format = |schema: Value| {
        with("output_config", json!({"format": {"type": "json_schema", "schema": schema}}))
    };
    let of = |property: Value| {
        format(
            json!({"type": "object", "additionalProperties": false, "properties": {"p": property}}),
        )
    };
    let path = "output_config.format.schema";
    client.refuses(format(json!({"type": "object"})), &format!("{path}: For 'object' type")).await;
    client.refuses(of(json!({"type": "object"})), &format!("{path}.properties.p: For")).await;
    for (keyword, value) in
        [("minimum", 1), ("maximum", 5), ("maxLength", 9), ("minLength", 1), ("maxItems", 3)]
    {
        let message = format!("{path}.properties.p: property '{keyword}' is not supported");
        client.refuses(of(json!({"type": "integer", keyword: value})), &message).await;
    }
    let items = |n: u8| of(json!({"type": "array", "minItems": n, "items": {"type": "string"}}));
    client.refuses(items(2), &format!("{path}.properties.p: 'minItems'")).await;
    client.accepts(items(1)).await;
    let recursive = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"p": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    });
    client.refuses(format(recursive), &format!("{path}.properties.p.items: recursive")).await;
    client
        .refuses(
            with("output_config", json!({"format": {"type": "json"}})),
            "output_config.format.type",
        )
        .await;
}

#[tokio::test]
async fn tools_have_sound_unique_names_and_object_schemas() {
    let client = Client::start().await;
    let tools = |tools: Value| with("tools", tools);
    for name in ["todo.create", "", "ä", "a b", &"a".repeat(65)] {
        client
            .refuses(tools(json!([tool(name)])), "tools.0.custom.name: String should match pattern")
            .await;
    }
    client.refuses(tools(json!([tool("a"), tool("a")])), "tools: Tool names must be unique").await;
    let schema = |schema: Value| tools(json!([{"name": "a", "input_schema": schema}]));
    let path = "tools.0.custom.input_schema";
    client.refuses(schema(json!("object")), &format!("{path}: Input should be an object")).await;
    client.refuses(schema(json!({})), &format!("{path}.type: ")).await;
    client.refuses(schema(json!({"type": "array"})), &format!("{path}.type: ")).await;
    client
        .refuses(
            schema(json!({"type": "object", "required": "x"})),
            &format!("{path}: JSON schema is invalid"),
        )
        .await;
    client.refuses(tools(json!([{"name": "a"}])), &format!("{path}: Field required")).await;
    let mut strange = tool("a");
    strange["annotations"] = json!({});
    client.refuses(tools(json!([strange])), "tools.0.custom.annotations: Extra inputs").await;
    let mut strict = tool("a");
    strict["strict"] = true.into();
    client.refuses(tools(json!([strict])), &format!("{path}: For 'object' type")).await;
    client.accepts(tools(json!([tool(&"a".repeat(64)), tool("todo_create-2")]))).await;
}

#[tokio::test]
async fn an_input_schema_is_draft_2020_12_and_has_plain_names_at_its_top() {
    let client = Client::start().await;
    let request = |schema: &Value| {
        let mut schema = schema.clone();
        schema["type"] = "object".into();
        with("tools", json!([tool("a"), {"name": "b", "input_schema": schema}]))
    };
    let path = "tools.1.custom.input_schema";
    let long = "a".repeat(65);
    for key in ["$top", "", "a b", "ä", &long] {
        let schema = json!({"properties": {key: {}}});
        let message = "Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'";
        client.refuses(request(&schema), &format!("{path}.properties: {message}")).await;
        client.accepts(request(&json!({"properties": {"a": {"properties": {key: {}}}}}))).await;
    }
    for combinator in ["oneOf", "allOf", "anyOf"] {
        let message = "input_schema does not support oneOf, allOf, or anyOf at the top level";
        client.refuses(request(&json!({combinator: [{}]})), &format!("{path}: {message}")).await;
        client.accepts(request(&json!({"properties": {"a": {combinator: [{}]}}}))).await;
    }
    let invalid =
        format!("{path}: JSON schema is invalid. It must match JSON Schema draft 2020-12");
    for wrong in [
        json!({"items": [{}]}),
        json!({"prefixItems": []}),
        json!({"exclusiveMinimum": true, "minimum": 1}),
        json!({"exclusiveMaximum": false}),
        json!({"type": "any"}),
        json!({"type": []}),
        json!({"type": ["string", "string"]}),
        json!({"required": true}),
        json!({"required": ["a", "a"]}),
        json!({"enum": "a"}),
        json!({"minLength": -1}),
        json!({"maxItems": 0.5}),
        json!({"multipleOf": 0}),
        json!({"maximum": null}),
        json!({"properties": null}),
        json!({"properties": {"a": null}}),
        json!({"properties": ["a"]}),
        json!({"pattern": 1}),
        json!({"$ref": 1}),
        json!({"$id": "a#b"}),
        json!({"$id": "a##"}),
        json!({"$anchor": "1"}),
        json!({"dependencies": {"a": 1}}),
        json!({"dependentRequired": {"a": {}}}),
        json!({"uniqueItems": 1}),
    ] {
        for schema in [
            json!({"properties": {"a": wrong}}),
            json!({"$defs": {"a": {"items": {"not": {"allOf": [wrong]}}}}}),
            json!({"patternProperties": {"a": {"if": {"dependencies": {"a": wrong}}}}}),
        ] {
            client.refuses(request(&schema), &invalid).await;
        }
        // Values that only look like a schema are not checked.
        let values =
            json!({"default": wrong, "const": wrong, "enum": [wrong], "examples": [wrong]});
        client.accepts(request(&json!({"properties": {"a": values}, "x-own": wrong}))).await;
    }
}

#[tokio::test]
async fn a_tool_choice_fits_the_tools_and_the_model() {
    let client = Client::start().await;
    let choose = |model: &str, choice: Value| {
        let mut body = with_model(model, "tool_choice", choice);
        body["tools"] = json!([tool("todo_list")]);
        body
    };
    client.refuses(with("tool_choice", json!({"type": "any"})), "tool_choice: ").await;
    let haiku = "claude-haiku-5-5";
    client.refuses(choose(haiku, json!({"type": "some"})), "tool_choice.type: ").await;
    client.refuses(choose(haiku, json!({"type": "tool"})), "tool_choice.name: ").await;
    let unknown = json!({"type": "tool", "name": "x"});
    client.refuses(choose(haiku, unknown), "tool_choice: Tool 'x' not found").await;
    let none = json!({"type": "none", "disable_parallel_tool_use": true});
    client.refuses(choose(haiku, none), "tool_choice.disable_parallel_tool_use: Extra").await;
    for model in ["claude-sonnet-5-5", "claude-opus-5-5"] {
        client.refuses(choose(model, json!({"type": "any"})), "tool_choice: forced").await;
    }
    let answer = client.accepts(choose(haiku, json!({"type": "tool", "name": "todo_list"}))).await;
    assert_eq!(answer.json["content"][0]["type"], "tool_use", "forced calls come without thinking");
}

#[tokio::test]
async fn cache_markers_are_at_most_four_and_in_the_order_of_their_lifetimes() {
    let client = Client::start().await;
    let marker = json!({"type": "ephemeral"});
    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    let text = |n: usize| json!({"type": "text", "text": format!("{n}"), "cache_control": marker});
    let four = json!([text(1), text(2), text(3), text(4)]);
    client.accepts(talk(json!([user(four.clone())]))).await;
    let five = json!([text(1), text(2), text(3), text(4), text(5)]);
    client.refuses(talk(json!([user(five)])), "cache_control: A maximum of 4 blocks").await;
    let mut automatic = talk(json!([user(four)]));
    automatic["cache_control"] = marker.clone();
    client.refuses(automatic, "cache_control: A maximum of 4 blocks").await;
    client.refuses(with("cache_control", json!({"type": "forever"})), "cache_control.type: ").await;
    client
        .refuses(
            with("cache_control", json!({"type": "ephemeral", "ttl": "2h"})),
            "cache_control.ttl",
        )
        .await;
    let mut late_hour =
        with("system", json!([{"type": "text", "text": "x", "cache_control": marker}]));
    late_hour["cache_control"] = hour.clone();
    client.refuses(late_hour.clone(), "cache_control: a ttl='1h'").await;
    late_hour["system"][0]["cache_control"] = hour.clone();
    late_hour["cache_control"] = marker.clone();
    client.accepts(late_hour).await;
    let mut differing = talk(json!([user(json!([text(1)]))]));
    differing["cache_control"] = hour;
    client.refuses(differing, "cache_control: the last block already has a marker").await;
}
