//! Tests of the connection for the page.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{advance, pause, resume, timeout};

use super::*;
use crate::journal::{History, PAGE_LIMIT, Value};

/// A query that never ends.
const ENDLESS: &str = "WITH RECURSIVE endless (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM endless) \
     SELECT COUNT(*) AS rows FROM endless";

/// The same journal, whose operations may take so long.
fn limited(journal: &Journal, limit: Duration) -> Journal {
    Journal { limit, ..journal.clone() }
}

async fn answers(page: &Journal) -> bool {
    limited(page, LIMIT).rows("be read", "SELECT 1", vec![]).await.is_ok()
}

#[tokio::test]
async fn the_page_reads_what_the_daemon_writes_and_can_write_nothing() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = journal.for_page();
    assert_eq!(page.limit, PAGE_LIMIT);
    let run = begin(&journal, "anna", "s", NOON).await;
    assert!(page.run(run).await.unwrap().is_some());
    assert!(!is_marked(&page).await);
    mark(&journal).await;
    assert!(is_marked(&page).await);
    let error = page.append_step(run, 0, "{}", NOON).await.unwrap_err();
    assert!(matches!(error, JournalError::Failed(_, Kind::ReadOnly, _)), "{error}");
    assert_eq!(journal.trouble(), None);
    journal.append_step(run, 0, "{}", NOON).await.unwrap();
    assert_eq!(page.steps(run).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_long_read_of_the_page_has_a_connection_of_its_own() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = journal.for_page();
    let session = page.backend.reader.session().await.unwrap();
    let mut snapshot = page.snapshot("be read").await.unwrap();
    let mut rows = 0;
    let count = |_| rows += 1;
    snapshot.each("SELECT 1", vec![], LIMIT, count).await.unwrap();
    assert_eq!(rows, 1);
    let write = "INSERT INTO control (name, value, at) VALUES ('a', 'b', 0)";
    assert!(snapshot.each(write, vec![], LIMIT, drop).await.is_err());
    drop(session);
    page.facts_lines(None, History::All, drop).await.unwrap();
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_broken_off_and_the_next_one_is_answered() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = limited(&journal.for_page(), Duration::from_millis(20));
    for _ in 0..3 {
        let error = page.rows("count", ENDLESS, vec![]).await.map(drop).unwrap_err();
        assert!(matches!(error, JournalError::Slow("count", _)), "{error}");
        assert!(answers(&page).await);
    }
}

#[tokio::test]
async fn a_query_whose_caller_goes_away_is_broken_off() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = limited(&journal.for_page(), LIMIT);
    // The callers go away while the connection is opened, and later.
    for milliseconds in [0, 0, 1, 1, 20] {
        let query = page.rows("count", ENDLESS, vec![]);
        assert!(timeout(Duration::from_millis(milliseconds), query).await.is_err());
        assert!(answers(&page).await);
    }
}

#[tokio::test]
async fn the_wait_for_the_connection_counts_to_the_time_of_a_query() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = limited(&journal.for_page(), Duration::from_millis(20));
    let session = page.backend.reader.session().await.unwrap();
    let error = page.rows("be read", "SELECT 1", vec![]).await.map(drop).unwrap_err();
    assert!(matches!(error, JournalError::Slow(..)), "{error}");
    drop(session);
    assert!(answers(&page).await);
}

#[tokio::test]
async fn twenty_readers_are_answered_one_after_the_other() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = limited(&journal.for_page(), LIMIT);
    let read = |number| {
        let page = page.clone();
        async move {
            let values = vec![Value::Number(Some(number))];
            let rows = page.rows("be read", "SELECT $1 AS number", values).await.unwrap();
            rows[0].number("number")
        }
    };
    let numbers = join_all((0..20).map(read)).await;
    assert_eq!(numbers, (0..20).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_connection_is_opened_at_the_first_query_and_closed_a_minute_after_the_last_one() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = journal.for_page();
    let is_open = || page.backend.reader.is_open();
    for _ in 0..2 {
        assert!(!is_open().await);
        assert!(answers(&page).await);
        pause();
        advance(PAGE_KEPT - Duration::from_secs(1)).await;
        assert!(is_open().await);
        // This use begins the minute anew.
        drop(page.backend.reader.session().await.unwrap());
        advance(PAGE_KEPT - Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        assert!(is_open().await);
        // A timer counts in milliseconds.
        advance(Duration::from_secs(2)).await;
        while is_open().await {
            tokio::task::yield_now().await;
        }
        resume();
    }
}

#[tokio::test]
async fn the_end_of_the_daemon_closes_the_connection() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let page = journal.for_page();
    assert!(answers(&page).await);
    journal.close().await;
    assert!(!page.backend.reader.is_open().await);
    assert!(!answers(&page).await);
    let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["journal.db", "journal.lock"], "the last connection removes the log");
}
