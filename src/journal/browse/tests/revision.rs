use std::collections::HashSet;

use jiff::SignedDuration;

use super::*;
use crate::{
    domain::WhyNotRun,
    facts::line,
    journal::{DeploymentSource, HaltKind, TickFacts, facts::tests::DAY},
};

/// Whether the revision differs from the one that is given, which becomes the current one.
async fn has_changed(journal: &Journal, known: &mut Revision) -> bool {
    let now = journal.revision().await.unwrap();
    let has_changed = *known != now;
    *known = now;
    has_changed
}

#[tokio::test]
async fn every_change_of_the_facts_changes_the_revision() {
    let journal = Journal::in_memory().await.unwrap();
    let mut known = Revision::default();
    run_of(&journal, "anna", NOON, 1, &[7]).await;
    assert!(has_changed(&journal, &mut known).await, "a run");
    let issue = only_issue(&journal).await;
    journal.mute(&issue, NOON, NOON + DAY, "known").await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "a mute");
    journal.unmute(&issue).await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "no mute");
    journal.meet_deployment("2", DeploymentSource::Env, NOON).await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "a deployment");
    let absence = line::Absence { slot: "t".into(), persona: "anna".into(), why: WhyNotRun::Other };
    let absences = [absence];
    let tick = TickFacts { at: NOON, clock_at: NOON, personas: &[], absences: &absences };
    journal.note_tick(&tick).await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "a tick with an absence");
    journal.begin_halt(HaltKind::Paused, NOON).await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "a pause");
    journal.end_halt(HaltKind::Paused, NOON).await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "the end of a pause");
    journal.keep(TIME_ZONE, Some(&"Europe/Berlin".to_owned()), NOON).await.unwrap();
    assert!(has_changed(&journal, &mut known).await, "a time zone");
    let (long_after, kept) = (NOON + DAY * 500, SignedDuration::from_hours(24));
    assert!(journal.prune_facts(long_after, kept, kept).await.unwrap() > 0);
    assert!(has_changed(&journal, &mut known).await, "old facts are gone");
}

#[tokio::test]
async fn what_runs_write_on_their_way_changes_no_revision() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    let mut known = journal.revision().await.unwrap();
    journal.append_step(run, 0, "{}", NOON).await.unwrap();
    journal.open_day(run, "", None).await.unwrap();
    journal.check_writable().await.unwrap();
    assert!(!has_changed(&journal, &mut known).await);
}

#[tokio::test]
async fn no_two_changes_have_the_same_revision() {
    let journal = Journal::in_memory().await.unwrap();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        run_of(&journal, "anna", NOON, 0, &[]).await;
        assert!(seen.insert(format!("{:?}", journal.revision().await.unwrap())));
    }
}
