//! The order and the range of an export.

use jiff::civil::{Date, date};

use super::*;

async fn zone(journal: &Journal, name: &str) {
    journal.keep(TIME_ZONE, Some(&name.to_owned()), NOON).await.unwrap();
}

fn order(line: &Line) -> u8 {
    match line {
        Line::Meta(_) => 0,
        Line::Catalog(_) => 1,
        Line::Deployment(_) => 2,
        Line::Persona(_) => 3,
        Line::Run(_) => 4,
        Line::Call(_) => 5,
        Line::Module(_) => 6,
        Line::Issue(_) => 7,
        Line::Hit(_) => 8,
        Line::Tool(_) => 9,
        Line::Absence(_) => 10,
        Line::Tick(_) => 11,
        Line::Mute(_) => 12,
    }
}

#[tokio::test]
async fn lines_come_by_kind_and_then_by_the_begin_of_their_run() {
    let journal = Journal::in_memory().await.unwrap();
    zone(&journal, "Europe/Berlin").await;
    // The later run is written first.
    let late = run(&journal, at(600), 12, &[7]).await;
    let early = run(&journal, at(0), 2, &[8]).await;
    let lines = lines(&journal).await;
    let Line::Meta(meta) = &lines[0] else { panic!("{:?}", lines[0]) };
    assert_eq!((meta.schema.as_str(), meta.tz.as_str()), ("facts/v1", "Europe/Berlin"));
    assert!(lines.is_sorted_by_key(order));
    let calls: Vec<_> = lines.into_iter().filter_map(call).collect();
    let calls: Vec<_> = calls.into_iter().map(|call| (call.run, call.number)).collect();
    let of = |run: RunId, most| (1..=most).map(move |number| (run.to_string(), number));
    assert_eq!(calls, of(early, 3).chain(of(late, 13)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_range_has_the_days_of_the_journals_time_zone_from_the_first_to_the_last() {
    let journal = Journal::in_memory().await.unwrap();
    zone(&journal, "Europe/Berlin").await;
    let times = [
        "2026-11-19T22:59:59Z",
        "2026-11-19T23:00:00Z",
        "2026-11-20T12:00:00Z",
        "2026-11-21T22:59:59Z",
        "2026-11-21T23:00:00Z",
    ];
    for (begun, fingerprint) in times.into_iter().zip(1..) {
        run(&journal, begun.parse().unwrap(), 1, &[fingerprint << 44]).await;
    }
    let range = (date(2026, 11, 20), date(2026, 11, 21));
    let read = async |range: Option<(Date, Date)>, history| {
        let mut lines = Vec::new();
        journal.facts_lines(range, history, |line| lines.push(line)).await.unwrap();
        [4, 5, 7, 8].map(|kind| lines.iter().filter(|line| order(line) == kind).count())
    };
    assert_eq!(read(None, History::All).await, [5, 10, 5, 5]);
    assert_eq!(read(Some(range), History::All).await, [3, 6, 3, 3]);
    assert_eq!(read(None, History::CallsIn(range)).await, [5, 6, 5, 2]);
    assert_eq!(read(None, History::NoCalls).await, [5, 0, 5, 5]);
}

#[tokio::test]
async fn the_time_that_mana_auth_gave_decides_to_which_day_a_run_belongs() {
    let journal = Journal::in_memory().await.unwrap();
    let (persona, slot) = (persona("anna"), Slot::stored("s"));
    let server_time: Timestamp = "2026-11-20T23:59:59.5Z".parse().unwrap();
    let server_at = server_time + Duration::from_secs(2);
    let begun = RunSettings { server_time: Some(server_time), ..RunSettings::unknown(server_at) };
    let (id, model) = (RunId::new(), "claude");
    let new = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model, begun };
    // The daemon's clock is an hour ahead.
    let hour = Duration::from_secs(3_600);
    journal.begin_run(new, server_at + hour).await.unwrap();
    let end = EndedRun { facts: facts(id, server_at, 1, &[]), ..ended(RunState::Finished) };
    journal.end_run(id, &end, &[], server_at + hour + hour).await.unwrap();
    let mut runs = Vec::new();
    let day = Some((date(2026, 11, 20), date(2026, 11, 20)));
    journal
        .facts_lines(day, History::All, |line| {
            if let Line::Run(run) = line {
                runs.push((run.at, run.ended_at, run.server_time));
            }
        })
        .await
        .unwrap();
    assert_eq!(runs, [(server_at, Some(server_at + hour), Some(server_time))]);
}

#[tokio::test]
async fn a_row_that_somebody_has_spoilt_is_left_out_and_hides_no_other() {
    let journal = Journal::in_memory().await.unwrap();
    run(&journal, at(0), 3, &[7]).await;
    for sql in [
        "UPDATE calls SET tool = x'ff' WHERE number = 1",
        "UPDATE calls SET at = 'soon', next = 'dreams' WHERE number = 2",
        "UPDATE calls SET latency_ms = -5, chars = 1e300 WHERE number = 3",
        "UPDATE run_modules SET calls = '{'",
    ] {
        journal.spoil(sql).await;
    }
    let calls = lines_of(&journal, call).await;
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn what_belongs_to_a_row_that_cannot_be_read_is_left_out_too() {
    for sql in [
        "UPDATE runs SET outcome = 'fun' WHERE server_at = (SELECT MIN(server_at) FROM runs)",
        "UPDATE issues SET cause = 'luck' WHERE first_at = (SELECT MIN(first_at) FROM issues)",
    ] {
        let journal = Journal::in_memory().await.unwrap();
        run(&journal, at(0), 3, &[7 << 44]).await;
        let other = run(&journal, at(600), 3, &[8 << 44]).await.to_string();
        journal.spoil(sql).await;
        let lines = lines(&journal).await;
        let mut builder = crate::facts::window::Builder::default();
        lines.iter().for_each(|line| builder.take(line.clone()).unwrap());
        let hits: Vec<_> = lines.iter().filter(|line| matches!(line, Line::Hit(_))).collect();
        let [Line::Hit(hit)] = hits[..] else { panic!("{hits:?}") };
        assert_eq!(hit.run, other);
    }
}

#[tokio::test]
async fn at_most_the_calls_of_one_run_are_sorted_at_once() {
    let journal = Journal::in_memory().await.unwrap();
    for sql in [super::super::lines::CALLS, super::super::lines::RUNS] {
        let plan = format!("EXPLAIN QUERY PLAN {sql}").replace("$1", "0").replace("$2", "1");
        let plan = vec![(plan.into(), vec![])];
        let rows = journal.write("be asked for its plan", plan).await.unwrap();
        let steps: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
        assert!(!steps.iter().any(|step| step == "USE TEMP B-TREE FOR ORDER BY"), "{steps:?}");
    }
}
