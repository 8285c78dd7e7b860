//! What the model is shown of tools: their names and their answers.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use devstack::{claude::Scripted, mcp::Behaviour, picture};
use serde_json::{Value, json};

use crate::{
    script::{
        anything, calls_that_meet, main_requests, no_tools, play_well, rating_requests, results,
    },
    support::World,
};

#[tokio::test]
async fn every_tool_has_a_unique_valid_name_for_claude_and_rows_use_the_mcp_name() {
    let long = |end: &str| format!("{}{end}", "lang.".repeat(24));
    let mut names = vec![
        "a.b".to_owned(),
        "a_b".into(),
        "a.b.c".into(),
        "a b".into(),
        "a_b_2".into(),
        "A.b".into(),
        "möhre.schälen".into(),
        "..".into(),
        "-".into(),
        "x\"y\\z\n.{}".into(),
        "😀.😀".into(),
        long("eins"),
        long("zwei"),
        "y".repeat(128),
        "__idle".into(),
        "ohnePunkt".into(),
    ];
    let world = no_tools().await;
    for name in &names {
        world.peers.mcp.add_tool(name, "", anything());
    }
    names.sort();
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => {
            let calls: Vec<_> =
                request.tool_names().into_iter().map(|name| (name, json!({"n": name}))).collect();
            Some(Scripted::tools(&calls))
        }
        _ => Some(Scripted::text("Alles ausprobiert.")),
    });
    world.good_tick().await;
    let request = &main_requests(&world)[0];
    let spelled = request.tool_names();
    assert_eq!(spelled.len(), names.len());
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!(
        spelled.iter().all(|s| (1..=64).contains(&s.len()) && s.chars().all(fits)),
        "{spelled:?}"
    );
    assert_eq!(spelled.iter().collect::<HashSet<_>>().len(), names.len(), "{spelled:?}");
    // Each call reaches the tool that the model meant.
    let called: Vec<_> = world
        .peers
        .mcp
        .calls()
        .into_iter()
        .map(|call| (call.tool, call.arguments["n"].clone()))
        .collect();
    let meant: Vec<_> = names.iter().cloned().zip(spelled.iter().map(|s| json!(s))).collect();
    assert_eq!(called, meant);
    let actions = world.actions().await;
    assert!(actions.iter().all(|row| row.result == "ok"), "{actions:?}");
    assert_eq!(
        actions.iter().map(|row| &row.tool_name).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    let module = |name: &String| match name.split('.').next() {
        None | Some("") => name.clone(),
        Some(module) => module.to_owned(),
    };
    let mut modules: Vec<_> = names.iter().map(module).collect();
    let mut seen = HashSet::new();
    modules.retain(|module| seen.insert(module.clone()));
    let ratings = rating_requests(&world);
    assert_eq!(ratings.len(), 1);
    let schema = &ratings[0].body["output_config"]["format"]["schema"];
    let module = schema.pointer("/properties/ratings/items/properties/module/enum").unwrap();
    assert_eq!(*module, json!(modules));
    let rated: Vec<_> = world.feedback().await.into_iter().map(|row| row.module).collect();
    assert_eq!(rated, modules);
}

