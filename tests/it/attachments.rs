//! Images and PDFs that are not valid: a note replaces them, and the run continues.

use base64::{Engine, engine::general_purpose::STANDARD};
use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour, picture, recorder::Recorded};
use mana_persona_runner::journal::RunState;
use serde_json::{Value, json};

use crate::{
    script::{calls_that_meet, main_requests, no_tools, only_failure, play, play_well, results},
    support::{World, logs::Logs, patiently},
};

fn image(mime: &str, bytes: &[u8]) -> Value {
    json!({"type": "image", "mimeType": mime, "data": STANDARD.encode(bytes)})
}

fn png(width: u32, height: u32) -> Value {
    image("image/png", &picture::png(width, height))
}

fn pdf(bytes: &[u8]) -> Value {
    let blob = STANDARD.encode(bytes);
    json!({"type": "resource", "resource":
        {"uri": "mana://r", "mimeType": "application/pdf", "blob": blob}})
}

fn answer(blocks: &[Value]) -> Behaviour {
    Behaviour::Result(json!({ "content": blocks }))
}

/// A day of one reply that calls tools with these answers, and a final text.
async fn day_of(world: &World, answers: Vec<Behaviour>) {
    let names = calls_that_meet(world, answers);
    let calls: Vec<_> = names.iter().map(|name| (name.as_str(), json!({}))).collect();
    play_well(world, [Scripted::tools(&calls), Scripted::text("Viel gesehen.")]).await;
}

/// The content of each tool result, in the order of the calls.
fn shown(world: &World) -> Vec<Vec<Value>> {
    let results = results(&main_requests(world)[1]);
    results.iter().map(|result| result["content"].as_array().unwrap().clone()).collect()
}

#[tokio::test]
async fn every_attachment_that_only_looks_right_becomes_a_note_and_the_others_are_shown() {
    let logs = Logs::capture("warn");
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 5].to_vec();
    let cases = [
        (png(1_200, 9_000), "8,000 pixels"),
        (image("image/jpeg", &picture::jpeg(9_000, 20)), "8,000 pixels"),
        (image("image/gif", &picture::gif(20, 9_000)), "8,000 pixels"),
        (image("image/webp", &picture::webp(9_000, 9_000)), "8,000 pixels"),
        (image("image/png", &cut(picture::png(9, 9))), "cut off"),
        (image("image/jpeg", &cut(picture::jpeg(9, 9))), "cut off"),
        (image("image/gif", &cut(picture::gif(9, 9))), "cut off"),
        (image("image/webp", &cut(picture::webp(9, 9))), "cut off"),
        (image("image/png", b"\x89PNG\r\n\x1a\n"), "cut off"),
        (image("image/png", &picture::jpeg(9, 9)), "not what it is said to be"),
        (image("image/svg+xml", b"<svg/>"), "not shown"),
        (pdf(b"%PDF-1.4 not really a pdf"), "cut off"),
        (pdf(&picture::pdf("/Encrypt 9 0 R")), "encrypted"),
        (pdf(b"<html>not found</html>"), "not what it is said to be"),
        (png(8_000, 8), ""),
        (image("image/jpeg", &picture::jpeg(9, 9)), ""),
        (image("image/gif", &picture::gif(9, 9)), ""),
        (image("image/webp", &picture::webp(9, 9)), ""),
        (image("image/webp", &picture::webp_lossless(9, 9)), ""),
        (image("image/webp", &picture::webp_extended(9, 9)), ""),
        (pdf(&picture::pdf("")), ""),
    ];
    let world = no_tools().await;
    day_of(&world, cases.iter().map(|(block, _)| answer(std::slice::from_ref(block))).collect())
        .await;
    for ((_, why), content) in cases.iter().zip(shown(&world)) {
        match *why {
            "" => assert!(content[0]["source"].is_object(), "{content:?}"),
            why => {
                let note = content[0]["text"].as_str().unwrap();
                assert!(note.contains(why), "{note}");
            }
        }
    }
    let odd = cases.iter().filter(|(_, why)| !why.is_empty()).count();
    assert_eq!(logs.lines_with("is not shown to the model").len(), odd, "each tool once");
    assert!(world.actions().await.iter().all(|row| row.result == "ok"));
}

/// For each image in the answers to these calls: whether the model is shown the image.
async fn images_shown(answers: Vec<Vec<Value>>) -> Vec<bool> {
    let world = no_tools().await;
    day_of(&world, answers.iter().map(|blocks| answer(blocks)).collect()).await;
    shown(&world).concat().iter().map(|block| block["type"] == "image").collect()
}

