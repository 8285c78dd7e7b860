//! What ends of runs write.

use super::*;
use crate::journal::tests::dropped_at;

#[tokio::test]
async fn what_was_written_is_read_and_the_ids_of_issues_are_filled_in() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    // More calls than one statement writes.
    let written = facts(run, NOON, 430, &[7 << 44, 8 << 44]);
    end(&journal, run, RunState::Finished, written.clone()).await;
    let id = |fingerprint: Option<Fingerprint>| fingerprint.map(Fingerprint::short_id);
    let calls = written.calls.into_iter();
    let calls: Vec<_> = calls.map(|(call, of)| line::Call { issue: id(of), ..call }).collect();
    assert_eq!(lines_of(&journal, call).await, calls);
    let hits = written.hits.into_iter();
    let hits: Vec<_> =
        hits.map(|(of, hit)| line::Hit { issue: of.fingerprint.short_id(), ..hit }).collect();
    assert_eq!(lines_of(&journal, hit).await, hits);
    let rest = lines(&journal).await;
    assert!(written.tools.into_iter().all(|tool| rest.contains(&Line::Tool(tool))));
    assert!(written.modules.into_iter().all(|module| rest.contains(&Line::Module(module))));
    let row = journal.run(run).await.unwrap().unwrap();
    assert_eq!((row.outcome, row.label.as_deref()), (Some(Outcome::Done), Some("persona.anna")));
}

#[tokio::test]
async fn the_facts_of_a_later_end_replace_those_of_an_owed_rating() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    end(&journal, run, RunState::RatingOwed, facts(run, NOON, 3, &[7, 8])).await;
    end(&journal, run, RunState::Finished, facts(run, NOON, 4, &[7])).await;
    assert_eq!(lines_of(&journal, call).await.len(), 5);
    assert_eq!(lines_of(&journal, hit).await.len(), 1);
    // A run that has ended stays as it is.
    end(&journal, run, RunState::Finished, facts(run, NOON, 1, &[])).await;
    assert_eq!(lines_of(&journal, call).await.len(), 5);
}

#[tokio::test]
async fn an_issue_begins_with_its_earliest_failure_in_whatever_order_the_runs_end() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let journal = Journal::in_memory().await.unwrap();
        let mut runs = Vec::new();
        for begun in [at(0), at(60), at(60)] {
            runs.push((begin(&journal, "anna", "s", begun).await, begun));
        }
        for n in order {
            let (run, begun) = runs[n];
            end(&journal, run, RunState::Finished, facts(run, begun, 2, &[7])).await;
        }
        let issues = lines_of(&journal, issue).await;
        assert_eq!(issues.len(), 1);
        let first = issues[0].first.as_ref().unwrap();
        let expected = (at(3), Some(runs[0].0.to_string()), Some(3));
        assert_eq!((first.at, first.run.clone(), first.call), expected, "{order:?}");
    }
}

#[tokio::test]
async fn issues_whose_short_ids_are_equal_get_ids_of_their_own_that_stay() {
    let journal = Journal::in_memory().await.unwrap();
    // The first 20 bits of these are the same; of the last one the first 30 as well.
    let [a, b, c] = [5 << 44, (5 << 44) + (1 << 40), (5 << 44) + (1 << 40) + 1];
    run(&journal, at(0), 0, &[a, b, c]).await;
    run(&journal, at(60), 0, &[b, a]).await;
    let issues = lines_of(&journal, issue).await;
    let ids: Vec<_> = issues.into_iter().map(|issue| issue.id).collect();
    // No id is left for the last one, whose calls are kept without an issue.
    assert_eq!(ids, [Fingerprint(a).short_id(), Fingerprint(b).long_id()]);
    assert_eq!(lines_of(&journal, hit).await.len(), 4);
    let without = lines_of(&journal, call).await;
    assert_eq!(without.iter().filter(|call| call.issue.is_none()).count(), 1);
}

