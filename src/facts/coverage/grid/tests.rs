use jiff::Timestamp;
use proptest::prelude::*;

use super::{DayStatus::*, *};
use crate::domain::{Outcome, WhyNotRun};

/// Monday of the window's week.
const MONDAY: &str = "2026-11-16";

fn persona(id: &str, cadence: Cadence) -> line::Persona {
    let label = format!("label-{id}");
    let json = serde_json::json!({ "id": id, "label": label, "cadence": cadence.as_str() });
    serde_json::from_value(json).unwrap()
}

fn time(text: &str) -> Timestamp {
    format!("{text}:00Z").parse().unwrap()
}

fn run(persona: &str, at: &str, outcome: Outcome) -> line::Run {
    let at = time(at);
    let json =
        serde_json::json!({ "id": "r", "persona": persona, "at": at, "outcome": outcome.as_str() });
    serde_json::from_value(json).unwrap()
}

fn add_run(grid: &mut Grid, run: &line::Run, has_calls: bool) {
    let day = days::date(run.server_time.unwrap_or(run.at), &grid.zone);
    grid.run(&run.persona, day, run.outcome, has_calls);
}

/// The grid of the week from [`MONDAY`] on.
fn week(personas: &[line::Persona], zone: TimeZone) -> Grid {
    let monday: Date = MONDAY.parse().unwrap();
    Grid::new(personas, (monday, monday + jiff::Span::new().days(6)), zone)
}

fn statuses(grid: &Grid, row: usize) -> Vec<DayStatus> {
    let Coverage::Personas(personas) = grid.coverage() else { panic!("counts") };
    personas[row].days.iter().map(|day| day.status).collect()
}

#[test]
fn a_run_is_called_by_its_outcome_and_by_whether_it_called_a_tool() {
    use Outcome::*;
    let of = super::DayStatus::of_run;
    for outcome in [Login, Space, Session] {
        assert_eq!((of(outcome, false), of(outcome, true)), (FailedProduct, FailedProduct));
    }
    assert_eq!((of(Failed, false), of(Failed, true)), (FailedRunner, FailedRunner));
    for outcome in [Done, Turns, Cost, Stopped] {
        assert_eq!(of(outcome, true), Ran);
    }
    assert_eq!(
        [Done, Turns, Cost, Stopped].map(|outcome| of(outcome, false)),
        [Idle, Idle, Budget, Other]
    );
}

#[test]
fn an_absence_is_called_by_its_reason_and_a_used_slot_is_none() {
    use WhyNotRun as Why;
    let expected = [
        (Why::SlotUsed, None),
        (Why::HeldBack, Some(HeldBack)),
        (Why::Unfinished, Some(Other)),
        (Why::Paused, Some(Paused)),
        (Why::Budget, Some(Budget)),
        (Why::PersonaBudget, Some(Budget)),
        (Why::ModelStopped, Some(ModelStopped)),
        (Why::RunnerDown, Some(RunnerDown)),
        (Why::Other, Some(Other)),
    ];
    for (why, status) in expected {
        assert_eq!(super::DayStatus::of_absence(why), status, "{why:?}");
    }
}

#[test]
fn a_day_without_run_and_absence_is_not_due_if_the_runner_asked_and_runner_down_if_not() {
    let mut grid = week(&[persona("a", Cadence::Daily)], TimeZone::UTC);
    add_run(&mut grid, &run("a", "2026-11-17T06:00", Outcome::Done), true);
    for day in ["2026-11-16", "2026-11-17", "2026-11-19"] {
        grid.tick(time(&format!("{day}T06:00")));
    }
    // Not expected before its first run.
    let expected = [NotDue, Ran, RunnerDown, NotDue, RunnerDown, RunnerDown, RunnerDown];
    assert_eq!(statuses(&grid, 0), expected);
}

#[test]
fn a_persona_of_weekdays_is_not_due_on_a_weekend_of_utc() {
    let mut grid = week(&[persona("w", Cadence::Weekdays)], TimeZone::UTC);
    add_run(&mut grid, &run("w", "2026-11-10T06:00", Outcome::Done), true);
    let mut expected = [RunnerDown; 7];
    expected[5..].fill(NotDue);
    assert_eq!(statuses(&grid, 0), expected);
    // In Tokyo, Monday begins on Sunday of UTC. A tick of these hours asks for nobody of weekdays.
    let mut grid = week(&[persona("w", Cadence::Weekdays)], TimeZone::get("Asia/Tokyo").unwrap());
    add_run(&mut grid, &run("w", "2026-11-10T06:00", Outcome::Done), true);
    grid.tick(time("2026-11-15T20:00"));
    grid.tick(time("2026-11-16T20:00"));
    let monday_and_tuesday = [RunnerDown, NotDue];
    assert_eq!(statuses(&grid, 0)[..2], monday_and_tuesday);
}

