//! Messages: roles, contents, pairing of calls and results.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::claude::Scripted;

use super::fixture::{Client, assistant, talk, tool_result, tool_use, user, with_model};
use crate::picture;

#[tokio::test]
async fn the_conversation_begins_and_ends_with_the_user() {
    let client = Client::start().await;
    let system = json!({"role": "system", "content": "Noch ein Zug."});
    client.refuses(talk(json!([])), "messages: at least one message").await;
    client.refuses(talk(json!("x")), "messages: Input should be a valid array").await;
    client.refuses(talk(json!([system, user(json!("x"))])), "messages: first message").await;
    client.refuses(talk(json!([assistant(json!("x")), user(json!("x"))])), "messages: first").await;
    let prefill = json!([user(json!("x")), assistant(json!("Ich"))]);
    client
        .refuses(talk(prefill), "messages: This model does not support assistant message prefill")
        .await;
    let role = json!([{"role": "tool", "content": "x"}]);
    client.refuses(talk(role), "messages.0.role: ").await;
    client.refuses(talk(json!([user(Value::Null)])), "messages.0.content: ").await;
    client.accepts(talk(json!([user(json!("x")), user(json!("y"))]))).await;
}

const EMPTY: &str = "text content blocks must be non-empty";
const BLANK: &str = "text content blocks must contain non-whitespace text";

#[tokio::test]
async fn replies_are_sent_back_without_the_parts_that_claude_refuses() {
    let client = Client::start().await;
    let blank = json!({"type": "text", "text": " \n"});
    let words = json!({"type": "text", "text": "Moment. \n"});
    let odd_call = |id: Value, name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let served = |blocks: Value, stop: &str| {
        client.claude.enqueue(Scripted::blocks(blocks.as_array().unwrap(), stop));
        client.accepts(talk(json!([user(json!("x"))])))
    };
    let behind = |content: Value, next: Option<Value>| {
        let mut messages = vec![user(json!("x")), assistant(content)];
        messages.extend(next.map(user));
        talk(messages.into())
    };

    served(json!([blank, words]), "pause_turn").await;
    client
        .refuses(behind(json!([blank, words]), None), &format!("messages.1.content.0: {BLANK}"))
        .await;
    client
        .refuses(
            behind(json!([words]), None),
            "messages: final assistant content cannot end with trailing whitespace",
        )
        .await;
    client.accepts(behind(json!([{"type": "text", "text": "Moment."}]), None)).await;
    let changed = behind(json!([{"type": "text", "text": "Moment!"}]), None);
    client.refuses(changed, "messages: This model does not support assistant").await;

    let results = |id: &str| Some(json!([tool_result(id)]));
    served(json!([blank, odd_call(json!("toolu_n"), "todo_list", Value::Null)]), "tool_use").await;
    let null = json!([odd_call(json!("toolu_n"), "todo_list", Value::Null)]);
    client.refuses(behind(null, results("toolu_n")), "messages.1.content.0.input: ").await;
    let mended = |name: &str| json!([odd_call(json!("toolu_n"), name, json!({}))]);
    client.accepts(behind(mended("todo_list"), results("toolu_n"))).await;
    client
        .refuses(
            behind(mended("other"), results("toolu_n")),
            "messages.1.content: this reply was changed",
        )
        .await;

    let twice = json!([tool_use("toolu_2"), tool_use("toolu_2")]);
    served(twice.clone(), "tool_use").await;
    client
        .refuses(behind(twice, results("toolu_2")), "messages.1: `tool_use` ids must be unique")
        .await;
    let both = Some(json!([tool_result("toolu_2"), tool_result("toolu_2b")]));
    client.accepts(behind(json!([tool_use("toolu_2"), tool_use("toolu_2b")]), both)).await;
}

