//! Journal rows with content that this program does not write: only the row's own run is affected.

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::{
    domain::RunId,
    journal::{FILE_NAME, Journal, RunState},
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use crate::{
    script::{habits_list, outcomes},
    support::{Setup, World, in_journal, logs::Logs, patiently},
};

/// Changes the journal as a user with a shell could.
async fn alter(world: &World, statements: &[String]) {
    let file = world.peers.data_folder().join(FILE_NAME);
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    for sql in statements {
        sqlx::query(AssertSqlSafe(sql.clone())).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Two personas. One was killed after it had used a tool; the day of the other has not begun.
async fn killed() -> (World, RunId) {
    let mut world = Setup::many(&["anna", "ben"]).var("PERSONA_CONCURRENCY", 1).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    let second = |r: &Recorded| r.json()["messages"].as_array().is_some_and(|m| m.len() == 3);
    world.peers.claude.served.faults.inject(1, Fault::Hang, second);
    drop(world.begin_tick());
    patiently("the request", world.peers.claude.served.recorder.wait_for(1, second)).await;
    world.kill().await;
    let id = world.journal().await.latest_runs(1).await.unwrap()[0].id;
    (world, id)
}

async fn over(world: &World, run: RunId) -> String {
    let over = async |journal: &Journal| {
        journal.run(run).await.unwrap().unwrap().state == RunState::Finished
    };
    world.journal_reaches("its end", over).await;
    world.nothing_in_flight().await;
    world.journal().await.run(run).await.unwrap().unwrap().end_reason.unwrap_or_default()
}

#[tokio::test]
async fn an_unreadable_step_closes_its_run_with_its_rows_and_the_others_have_their_day() {
    for number in ["-1", "4294967296", "9223372036854775808"] {
        let (mut world, run) = killed().await;
        alter(&world, &[format!("INSERT INTO steps VALUES ('{run}', {number}, 0, '{{}}')")]).await;
        world.start_again(&[]).await;
        let reason = over(&world, run).await;
        assert!(reason.contains("cannot be read"), "{number}: {reason}");
        assert_eq!(outcomes(&world.actions().await)[0], ("habits.list", "ok"));
        assert_eq!(world.good_tick().await["ranSuccessfully"], 1, "{number}");
        assert_eq!(world.health().await["reason"], json!(null), "{number}");
    }
}

#[tokio::test]
async fn a_run_whose_persona_cannot_be_read_is_closed_and_its_rows_are_posted() {
    let (mut world, run) = killed().await;
    alter(&world, &[format!("UPDATE runs SET persona = '{{\"userId\":' WHERE id = '{run}'")]).await;
    world.start_again(&[]).await;
    let reason = over(&world, run).await;
    assert!(reason.contains("whose run"), "{reason}");
    assert_eq!(outcomes(&world.actions().await)[0], ("habits.list", "ok"));
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn a_post_of_an_unknown_kind_is_logged_once_and_listed_and_the_daemon_continues() {
    let logs = Logs::capture("warn");
    let (mut world, run) = killed().await;
    let other = RunId::new();
    alter(
        &world,
        &[
            format!("DELETE FROM steps WHERE run_id = '{run}'"),
            format!(
                "INSERT INTO outbox VALUES ('{other}', 0, 'u1', 'dreams', 1, '{{}}', 0, 0, 0, 0, 0, NULL)"
            ),
        ],
    )
    .await;
    world.start_again(&[]).await;
    let buried = async |journal: &Journal| journal.outbox_depth().await.unwrap().dead == 1;
    world.journal_reaches("the refusal", buried).await;
    world.nothing_in_flight().await;
    let kept = world.journal().await.kept_posts().await.unwrap();
    assert_eq!((kept.len(), kept[0].kind.as_str(), kept[0].is_dead), (1, "dreams", true));
    assert!(world.good_tick().await["ranSuccessfully"].as_u64() >= Some(1));
    assert_eq!(logs.lines_with("dreams").len(), 1);
    assert_eq!(world.health().await["reason"], json!(null));
}

#[tokio::test]
async fn a_day_that_the_journal_cannot_open_is_no_fault_of_mana_mcp() {
    let world = Setup::many(&["anna"]).idle().start().await;
    alter(&world, &["ALTER TABLE catalogs RENAME TO elsewhere".to_owned()]).await;
    world.tick().await;
    let ends = in_journal(&world, "SELECT stage || ' ' || outcome FROM runs").await;
    assert_eq!(ends, ["mcp failed"]);
}

#[tokio::test]
async fn a_journal_that_can_be_written_but_not_read_is_reported_until_a_tick_reads_it() {
    let world = Setup::many(&["anna"]).start().await;
    alter(&world, &["ALTER TABLE runs RENAME TO elsewhere".to_owned()]).await;
    let (status, answer) = world.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let (status, answer) = world.call(Method::GET, "/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("journal"), "{answer}");
    assert_eq!(world.health().await["status"], "degraded");
    alter(&world, &["ALTER TABLE elsewhere RENAME TO runs".to_owned()]).await;
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn facts_that_cannot_be_made_keep_no_old_steps_from_being_deleted() {
    let mut world = Setup::many(&["anna", "ben"]).idle().start().await;
    assert_eq!(world.good_tick().await["ranSuccessfully"], 2);
    world.stop().await;
    let runs = world.journal().await.latest_runs(2).await.unwrap();
    let (without, old) = (runs[0].id, runs[1].id);
    let spoilt = [
        format!("UPDATE runs SET facts = 0 WHERE id = '{without}'"),
        format!("UPDATE runs SET updated_at = 0 WHERE id = '{old}'"),
        "ALTER TABLE run_tools RENAME TO away".to_owned(),
    ];
    alter(&world, &spoilt).await;
    world.start_again(&[]).await;
    let are_gone = async |journal: &Journal| journal.steps(old).await.unwrap().is_empty();
    world.journal_reaches("that the old steps are deleted", are_gone).await;
    assert!(!world.journal().await.steps(without).await.unwrap().is_empty());
    assert_eq!(in_journal(&world, "SELECT facts || '' FROM runs WHERE facts = 0").await, ["0"]);
    assert_eq!(world.health().await["reason"], json!(null), "runs need no facts");
}
