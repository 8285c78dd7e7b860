//! A journal of the daemon of commit cabd9f6, made on [`MONDAY`](crate::support::MONDAY): the current daemon
//! opens it and continues its runs.

use std::{fs, path::Path, time::Duration};

use devstack::{claude::Scripted, recorder::Recorded};
use mana_persona_runner::{
    domain::derive_password,
    journal::{FILE_NAME, Journal, RunState},
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    script::{make_due, outcomes},
    support::{SEED_SECRET, Setup, World, persona},
};

/// The personas with runs in the journal: the runs of anna and ben are finished, emil's rows are in the
/// outbox, cara's rating is owed. Dora's run was killed while the model answered, fritz's during a call of
/// `habits.list`.
const PERSONAS: [(&str, &str); 6] = [
    ("2yxtf51O3NnJqAGoE22j2F91PWWyKDTf", "anna"),
    ("jGoM39JiMplQe8My73OIhl3BTbpSt1B8", "ben"),
    ("4y1MB6ZbgFCtZZaQnzuhapfcIZ7RolX2", "cara"),
    ("AT9mhvYbD7eaK2RUaMwoZaW9ZOOhJ74J", "dora"),
    ("szco8nI4krl428PPdqqBxEiITiSHzC3T", "emil"),
    ("KBvbdmZaMLn8sHiaRmnZDu1Qvh2BPGWP", "fritz"),
];
/// The request with which dora's run continues, as the daemon of cabd9f6 sent it: `system`, `tools`,
/// `messages`.
const REQUEST: &str = include_str!("../fixtures/request-cabd9f6.json");

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-cabd9f6.sqlite3")
}

/// The current daemon on a copy of that journal.
pub(crate) async fn daemon_of_today() -> World {
    let mut world = Setup::default().start().await;
    world.stop().await;
    let personas = PERSONAS.map(|(id, name)| (id, persona(name, &["habits"])));
    let password = |email: &str| derive_password(SEED_SECRET, email);
    world.peers.auth.seed_as(&personas, password).await.unwrap();
    let journal = world.peers.data_folder().join(FILE_NAME);
    for rest in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{rest}", journal.display()));
    }
    fs::copy(fixture(), &journal).unwrap();
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        _ => Some(Scripted::text("Bis morgen!")),
    });
    // Cara's run was held back for a minute, and emil's rows were to be posted again within a minute.
    world.advance(Duration::from_secs(120));
    world.start_again(&[]).await;
    let all_ended = async |journal: &Journal| {
        let running = journal.runs_in(RunState::Running).await.unwrap();
        let owed = journal.runs_in(RunState::RatingOwed).await.unwrap();
        let outbox = journal.outbox_depth().await.unwrap();
        running.is_empty() && owed.is_empty() && outbox.oldest.is_none()
    };
    world.journal_reaches("the end of all runs", all_ended).await;
    world.nothing_in_flight().await;
    world
}

fn is_of(request: &Recorded, name: &str) -> bool {
    request.json()["system"][0]["text"].as_str().is_some_and(|text| text.contains(name))
}

/// The parts of a request that must never change, byte for byte.
fn bound_parts(request: &Recorded) -> Value {
    let body: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_slice(&request.body).unwrap();
    let part = |name: &str| body[name].get().to_owned();
    json!({"system": part("system"), "tools": part("tools"), "messages": part("messages")})
}

#[tokio::test]
async fn unfinished_runs_of_the_earlier_version_continue_and_rows_arrive_once() {
    let world = daemon_of_today().await;
    let runs = world.journal().await.latest_runs(10).await.unwrap();
    assert!(runs.iter().all(|run| run.state == RunState::Finished), "{runs:?}");
    assert_eq!(runs.len(), 6);
    let actions = world.actions().await;
    let of = |n: usize| {
        let rows: Vec<_> =
            actions.iter().filter(|row| row.persona_id == PERSONAS[n].0).cloned().collect();
        outcomes(&rows).iter().map(|(tool, ok)| format!("{tool} {ok}")).collect::<Vec<_>>()
    };
    assert_eq!(of(0), [""; 0], "anna's rows were handed in by the earlier daemon");
    let begin = ["habits.list ok", "habits_delete_everything error"];
    let dora = [&begin[..], &["habits.create ok", "habits.create error", "habits.create error"]];
    assert_eq!(of(3), dora.concat());
    assert_eq!(of(4), [&dora.concat()[..], &["habits.list ok"]].concat());
    assert_eq!(of(5).last().unwrap(), "habits.list error", "nobody knows whether it ran");
    let fritz = actions.iter().rfind(|row| row.persona_id == PERSONAS[5].0).unwrap();
    assert!(fritz.error_message.as_ref().unwrap().contains("unknown"), "{fritz:?}");
    let rated: Vec<_> = world.feedback().await.into_iter().map(|row| row.persona_id).collect();
    for n in [2, 3, 4, 5] {
        assert!(rated.iter().any(|id| id == PERSONAS[n].0), "{n}: {rated:?}");
    }
    assert_eq!(rated.len(), 4);
    assert_eq!(world.peers.mcp.calls().len(), 0, "no call is made again");
}

#[tokio::test]
async fn a_run_of_the_earlier_version_continues_with_the_same_bytes() {
    let world = daemon_of_today().await;
    let requests = world.peers.claude.served.recorder.all();
    let dora = requests.iter().find(|r| is_of(r, "dora") && !r.json()["tools"].is_null()).unwrap();
    let golden: Value = serde_json::from_str(REQUEST).unwrap();
    let sent = bound_parts(dora);
    for part in ["system", "tools", "messages"] {
        assert_eq!(sent[part], golden[part], "{part}");
    }
}

#[tokio::test]
async fn a_stored_catalog_is_sent_as_it_is_and_a_new_one_without_keys_that_say_nothing() {
    let world = daemon_of_today().await;
    make_due(&world).await;
    world.good_tick().await;
    let tools = |request: &Recorded| bound_parts(request)["tools"].to_string();
    let main_turns = world.peers.claude.served.recorder.matching(|r| !r.json()["tools"].is_null());
    let (resumed, new) = (tools(&main_turns[0]), tools(main_turns.last().unwrap()));
    let says_nothing = "$schema";
    assert!(resumed.contains(says_nothing), "{resumed}");
    assert!(!new.contains(says_nothing), "{new}");
}