#[tokio::test]
async fn contents_are_neither_empty_nor_blank() {
    let client = Client::start().await;
    let empty = "messages.0: user messages must have non-empty content";
    client.refuses(talk(json!([user(json!(""))])), empty).await;
    client.refuses(talk(json!([user(json!([]))])), empty).await;
    client.refuses(talk(json!([user(json!("")), user(json!([]))])), empty).await;
    client.accepts(talk(json!([user(json!("")), user(json!("x"))]))).await;
    let blank = json!([{"type": "text", "text": ""}]);
    client.refuses(talk(json!([user(blank.clone())])), "messages.0.content.0: text content").await;
    client.refuses(talk(json!([user(json!(" \n"))])), "messages.0.content: text content").await;
    let with_reply =
        |content: Value| talk(json!([user(json!("x")), assistant(content), user(json!("y"))]));
    client
        .refuses(with_reply(blank), "messages.1.content.0: text content blocks must be non-empty")
        .await;
    client.refuses(with_reply(json!("")), "messages.1.content: text content").await;
    client.accepts(with_reply(json!([]))).await;
}

#[tokio::test]
async fn blocks_are_allowed_only_in_messages_of_their_role() {
    let client = Client::start().await;
    let with_reply =
        |block: Value| talk(json!([user(json!("x")), assistant(json!([block])), user(json!("y"))]));
    let document = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}});
    client
        .refuses(with_reply(document.clone()), "messages.1.content.0: Input tag 'document'")
        .await;
    client
        .refuses(
            with_reply(tool_result("toolu_1")),
            "messages.1.content.0: Input tag 'tool_result'",
        )
        .await;
    client
        .refuses(with_reply(json!({"type": "hologram"})), "messages.1.content.0: Input tag")
        .await;
    let asked = |block: Value| talk(json!([user(json!([block]))]));
    client.accepts(asked(document)).await;
    client.refuses(asked(tool_use("toolu_1")), "messages.0.content.0: Input tag 'tool_use'").await;
    client
        .refuses(asked(json!({"type": "audio", "data": ""})), "messages.0.content.0: Input tag")
        .await;
    client.refuses(asked(json!({"text": "x"})), "messages.0.content.0.type: Field required").await;
    let cited = json!({"type": "text", "text": "x", "citations": [{"type": "char_location"}]});
    client.refuses(asked(cited), "messages.0.content.0.citations: ").await;
    let extra = json!({"type": "text", "text": "x", "annotations": {}});
    client.refuses(asked(extra), "messages.0.content.0.annotations: Extra inputs").await;
    let call = |key: &str, value: Value| {
        let mut call = tool_use("toolu_1");
        call[key] = value;
        talk(json!([
            user(json!("x")),
            assistant(json!([call])),
            user(json!([tool_result("toolu_1")]))
        ]))
    };
    client.refuses(call("id", json!("toolu.1")), "messages.1.content.0.id: ").await;
    client.refuses(call("input", json!("{}")), "messages.1.content.0.input: ").await;
    client.accepts(call("name", json!("a_name_the_model_invented"))).await;
    client.refuses(call("name", json!("habits.list")), "messages.1.content.0.name: String").await;
}

#[tokio::test]
async fn images_are_of_a_known_type_and_match_their_media_type() {
    let client = Client::start().await;
    let image = |media_type: &str, data: &str| {
        let source = json!({"type": "base64", "media_type": media_type, "data": data});
        talk(json!([user(json!([{"type": "image", "source": source}]))]))
    };
    let png = &*STANDARD.encode(picture::png(3, 2));
    client.accepts(image("image/png", png)).await;
    let path = "messages.0.content.0.source";
    client.refuses(image("image/svg+xml", png), &format!("{path}.media_type: ")).await;
    client.refuses(image("image/jpeg", png), &format!("{path}.data: Image does not match")).await;
    client
        .refuses(image("image/png", "%%"), &format!("{path}.data: Input should be valid base64"))
        .await;
    client.refuses(image("image/png", ""), &format!("{path}.data: ")).await;
}