#[tokio::test]
async fn the_end_of_a_run_and_its_facts_are_written_together_or_not_at_all() {
    let mut drops = 0;
    for n in (1..=4).cycle().take(40) {
        let journal = Journal::in_memory().await.unwrap();
        let run = begin(&journal, "anna", "s", NOON).await;
        let facts = facts(run, NOON, 60, &[7]);
        let end = EndedRun { facts, ..ended(RunState::Finished) };
        drops += usize::from(dropped_at(n, journal.end_run(run, &end, &[], NOON)).await);
        journal.settled().await.unwrap();
        let has_ended = journal.run(run).await.unwrap().unwrap().state == RunState::Finished;
        let lines = lines(&journal).await;
        let has = |of: fn(&Line) -> bool| lines.iter().any(of);
        assert_eq!(has(|line| matches!(line, Line::Run(_))), has_ended);
        assert_eq!(has(|line| matches!(line, Line::Issue(_))), has_ended);
        let calls = lines.iter().filter(|line| matches!(line, Line::Call(_))).count();
        assert_eq!(calls, if has_ended { 61 } else { 0 });
    }
    assert!(drops > 0, "no write waited");
}

#[tokio::test]
async fn runs_that_end_at_the_same_time_share_their_issues() {
    let journal = Journal::in_memory().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..20 {
        runs.push((begin(&journal, &format!("p{n}"), "s", at(n)).await, at(n)));
    }
    let ends = runs.iter().map(|(run, begun)| {
        end(&journal, *run, RunState::Finished, facts(*run, *begun, 1, &[7, 8]))
    });
    futures_util::future::join_all(ends).await;
    let issues = lines_of(&journal, issue).await;
    assert_eq!(issues.len(), 2);
    let first = Some(runs[0].0.to_string());
    assert!(issues.iter().all(|issue| issue.first.as_ref().unwrap().run == first));
    assert_eq!(lines_of(&journal, hit).await.len(), 40);
}

#[tokio::test]
async fn runs_without_facts_are_those_that_ended_with_steps_and_each_is_one_only_once() {
    let journal = Journal::in_memory().await.unwrap();
    let with_facts = run(&journal, at(0), 1, &[]).await;
    let (without, running) =
        (begin(&journal, "ben", "s", at(1)).await, begin(&journal, "cara", "s", at(2)).await);
    journal.append_step(without, 0, "{}", at(1)).await.unwrap();
    journal.give_up(without, ("why", Outcome::Failed), at(3)).await.unwrap();
    let row = journal.run(without).await.unwrap().unwrap();
    assert_eq!(row.outcome, Some(Outcome::Failed));
    let ids = async |version| without_facts(&journal, version).await;
    assert_eq!(ids(1).await, [without]);
    assert_eq!(ids(2).await, [without, with_facts], "those of an older extractor come last");
    // What has no facts yet keeps its steps.
    assert_eq!(journal.prune(at(90), at(90)).await.unwrap(), 1);
    assert_eq!(journal.steps(without).await.unwrap().len(), 1);
    let row = journal.run(without).await.unwrap().unwrap();
    let made = facts(without, at(1), 2, &[7]);
    journal.write_facts(&row, &made, Outcome::Stopped).await.unwrap();
    assert_eq!(journal.facts_of(without).await.unwrap(), Some(made));
    assert_eq!(ids(1).await, []);
    let row = journal.run(without).await.unwrap().unwrap();
    assert_eq!(row.outcome, Some(Outcome::Stopped));
    assert_eq!(journal.prune(at(90), at(90)).await.unwrap(), 1);
    assert_eq!(journal.run(running).await.unwrap().unwrap().state, RunState::Running);
    // The steps are gone, and the facts and the name of the persona are not.
    assert_eq!(lines_of(&journal, call).await.len(), 4);
    let row = journal.run(without).await.unwrap().unwrap();
    assert_eq!((row.persona, row.label.as_deref()), (None, Some("persona.ben")));
}
