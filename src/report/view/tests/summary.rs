//! The title and who ran.

use super::*;
use crate::{
    facts::{
        coverage::Coverage,
        report::{Outage, Unfinished, report},
        window::Days,
    },
    report::sample::{WEEK, week, world},
};

#[test]
fn a_week_is_named_and_other_days_are_not() {
    let title = |days, language| view(&report(&world().days(days)), language).title;
    assert_eq!(title(WEEK, Language::German), "Woche 2026-W02, 5.–11. Januar 2026");
    assert_eq!(title(WEEK, Language::English), "Week 2026-W02, 5–11 January 2026");
    let [from, to] = ["2025-12-30", "2026-01-05"].map(|day| day.parse().unwrap());
    assert_eq!(
        title(Days::Between(from, to), Language::German),
        "30. Dezember 2025 – 5. Januar 2026"
    );
}

#[test]
fn runs_that_did_not_come_to_their_end_and_days_without_the_runner_are_told() {
    let mut report = week();
    let told = |report: &Report| german(report).summary.join("\n");
    assert!(!told(&report).contains("nicht zu Ende") && !told(&report).contains("Runner aus"));
    report.unfinished = Unfinished { failed: 3, locked_out: 1 };
    let Coverage::Personas(personas) = &mut report.coverage else { panic!("counts") };
    personas[0].days[2].status = DayStatus::RunnerDown;
    let told = told(&report);
    for line in [
        "Läufe, die nicht zu Ende kamen: am Runner oder am Modell gescheitert: 3, nicht ins Produkt gekommen: 1.",
        "Runner aus: 1 Persona-Tag.",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} in {told}");
    }
}

#[test]
fn an_outage_has_its_begin_end_and_length() {
    let mut report = week();
    let from = "2026-01-07T13:05:00Z".parse().unwrap();
    let to = "2026-01-07T13:45:30Z".parse().unwrap();
    report.unreachable = vec![Outage { from, to, runs: 3 }];
    let summary = german(&report).summary.join("\n");
    assert!(
        summary.contains("Nicht erreichbar: Mi 7.1., 13:05 bis 13:45 (41 Minuten, 3 Läufe)."),
        "{summary}"
    );
    report.unreachable = vec![Outage { from, to: from, runs: 1 }; 5];
    let summary = german(&report).summary.join("\n");
    assert!(summary.contains("13:05 (1 Lauf).") && summary.ends_with("noch 2 Mal."), "{summary}");
}