#[tokio::test]
async fn images_and_pdfs_are_decoded_and_measured_wherever_they_are() {
    let client = Client::start().await;
    let block = |kind: &str, media_type: &str, bytes: &[u8]| {
        let data = STANDARD.encode(bytes);
        json!({"type": kind, "source":
            {"type": "base64", "media_type": media_type, "data": data}})
    };
    let image = |media_type: &str, bytes: &[u8]| block("image", media_type, bytes);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 6].to_vec();
    let block_path = "messages.0.content.0";
    let unreadable = "Could not process image";
    let large = "image.source.base64.data: At least one of the image dimensions exceed max allowed \
                 size: 8000 pixels";
    let pdf_data = "pdf.source.base64.data: The PDF specified";
    let mut flipped = picture::png(9, 9);
    flipped[20] ^= 1;
    for (block, message) in [
        (image("image/png", &cut(picture::png(9, 9))), format!(": {unreadable}")),
        (image("image/png", &flipped), format!(": {unreadable}")),
        (image("image/png", b"\x89PNG\r\n\x1a\n"), format!(": {unreadable}")),
        (image("image/jpeg", &cut(picture::jpeg(9, 9))), format!(": {unreadable}")),
        (image("image/gif", &cut(picture::gif(9, 9))), format!(": {unreadable}")),
        (image("image/webp", &cut(picture::webp(9, 9))), format!(": {unreadable}")),
        (image("image/png", b"<svg/>"), format!(": {unreadable}")),
        (image("image/png", &picture::png(1_200, 9_000)), format!(".{large}")),
        (image("image/jpeg", &picture::jpeg(8_001, 1)), format!(".{large}")),
        (image("image/gif", &picture::gif(8_001, 1)), format!(".{large}")),
        (image("image/webp", &picture::webp(1, 8_001)), format!(".{large}")),
        (image("image/webp", &picture::webp_lossless(1, 8_001)), format!(".{large}")),
        (image("image/webp", &picture::webp_extended(8_001, 1)), format!(".{large}")),
        (
            block("document", "application/pdf", b"%PDF-1.4 not really a pdf"),
            format!(".{pdf_data} was not valid"),
        ),
        (
            block("document", "application/pdf", &picture::pdf("/Encrypt 9 0 R")),
            format!(".{pdf_data} is password protected"),
        ),
    ] {
        let in_result =
            json!([{"type": "tool_result", "tool_use_id": "toolu_1", "content": [block]}]);
        let message_of = |path: &str| format!("{path}{message}");
        client.refuses(talk(json!([user(json!([block]))])), &message_of(block_path)).await;
        let asked =
            json!([user(json!("x")), assistant(json!([tool_use("toolu_1")])), user(in_result)]);
        client.refuses(talk(asked), &message_of("messages.2.content.0.content.0")).await;
    }
    for sound in [
        image("image/png", &picture::png(8_000, 1)),
        image("image/jpeg", &picture::jpeg(9, 9)),
        image("image/gif", &picture::gif(9, 9)),
        image("image/webp", &picture::webp(9, 9)),
        image("image/webp", &picture::webp_lossless(9, 9)),
        image("image/webp", &picture::webp_extended(9, 9)),
        block("document", "application/pdf", &picture::pdf("")),
    ] {
        client.accepts(talk(json!([user(json!([sound]))]))).await;
    }
    let with_large = |images: usize| {
        let mut blocks = vec![image("image/png", &picture::png(9, 9)); images];
        blocks[images - 1] = image("image/png", &picture::png(2_001, 9));
        talk(json!([user(json!(blocks))]))
    };
    client.accepts(with_large(20)).await;
    let many = "messages.0.content.20.image.source.base64.data: At least one of the image dimensions \
                exceed max allowed size for many-image requests: 2000 pixels";
    client.refuses(with_large(21), many).await;
}

#[tokio::test]
async fn every_call_gets_one_result_at_once_and_first() {
    let client = Client::start().await;
    let (one, two) = (tool_result("toolu_1"), tool_result("toolu_2"));
    let after = |calls: Value, rest: Vec<Value>| {
        let mut messages = vec![user(json!("x")), assistant(calls)];
        messages.extend(rest);
        talk(messages.into())
    };
    let both = || json!([tool_use("toolu_1"), tool_use("toolu_2")]);
    let words = json!({"type": "text", "text": "und weiter"});
    client.accepts(after(both(), vec![user(json!([two, one, words]))])).await;
    let unanswered = "`tool_use` ids were found without `tool_result` blocks immediately after";
    for (rest, at) in [
        (vec![user(json!([one]))], 2),
        (vec![user(json!("weiter"))], 2),
        (vec![user(json!([words, one, two]))], 2),
        (vec![user(json!([one, words, two]))], 2),
        (vec![assistant(json!("Moment")), user(json!([one, two]))], 1),
    ] {
        client.refuses(after(both(), rest), &format!("messages.{at}: {unanswered}")).await;
    }
    let unknown = "messages.2: unexpected `tool_use_id` found in `tool_result` blocks: toolu_2";
    client
        .refuses(after(json!([tool_use("toolu_1")]), vec![user(json!([one, two]))]), unknown)
        .await;
    client.refuses(after(json!("Nein"), vec![user(json!([two]))]), unknown).await;
    client
        .refuses(
            after(both(), vec![user(json!([one, two, one]))]),
            "messages.2: each tool_use must have a single result",
        )
        .await;
    let again =
        vec![user(json!([one])), assistant(json!([tool_use("toolu_1")])), user(json!([one]))];
    client
        .refuses(
            after(json!([tool_use("toolu_1")]), again),
            "messages.3: `tool_use` ids must be unique",
        )
        .await;
    client.refuses(talk(json!([user(json!([one]))])), "messages.0: unexpected `tool_use_id`").await;
}

