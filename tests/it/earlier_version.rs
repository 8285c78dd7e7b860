//! A journal of the daemon of commit cabd9f6, made on [`MONDAY`](crate::support::MONDAY): the current daemon
//! opens it and continues its runs.

use std::{fs, path::Path, time::Duration};

use devstack::{claude::Scripted, recorder::Recorded};
use mana_persona_runner::{
    domain::{Cause, Outcome, derive_password},
    facts::RunFacts,
    journal::{FILE_NAME, Journal, RunRow, RunState},
};
use serde_json::{Value, json, value::RawValue};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use crate::{
    facts_law::{facts_as_the_steps_say, printed},
    process::daemon::{Finished, finish},
    script::{make_due, outcomes},
    support::{SEED_SECRET, Setup, World, in_journal, persona},
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
    daemon_of_today_on(async |_| {}).await
}

/// Like [`daemon_of_today`]; `change` changes the copy of the journal, whose path it gets, before the daemon opens it.
async fn daemon_of_today_on(change: impl AsyncFnOnce(&Path)) -> World {
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
    change(&journal).await;
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

/// The current daemon on that journal, once all runs have facts.
async fn facts_of_today(change: impl AsyncFnOnce(&Path)) -> (World, Vec<(RunRow, RunFacts)>) {
    let world = daemon_of_today_on(change).await;
    let all_made =
        async |_: &_| in_journal(&world, "SELECT id FROM runs WHERE facts = 0").await.is_empty();
    world.journal_reaches("the facts", all_made).await;
    let facts = facts_as_the_steps_say(&world.journal().await).await;
    (world, facts)
}

#[tokio::test]
async fn the_runs_of_the_earlier_version_have_facts_whether_they_had_ended_or_go_on() {
    let (world, all) = facts_of_today(async |_| {}).await;
    assert_eq!(all.len(), 6);
    for (run, facts) in &all {
        assert_eq!(run.outcome, Some(Outcome::Done), "{run:?}");
        let causes: Vec<_> = facts.calls.iter().map(|(call, _)| call.cause).collect();
        let rejected = Some(Cause::RejectedInput);
        let begin = [None, Some(Cause::Invented), None, rejected, rejected];
        assert_eq!(causes[..5], begin, "{run:?}");
        // Dora's run was killed before its sixth call, fritz's during that call.
        let dora = usize::from(run.persona_id == PERSONAS[3].0);
        let stopped = (run.persona_id == PERSONAS[5].0).then_some(Cause::Stopped);
        assert_eq!(causes[5..], [stopped][dora..], "{run:?}");
        assert_eq!(facts.calls[0].0.quote, None);
        let [habits] = &facts.modules[..] else { panic!("{:?}", facts.modules) };
        assert_eq!((&*habits.module, habits.failed, habits.dead_end), ("habits", 2, true));
        assert!(habits.rating.is_some() && habits.grounded, "{habits:?}");
        assert_eq!(facts.hits.len(), 2);
    }
    // The personas whose runs went on are met at the next tick, the others were found with the runs.
    make_due(&world).await;
    world.good_tick().await;
    let monday = ["--from", "2026-03-09", "--to", "2026-03-09"];
    let arguments = [&["frictions", "--format", "json"][..], &monday].concat();
    let frictions = printed(&world, &arguments).await;
    let frictions: Value = serde_json::from_str(&frictions).unwrap();
    let frictions = frictions["frictions"].as_array().unwrap();
    let of_input = |f: &&Value| f["tool"] == "habits.create" && f["cause"] == "rejected_input";
    let of_input: Vec<_> = frictions.iter().filter(of_input).collect();
    assert_eq!(of_input.len(), 2, "{frictions:?}");
    for friction in of_input {
        let numbers = ["runs", "runsExposed", "calls", "recovered"];
        let counted = numbers.map(|name| friction[name].as_u64().unwrap());
        assert_eq!(counted, [6, 6, 6, 0], "{friction}");
        let labels = PERSONAS.map(|(_, name)| format!("persona.{name}"));
        assert_eq!(friction["personas"], json!(labels), "{friction}");
        assert_eq!(friction["firstSeen"]["deployment"], Value::Null, "{friction}");
    }
}

#[tokio::test]
async fn what_runs_came_to_that_the_earlier_version_gave_up_follows_from_their_reasons() {
    let give_up = async |journal: &Path| {
        let options = SqliteConnectOptions::new().filename(journal);
        let mut connection = options.connect().await.unwrap();
        for sql in [
            "UPDATE runs SET end_reason = 'not rated: it had not got on for longer than an hour' \
             WHERE persona LIKE '%persona.anna@%'",
            "UPDATE runs SET state = 'failed', stage = 'login', calls = 0, end_reason = 'refused' \
             WHERE persona LIKE '%persona.ben@%'",
            "DELETE FROM steps WHERE run_id = (SELECT id FROM runs WHERE state = 'failed')",
        ] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    };
    let (_world, all) = facts_of_today(give_up).await;
    let of = |n: usize| {
        let (run, facts) = all.iter().find(|(run, _)| run.persona_id == PERSONAS[n].0).unwrap();
        (run.outcome.unwrap(), facts.calls.len())
    };
    assert_eq!(of(0), (Outcome::Stopped, 6), "the calls were made all the same");
    assert_eq!(of(1), (Outcome::Login, 0));
    assert_eq!(of(4), (Outcome::Done, 6));
}

#[tokio::test]
async fn a_command_on_a_journal_that_no_current_daemon_has_opened_says_what_to_do() {
    let folder = std::env::temp_dir().join(format!("mana-fixture-{}", uuid::Uuid::now_v7()));
    fs::create_dir(&folder).unwrap();
    let copy = folder.join(FILE_NAME);
    fs::copy(fixture(), &copy).unwrap();
    for arguments in [
        &["frictions"][..],
        &["export"],
        &["runs"],
        &["release", "1.4.0"],
        &["frictions", "mute", "F-AAAA", "--until", "2026-12-01", "--reason", "known"],
    ] {
        let data_dir = ("RUNNER_DATA_DIR".into(), folder.clone().into());
        let Finished { code, stdout, stderr } = finish([data_dir], arguments).await;
        assert_eq!((code, &*stdout), (Some(1), ""), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(stderr.contains("start the daemon"), "{arguments:?}: {stderr}");
    }
    assert_eq!(fs::read(&copy).unwrap(), fs::read(fixture()).unwrap(), "nothing was changed");
    fs::remove_dir_all(folder).unwrap();
}
