use jiff::SignedDuration;

use super::*;
use crate::journal::{
    TickFacts,
    tests::{NOON, begin},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn the(week: &str) -> Week {
    week.parse().unwrap()
}

async fn store(journal: &Journal, week: &str, written_at: Timestamp, is_posted: bool) -> bool {
    let report = NewReport {
        week: the(week),
        language: Language::English,
        written_at,
        html: "<p>",
        markdown: "# `|`",
        json: "{}",
        is_posted,
        runs: &[],
    };
    journal.store_report(&report, NOON).await.unwrap()
}

async fn state_of(journal: &Journal, week: &str) -> PostState {
    journal.report(the(week)).await.unwrap().unwrap().post
}

async fn is_due(journal: &Journal, now: Timestamp) -> bool {
    journal.due_report_post(now).await.unwrap().is_some()
}

#[tokio::test]
async fn the_first_report_of_a_week_stays_and_its_runs_are_pinned_with_it() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await.to_string();
    let first = NewReport {
        week: the("2026-W46"),
        language: Language::German,
        written_at: NOON,
        html: "a",
        markdown: "b",
        json: "c",
        is_posted: false,
        runs: &[&run],
    };
    assert!(journal.store_report(&first, NOON).await.unwrap());
    assert!(!store(&journal, "2026-W46", NOON + HOUR, true).await);
    store(&journal, "2026-W47", NOON, true).await;
    let stored = StoredReport {
        week: the("2026-W46"),
        written_at: NOON,
        post: PostState::None,
        html: "a".into(),
        markdown: "b".into(),
        json: "c".into(),
    };
    assert_eq!(journal.report(the("2026-W46")).await.unwrap(), Some(stored));
    assert_eq!(journal.report(the("2026-W45")).await.unwrap(), None);
    assert_eq!(journal.weeks_with_reports().await.unwrap(), ["2026-W47", "2026-W46"].map(the));
    let pinned = journal.rows("count", "SELECT run_id FROM pins", vec![]).await.unwrap();
    assert_eq!(pinned.iter().map(|row| row.text("run_id").unwrap()).collect::<Vec<_>>(), [run]);
}

