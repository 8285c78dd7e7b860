use super::*;
use crate::{
    domain::{Outcome, Slot},
    journal::{
        DeploymentSource, NewRun, RunSettings,
        facts::tests::{DAY, at},
        tests::persona,
    },
};

/// The ids of the runs that the filter lets through.
async fn found(journal: &Journal, filter: RunFilter) -> Vec<RunId> {
    let page = journal.find_runs(&filter, Part::Newest, 50).await.unwrap();
    page.items.iter().map(|run| run.id).collect()
}

fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[tokio::test]
async fn a_list_is_read_in_parts_from_the_newest_run_to_the_oldest_and_back() {
    let journal = Journal::in_memory().await.unwrap();
    let mut runs = Vec::new();
    for second in 0..7 {
        runs.push(run_of(&journal, "anna", at(second), 1, &[]).await);
    }
    runs.reverse();
    let part = async |part| {
        let page = journal.find_runs(&RunFilter::default(), part, 3).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|run| run.id).collect();
        (ids, page.has_newer, page.has_older)
    };
    assert_eq!(part(Part::Newest).await, (runs[..3].to_vec(), false, true));
    assert_eq!(part(Part::Before(runs[2])).await, (runs[3..6].to_vec(), true, true));
    assert_eq!(part(Part::Before(runs[5])).await, (runs[6..].to_vec(), true, false));
    assert_eq!(part(Part::After(runs[6])).await, (runs[3..6].to_vec(), true, true));
    assert_eq!(part(Part::After(runs[3])).await, (runs[..3].to_vec(), false, true));
    assert_eq!(part(Part::Before(runs[6])).await, (vec![], true, false));
}

#[tokio::test]
async fn each_condition_lets_only_its_runs_through() {
    let journal = Journal::in_memory().await.unwrap();
    let anna = run_of(&journal, "anna", NOON, 1, &[7]).await;
    let ben = run_of(&journal, "ben", NOON + DAY, 1, &[]).await;
    let clara = begin(&journal, "clara", "s", NOON + DAY * 2).await;
    let issue = only_issue(&journal).await;
    let filters = [
        RunFilter { persona: named("ben"), ..RunFilter::default() },
        RunFilter { outcome: named("done"), ..RunFilter::default() },
        RunFilter { state: named("running"), ..RunFilter::default() },
        RunFilter { days: Some((day(NOON + DAY), day(NOON + DAY * 9))), ..RunFilter::default() },
        RunFilter { module: named("todo"), ..RunFilter::default() },
        RunFilter { tool: named("todo.create"), ..RunFilter::default() },
        RunFilter { issue: Some(issue.clone()), ..RunFilter::default() },
        RunFilter { model: named("claude"), ..RunFilter::default() },
        RunFilter {
            issue: Some(issue),
            tool: named("todo.create"),
            module: named("todo"),
            persona: named("anna"),
            ..RunFilter::default()
        },
        RunFilter::default(),
    ];
    let expected: [&[RunId]; 10] = [
        &[ben],
        &[ben, anna],
        &[clara],
        &[clara, ben],
        &[ben, anna],
        &[ben, anna],
        &[anna],
        &[clara, ben, anna],
        &[anna],
        &[clara, ben, anna],
    ];
    for (filter, expected) in filters.into_iter().zip(expected) {
        assert_eq!(found(&journal, filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn what_nothing_is_named_finds_nothing() {
    let journal = Journal::in_memory().await.unwrap();
    run_of(&journal, "anna", NOON, 1, &[7]).await;
    let hostile = || named("' OR 1=1 --\0\u{202e}");
    for filter in [
        RunFilter { persona: hostile(), ..RunFilter::default() },
        RunFilter { outcome: hostile(), ..RunFilter::default() },
        RunFilter { state: hostile(), ..RunFilter::default() },
        RunFilter { module: hostile(), ..RunFilter::default() },
        RunFilter { tool: hostile(), ..RunFilter::default() },
        RunFilter { issue: hostile(), ..RunFilter::default() },
        RunFilter { model: hostile(), ..RunFilter::default() },
        RunFilter { deployment: Some(-1), ..RunFilter::default() },
        RunFilter { days: Some((Date::MIN, Date::MIN)), ..RunFilter::default() },
        RunFilter { days: Some((Date::MAX, Date::MAX)), ..RunFilter::default() },
        RunFilter { tool: named("todo.create"), module: hostile(), ..RunFilter::default() },
        RunFilter { issue: hostile(), tool: hostile(), ..RunFilter::default() },
    ] {
        assert_eq!(found(&journal, filter.clone()).await, [], "{filter:?}");
    }
}

#[tokio::test]
async fn a_run_of_a_list_says_how_it_went() {
    let journal = Journal::in_memory().await.unwrap();
    journal.meet_deployment("2", DeploymentSource::Env, NOON).await.unwrap();
    let (id, slot) = (RunId::new(), Slot::stored("s"));
    let begun = RunSettings {
        server_time: Some(at(5)),
        deployment: Some(1),
        ..RunSettings::unknown(at(60))
    };
    let of = persona("anna");
    let new = NewRun { id, persona: &of, slot: &slot, attempt: 1, model: "claude", begun };
    journal.begin_run(new, NOON).await.unwrap();
    let running = journal.find_runs(&RunFilter::default(), Part::Newest, 1).await.unwrap();
    assert_eq!((running.items[0].took, running.items[0].outcome), (None, None));
    end(&journal, id, RunState::Finished, facts(id, NOON, 1, &[])).await;
    let filter = RunFilter { deployment: Some(1), ..RunFilter::default() };
    let page = journal.find_runs(&filter, Part::Newest, 1).await.unwrap();
    let run = &page.items[0];
    assert_eq!((run.id, run.label.as_deref()), (id, Some("persona.anna")));
    assert_eq!((run.server_at, run.day_at), (at(60), at(5)));
    assert_eq!((run.state, run.outcome), (RunState::Finished, Some(Outcome::Done)));
    assert_eq!((run.calls, run.call_errors, run.ratings), (5, 1, 2));
    assert_eq!((run.deployment, run.took.map(|took| took.as_secs())), (Some(1), Some(0)));
}

#[tokio::test]
async fn the_days_of_a_filter_are_those_of_the_journals_time_zone() {
    let journal = Journal::in_memory().await.unwrap();
    journal.keep(TIME_ZONE, Some(&"Pacific/Kiritimati".to_owned()), NOON).await.unwrap();
    let run = run_of(&journal, "anna", NOON, 1, &[]).await;
    let on = |day| RunFilter { days: Some((day, day)), ..RunFilter::default() };
    assert_eq!(found(&journal, on(day(NOON))).await, []);
    assert_eq!(found(&journal, on(day(NOON + DAY))).await, [run]);
    assert_eq!(journal.dates_of(Days::Last(2)).await.unwrap(), Some((day(NOON), day(NOON + DAY))));
}

#[tokio::test]
async fn without_facts_no_days_are_counted_back() {
    let journal = Journal::in_memory().await.unwrap();
    assert_eq!(journal.dates_of(Days::Last(7)).await.unwrap(), None);
    assert_eq!(journal.dates_of(Days::LastWeek).await.unwrap(), None);
    let between = Days::Between(day(NOON), day(NOON));
    assert_eq!(journal.dates_of(between).await.unwrap(), Some(today()));
}
