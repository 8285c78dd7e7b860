//! Windows of the facts in a journal.

use super::*;
use crate::facts::{
    report::report,
    window::{Builder, Days},
};

#[tokio::test]
async fn a_window_needs_no_calls_of_other_days() {
    let journal = Journal::in_memory().await.unwrap();
    for number in 0..24 {
        run(&journal, NOON + DAY * number, 2, &[1 << 44, i64::from(number % 3 + 2) << 44]).await;
    }
    let mut all = Builder::default();
    lines(&journal).await.into_iter().for_each(|line| all.take(line).unwrap());
    let newest = all.finish(Days::All).unwrap().to();
    let before = |days: i64| newest.saturating_sub(jiff::Span::new().days(days));
    let between = Days::Between(before(9), before(4));
    for days in [Days::Last(3), Days::LastWeek, Days::All, between] {
        let mut all = Builder::default();
        lines(&journal).await.into_iter().for_each(|line| all.take(line).unwrap());
        let all = report(&all.finish(days).unwrap());
        let window = journal.facts_for(days).await.unwrap().finish(days).unwrap();
        assert_eq!(report(&window), all, "{days:?}");
        assert!(all.fleet.runs >= 3 && !all.frictions.is_empty(), "{days:?}");
    }
}

#[tokio::test]
async fn a_journal_without_facts_has_a_window_without_days() {
    let journal = Journal::in_memory().await.unwrap();
    for days in [Days::Last(3), Days::LastWeek] {
        let window = journal.facts_for(days).await.unwrap().finish(days).unwrap();
        assert_eq!((window.days(), report(&window).fleet.runs), (None, 0), "{days:?}");
    }
}