#[tokio::test]
async fn a_report_is_due_until_it_is_taken_or_refused_and_after_a_failure_when_its_pause_is_over() {
    let journal = Journal::in_memory().await.unwrap();
    store(&journal, "2026-W45", NOON, false).await;
    assert!(!is_due(&journal, NOON).await, "it is not to be posted");
    store(&journal, "2026-W46", NOON, true).await;
    let week = the("2026-W46");
    for attempts in 0..3 {
        let post = journal.due_report_post(NOON).await.unwrap().unwrap();
        assert_eq!((post.week, post.attempts, post.is_refused), (week, attempts, false));
        journal.postpone_report(week, "503", NOON, NOON + HOUR).await.unwrap();
        assert!(!is_due(&journal, NOON).await);
        assert!(is_due(&journal, NOON + HOUR).await);
        assert!(is_due(&journal, NOON - HOUR).await, "the clock was ahead");
        journal.postpone_report(week, "503", NOON, NOON).await.unwrap();
        journal.spoil(format!("UPDATE reports SET attempts = {}", attempts + 1)).await;
    }
    journal.refuse_report(week, "410", NOON).await.unwrap();
    assert!(!is_due(&journal, NOON + HOUR).await);
    let [post] = &journal.kept_report_posts().await.unwrap()[..] else { panic!("not one") };
    assert_eq!((post.is_refused, post.reason.as_deref()), (true, Some("410")));
    assert_eq!(journal.retry_reports(NOON).await.unwrap(), 1);
    assert_eq!(journal.due_report_post(NOON).await.unwrap().unwrap().attempts, 0);
    journal.confirm_report(week, NOON).await.unwrap();
    assert_eq!(state_of(&journal, "2026-W46").await, PostState::Delivered);
    assert_eq!(journal.retry_reports(NOON).await.unwrap(), 0);
    assert!(journal.kept_report_posts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_post_is_taken_by_one_daemon_and_due_again_if_that_one_is_killed() {
    let journal = Journal::in_memory().await.unwrap();
    store(&journal, "2026-W46", NOON, true).await;
    let week = the("2026-W46");
    let claim = |now| journal.claim_report_post(week, now, now + HOUR);
    assert!(claim(NOON).await.unwrap());
    assert!(!claim(NOON).await.unwrap() && !is_due(&journal, NOON).await);
    assert!(is_due(&journal, NOON + HOUR).await && claim(NOON + HOUR).await.unwrap());
    assert!(claim(NOON).await.unwrap(), "the clock was ahead");
    journal.confirm_report(week, NOON).await.unwrap();
    assert!(!claim(NOON + HOUR * 9).await.unwrap());
    assert_eq!(state_of(&journal, "2026-W46").await, PostState::Delivered);
}

#[tokio::test]
async fn a_run_of_the_time_is_unfinished_until_it_is_rated() {
    let journal = Journal::in_memory().await.unwrap();
    let is = |from, to| journal.has_unfinished_runs(from, to);
    assert!(!is(NOON, NOON + HOUR).await.unwrap());
    begin(&journal, "anna", "s", NOON).await;
    for (state, is_so) in [("running", true), ("rating_owed", true), ("finished", false)] {
        journal.spoil(format!("UPDATE runs SET state = '{state}'")).await;
        assert_eq!(is(NOON, NOON + HOUR).await.unwrap(), is_so, "{state}");
        assert!(
            !is(NOON - HOUR, NOON).await.unwrap()
                && !is(NOON + HOUR, NOON + HOUR * 2).await.unwrap()
        );
    }
    journal.spoil("UPDATE runs SET state = 'running', server_time = server_at - 3600000").await;
    assert!(is(NOON - HOUR, NOON).await.unwrap(), "its day is that of the list of due personas");
}

#[tokio::test]
async fn a_post_that_is_given_up_is_not_made_later() {
    let journal = Journal::in_memory().await.unwrap();
    for week in ["2026-W44", "2026-W45", "2026-W46"] {
        store(&journal, week, NOON, true).await;
    }
    journal.confirm_report(the("2026-W44"), NOON).await.unwrap();
    assert!(!journal.discard_report_post(the("2026-W45")).await.unwrap(), "it is on the way");
    journal.refuse_report(the("2026-W45"), "410", NOON).await.unwrap();
    assert!(journal.discard_report_post(the("2026-W45")).await.unwrap());
    assert_eq!(journal.give_up_report_posts().await.unwrap(), 1);
    assert!(!is_due(&journal, NOON).await);
    assert_eq!(state_of(&journal, "2026-W44").await, PostState::Delivered);
    assert_eq!(state_of(&journal, "2026-W46").await, PostState::None);
}

#[tokio::test]
async fn old_reports_are_deleted_but_for_the_one_that_was_written_last() {
    let journal = Journal::in_memory().await.unwrap();
    for (week, hours) in [("2026-W44", 0), ("2026-W45", 1), ("2026-W46", 2)] {
        store(&journal, week, NOON + HOUR * hours, false).await;
    }
    assert_eq!(journal.old_reports(NOON).await.unwrap(), []);
    assert_eq!(journal.old_reports(NOON + HOUR).await.unwrap(), [the("2026-W44")]);
    let old = journal.old_reports(NOON + HOUR * 9).await.unwrap();
    assert_eq!(old, ["2026-W44", "2026-W45"].map(the));
    for week in old {
        journal.delete_report(week).await.unwrap();
    }
    assert_eq!(journal.weeks_with_reports().await.unwrap(), [the("2026-W46")]);
}

#[tokio::test]
async fn a_tick_or_a_run_with_facts_is_a_fact_from_before() {
    let journal = Journal::in_memory().await.unwrap();
    begin(&journal, "anna", "s", NOON).await;
    assert!(!journal.has_facts_before(NOON + HOUR).await.unwrap(), "it has no facts yet");
    let tick = TickFacts { at: NOON, clock_at: NOON, personas: &[], absences: &[] };
    journal.note_tick(&tick).await.unwrap();
    assert!(!journal.has_facts_before(NOON).await.unwrap());
    assert!(journal.has_facts_before(NOON + HOUR).await.unwrap());
    journal.spoil("DELETE FROM ticks").await;
    journal.spoil("UPDATE runs SET facts = 1").await;
    assert!(journal.has_facts_before(NOON + HOUR).await.unwrap());
}

#[tokio::test]
async fn a_row_that_another_program_has_spoiled_is_passed_over() {
    let journal = Journal::in_memory().await.unwrap();
    store(&journal, "2026-W44", NOON, true).await;
    journal.spoil("UPDATE reports SET language = 'fr'").await;
    assert_eq!(state_of(&journal, "2026-W44").await, PostState::Waiting, "the texts are there");
    journal.confirm_report(the("2026-W44"), NOON).await.unwrap();
    store(&journal, "2026-W45", NOON, true).await;
    store(&journal, "2026-W46", NOON, true).await;
    journal
        .spoil("UPDATE reports SET week = 'soon', language = 'fr' WHERE week = '2026-W45'")
        .await;
    assert_eq!(journal.weeks_with_reports().await.unwrap(), ["2026-W46", "2026-W44"].map(the));
    assert_eq!(journal.kept_report_posts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_of_reports_has_the_latest_week_first_and_no_texts() {
    let journal = Journal::in_memory().await.unwrap();
    store(&journal, "2026-W46", NOON, false).await;
    store(&journal, "2026-W47", NOON + HOUR, true).await;
    let listed = |week, written_at, post| ListedReport {
        week: the(week),
        language: Language::English,
        written_at,
        post,
    };
    let both = [
        listed("2026-W47", NOON + HOUR, PostState::Waiting),
        listed("2026-W46", NOON, PostState::None),
    ];
    assert_eq!(journal.list_reports(9).await.unwrap(), both);
    assert_eq!(journal.list_reports(1).await.unwrap(), both[..1]);
}