#[tokio::test]
async fn a_schema_reaches_claude_with_its_keywords_in_their_order_and_without_those_that_say_nothing()
 {
    let schema = r##"{"type":"object","required":["z"],"properties":{"z":{"$ref":"#/$defs/b"},"a":{"type":["string","null"],"maxLength":3}},"$defs":{"b":{"prefixItems":[{"type":"integer"}],"items":false}},"unevaluatedProperties":false}"##;
    let world = no_tools().await;
    let silent =
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","patternProperties":{},"#;
    let listed =
        schema.replacen('{', silent, 1).replace(r#""maxLength""#, r#""minLength":0,"maxLength""#);
    world.peers.mcp.add_tool("a.b", "Legt an. \n", serde_json::from_str(&listed).unwrap());
    play_well(&world, [Scripted::text("Nichts.")]).await;
    let request = &main_requests(&world)[0];
    let sent = format!(r#""description":"Legt an.","input_schema":{schema}"#);
    assert!(request.raw.contains(&sent), "{}", request.raw);
}

#[tokio::test]
async fn every_kind_of_content_reaches_the_model_in_a_form_it_takes() {
    let png = &*STANDARD.encode(picture::png(1, 1));
    let pdf = &*STANDARD.encode(picture::pdf(""));
    let one = |block: Value| json!({"content": [block]});
    let media = |kind: &str, mime: &str, data: &str| {
        one(json!({"type": kind, "mimeType": mime, "data": data}))
    };
    let resource = |resource: Value| one(json!({"type": "resource", "resource": resource}));
    let blob = |mime: &str, data: &str| {
        resource(json!({"uri": "mana://r", "mimeType": mime, "blob": data}))
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    let base64 = |kind: &str, mime: &str, data: &str| {
        let source = json!({"type": "base64", "media_type": mime, "data": data});
        json!([{"type": kind, "source": source}])
    };
    let link = one(json!({
        "type": "resource_link", "uri": "mana://n/1", "name": "Notiz", "mimeType": "text/plain",
    }));
    // What the tool answers, and what the model is shown. For a note: the text that it must contain.
    let cases = [
        (json!({"content": [text("a"), text(""), text("b")]}), json!([text("a"), text("b")])),
        (media("image", "image/png", png), base64("image", "image/png", png)),
        (media("image", "image/tiff", "AAAA"), json!("image/tiff")),
        (media("image", "image/png", "no base64!"), json!("image/png")),
        (media("image", "image/jpeg", png), json!("image/jpeg")),
        (media("audio", "audio/wav", "AAAAAAAAAAAA"), json!("audio/wav, 9 bytes")),
        (link, json!("Notiz, mana://n/1, text/plain")),
        (resource(json!({"uri": "mana://r", "text": "Inhalt"})), json!([text("Inhalt")])),
        (blob("image/png", png), base64("image", "image/png", png)),
        (blob("application/pdf", pdf), base64("document", "application/pdf", pdf)),
        (blob("application/pdf", "AAAA"), json!("mana://r, application/pdf")),
        (blob("application/zip", "AAAA"), json!("mana://r, application/zip")),
        (one(json!({"type": "hologram", "rays": 9})), json!("hologram")),
        (json!({"content": [], "structuredContent": {"n": 1}}), json!([text(r#"{"n":1}"#)])),
        (json!({"structuredContent": {"n": 2}}), json!([text(r#"{"n":2}"#)])),
        (json!({"content": [text("a")], "structuredContent": {"n": 3}}), json!([text("a")])),
        (json!({"content": []}), Value::Null),
        (json!({}), Value::Null),
    ];
    let world = no_tools().await;
    let results = shown_of(&world, cases.iter().map(|(result, _)| result)).await;
    assert_eq!(results.len(), cases.len());
    for ((sent, expected), shown) in cases.iter().zip(&results) {
        assert_ne!(shown["is_error"], true, "{sent}");
        match expected.as_str() {
            Some(named) => {
                let blocks = shown["content"].as_array().unwrap();
                assert_eq!((blocks.len(), &blocks[0]["type"]), (1, &json!("text")), "{shown}");
                let note = blocks[0]["text"].as_str().unwrap();
                assert!(note.contains(named), "{sent}: {shown}");
            }
            None => assert_eq!(shown["content"], *expected, "{sent}"),
        }
    }
    assert!(world.actions().await.iter().all(|row| row.result == "ok"));
}

#[tokio::test]
async fn long_results_are_cut_at_thirty_thousand_characters_and_say_so() {
    let texts = |parts: &[&str]| {
        let blocks: Vec<_> = parts.iter().map(|t| json!({"type": "text", "text": t})).collect();
        json!({"content": blocks})
    };
    let (fits, over, half) = ("ü".repeat(30_000), "😀".repeat(30_001), "ß".repeat(20_000));
    let cases = [
        (texts(&[&fits]), false),
        (texts(&[&over]), true),
        (texts(&[&half, &half, &half]), true),
        (json!({"structuredContent": {"long": over}}), true),
        (json!({"content": [{"type": "resource", "resource": {"uri": "r", "text": over}}]}), true),
        (json!({"content": [{"type": "text", "text": over}], "isError": true}), true),
    ];
    let world = no_tools().await;
    let results = shown_of(&world, cases.iter().map(|(result, _)| result)).await;
    assert_eq!(results.len(), cases.len());
    for ((_, cut), shown) in cases.iter().zip(&results) {
        let blocks = shown["content"].as_array().unwrap();
        let texts: Vec<_> = blocks.iter().map(|block| block["text"].as_str().unwrap()).collect();
        let length: usize = texts.iter().map(|text| text.chars().count()).sum();
        assert_eq!(texts.last().unwrap().contains("[cut: "), *cut);
        assert!(length <= 30_000 && length > 29_000, "{length}");
    }
    let rows = world.actions().await;
    let message = rows.last().unwrap().error_message.clone().unwrap();
    assert_eq!(message.encode_utf16().count(), 500);
}

/// What the model is shown of these tool answers, in the same order.
async fn shown_of(world: &World, answers: impl Iterator<Item = &Value>) -> Vec<Value> {
    let answers = answers.map(|answer| Behaviour::Result(answer.clone()));
    let calls = calls_that_meet(world, answers);
    let calls: Vec<_> = calls.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(world, [Scripted::tools(&calls), Scripted::text("Viel gesehen.")]).await;
    results(&main_requests(world)[1])
}
