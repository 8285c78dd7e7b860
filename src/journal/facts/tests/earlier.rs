//! A journal of the version before facts.

use std::{fs, path::PathBuf};

use uuid::Uuid;

use super::*;
use crate::journal::{FILE_NAME, JournalError};

/// A folder that is deleted at the end of the test.
struct Folder(PathBuf);

impl Folder {
    /// A folder with a copy of the journal of the daemon of commit cabd9f6.
    fn with_earlier() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("mana-earlier-{}", Uuid::now_v7())));
        fs::create_dir(&folder.0).unwrap();
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        fs::copy(fixtures.join("journal-cabd9f6.sqlite3"), folder.0.join(FILE_NAME)).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_command_says_that_the_daemon_must_be_started_once() {
    let folder = Folder::with_earlier();
    for opened in
        [Journal::open_read_only(&folder.0).await, Journal::open_beside_daemon(&folder.0).await]
    {
        let error = opened.unwrap_err();
        assert!(matches!(error, JournalError::Older(_)), "{error}");
        assert!(error.to_string().contains("start the daemon"), "{error}");
    }
    Journal::open(&folder.0).await.unwrap().close().await;
    let journal = Journal::open_read_only(&folder.0).await.unwrap();
    assert_eq!(lines(&journal).await.len(), 1, "nothing but the first line");
}

#[tokio::test]
async fn its_ended_runs_get_facts_and_its_unfinished_ones_are_still_there() {
    let folder = Folder::with_earlier();
    let journal = Journal::open(&folder.0).await.unwrap();
    assert_eq!(journal.runs_in(RunState::Running).await.unwrap().len(), 2);
    assert_eq!(journal.runs_in(RunState::RatingOwed).await.unwrap().len(), 1);
    let mut filled = 0;
    let mut searched = Searched::default();
    while let Some(runs) = journal.runs_without_facts(1, &mut searched, 1).await.unwrap() {
        let [run] = runs.as_slice() else { panic!("{runs:?}") };
        assert_eq!((run.server_at, run.server_time), (run.started_at, None));
        let facts = facts(run.id, run.server_at, 2, &[7]);
        journal.write_facts(run, &facts, Outcome::Done).await.unwrap();
        filled += 1;
    }
    assert_eq!(filled, 3);
    let runs = lines_of(&journal, |line| match line {
        Line::Run(run) => Some((run.outcome, run.deployment)),
        _ => None,
    });
    assert_eq!(runs.await, vec![(Outcome::Done, None); 3]);
}

#[tokio::test]
async fn a_journal_of_the_version_before_reports_gets_their_tables_and_keeps_its_runs() {
    let folder = Folder::with_earlier();
    let journal = Journal::open(&folder.0).await.unwrap();
    let runs = journal.latest_runs(99).await.unwrap().len();
    journal.spoil("DROP TABLE reports; DROP TABLE pins").await;
    journal.spoil("DELETE FROM _sqlx_migrations WHERE version > 3").await;
    journal.close().await;
    let error = Journal::open_read_only(&folder.0).await.unwrap_err();
    assert!(matches!(error, JournalError::Older(_)), "{error}");
    let journal = Journal::open(&folder.0).await.unwrap();
    assert!(journal.weeks_with_reports().await.unwrap().is_empty());
    assert_eq!(journal.latest_runs(99).await.unwrap().len(), runs);
    let run = &journal.latest_runs(1).await.unwrap()[0];
    journal.pin(&[&run.id.to_string()], NOON).await.unwrap();
}
