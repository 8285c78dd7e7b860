//! Facts that the database refuses.

use super::*;
use crate::{
    clients::personas::{Batch, Kind as PostKind},
    domain::WhyNotRun,
};

const TABLES: [&str; 5] = ["calls", "run_tools", "run_modules", "issues", "issue_hits"];

fn posts() -> [(u32, Batch); 1] {
    [(0, Batch { kind: PostKind::Actions, rows: 1, body: "x".into() })]
}

/// Makes the table refuse each row.
async fn refuse(journal: &Journal, table: &str) {
    let sql = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
    );
    journal.spoil(sql).await;
}

#[tokio::test]
async fn a_run_whose_facts_are_refused_ends_with_its_posts_and_gets_its_facts_later() {
    for table in TABLES {
        for is_missing in [true, false] {
            let journal = Journal::in_memory().await.unwrap();
            let run = begin(&journal, "anna", "s", NOON).await;
            match is_missing {
                true => journal.spoil(format!("ALTER TABLE {table} RENAME TO away")).await,
                false => refuse(&journal, table).await,
            }
            let facts = facts(run, NOON, 2, &[7]);
            let ended = EndedRun { facts: facts.clone(), ..ended(RunState::Finished) };
            // A second end changes nothing.
            for _ in 0..2 {
                journal.end_run(run, &ended, &posts(), NOON).await.unwrap();
            }
            let row = journal.run(run).await.unwrap().unwrap();
            assert_eq!((row.state, row.replies), (RunState::Finished, 3), "{table}");
            assert_eq!(journal.kept_posts_of(run).await.unwrap().len(), 1, "{table}");
            assert_eq!(journal.trouble(), None, "{table}");
            match is_missing {
                true => journal.spoil(format!("ALTER TABLE away RENAME TO {table}")).await,
                false => journal.spoil("DROP TRIGGER refuse").await,
            }
            assert_eq!(without_facts(&journal, 1).await, [run], "{table}");
            journal.write_facts(&row, &facts, Outcome::Done).await.unwrap();
            assert_eq!(without_facts(&journal, 1).await, []);
            assert_eq!(lines_of(&journal, call).await.len(), 3);
        }
    }
}

#[tokio::test]
async fn facts_of_an_owed_rating_do_not_stand_for_those_of_a_later_end_that_were_refused() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    end(&journal, run, RunState::RatingOwed, facts(run, NOON, 3, &[])).await;
    refuse(&journal, "run_modules").await;
    end(&journal, run, RunState::Finished, facts(run, NOON, 3, &[])).await;
    assert_eq!(lines_of(&journal, call).await, []);
    assert_eq!(without_facts(&journal, 1).await, [run]);
}

