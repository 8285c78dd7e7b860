//! Posting rows: once, in order, complete, and with retries for as long as necessary.

use std::{collections::BTreeSet, time::Duration};

use devstack::{
    auth::ActionRow,
    claude::{ParsedRequest, Scripted},
    fault::Fault,
    mcp::Behaviour,
    recorder::Recorded,
};
use mana_persona_runner::app::ProcessEnd;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    script::calls_that_meet,
    support::{Setup, World, failure_of, patiently},
};

/// All posts to one of the two endpoints of a persona, in order of arrival.
fn posts(world: &World, user: &str, kind: &str) -> Vec<Recorded> {
    let path = format!("/api/v1/internal/personas/{user}/{kind}");
    let recorder = &world.peers.auth.served.recorder;
    recorder.matching(|r| r.method == Method::POST && r.path() == path)
}

/// The rows of a posted batch.
fn rows_of(post: &Recorded, kind: &str) -> Vec<Value> {
    post.json()[kind].as_array().unwrap().clone()
}

/// The audit rows of a persona, in the order of their batch.
async fn actions_of(world: &World, user: &str) -> Vec<ActionRow> {
    world.actions().await.into_iter().filter(|row| row.persona_id == user).collect()
}

/// Makes Claude reply with these calls (name in Claude's spelling, input), then with a final text.
fn play(world: &World, calls: Vec<(String, Value)>) {
    world.peers.claude.answer_with(move |request| {
        let calls: Vec<_> = calls.iter().map(|(name, input)| (&**name, input.clone())).collect();
        match request.is_rating() {
            true => None,
            false if request.turn() > 0 => Some(Scripted::text("Bis morgen!")),
            false => Some(Scripted::tools(&calls)),
        }
    });
}

fn ratings_asked(world: &World) -> usize {
    world.peers.claude.requests().iter().filter(|request| request.is_rating()).count()
}

#[tokio::test]
async fn a_run_posts_one_batch_of_actions_in_order_and_then_one_of_ratings() {
    let world = Setup::catalog().var("PERSONA_CONCURRENCY", 5).start().await;
    world.good_tick().await;
    let calls = world.peers.mcp.calls();
    let mut runs = BTreeSet::new();
    for user in &world.users {
        let (actions, feedback) = (posts(&world, user, "actions"), posts(&world, user, "feedback"));
        assert_eq!((actions.len(), feedback.len()), (1, 1));
        let (actions, feedback) =
            (rows_of(&actions[0], "actions"), rows_of(&feedback[0], "feedback"));
        let run = actions[0]["tickId"].as_str().unwrap();
        assert!(actions.iter().chain(&feedback).all(|row| row["tickId"] == run));
        assert!(runs.insert(run.to_owned()), "a run's id is its own");
        // Calls that the runner repeated because of a missing vault are one action.
        let mut called: Vec<_> = calls.iter().filter(|call| call.user_id == *user).collect();
        called.dedup_by(|later, first| {
            later.tool == first.tool && later.arguments == first.arguments
        });
        let mut called: Vec<_> = called.iter().map(|call| call.tool.as_str()).collect();
        let posted: Vec<_> = actions.iter().map(|row| row["toolName"].as_str().unwrap()).collect();
        // Reads of one turn run at the same time and arrive in any order.
        let mut sorted = posted.clone();
        sorted.sort_unstable();
        called.sort_unstable();
        assert_eq!(sorted, called);
        let landed: Vec<_> = actions_of(&world, user).await.into_iter().map(|row| row.id).collect();
        let expected: Vec<_> =
            posted.iter().enumerate().map(|(n, tool)| format!("{run}-{n}-{tool}")).collect();
        assert_eq!(landed, expected);
    }
    let order: Vec<_> = world.peers.auth.served.recorder.all();
    let place = |user: &str, kind: &str| {
        order.iter().position(|r| r.path().ends_with(&format!("{user}/{kind}"))).unwrap()
    };
    assert!(world.users.iter().all(|user| place(user, "actions") < place(user, "feedback")));
}

