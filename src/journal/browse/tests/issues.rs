use super::*;
use crate::{
    domain::{Cause, Next},
    facts::line,
    journal::facts::tests::{DAY, at},
};

#[tokio::test]
async fn an_issue_says_whom_it_has_hit_and_on_which_days() {
    let journal = Journal::in_memory().await.unwrap();
    for (name, days) in [("anna", &[0, 0, 1][..]), ("ben", &[1]), ("clara", &[9])] {
        for day in days {
            run_of(&journal, name, NOON + DAY * *day, 0, &[7]).await;
        }
    }
    run_of(&journal, "dora", NOON, 3, &[]).await;
    let issue = only_issue(&journal).await;
    let of = (day(NOON), day(NOON + DAY));
    let personas = journal.personas_of_issue(&issue, of, 9).await.unwrap();
    let counts: Vec<_> =
        personas.iter().map(|it| (&*it.persona_id, it.runs, it.calls, it.recovered)).collect();
    assert_eq!(counts, [("anna", 3, 3, 0), ("ben", 1, 1, 0)]);
    assert_eq!(personas[0].label.as_deref(), Some("persona.anna"));
    let newest = journal.find_runs(&RunFilter::default(), Part::Newest, 9).await.unwrap();
    let of_anna = newest.items.iter().find(|run| run.persona_id == "anna").unwrap();
    assert_eq!(personas[0].last_run, of_anna.id);
    let days = journal.hits_by_day(&issue, of).await.unwrap();
    let days: Vec<_> = days.iter().map(|it| (it.day, it.runs, it.calls)).collect();
    assert_eq!(days, [(day(NOON), 2, 2), (day(NOON + DAY), 2, 2)]);
    assert_eq!(journal.personas_of_issue(&issue, of, 1).await.unwrap().len(), 1);
    assert!(journal.personas_of_issue("F-NONE", of, 9).await.unwrap().is_empty());
    assert!(journal.hits_by_day("' OR 1", of).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_days_of_hits_are_those_of_the_journals_time_zone() {
    let journal = Journal::in_memory().await.unwrap();
    // 45 minutes beside the hour. Noon in UTC is 00:45 of the next day there.
    journal.keep(TIME_ZONE, Some(&"Pacific/Chatham".to_owned()), NOON).await.unwrap();
    let zone = TimeZone::get("Pacific/Chatham").unwrap();
    let midnight = zone.to_datetime(NOON).date().to_zoned(zone).unwrap().timestamp();
    for begun in [midnight - DAY / 86_400, midnight] {
        run_of(&journal, "anna", begun, 0, &[7]).await;
    }
    let issue = only_issue(&journal).await;
    let of = (day(NOON), day(NOON + DAY));
    let days = journal.hits_by_day(&issue, of).await.unwrap();
    let days: Vec<_> = days.iter().map(|it| (it.day, it.runs)).collect();
    assert_eq!(days, [(day(NOON), 1), (day(NOON + DAY), 1)]);
}

#[tokio::test]
async fn samples_of_an_issue_are_its_calls_the_latest_first() {
    let journal = Journal::in_memory().await.unwrap();
    let mut runs = Vec::new();
    for number in 0..3 {
        let run = begin(&journal, "anna", "s", at(number)).await;
        let mut made = facts(run, at(number), 1, &[7, 8, 9]);
        // The third call fails as the second one.
        made.calls[2].1 = made.calls[1].1;
        end(&journal, run, RunState::Finished, made).await;
        runs.push(run);
    }
    let rows = journal.rows("x", "SELECT issue FROM calls WHERE number = 2", vec![]).await;
    let issue = rows.unwrap()[0].text("issue").unwrap();
    let samples = journal.samples_of_issue(&issue, today(), 3).await.unwrap();
    let places: Vec<_> = samples.iter().map(|it| (&*it.call.run, it.call.number)).collect();
    let [_, second, third] = &runs[..] else { panic!() };
    let (second, third) = (second.to_string(), third.to_string());
    assert_eq!(places, [(&*third, 3), (&*third, 2), (&*second, 3)]);
    let call = &samples[0].call;
    assert_eq!((call.issue.as_deref(), call.cause), (Some(&*issue), Some(Cause::Handler)));
    assert_eq!(samples[0].label.as_deref(), Some("persona.anna"));
    let yesterday = (day(NOON - DAY), day(NOON - DAY));
    assert!(journal.samples_of_issue(&issue, yesterday, 3).await.unwrap().is_empty());
    assert!(journal.samples_of_issue("F-NONE", today(), 3).await.unwrap().is_empty());
    let stored = journal.stored_calls(runs[0]).await.unwrap();
    let issues: Vec<_> = stored.iter().map(|call| call.issue.as_deref() == Some(&issue)).collect();
    assert_eq!(issues, [false, true, true, false]);
    assert_eq!(journal.issue(&issue).await.unwrap().unwrap().cause, Cause::Handler);
    assert_eq!(journal.issue("F-NONE").await.unwrap(), None);
}

#[tokio::test]
async fn samples_of_a_tool_are_its_slowest_largest_and_failed_calls() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", NOON).await;
    let mut made = facts(run, NOON, 4, &[7]);
    let sizes = [(1, 10, 100), (2, 40, 10), (3, 20, 300), (4, 30, 200), (5, 99, 999)];
    for ((call, _), (number, latency, chars)) in made.calls.iter_mut().zip(sizes) {
        assert_eq!(call.number, number);
        (call.latency_ms, call.chars) = (Some(latency), chars);
    }
    made.calls[4].0.next = Some(Next::AgainOk);
    // Another tool.
    made.calls[1].0.tool = "todo.list".into();
    end(&journal, run, RunState::Finished, made).await;
    let numbers = async |tool, which| {
        let samples = journal.samples_of_tool(tool, which, today(), 2).await.unwrap();
        samples.iter().map(|it| it.call.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers("todo.create", ToolSample::Slowest).await, [4, 3]);
    assert_eq!(numbers("todo.create", ToolSample::Largest).await, [3, 4]);
    assert_eq!(numbers("todo.create", ToolSample::Failed).await, [5]);
    assert!(numbers("nobody", ToolSample::Slowest).await.is_empty());
}

#[tokio::test]
async fn mutes_are_listed_the_latest_first() {
    let journal = Journal::in_memory().await.unwrap();
    run_of(&journal, "anna", NOON, 0, &[7, 8]).await;
    let rows = journal.rows("x", "SELECT id FROM issues ORDER BY id", vec![]).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.text("id").unwrap()).collect();
    for (second, id) in (0..).zip(&ids) {
        journal.mute(id, at(second), at(99), "`|").await.unwrap();
    }
    let mute = |issue: &String, second| line::Mute {
        issue: issue.clone(),
        from: at(second),
        until: at(99),
        reason: "`|".into(),
    };
    assert_eq!(journal.mutes().await.unwrap(), [mute(&ids[1], 1), mute(&ids[0], 0)]);
}