#[tokio::test]
async fn a_new_image_that_would_break_the_limits_becomes_a_note_and_earlier_ones_stay() {
    let twenty = |first: Value| {
        let mut all = vec![png(9, 9); 20];
        all[0] = first;
        all.chunks(4).map(<[Value]>::to_vec).collect::<Vec<_>>()
    };
    let mut large_comes_last = twenty(png(2_000, 9));
    large_comes_last.push(vec![png(9, 2_001), png(9, 9)]);
    assert_eq!(images_shown(large_comes_last).await[20..], [false, true]);
    let mut large_comes_first = twenty(png(2_001, 9));
    large_comes_first.push(vec![png(9, 9), png(1, 1)]);
    let shown = images_shown(large_comes_first).await;
    assert!(shown[..20].iter().all(|shown| *shown));
    assert_eq!(shown[20..], [false, false]);
}

fn refusal() -> Fault {
    let message = "messages.2.content.0: Could not process image";
    let error = json!({"type": "invalid_request_error", "message": message});
    Fault::status(400, json!({"type": "error", "error": error}).to_string())
}

fn has_attachments(request: &Recorded) -> bool {
    let body = request.json()["messages"].to_string();
    body.contains(r#""type":"base64""#)
}

fn sent(world: &World) -> Vec<Recorded> {
    world.peers.claude.served.recorder.matching(|r| !r.json()["tools"].is_null())
}

/// A reply with a thinking block and a tool call.
fn thoughtful_call(n: usize, name: &str) -> Scripted {
    let content = format!(
        r#"[{{"type":"thinking","thinking":"","signature":"s{n}"}},{{"type":"tool_use","id":"t{n}","name":"{name}","input":{{}}}}]"#
    );
    crate::script::raw(&content, Some("tool_use"))
}

/// Three calls, each in a reply of its own: an image, a PDF with text, an image.
fn three_calls(world: &World) {
    let names = calls_that_meet(
        world,
        [
            answer(&[png(9, 9)]),
            answer(&[json!({"type": "text", "text": "Anbei."}), pdf(&picture::pdf(""))]),
            answer(&[png(8, 8)]),
        ],
    );
    world.peers.claude.answer_with(move |request| match request.turn() {
        _ if request.is_rating() => None,
        turn @ 0..=2 => Some(thoughtful_call(turn, &names[turn])),
        _ => Some(Scripted::text("Fertig.")),
    });
}

fn has_five_messages(request: &Recorded) -> bool {
    request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 5)
}

#[tokio::test]
async fn attachments_that_a_request_is_refused_with_are_replaced_by_notes_once_after_the_thinking()
{
    let world = no_tools().await;
    three_calls(&world);
    world.peers.claude.served.faults.inject(usize::MAX, refusal(), |request| {
        has_five_messages(request) && has_attachments(request)
    });
    world.good_tick().await;
    let requests = sent(&world);
    let thinks = |r: &Recorded| r.json()["messages"].to_string().contains(r#""type":"thinking""#);
    let seen: Vec<_> = requests.iter().map(|r| (thinks(r), has_attachments(r))).collect();
    let expected = [
        (false, false),
        (true, true),
        // Refused; refused without thinking; accepted without attachments; no further attachment is sent.
        (true, true),
        (false, true),
        (false, false),
        (true, false),
    ];
    assert_eq!(seen, expected);
    let messages = requests[4].json()["messages"].to_string();
    for kept in ["[image taken out", "Anbei.", "[PDF taken out"] {
        assert!(messages.contains(kept), "{messages}");
    }
    assert!(requests[5].json()["messages"].to_string().contains("[attachment not shown"));
    assert_eq!(world.actions().await.len(), 3);
    assert_eq!(world.health().await["status"], "ok");
}

#[tokio::test]
async fn a_lasting_refusal_ends_the_run_after_each_remedy_was_tried_once() {
    let world = no_tools().await;
    three_calls(&world);
    world.peers.claude.served.faults.inject(usize::MAX, refusal(), has_five_messages);
    let result = play(&world, []).await;
    assert!(only_failure(&result).contains("Could not process image"), "{result}");
    assert_eq!(sent(&world).len(), 5);
}

#[tokio::test]
async fn after_a_kill_replaced_attachments_stay_replaced_byte_for_byte() {
    let mut world = no_tools().await;
    three_calls(&world);
    let faults = &world.peers.claude.served.faults;
    faults.inject(2, refusal(), |r| has_five_messages(r) && has_attachments(r));
    let fourth = |request: &Recorded| {
        request.json()["messages"].as_array().is_some_and(|messages| messages.len() == 7)
    };
    faults.inject(usize::MAX, Fault::Hang, fourth);
    drop(world.begin_tick());
    patiently("the request that hangs", world.peers.claude.served.recorder.wait_for(1, fourth))
        .await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    world
        .journal_reaches("the end of the run", async |journal| {
            let runs = journal.latest_runs(9).await.unwrap();
            runs.iter().all(|run| run.state == RunState::Finished)
        })
        .await;
    world.nothing_in_flight().await;
    let fourths = world.peers.claude.served.recorder.matching(fourth);
    assert_eq!(fourths.len(), 2);
    assert_eq!(fourths[0].body, fourths[1].body);
    assert!(!has_attachments(&fourths[1]));
}