#[tokio::test]
async fn a_post_that_may_or_may_not_have_landed_is_repeated_byte_for_byte_and_lands_once() {
    let faults = [
        Fault::status(500, "{}"),
        Fault::status(502, "<html>"),
        Fault::status(503, "{}"),
        Fault::Reset,
        Fault::HandledThenReset,
        Fault::HandledThenRespond { status: 500, body: "{}".into() },
        Fault::HandledThenRespond { status: 200, body: "<html>".into() },
        Fault::HandledThenRespond { status: 200, body: r#"{"ok":false}"#.into() },
        Fault::CutBody(5),
        Fault::EndBody(5),
    ];
    for kind in ["actions", "feedback"] {
        let names: Vec<_> = (0..faults.len()).map(|n| format!("p{n}")).collect();
        let world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 12).start().await;
        for (user, fault) in world.users.iter().zip(&faults) {
            let path = format!("/{user}/{kind}");
            world.peers.auth.served.faults.on(2, Method::POST, &path, fault.clone());
        }
        world.good_tick().await;
        let actions = world.actions().await;
        let feedback = world.feedback().await;
        for (user, fault) in world.users.iter().zip(&faults) {
            let posts = posts(&world, user, kind);
            assert_eq!(posts.len(), 3, "{kind}, {fault:?}");
            assert!(posts.iter().all(|post| post.body == posts[0].body), "{kind}, {fault:?}");
            let sent = rows_of(&posts[0], kind).len();
            let landed = match kind {
                "actions" => actions.iter().filter(|row| row.persona_id == *user).count(),
                _ => feedback.iter().filter(|row| row.persona_id == *user).count(),
            };
            assert_eq!(landed, sent, "{kind}, {fault:?}");
        }
        let retries = format!("peer=\"mana-personas\",operation=\"post_{kind}\"");
        let series = sorted_labels("http_client_retries_total", &retries);
        assert_eq!(world.metric(&series).await, Some(2.0 * faults.len() as f64));
    }
}

