//! Ticks, absences and halts.

use super::*;
use crate::domain::WhyNotRun;

fn absence(persona: &str, slot: &str, why: WhyNotRun) -> line::Absence {
    line::Absence { slot: slot.into(), persona: persona.into(), why }
}

async fn tick(journal: &Journal, at: Timestamp, absences: &[line::Absence]) {
    let personas = ["anna", "ben"].map(|name| persona_line(&persona(name)));
    let tick = TickFacts { at, clock_at: NOON, personas: &personas, absences };
    journal.note_tick(&tick).await.unwrap();
}

async fn absences(journal: &Journal) -> Vec<line::Absence> {
    lines_of(journal, |line| match line {
        Line::Absence(absence) => Some(absence),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn an_absence_has_its_last_reason_and_ends_with_a_run_of_the_slot() {
    let journal = Journal::in_memory().await.unwrap();
    let budget = absence("anna", "2026-11-21", WhyNotRun::Budget);
    tick(&journal, at(0), &[budget.clone(), absence("ben", "2026-11-21", WhyNotRun::SlotUsed)])
        .await;
    assert_eq!(absences(&journal).await, [budget]);
    let held = absence("anna", "2026-11-21", WhyNotRun::HeldBack);
    tick(&journal, at(60), std::slice::from_ref(&held)).await;
    assert_eq!(absences(&journal).await, std::slice::from_ref(&held));
    begin(&journal, "anna", "2026-11-21", at(120)).await;
    assert_eq!(absences(&journal).await, []);
    // The slot has a run now, whatever becomes of the run.
    tick(&journal, at(180), std::slice::from_ref(&held)).await;
    assert_eq!(absences(&journal).await, []);
}

#[tokio::test]
async fn an_hour_has_one_tick() {
    let journal = Journal::in_memory().await.unwrap();
    assert_eq!(journal.last_tick().await.unwrap(), None);
    for seconds in [0, 60, 3_599, 3_600, 7_300] {
        tick(&journal, at(seconds), &[]).await;
    }
    let ticks = lines_of(&journal, |line| match line {
        Line::Tick(tick) => Some(tick.at),
        _ => None,
    });
    assert_eq!(ticks.await, [at(0), at(3_600), at(7_300)]);
    assert_eq!(journal.last_tick().await.unwrap(), Some((at(7_300), NOON)));
    assert_eq!(journal.newest_fact().await.unwrap(), Some(at(7_300)));
}

#[tokio::test]
async fn the_newest_fact_may_be_the_end_of_a_run_or_the_slot_of_an_absence() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "2026-11-20", at(0)).await;
    let end = EndedRun { facts: facts(run, at(0), 1, &[]), ..ended(RunState::Finished) };
    journal.end_run(run, &end, &[], at(90)).await.unwrap();
    tick(&journal, at(60), &[]).await;
    assert_eq!(journal.newest_fact().await.unwrap(), Some(at(90)));
    for (slot, begin) in [
        ("2026-12-01", "2026-12-01T00:00:00Z"),
        ("2026-12-01T14", "2026-12-01T14:00:00Z"),
        ("2026-12-02", "2026-12-02T00:00:00Z"),
    ] {
        tick(&journal, at(60), &[absence("ben", slot, WhyNotRun::Budget)]).await;
        assert_eq!(journal.newest_fact().await.unwrap(), Some(begin.parse().unwrap()));
    }
}

#[tokio::test]
async fn an_archetype_stays_known_when_a_run_begins() {
    let journal = Journal::in_memory().await.unwrap();
    let anna =
        line::Persona { archetype: Some("gründlich".into()), ..persona_line(&persona("anna")) };
    let personas = [anna.clone()];
    let tick = TickFacts { at: at(0), clock_at: NOON, personas: &personas, absences: &[] };
    journal.note_tick(&tick).await.unwrap();
    begin(&journal, "anna", "s", at(9_000)).await;
    let known = lines_of(&journal, |line| match line {
        Line::Persona(persona) => Some(persona),
        _ => None,
    });
    assert_eq!(known.await, [anna]);
}

#[tokio::test]
async fn the_absences_of_a_halt_come_with_the_noted_ones_in_the_order_of_slots() {
    let journal = Journal::in_memory().await.unwrap();
    let noted = |day: i64, persona: &str, why| {
        let date = (NOON + DAY * i32::try_from(day).unwrap()).to_string()[..10].to_owned();
        absence(persona, &date, why)
    };
    let days = |n: i64| NOON + DAY * i32::try_from(n).unwrap();
    let (first, last) =
        (noted(0, "anna", WhyNotRun::Budget), noted(3, "anna", WhyNotRun::HeldBack));
    tick(&journal, days(0), std::slice::from_ref(&first)).await;
    for _ in 0..2 {
        journal.begin_halt(HaltKind::Paused, days(1)).await.unwrap();
    }
    journal.end_halt(HaltKind::Paused, days(2)).await.unwrap();
    journal.end_halt(HaltKind::ModelStopped, days(2)).await.unwrap();
    tick(&journal, days(3), std::slice::from_ref(&last)).await;
    let paused = |day| ["anna", "ben"].map(|name| noted(day, name, WhyNotRun::Paused));
    let expected: Vec<_> =
        [first].into_iter().chain(paused(1)).chain(paused(2)).chain([last]).collect();
    assert_eq!(absences(&journal).await, expected);
}

#[tokio::test]
async fn a_range_has_the_absences_of_a_halt_that_began_long_before_it() {
    let journal = Journal::in_memory().await.unwrap();
    let days = |n: i32| NOON + DAY * n;
    tick(&journal, days(0), &[]).await;
    journal.begin_halt(HaltKind::Paused, days(1)).await.unwrap();
    tick(&journal, days(40), &[]).await;
    let date = |n: i32| days(n).to_zoned(jiff::tz::TimeZone::UTC).date();
    begin(&journal, "ben", &date(31).to_string(), days(31)).await;
    let mut found = Vec::new();
    let range = Some((date(30), date(31)));
    let each = |line| {
        if let Line::Absence(absence) = line {
            found.push(format!("{} {}", absence.slot, absence.persona));
        }
    };
    journal.facts_lines(range, History::All, each).await.unwrap();
    let of = |n: i32, name: &str| format!("{} {name}", date(n));
    assert_eq!(found, [of(30, "anna"), of(30, "ben"), of(31, "anna")]);
}