#[tokio::test]
async fn a_run_begins_and_keeps_its_tools_without_the_tables_of_facts() {
    let journal = Journal::in_memory().await.unwrap();
    for table in ["personas", "absences", "catalog_facts"] {
        journal.spoil(format!("ALTER TABLE {table} RENAME TO away_{table}")).await;
    }
    let id = RunId::new();
    let (anna, slot) = (persona("anna"), Slot::stored("s"));
    let begun = RunSettings::unknown(NOON);
    let new = NewRun { id, persona: &anna, slot: &slot, attempt: 1, model: "claude", begun };
    journal.begin_run(new, NOON).await.unwrap();
    let list = line::Catalog { id: "abc".into(), tools: vec![], hidden: vec![] };
    journal.keep_catalog("abcdef", "[]", &list, NOON, NOON).await.unwrap();
    assert_eq!(journal.catalog("abcdef").await.unwrap().as_deref(), Some("[]"));
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn a_full_disk_is_a_trouble_whatever_is_written_and_a_missing_table_of_facts_is_none() {
    let journal = Journal::in_memory().await.unwrap();
    let run = run(&journal, NOON, 1, &[7]).await;
    let row = journal.run(run).await.unwrap().unwrap();
    for table in ["ticks", "absences", "halts", "deployments", "calls"] {
        journal.spoil(format!("ALTER TABLE {table} RENAME TO away_{table}")).await;
    }
    let absence =
        line::Absence { slot: "s".into(), persona: "anna".into(), why: WhyNotRun::Budget };
    let tick = TickFacts { at: NOON, clock_at: NOON, personas: &[], absences: &[absence] };
    assert!(journal.note_tick(&tick).await.is_err());
    assert!(journal.begin_halt(HaltKind::Paused, NOON).await.is_err());
    assert!(journal.end_halt(HaltKind::Paused, NOON).await.is_err());
    assert!(journal.meet_deployment("1", DeploymentSource::Env, NOON).await.is_err());
    assert!(journal.write_facts(&row, &facts(run, NOON, 1, &[]), Outcome::Done).await.is_err());
    assert!(journal.give_facts_up(run).await.is_err());
    assert!(journal.prune_facts(NOON + DAY, DAY / 2, DAY / 2).await.is_err());
    assert_eq!(journal.trouble(), None);
    for table in ["ticks", "absences", "halts", "deployments", "calls"] {
        journal.spoil(format!("ALTER TABLE away_{table} RENAME TO {table}")).await;
    }
    journal.spoil("PRAGMA max_page_count = 1").await;
    let many = facts(run, NOON, 20_000, &[]);
    assert!(journal.write_facts(&row, &many, Outcome::Done).await.is_err());
    assert!(journal.trouble().unwrap().contains("full"));
}

#[tokio::test]
async fn a_search_for_runs_without_facts_gets_past_those_that_cannot_be_read() {
    let journal = Journal::in_memory().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..9 {
        let run = begin(&journal, "anna", "s", at(n)).await;
        journal.give_up(run, ("why", Outcome::Failed), at(n)).await.unwrap();
        runs.push(run);
    }
    for (run, odd) in [(runs[0], "slot = x'ff'"), (runs[1], "model = x'ff'"), (runs[5], "id = 'x'")]
    {
        journal.spoil(format!("UPDATE runs SET {odd} WHERE id = '{run}'")).await;
    }
    let readable = [2, 3, 4, 6, 7, 8].map(|n| runs[n]);
    assert_eq!(without_facts(&journal, 1).await, readable);
    // They are given up, and their steps are deleted like those of others.
    assert_eq!(journal.prune(at(99), at(99)).await.unwrap(), 3);
    journal.give_facts_up(runs[2]).await.unwrap();
    assert_eq!(without_facts(&journal, 1).await, readable[1..]);
}

#[tokio::test]
async fn a_search_for_runs_without_facts_does_not_look_at_the_other_runs() {
    let journal = Journal::in_memory().await.unwrap();
    let sql = super::super::backfill::WITHOUT_FACTS;
    let plan = ["$1", "$2", "$3", "$4", "$5"]
        .iter()
        .fold(sql.to_owned(), |sql, value| sql.replace(value, "1"));
    let plan = vec![(format!("EXPLAIN QUERY PLAN {plan}").into(), vec![])];
    let rows = journal.write("be asked for its plan", plan).await.unwrap();
    let steps: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
    assert!(steps[0].contains("INDEX runs_by_facts (facts>"), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
}

#[tokio::test]
async fn the_deployment_of_an_end_is_that_of_the_first_end() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    for (state, number) in [(RunState::RatingOwed, 1), (RunState::Finished, 2)] {
        let facts = facts(run, NOON, 1, &[]);
        let end = EndedRun { facts, deployment_end: Some(number), ..ended(state) };
        journal.end_run(run, &end, &[], NOON).await.unwrap();
    }
    let ends = lines_of(&journal, |line| match line {
        Line::Run(run) => Some(run.deployment_end),
        _ => None,
    });
    assert_eq!(ends.await, [Some("D-1".to_owned())]);
}