/// A series with its labels in the order in which they are exposed.
fn sorted_labels(name: &str, labels: &str) -> String {
    let labels: BTreeSet<_> = labels.split(',').collect();
    format!("{name}{{{}}}", labels.into_iter().collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn more_than_500_actions_go_in_further_batches_with_ids_of_their_own_and_none_is_lost() {
    const CALLS: usize = 1_003;
    let world = Setup::many(&["anna"]).short_days().start().await;
    let call = |n: usize| match n {
        0 | 499 | 500 | 1_002 => ("habits_list".to_owned(), json!({})),
        n => (format!("invented_{n}"), json!({})),
    };
    play(&world, (0..CALLS).map(call).collect());
    let anna = &world.users[0];
    // The second batch meets the fault: only this batch is repeated.
    world.peers.auth.served.faults.inject(1, Fault::HandledThenReset, |r| {
        r.path().ends_with("/actions") && r.body.windows(12).any(|w| w == b"invented_501")
    });
    world.good_tick().await;

    let posts = posts(&world, anna, "actions");
    assert_eq!(posts.len(), 4);
    assert_eq!(posts[1].body, posts[2].body);
    let sizes: Vec<_> = posts.iter().map(|post| rows_of(post, "actions").len()).collect();
    assert_eq!(sizes, [500, 500, 500, 3]);
    let ids: BTreeSet<_> =
        posts.iter().map(|post| rows_of(post, "actions")[0]["tickId"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    let landed: Vec<_> =
        actions_of(&world, anna).await.into_iter().map(|row| row.tool_name).collect();
    let called: Vec<_> = (0..CALLS).map(|n| call(n).0.replace("habits_", "habits.")).collect();
    assert_eq!(landed, called);
    // The ratings carry the id of the run, as the first batch does.
    let run = &rows_of(&posts[0], "actions")[0]["tickId"];
    assert!(world.feedback().await.iter().all(|row| row.tick_id == *run));
    assert_eq!(world.feedback().await.len(), 1);
}

#[tokio::test]
async fn no_text_of_model_tools_or_persona_can_spoil_a_batch() {
    let hostile = [
        "a\0b",
        "\0",
        "",
        " ",
        "'; DROP TABLE auth.personas; --",
        "\u{7f}\u{1b}[31m\r\nX: y",
        "\u{202e}rtl \u{feff}",
        "😀".repeat(700).leak(),
        "\u{fffe}\u{10ffff}",
        "-0-x/../y?z#",
        "{\"actions\":[]}",
        "\\u0000",
    ];
    let world = Setup::many(&["anna"]).short_days().start().await;
    // As tool names that the model invented, where Claude's API accepts them, and as texts of tool errors.
    let named: Vec<_> = hostile.iter().filter(|text| !text.is_empty()).collect();
    let mut calls: Vec<_> = named.iter().map(|name| (name.to_string(), json!({}))).collect();
    let failing = calls_that_meet(&world, hostile.map(|text| Behaviour::IsError(text.into())));
    calls.extend(failing.iter().map(|name| (name.clone(), json!({}))));
    let count = calls.len();
    let inputs = hostile.map(|text| ("habits_create".to_owned(), json!({"name": text, text: 1})));
    calls.extend(inputs);
    world.peers.claude.answer_with({
        let notes = hostile.concat();
        move |request: &ParsedRequest| {
            let calls: Vec<_> =
                calls.iter().map(|(name, input)| (&**name, input.clone())).collect();
            Some(match request.is_rating() {
                true => Scripted::ratings(&[("habits", 4, &notes)]),
                false if request.turn() > 0 => Scripted::text("Bis\0 morgen!"),
                false => Scripted::tools(&calls),
            })
        }
    });
    world.good_tick().await;

    let actions = actions_of(&world, &world.users[0]).await;
    assert_eq!(actions.len(), count + hostile.len());
    let units = |text: &str| text.encode_utf16().count();
    for (row, text) in actions.iter().zip(named.iter().map(|text| &***text)) {
        assert_eq!(row.result, "error", "{text:?}");
        assert!((1..=128).contains(&units(&row.tool_name)), "{text:?}: {row:?}");
        let plain = text.replace('\0', "");
        assert!(plain.is_empty() || plain.starts_with(&row.tool_name), "{text:?}: {row:?}");
    }
    for ((tool, text), row) in failing.iter().zip(hostile).zip(&actions[named.len()..count]) {
        let message = row.error_message.as_deref().unwrap();
        assert_eq!((row.tool_name.replace('.', "_"), row.result.as_str()), (tool.clone(), "error"));
        assert!(units(message) <= 500, "{text:?}: {row:?}");
        let plain = text.replace('\0', "");
        // If a tool's text is only white space, the row reports that.
        assert!(plain.trim().is_empty() || plain.starts_with(message), "{text:?}: {row:?}");
    }
    assert!(actions[..].iter().all(|row| row.input_hash.as_ref().is_some_and(|h| h.len() == 16)));
    let feedback = world.feedback().await;
    let notes = feedback[0].notes.as_deref().unwrap();
    assert_eq!((feedback.len(), feedback[0].rating), (1, 4));
    assert!(units(notes) <= 1_000 && !notes.contains('\0') && notes.starts_with("ab"));
    for kind in ["actions", "feedback"] {
        assert_eq!(posts(&world, &world.users[0], kind).len(), 1, "{kind}: taken at once");
    }
}

/// A refusal in mana-auth's form.
fn refusal(status: u16) -> String {
    let message = words(status);
    format!(r#"{{"statusCode":{status},"message":"{message}"}}"#)
}

fn words(status: u16) -> &'static str {
    if status == 404 { "Persona not found" } else { "no such thing" }
}

#[tokio::test]
async fn a_404_that_is_not_about_the_persona_is_waited_out_like_a_wrong_key_or_a_redirection() {
    let answers = [
        (404, "404 Not Found"),
        (404, "<html><h1>404 Not Found</h1></html>"),
        (404, ""),
        (404, "{}"),
        (404, r#"{"error":"Not found","status":404}"#),
        (404, r#"{"statusCode":404,"message":"Cannot POST /x"}"#),
        (404, r#"{"error":{"message":"Persona not found"}}"#),
        (401, r#"{"error":"Persona not found"}"#),
        (401, r#"{"error":"Missing authorization header","status":401}"#),
        (401, r#"{"error":"Invalid service key","status":401}"#),
        (401, ""),
        (301, "moved"),
        (307, ""),
        (308, ""),
    ];
    let names: Vec<_> = (0..answers.len()).map(|n| format!("p{n}")).collect();
    let world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 14).start().await;
    let faults = &world.peers.auth.served.faults;
    for (user, (status, body)) in world.users.iter().zip(answers) {
        let path = format!("/{user}/actions");
        faults.on(usize::MAX, Method::POST, &path, Fault::status(status, body));
    }
    let result = world.good_tick().await;
    assert_eq!(result["undelivered"], answers.len(), "{result}");
    assert_eq!(ratings_asked(&world), answers.len());
    let depth = world.journal().await.outbox_depth().await.unwrap();
    assert_eq!(depth.dead, 0, "{depth:?}");
    // Once the path works again, all rows are stored.
    faults.clear();
    patiently("all rows", async {
        while world.feedback().await.len() < answers.len() {
            world.clock.advance(Duration::from_secs(300));
            tokio::task::yield_now().await;
        }
    })
    .await;
    for user in &world.users {
        assert!(!actions_of(&world, user).await.is_empty());
    }
}

#[tokio::test]
async fn posts_that_hang_hold_up_no_post_that_becomes_due_meanwhile() {
    let names = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "late"];
    let mut world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 8).start().await;
    let faults = &world.peers.auth.served.faults;
    for user in &world.users {
        // The run's own attempts, and for the last persona also the first delivery after the run.
        let refused = if user == &world.users[7] { 4 } else { 3 };
        let path = format!("/{user}/actions");
        faults.on(refused, Method::POST, &path, Fault::status(503, "{}"));
        if refused == 3 {
            faults.on(usize::MAX, Method::POST, &path, Fault::Hang);
        }
    }
    assert_eq!(world.good_tick().await["undelivered"], 8);
    world.clock.advance(Duration::from_secs(2));
    patiently("a delivery of each", async {
        while world.users.iter().any(|user| posts(&world, user, "actions").len() < 4) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let late = world.users[7].clone();
    patiently("the late rows", async {
        while actions_of(&world, &late).await.is_empty() {
            world.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await;
    let labels = "operation=\"post_actions\",outcome=\"timeout\",peer=\"mana-personas\"";
    let timeouts = world.metric(&format!("http_client_requests_total{{{labels}}}")).await;
    assert_eq!(timeouts.unwrap_or_default(), 0.0, "the others hang still");
    assert_eq!(world.stop().await, ProcessEnd::Drained);
}

#[tokio::test]
async fn a_refusal_is_final_and_without_actions_no_rating_is_asked_for() {
    let statuses = [400, 404, 410, 413, 422];
    let names: Vec<_> = statuses.iter().map(|status| format!("p{status}")).collect();
    let world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 6).start().await;
    for (user, status) in world.users.iter().zip(statuses) {
        let fault = Fault::status(status, refusal(status));
        world.peers.auth.served.faults.on(9, Method::POST, &format!("/{user}/actions"), fault);
    }
    let result = world.tick().await;
    for ((user, name), status) in world.users.iter().zip(&names).zip(statuses) {
        assert_eq!(posts(&world, user, "actions").len(), 1, "{status} is not tried again");
        let error = failure_of(&result, name).unwrap();
        let says = ["post_actions".to_owned(), format!("{status}"), words(status).to_owned()];
        assert!(says.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!(posts(&world, user, "feedback").len(), 0);
    }
    assert_eq!(ratings_asked(&world), 0);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    assert_eq!(
        world.metric("runs_total{outcome=\"failed\",stage=\"post_actions\"}").await,
        Some(5.0)
    );
    assert_eq!(result["undelivered"], 0, "there is nothing to wait for");
    // These personas stay due, but their day is over.
    assert_eq!(world.tick().await["skipped"], 5);
}

#[tokio::test]
async fn a_persona_that_was_deleted_meanwhile_is_a_failed_entry() {
    let world = Setup::many(&["anna"]).short_days().start().await;
    let posts_actions = |r: &Recorded| r.path().ends_with("/actions");
    let is_deleted = CancellationToken::new();
    let auth = &world.peers.auth.served;
    auth.faults.inject(1, Fault::Hold(is_deleted.clone()), posts_actions);
    let tick = world.begin_tick();
    patiently("the rows", auth.recorder.wait_for(1, posts_actions)).await;
    world.peers.auth.delete_user(&world.users[0]).await;
    is_deleted.cancel();
    let (status, body) = patiently("the tick", tick).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let error = failure_of(&body["result"], "anna").unwrap();
    assert!(error.contains("post_actions") && error.contains("404"), "{error}");
    assert_eq!(posts(&world, &world.users[0], "actions").len(), 1);
}

#[tokio::test]
async fn ratings_that_are_refused_leave_the_actions_where_they_are() {
    let world = Setup::many(&["anna", "ben"]).short_days().start().await;
    for (user, status) in world.users.iter().zip([400, 404]) {
        let path = format!("/{user}/feedback");
        let fault = Fault::status(status, refusal(status));
        world.peers.auth.served.faults.on(9, Method::POST, &path, fault);
    }
    let result = world.tick().await;
    for (user, name) in world.users.iter().zip(["anna", "ben"]) {
        assert!(failure_of(&result, name).unwrap().contains("post_feedback"), "{result}");
        assert_eq!(posts(&world, user, "feedback").len(), 1);
        assert!(!actions_of(&world, user).await.is_empty());
    }
    assert_eq!(world.feedback().await, []);
    assert_eq!(world.tick().await["due"], 0, "they have acted today");
}

#[tokio::test]
async fn rows_not_accepted_wait_in_the_outbox_and_are_stored_later_without_model_requests() {
    let names = ["down", "keyless", "forbidden", "broken", "well"];
    let world = Setup::many(&names).short_days().var("PERSONA_CONCURRENCY", 5).start().await;
    let faults = &world.peers.auth.served.faults;
    for (user, status) in world.users.iter().zip([503, 401, 403, 500]) {
        let fault = Fault::status(status, "{}");
        faults.on(usize::MAX, Method::POST, &format!("/{user}/actions"), fault);
    }
    let result = world.good_tick().await;
    let counts = ["ranSuccessfully", "undelivered"].map(|count| result[count].clone());
    assert_eq!(counts, [5, 4].map(Value::from), "{result}");
    assert_eq!(ratings_asked(&world), 5);
    // Ratings are never posted before actions.
    for user in &world.users[..4] {
        assert_eq!(posts(&world, user, "feedback").len(), 0);
    }
    // The personas are still due, but their model requests are not paid for again.
    assert_eq!(world.tick().await["skipped"], 4);
    let asked = world.peers.claude.requests().len();
    let attempts = posts(&world, &world.users[0], "actions").len();
    world.clock.advance(Duration::from_secs(2));
    patiently("a further attempt", async {
        while posts(&world, &world.users[0], "actions").len() <= attempts {
            tokio::task::yield_now().await;
        }
    })
    .await;

    faults.clear();
    patiently("all rows", async {
        while world.feedback().await.len() < 5 {
            world.clock.advance(Duration::from_secs(300));
            tokio::task::yield_now().await;
        }
    })
    .await;
    for user in &world.users {
        for kind in ["actions", "feedback"] {
            let posts = posts(&world, user, kind);
            assert!(posts.iter().all(|post| post.body == posts[0].body), "{kind}");
        }
        let first = &posts(&world, user, "actions")[0];
        assert_eq!(actions_of(&world, user).await.len(), rows_of(first, "actions").len());
    }
    assert_eq!(world.feedback().await.len(), 5);
    assert_eq!(world.peers.claude.requests().len(), asked);
}

#[tokio::test]
async fn a_post_without_an_answer_is_made_again_within_the_run() {
    let world = Setup::many(&["silent"]).short_days().start().await;
    let path = format!("/{}/actions", world.users[0]);
    world.peers.auth.served.faults.on(1, Method::POST, &path, Fault::Reset);
    let result = world.good_tick().await;
    assert_eq!(result["undelivered"], 0);
    let silent = posts(&world, &world.users[0], "actions");
    assert_eq!((silent.len(), &silent[0].body), (2, &silent[1].body));
    let landed = actions_of(&world, &world.users[0]).await.len();
    assert_eq!(landed, rows_of(&silent[0], "actions").len());
}