#[test]
fn a_day_is_a_date_of_the_zone_of_the_servers_time_where_the_run_has_one() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let mut grid = week(&[persona("h", Cadence::Hourly)], zone);
    let late = run("h", "2026-11-16T22:59", Outcome::Done);
    add_run(&mut grid, &late, true);
    add_run(&mut grid, &run("h", "2026-11-18T23:00", Outcome::Failed), true);
    let server_time = Some(time("2026-11-19T23:00"));
    add_run(&mut grid, &line::Run { server_time, outcome: Outcome::Login, ..late }, false);
    grid.absence("h", "2026-11-21T23", WhyNotRun::HeldBack);
    let expected = [Ran, RunnerDown, RunnerDown, FailedRunner, FailedProduct, RunnerDown, HeldBack];
    assert_eq!(statuses(&grid, 0), expected);
}

#[test]
fn of_many_slots_of_a_day_the_best_run_counts_and_else_the_most_frequent_absence() {
    use WhyNotRun as Why;
    let mut grid = week(&[persona("h", Cadence::Hourly)], TimeZone::UTC);
    add_run(&mut grid, &run("h", "2026-11-16T06:00", Outcome::Done), false);
    add_run(&mut grid, &run("h", "2026-11-16T07:00", Outcome::Failed), false);
    for hour in 8..20 {
        grid.absence("h", &format!("2026-11-16T{hour:02}"), Why::Paused);
    }
    let days = [
        ("2026-11-17", [Why::Budget, Why::PersonaBudget, Why::Paused]),
        ("2026-11-18", [Why::Other, Why::ModelStopped, Why::SlotUsed]),
    ];
    for (day, reasons) in days {
        for (hour, why) in reasons.into_iter().enumerate() {
            grid.absence("h", &format!("{day}T{hour:02}"), why);
        }
    }
    assert_eq!(statuses(&grid, 0)[..3], [FailedRunner, Budget, ModelStopped]);
}

#[test]
fn a_slot_that_is_none_and_an_unknown_persona_change_nothing() {
    let mut grid = week(&[persona("a", Cadence::Daily)], TimeZone::UTC);
    for slot in ["", "yesterday", "2026-11-99", "2026-11-16T99", "2026-11-16T", "\0"] {
        grid.absence("a", slot, WhyNotRun::Other);
    }
    add_run(&mut grid, &run("stranger", "2026-11-16T06:00", Outcome::Done), true);
    assert_eq!(statuses(&grid, 0), [NotDue; 7]);
}

#[test]
fn the_grid_is_written_under_the_keys_of_the_report() {
    let mut grid =
        week(&[persona("b", Cadence::Daily), persona("a", Cadence::Daily)], TimeZone::UTC);
    add_run(&mut grid, &run("a", "2026-11-16T06:00", Outcome::Done), true);
    let json = serde_json::to_value(grid.coverage()).unwrap();
    assert_eq!(json[0]["persona"], "label-a");
    assert_eq!(json[0]["days"][0], serde_json::json!({"day": MONDAY, "status": "ran"}));
    assert_eq!((json[1]["persona"].as_str(), json.as_array().unwrap().len()), (Some("label-b"), 2));
}

#[test]
fn above_fifty_personas_the_days_have_counts() {
    let personas: Vec<_> = (0..51).map(|n| persona(&n.to_string(), Cadence::Daily)).collect();
    assert!(matches!(week(&personas[1..], TimeZone::UTC).coverage(), Coverage::Personas(_)));
    let mut grid = week(&personas, TimeZone::UTC);
    add_run(&mut grid, &run("7", "2026-11-16T06:00", Outcome::Done), true);
    let json = serde_json::to_value(grid.coverage()).unwrap();
    let counts = serde_json::json!({"ran": 1, "not-due": 50});
    assert_eq!(json[0], serde_json::json!({"day": MONDAY, "counts": counts}));
    assert_eq!(json.as_array().unwrap().len(), 7);
}

proptest! {
    #[test]
    fn the_order_in_which_facts_are_added_does_not_matter(
        facts in prop::collection::vec((0..3u8, 0i64..10 * 24, 0usize..9), 0..40),
        zone in prop::sample::select(vec!["UTC", "Asia/Tokyo", "America/New_York"]),
    ) {
        let add = |grid: &mut Grid, (kind, hour, word): (u8, i64, usize)| {
            let at = time("2026-11-12T00:00") + jiff::SignedDuration::from_hours(hour);
            match kind {
                0 => {
                    let outcome = Outcome::ALL[word % Outcome::ALL.len()];
                    add_run(grid, &line::Run { at, ..run("h", "2026-11-16T06:00", outcome) }, word % 2 > 0);
                }
                1 => {
                    let slot = crate::domain::Slot::of(Cadence::Hourly, at);
                    grid.absence("h", slot.as_str(), WhyNotRun::ALL[word]);
                }
                _ => grid.tick(at),
            }
        };
        let zone = TimeZone::get(zone).unwrap();
        let personas = [persona("h", Cadence::Hourly)];
        let (mut forth, mut back) = (week(&personas, zone.clone()), week(&personas, zone));
        facts.iter().for_each(|fact| add(&mut forth, *fact));
        facts.iter().rev().for_each(|fact| add(&mut back, *fact));
        prop_assert_eq!(forth.coverage(), back.coverage());
    }
}
