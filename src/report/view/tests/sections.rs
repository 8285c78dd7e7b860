//! Modules, slow tools, what is missing, and how reliable the report is.

use super::*;
use crate::{
    domain::Label,
    facts::{
        compare::{Confounder, Pair},
        coverage::ModuleStatus,
        detect::Slow,
        report::{Delta, ModuleReport, Unrated},
    },
    report::sample::week,
};

#[test]
fn a_word_for_absence_has_no_number_beside_it() {
    let rated = week().modules.into_iter().find(|it| it.rating.is_some()).unwrap();
    for language in BOTH {
        for status in ModuleStatus::ALL {
            let mut report = week();
            report.modules = vec![ModuleReport {
                module: "todo".into(),
                status: *status,
                quote: None,
                ..rated.clone()
            }];
            let view = view(&report, language);
            let [row] = &view.modules.items[..] else { panic!("{:?}", view.modules) };
            let is_rated = *status == ModuleStatus::Rated;
            let is_used = is_rated || *status == ModuleStatus::Used;
            assert_eq!(row.absence.is_none(), is_rated);
            assert!(!row.absence.as_ref().is_some_and(|it| it.contains(char::is_numeric)));
            assert_eq!(
                [row.delta.is_some(), row.mean.is_some(), row.interval.is_some()],
                [is_rated; 3]
            );
            assert_eq!(row.trend.is_empty(), !is_rated);
            assert_eq!([row.friction.is_some(), !row.usage.is_empty()], [is_used; 2]);
        }
    }
}

#[test]
fn a_module_without_a_rating_tells_why_without_numbers() {
    let mut report = week();
    report.modules.truncate(1);
    let module = &mut report.modules[0];
    (module.status, module.ungrounded) = (ModuleStatus::Used, 2);
    module.unrated = [("forgotten", 1), ("refused", 7)].into();
    let absence = BOTH.map(|language| view(&report, language).modules.items[0].absence.clone());
    assert_eq!(
        absence.map(Option::unwrap),
        [
            "benutzt, nicht bewertet (nur Noten ohne Beleg, verweigert, vergessen)",
            "used, not rated (only ratings without evidence, refused, forgotten)",
        ]
    );
}

#[test]
fn what_nobody_can_know_is_not_said_to_be_nothing() {
    let mut report = week();
    report.slow.clear();
    report.missing.clear();
    let notes = |report: &Report| {
        let View { slow, missing, not_tested, .. } = german(report);
        [slow.note, missing.note, not_tested.note].map(Option::unwrap_or_default)
    };
    let [slow, missing, not_tested] = notes(&report);
    assert!(
        !slow.contains("nicht mehr gespeichert") && !missing.contains("nicht mehr gespeichert")
    );
    assert_eq!(not_tested, "");
    (report.runs_without_calls, report.is_catalog_known) = (3, false);
    let [slow, missing, not_tested] = notes(&report);
    assert!(slow.contains("Aufrufe von 3 Läufen sind nicht mehr gespeichert"), "{slow}");
    assert_eq!(slow, missing);
    assert_eq!(not_tested, "Welche Werkzeuge es gibt, ist nicht bekannt.");
    report.not_tested.clear();
    assert_eq!(notes(&report)[2], not_tested);
}

#[test]
fn a_rating_is_a_difference_with_its_interval_or_its_points() {
    let with_delta = |delta| {
        let mut report = week();
        let module = report.modules.iter_mut().find(|it| it.rating.is_some()).unwrap();
        module.rating.as_mut().unwrap().delta = delta;
        let view = german(&report);
        view.modules.items[1].delta.clone().unwrap()
    };
    let delta =
        Delta { value: -0.4, low: Some(-0.9), high: Some(0.1), n: 30, personas: 6, points: vec![] };
    assert_eq!(with_delta(Some(delta.clone())), "−0,4 [−0,9; +0,1], 6 Personas");
    let few = Delta { low: None, high: None, personas: 2, points: vec![-0.8, 0.0], ..delta };
    assert_eq!(with_delta(Some(few)), "−0,4 (einzeln −0,8; ±0,0), 2 Personas");
    assert_eq!(with_delta(None), "noch kein Vergleich");
    let row = &german(&week()).modules.items[1];
    assert_eq!(row.mean.as_deref(), Some("3,3 aus 42 Noten"));
    assert_eq!(row.friction.as_deref(), Some("36 % von 42 Läufen [13–67 %]"));
}

#[test]
fn a_slow_tool_has_milliseconds_below_a_second_and_seconds_from_there() {
    let mut report = week();
    let slow = |p50_ms, p95_ms| Slow { tool: "todo.list".into(), p50_ms, p95_ms, n: 1_200 };
    report.slow = vec![slow(999, 1_000), slow(0, 61_040)];
    let rows = BOTH.map(|language| view(&report, language).slow.items);
    assert_eq!(rows[0][0], ["todo.list", "999 ms", "1,0 s", "1.200"]);
    assert_eq!(rows[1][1], ["todo.list", "0 ms", "61.0 s", "1,200"]);
}

#[test]
fn ratings_that_are_missing_are_told_with_their_reasons_the_most_frequent_one_first() {
    let mut report = week();
    report.reliability.unrated =
        Unrated { n: 180, of: 1_840, why: [("forgotten", 20), ("refused", 160)].into() };
    let lines = BOTH.map(|language| view(&report, language).reliability.items);
    let german = "Ohne Note: 180 von 1.840 Modul-Nutzungen (verweigert 160, vergessen 20).";
    let english = "Without a rating: 180 of 1,840 uses of a module (refused 160, forgotten 20).";
    assert!(lines[0].contains(&german.to_owned()), "{lines:?}");
    assert!(lines[1].contains(&english.to_owned()), "{lines:?}");
    report.reliability.unrated.n = 0;
    assert!(!printed(&super::view(&report, Language::German)).contains("Ohne Note"));
}

#[test]
fn what_else_changed_is_told_with_its_day() {
    let mut report = week();
    let since = report.frictions[0].first_seen.at;
    let confounder = |what| Confounder { what, since };
    report.reliability.confounded = ["model", "prompt"].map(confounder).to_vec();
    let lines = BOTH.map(|language| view(&report, language).reliability.items.join("\n"));
    assert!(lines[0].contains("Verändert seit Mittwoch, 7.1.: Modell, Anweisung."), "{}", lines[0]);
    assert!(
        lines[1].contains("Changed since Wednesday, 7 January: model, prompt."),
        "{}",
        lines[1]
    );
    report.reliability.confounded[1].since = since + jiff::SignedDuration::from_hours(24);
    let lines = german(&report).reliability.items.join("\n");
    let both = "Verändert seit Mittwoch, 7.1.: Modell; seit Donnerstag, 8.1.: Anweisung.";
    assert!(lines.contains(both), "{lines}");
}

#[test]
fn a_noise_floor_that_is_not_known_is_no_one() {
    let mut report = week();
    report.reliability.lambda = Pair { share: Some(1.405), rating: None };
    let line = &german(&report).reliability.items[0];
    assert!(line.starts_with("Rauschen: Anteile 1,4"), "{line}");
    assert!(line.contains("Noten nicht bekannt"), "{line}");
}