#[tokio::test]
async fn results_hold_texts_images_or_nothing() {
    let client = Client::start().await;
    let result = |content: Value| {
        let mut result = tool_result("toolu_1");
        result["content"] = content;
        talk(json!([
            user(json!("x")),
            assistant(json!([tool_use("toolu_1")])),
            user(json!([result]))
        ]))
    };
    let path = "messages.2.content.0";
    for fine in [json!(""), json!([])] {
        client.accepts(result(fine)).await;
    }
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    client.refuses(result(text("")), &format!("{path}.content.0: {EMPTY}")).await;
    client.refuses(result(text("\u{a0}\n\u{2003}")), &format!("{path}.content.0: {BLANK}")).await;
    client.refuses(result(json!(" ")), &format!("{path}.content: {BLANK}")).await;
    for nothing in [json!(""), json!([])] {
        let mut body = result(nothing);
        body["messages"][2]["content"][0]["is_error"] = true.into();
        client.refuses(body, &format!("{path}: content cannot be empty if is_error is true")).await;
    }
    client.refuses(result(Value::Null), &format!("{path}.content: ")).await;
    client
        .refuses(result(json!([{"type": "audio"}])), &format!("{path}.content.0: Input tag"))
        .await;
    let resource = json!([{"type": "resource", "resource": {}}]);
    client.refuses(result(resource), &format!("{path}.content.0: Input tag")).await;
    let reference = json!([{"type": "tool_reference", "tool_name": "x"}]);
    client.refuses(result(reference), &format!("{path}.content.0: tool_reference")).await;
    let mut body = result(json!("x"));
    body["messages"][2]["content"][0]["is_error"] = "yes".into();
    client.refuses(body, &format!("{path}.is_error: ")).await;
}

#[tokio::test]
async fn a_system_message_follows_the_user_on_models_that_take_one() {
    let client = Client::start().await;
    let reminder = json!({"role": "system", "content": "Noch drei Aufrufe."});
    let history = || {
        json!([
            user(json!("x")),
            reminder,
            assistant(json!("y")),
            user(json!("z")),
            reminder,
            reminder
        ])
    };
    client.accepts(talk(history())).await;
    for model in ["claude-sonnet-5", "claude-haiku-4-5"] {
        client
            .refuses(
                with_model(model, "messages", history()),
                "messages.1: role 'system' is not supported",
            )
            .await;
    }
    let misplaced = "messages.2: a system message must directly follow a user message";
    let after_assistant =
        json!([user(json!("x")), assistant(json!("y")), reminder, user(json!("z"))]);
    client.refuses(talk(after_assistant), misplaced).await;
    let before_user = json!([user(json!("x")), reminder, user(json!("z"))]);
    client.refuses(talk(before_user), "messages.1: a system message must").await;
    let between = json!([
        user(json!("x")),
        assistant(json!([tool_use("toolu_1")])),
        reminder,
        user(json!([tool_result("toolu_1")]))
    ]);
    client.refuses(talk(between), misplaced).await;
    let image = json!({"role": "system", "content": [{"type": "image", "source": {}}]});
    client
        .refuses(
            talk(json!([user(json!("x")), image])),
            "messages.1.content.0.source: Extra inputs",
        )
        .await;
    let empty = json!({"role": "system", "content": []});
    client
        .refuses(talk(json!([user(json!("x")), empty])), "messages.1.content: system messages")
        .await;
}
