use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::{
    facts::report::report,
    journal::{DeploymentSource, TickFacts},
};

const NOON: &str = "2026-11-04T11:00:00Z";
const MINUTE: Duration = Duration::from_secs(60);

/// The overviews of a journal of which a tick is known.
async fn world() -> (Overviews, Journal, Clock) {
    let journal = Journal::in_memory().await.unwrap();
    let clock = Clock::manual(NOON.parse().unwrap());
    let overviews = Overviews::new(journal.for_page(), &clock, &Shutdown::new(MINUTE));
    tick(&journal, clock.now()).await;
    (overviews, journal, clock)
}

async fn tick(journal: &Journal, at: Timestamp) {
    let tick = TickFacts { at, clock_at: at, personas: &[], absences: &[] };
    journal.note_tick(&tick).await.unwrap();
}

/// What is found as soon as it is that of the facts now.
async fn fresh<T>(find: impl AsyncFn() -> Result<Found<T>, Trouble>) -> Found<T> {
    let found = async {
        loop {
            match find().await {
                Ok(found) if found.as_of.is_none() => break found,
                Ok(_) | Err(Trouble::NotYet) => {}
                Err(trouble) => panic!("{trouble:?}"),
            }
        }
    };
    timeout(MINUTE, found).await.unwrap()
}

#[tokio::test]
async fn an_overview_is_that_of_the_journal_and_changes_with_it() {
    let (overviews, journal, clock) = world().await;
    let last_week = async || overviews.overview(Days::Last(7)).await;
    let found = fresh(last_week).await;
    let window = journal.facts_for(Days::Last(7)).await.unwrap().finish(Days::Last(7)).unwrap();
    assert_eq!(*found, overview(&window));
    assert_eq!(found.report, report(&window));
    // Nothing has changed, and nothing is computed.
    assert!(Arc::ptr_eq(&fresh(last_week).await.value, &found.value));
    clock.advance(24 * 60 * MINUTE);
    tick(&journal, clock.now()).await;
    let later = fresh(last_week).await;
    let days = [&found, &later].map(|it| it.report.window.to.unwrap().to_string());
    assert_eq!(days, ["2026-11-04", "2026-11-05"]);
}

#[tokio::test]
async fn a_comparison_names_the_deployments_or_why_there_is_no_side() {
    let (overviews, journal, clock) = world().await;
    for version in ["1", "2"] {
        clock.advance(MINUTE);
        journal.meet_deployment(version, DeploymentSource::Url, clock.now()).await.unwrap();
    }
    let newest = fresh(async || overviews.comparison(None, None).await).await;
    let versions: Vec<_> = newest.builds.iter().map(|build| &*build.version).collect();
    assert_eq!((versions, newest.zone.iana_name()), (vec!["1", "2"], Some("UTC")));
    assert_eq!(newest.outcome.as_ref().unwrap().b.deployments[0].version, "2");
    let none = fresh(async || overviews.comparison(Some("3"), None).await).await;
    assert!(matches!(&none.outcome, Err(NoSide::Unknown(side, _)) if side == "3"));
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_a_trouble_or_makes_what_is_known_old() {
    let (overviews, journal, clock) = world().await;
    fresh(async || overviews.overview(Days::All).await).await;
    journal.close().await;
    let found = overviews.overview(Days::All).await.unwrap();
    assert_eq!(found.as_of, Some(clock.now()));
    assert!(found.failure.is_some());
    assert!(matches!(overviews.overview(Days::Last(7)).await, Err(Trouble::Journal(_))));
}

#[test]
fn a_notice_says_how_old_something_is_in_both_languages() {
    let mut found = Found { value: Arc::new(()), as_of: None, failure: None };
    let notice = |found: &Found<()>, language| {
        found.notice(language, &Times::new(TimeZone::UTC, language)).into_string()
    };
    assert_eq!(notice(&found, Language::German), "");
    found.as_of = Some(NOON.parse().unwrap());
    found.failure = Some("the <disk> is\ngone".to_owned());
    for (language, text) in [(Language::German, "Stand:"), (Language::English, "As of")] {
        let notice = notice(&found, language);
        assert!(notice.contains(text) && notice.contains("11:00"), "{notice}");
        assert!(notice.contains("the &lt;disk&gt; is gone"), "{notice}");
    }
}
