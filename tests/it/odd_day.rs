//! A day of ten personas with all kinds of malformed data at the same time: each malformed part affects only
//! itself.

use base64::{Engine, engine::general_purpose::STANDARD};
use devstack::{
    auth::{NewerOptions, SeedPersona},
    claude::Scripted,
    fault::Fault,
    mcp::Behaviour,
    picture,
};
use serde_json::{Value, json};

use crate::{
    script::{anything, calls_of, main_requests, rating_requests, raw},
    support::{Setup, failure_of, logs::Logs, persona},
};

fn image(bytes: &[u8]) -> Value {
    json!({"type": "image", "mimeType": "image/png", "data": STANDARD.encode(bytes)})
}

/// Tools that Claude would refuse, each for a different reason.
fn odd_schemas() -> [(&'static str, Value); 5] {
    let property = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    // `odd_text` has a thousand levels, but as text: copying a value that deep would overflow a test's stack.
    let deep = (0..300).fold(json!({}), |inner, _| json!({"not": inner}));
    [
        ("odd.dollar", json!({"properties": {"$top": {"type": "integer"}}})),
        ("odd.either", json!({"anyOf": [{"required": ["a"]}]})),
        ("odd.any", property(json!({"type": "any"}))),
        ("odd.exclusive", property(json!({"exclusiveMinimum": true}))),
        ("odd.deep", property(deep)),
    ]
}

/// Tools with malformed answers, and the answers.
fn odd_answers() -> Vec<(&'static str, Behaviour)> {
    let answer = |result: Value| Behaviour::Result(result);
    let blob = STANDARD.encode(b"%PDF-1.4 not really a pdf");
    let pdf = json!({"type": "resource", "resource":
        {"uri": "mana://r", "mimeType": "application/pdf", "blob": blob}});
    let cut = picture::png(9, 9);
    vec![
        ("shows.tall", answer(json!({"content": [image(&picture::png(1_200, 9_000))]}))),
        ("shows.cut", answer(json!({"content": [image(&cut[..cut.len() - 5])]}))),
        ("shows.pdf", answer(json!({"content": [pdf]}))),
        ("says.nothing", answer(json!({"content": [], "isError": true}))),
        ("says.blank", answer(json!({"content": [{"type": "text", "text": "\n\u{a0}"}]}))),
    ]
}

/// The day of every persona: malformed calls and texts, malformed answers, and a final text.
fn odd_reply(turn: usize) -> Scripted {
    let calls = |names: &[&str]| -> Vec<String> {
        let call = |name: &&str| {
            format!(
                r#"{{"type":"tool_use","id":"toolu_{turn}_{name}","name":"{name}","input":null}}"#
            )
        };
        names.iter().map(call).collect()
    };
    let say = |blocks: Vec<String>, reason| raw(&format!("[{}]", blocks.join(",")), Some(reason));
    match turn {
        0 => {
            let mut blocks = vec![r#"{"type":"text","text":" "}"#.to_owned()];
            blocks.extend(calls(&["shows_tall", "shows_cut", "shows_pdf"]));
            say(blocks, "end_turn")
        }
        1 => {
            let mut blocks = vec![r#"{"type":"text","text":"Ha \ud83d"}"#.to_owned()];
            blocks.extend(calls(&["says_nothing", "says_blank", "says_half"]));
            say(blocks, "tool_use")
        }
        2 => say(
            vec![
                r#"{"type":"tool_use","id":"toolu_list","name":"habits_list","input":["a"]}"#
                    .into(),
                r#"{"type":"tool_use","id":"toolu_huge","name":"habits_list","input":{"n":1e400}}"#
                    .into(),
            ],
            "tool_use",
        ),
        3 => say(vec![r#"{"type":"text","text":"Moment … "}"#.into()], "pause_turn"),
        _ => Scripted::text("Bis morgen!"),
    }
}

#[tokio::test]
async fn with_all_malformed_data_at_once_every_day_is_complete_and_each_part_logged_once() {
    let logs = Logs::capture("warn");
    let mut personas: Vec<SeedPersona> =
        (0..10).map(|n| persona(&format!("p{n}"), &["habits"])).collect();
    personas.push(persona("deleted", &["habits"]));
    personas.push(SeedPersona {
        system_prompt: "Du bist groß. ".repeat(160_000),
        ..persona("huge", &["habits"])
    });
    let setup =
        Setup { personas, personas_elsewhere: Some(NewerOptions::default()), ..Setup::default() };
    let world = setup.start().await;
    world.peers.auth.delete_user(&world.users[10]).await;
    let mcp = &world.peers.mcp;
    for (name, schema) in odd_schemas() {
        mcp.add_tool(name, "", schema.as_object().unwrap().clone());
    }
    mcp.add_tool(
        "old.tuple",
        "",
        json!({"properties": {"a": {"items": [{"type": "string"}]}}}).as_object().unwrap().clone(),
    );
    for (name, behaviour) in odd_answers() {
        mcp.add_tool(name, "", anything());
        mcp.override_tool(name, usize::MAX, behaviour);
    }
    // Half of a surrogate pair, as JavaScript's `slice` leaves it.
    mcp.add_tool("says.half", "", anything());
    let half =
        r#"{"jsonrpc":"2.0","id":0,"result":{"content":[{"type":"text","text":"a\ud83d"}]}}"#;
    mcp.served.faults.inject(usize::MAX, Fault::status(200, half), calls_of("says.half"));
    world.peers.claude.answer_with(|request| {
        if request.is_rating() { None } else { Some(odd_reply(request.turn())) }
    });

    let result = world.tick().await;
    assert_eq!((&result["due"], &result["ranSuccessfully"]), (&json!(12), &json!(10)), "{result}");
    assert_eq!(result["failed"].as_array().unwrap().len(), 2, "{result}");
    assert!(failure_of(&result, "deleted").unwrap().contains("INVALID_CREDENTIALS"), "{result}");
    assert!(failure_of(&result, "huge").unwrap().contains("65536"), "{result}");
    let rows = world.actions().await;
    for user in &world.users[..10] {
        let own: Vec<_> = rows.iter().filter(|row| row.persona_id == *user).collect();
        assert_eq!(own.len(), 8, "{own:?}");
        let failed = own.iter().filter(|row| row.result == "error").count();
        assert_eq!(failed, 3, "what said nothing, a list and a number out of range: {own:?}");
    }
    assert_eq!(main_requests(&world).len(), 10 * 5, "nothing is asked twice");
    assert_eq!(rating_requests(&world).len(), 10);
    assert!(world.feedback().await.len() >= 10);
    assert!(world.health().await["reason"].is_null());

    // However often the tool is met, it is logged once a day.
    world.tick().await;
    world.tick().await;
    for (name, _) in odd_schemas() {
        assert_eq!(logs.lines_with(name).len(), 1, "{name}: {:?}", logs.lines_with(name));
    }
    for name in ["shows.tall", "shows.cut", "shows.pdf"] {
        assert_eq!(logs.lines_with(name).len(), 1, "{name}: {:?}", logs.lines_with(name));
    }
    assert_eq!(logs.lines_with("old.tuple"), Vec::<String>::new(), "it has one meaning");
    assert_eq!(logs.lines_with(&world.users[10]).len(), 1, "{:?}", logs.lines_with("WARN"));
    assert_eq!(logs.lines_with("65536").len(), 1, "{:?}", logs.lines_with("65536"));
    assert_eq!(logs.lines_with("ERROR"), Vec::<String>::new());
}
