use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{Label, WhyNotRun},
    facts::{
        coverage::{Coverage, ModuleStatus},
        report::{Delta, Fleet, Headline, Idle, NotRun, Unfinished, report},
        window::Days,
        world::{World, failed, ok},
    },
    report::sample::{HOSTILE, WEEK, hostile, week, world},
};

const BOTH: [Language; 2] = [Language::German, Language::English];

/// The first sentences of a report in German and English.
fn sentences(report: &Report) -> [String; 2] {
    BOTH.map(|language| view(report, language).sentence)
}

fn german(report: &Report) -> View {
    view(report, Language::German)
}

/// All texts of a view, as they are printed for debugging.
fn printed(view: &View) -> String {
    format!("{view:?}")
}

/// `report` with this headline.
fn with(headline: Headline, mut report: Report) -> Report {
    report.headline = headline;
    report
}

#[test]
fn without_facts_the_sentence_says_that_nothing_is_known() {
    let empty = report(&World::default().days(Days::LastWeek));
    assert_eq!(
        sentences(&empty),
        [
            "Es ist noch nichts aufgezeichnet; über das Produkt ist nichts bekannt.",
            "Nothing is recorded yet; nothing is known about the product.",
        ]
    );
    let view = german(&empty);
    assert_eq!(view.title, "Noch kein Tag");
    let nobody = "Niemand lief: Dazu ist nichts bekannt.";
    let notes = [&view.hurts.note, &view.changes.note, &view.slow.note].map(Option::as_deref);
    assert_eq!(notes, [Some(nobody); 3]);
}

#[test]
fn who_did_not_run_is_told_with_the_most_frequent_reason() {
    let nobody = |not_run: &[(WhyNotRun, u32)]| {
        let mut report = week();
        let not_run: Vec<_> =
            not_run.iter().map(|(why, count)| NotRun { why: *why, count: *count }).collect();
        let why = not_run.first().map(|it| Idle::Absent(it.why));
        let is_only = not_run.len() == 1;
        report.fleet = Fleet { not_run, ..Fleet::default() };
        with(Headline::NobodyRan { why, is_only }, report)
    };
    assert_eq!(
        sentences(&nobody(&[(WhyNotRun::Paused, 40), (WhyNotRun::Budget, 2)])),
        [
            "Keine Persona ist gelaufen (meist: Runner pausiert); über das Produkt ist nichts bekannt.",
            "No persona ran (mostly: runner paused); nothing is known about the product.",
        ]
    );
    let [only, _] = sentences(&nobody(&[(WhyNotRun::ModelStopped, 1)]));
    assert!(only.contains("(Modell gesperrt)"), "{only}");
    let [unknown, _] = sentences(&nobody(&[]));
    assert!(unknown.contains("(Grund nicht bekannt)"), "{unknown}");
    let of_days = |is_only| {
        let why = Some(Idle::Days(DayStatus::RunnerDown));
        sentences(&with(Headline::NobodyRan { why, is_only }, nobody(&[])))
    };
    assert!(of_days(true)[0].contains("(Runner aus)"), "{:?}", of_days(true));
    assert!(of_days(false)[1].contains("(mostly: runner down)"), "{:?}", of_days(false));
}

#[test]
fn a_product_that_lets_nobody_in_or_is_away_is_the_first_thing_told() {
    let [german, english] = sentences(&with(Headline::LockedOut { runs: 30 }, week()));
    assert_eq!(
        german,
        "Das Produkt ließ Personas nicht hinein: 30 von 42 Läufen endeten an Anmeldung, Space oder Sitzung."
    );
    assert!(english.contains("30 of 42 runs ended at login, space or session"), "{english}");
    let away = Headline::Unreachable { calls: 1_200, of: 2_000 };
    let [german, english] = sentences(&with(away, week()));
    assert!(
        german.ends_with("nicht erreichbar: 1.200 von 2.000 Aufrufen kamen nicht an."),
        "{german}"
    );
    assert!(english.ends_with("1,200 of 2,000 calls did not arrive."), "{english}");
}

#[test]
fn one_of_many_is_told_in_the_singular() {
    let sentence = |headline| german(&with(headline, week())).sentence;
    let out = sentence(Headline::LockedOut { runs: 1 });
    assert!(out.contains("1 von 42 Läufen endete an"), "{out}");
    let away = sentence(Headline::Unreachable { calls: 1, of: 2 });
    assert!(away.contains("1 von 2 Aufrufen kam nicht an"), "{away}");
}

#[test]
fn too_few_runs_are_no_judgement() {
    let mut report = with(Headline::TooFew { failed: 0, of: 3 }, week());
    (report.fleet.runs, report.fleet.personas) = (1, 1);
    assert_eq!(
        sentences(&report),
        [
            "Zu wenig für ein Urteil: nur 1 Lauf von 1 Persona.",
            "Too little to judge: only 1 run of 1 persona.",
        ]
    );
    report.headline = Headline::TooFew { failed: 12, of: 12 };
    assert_eq!(
        sentences(&report),
        [
            "Zu wenig für ein Urteil: nur 1 Lauf von 1 Persona; 12 von 12 Aufrufen scheiterten.",
            "Too little to judge: only 1 run of 1 persona; 12 of 12 calls failed.",
        ]
    );
}

#[test]
fn if_most_calls_fail_the_sentence_says_it_and_what_most_of_them_fail_with() {
    let headline = Headline::MostCallsFail { failed: 812, of: 1_204, worst: Some(0) };
    assert_eq!(
        sentences(&with(headline, week())),
        [
            "Die meisten Aufrufe scheitern (812 von 1.204); am häufigsten: todo.complete scheitert („cannot \
             F-BBBB“).",
            "Most calls fail (812 of 1,204); most often: todo.complete fails (“cannot F-BBBB”).",
        ]
    );
}

#[test]
fn what_hurts_most_is_told_with_its_counts_and_since_when() {
    assert_eq!(
        sentences(&week()),
        [
            "todo.complete scheitert („cannot F-BBBB“): 3 von 6 Personas, 15 von 42 Läufen, neu seit 1.5.0 (D-2).",
            "todo.complete fails (“cannot F-BBBB”): 3 of 6 personas, 15 of 42 runs, new since 1.5.0 (D-2).",
        ]
    );
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).state = State::Regressed;
    let [german, english] = sentences(&with(Headline::Hurts { worst: 0, others: 3 }, report));
    assert!(german.ends_with("Läufen, wieder da; dazu 3 weitere Probleme."), "{german}");
    assert!(english.ends_with("runs, back again; and 3 more problems."), "{english}");
}

#[test]
fn nothing_raised_is_no_all_clear() {
    let quiet = |untested_modules, resolved, muted, failed| {
        let report = report(&World::default().days(WEEK));
        let modules = week().modules;
        let fleet = Fleet { runs: 42, personas: 6, ..Fleet::default() };
        let headline =
            Headline::NothingRaised { resolved, muted, failed, of: 1_204, untested_modules };
        with(headline, Report { modules, fleet, ..report })
    };
    let [german, english] = sentences(&quiet(3, 0, 0, 0));
    assert_eq!(
        german,
        "Kein Detektor schlug an in 42 Läufen von 6 Personas; keine Entwarnung, denn 3 von 4 Modulen sind kaum oder nicht \
         getestet."
    );
    assert!(english.contains("no all-clear, because 3 of 4 modules are hardly"), "{english}");
    assert_eq!(
        sentences(&quiet(3, 1, 2, 412)),
        [
            "Kein Detektor schlug an in 42 Läufen von 6 Personas, außer bei Behobenem (1) und stumm Geschaltetem (2); \
             412 von 1.204 Aufrufen scheiterten; keine Entwarnung, denn 3 von 4 Modulen sind kaum oder nicht getestet.",
            "No detector raised anything in 42 runs of 6 personas, apart from what is resolved (1) and what is muted \
             (2); 412 of 1,204 calls failed; no all-clear, because 3 of 4 modules are hardly or not tested.",
        ]
    );
    let [german, _] = sentences(&quiet(0, 0, 0, 0));
    assert!(german.ends_with("; was niemand benutzt hat, ist nicht geprüft."), "{german}");
    let view = super::view(&quiet(3, 0, 0, 0), Language::German);
    let note = view.hurts.note.unwrap();
    assert!(note.contains("keine Entwarnung"), "{note}");
    assert_eq!(view.slow.note.unwrap(), "Kein Werkzeug war oft genug langsam, um hier zu stehen.");
}

#[test]
fn a_clause_tells_that_many_due_runs_did_not_take_place() {
    let with_absences = |count| {
        let mut report = week();
        report.fleet.not_run = vec![NotRun { why: WhyNotRun::Budget, count }];
        sentences(&report)
    };
    let [german, english] = with_absences(14);
    assert!(
        german.ends_with(" – 14 von 56 fälligen Läufen fielen aus (Budget aufgebraucht)."),
        "{german}"
    );
    assert!(
        english.ends_with(" – 14 of 56 due runs did not take place (budget used up)."),
        "{english}"
    );
    let [german, _] = with_absences(13);
    assert!(!german.contains("fällig"), "{german}");
    let mut report = week();
    report.fleet.not_run = vec![NotRun { why: WhyNotRun::Budget, count: 13 }];
    let summary = super::view(&report, Language::German).summary.join("\n");
    assert!(
        summary.contains("Nicht gelaufen, obwohl fällig: 13 (Budget aufgebraucht 13)."),
        "{summary}"
    );
}

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
fn a_friction_is_told_with_its_evidence() {
    let view = german(&week());
    let hurt = &view.hurts.items[0];
    assert_eq!(hurt.counts, "3 von 6 Personas, 15 von 42 Läufen [13–67 %]");
    assert_eq!(hurt.impact, "hält am Tag im Mittel 1,9 von 6 Personas auf");
    assert_eq!(hurt.next, "");
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).next =
        [("ended", 11), ("again-failed", 15), ("other-ok", 0)].into();
    let next = &german(&report).hurts.items[0].next;
    assert_eq!(next, "Danach: 15 × noch einmal, scheiterte · 11 × aufgehört");
    let quote = hurt.quote.as_ref().unwrap();
    assert_eq!(quote.text, "c on day 11: done is not done.");
    assert_eq!(quote.source, "c, So 11.1., 03:00, run-00063 · Aufruf 2");
    assert_eq!(
        hurt.seen,
        "zuerst Mi 7.1., 01:00 mit 1.5.0 (D-2); zuletzt So 11.1., 03:00 mit 1.5.0 (D-2)"
    );
    assert_eq!((hurt.state_word.as_str(), hurt.bar), ("neu", 1.0));
    assert_eq!(hurt.trend_label, "15 Läufe damit an 5 Tagen der letzten 28 Tage");
}

#[test]
fn a_small_impact_is_not_told_as_none() {
    let impact = |impact| {
        let mut report = week();
        Arc::make_mut(&mut report.frictions[0]).impact = impact;
        german(&report).hurts.items[0].impact.clone()
    };
    assert!(impact(0.0049).contains("im Mittel <0,01 von"), "{}", impact(0.0049));
    assert!(impact(0.005).contains("im Mittel 0,01 von"), "{}", impact(0.005));
    assert!(impact(0.5).contains("im Mittel 0,5 von"), "{}", impact(0.5));
}

#[test]
fn words_that_are_written_from_right_to_left_do_not_turn_the_words_around_them() {
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).tool = Some("שלום".to_owned());
    let view = german(&report);
    for line in [&view.sentence, &view.hurts.items[0].title] {
        assert!(line.starts_with("\u{2068}שלום\u{2069} scheitert"), "{line}");
    }
}

#[test]
fn at_most_five_frictions_are_shown_and_the_others_are_named() {
    let view = german(&hostile());
    assert_eq!(view.hurts.items.len(), 5);
    assert!(view.hurts.items.iter().all(|hurt| hurt.state != State::Resolved));
    let rest = view.hurts.rest.unwrap();
    assert!(rest.starts_with("und 245 weitere: 7") && rest.ends_with(", …"), "{rest}");
}

#[test]
fn the_changes_tell_what_came_back_what_is_resolved_and_what_is_new() {
    let view = german(&week());
    let changes: Vec<_> =
        view.changes.items.iter().map(|it| (it.kind.as_str(), it.text.as_str())).collect();
    assert_eq!(
        changes,
        [
            ("behoben", "F-CCCC notes.search scheitert: cannot F-CCCC"),
            ("neu", "F-BBBB todo.complete scheitert: cannot F-BBBB"),
        ]
    );
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).state = State::Regressed;
    let regressed = &german(&report).changes.items[0];
    assert_eq!((regressed.kind.as_str(), regressed.state), ("wieder da", Some(State::Regressed)));
    let mut report = week();
    report.frictions.clear();
    report.changes.tools.added = vec!["a.b".into(), "a.c".into()];
    report.changes.tools.removed = vec!["d.e".into()];
    let view = german(&report);
    let texts: Vec<_> = view.changes.items.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(texts, ["2 Werkzeuge dazu: a.b, a.c", "1 Werkzeug weg: d.e"]);
}

#[test]
fn a_word_for_absence_has_no_number_beside_it() {
    let rated = week().modules.into_iter().find(|it| it.rating.is_some()).unwrap();
    for language in BOTH {
        for status in ModuleStatus::ALL {
            let mut report = week();
            report.modules = vec![crate::facts::report::ModuleReport {
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
fn a_friction_without_an_issue_is_told_for_the_days_of_the_window_only() {
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).cause = None;
    let hurt = |report: &Report| german(report).hurts.items[0].clone();
    assert!(hurt(&report).seen.starts_with("in diesen Tagen zuerst Mi 7.1., 01:00"));
    assert_eq!(hurt(&report).trend_label, "15 Läufe damit an 5 Tagen dieses Zeitraums");
    report.window.from = Some("2025-12-15".parse().unwrap());
    assert_eq!(hurt(&report).trend_label, "15 Läufe damit an 5 Tagen der letzten 28 Tage");
}

#[test]
fn section_3_names_what_the_json_names_also_of_frictions_without_an_issue() {
    let mut report = week();
    report.resolved_without_hit.clear();
    for friction in &mut report.frictions {
        Arc::make_mut(friction).cause = None;
    }
    let told: Vec<_> = german(&report).changes.items.into_iter().map(|it| it.text).collect();
    let changes = &report.changes;
    let ids: Vec<_> =
        changes.regressed.iter().chain(&changes.resolved).chain(&changes.new).collect();
    assert_eq!((ids.len(), told.len()), (2, 2));
    assert!(told.iter().zip(ids).all(|(text, id)| text.starts_with(id.as_str())), "{told:?}");
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
fn runs_that_say_nothing_about_the_product_are_told_as_that() {
    let by_us = Headline::FailedByUs { runs: 28 };
    assert_eq!(
        sentences(&with(by_us, week())),
        [
            "28 von 42 Läufen scheiterten am Runner oder am Modell; über das Produkt ist wenig bekannt.",
            "28 of 42 runs failed because of the runner or the model; little is known about the product.",
        ]
    );
    assert_eq!(
        sentences(&with(Headline::NothingUsed, week())),
        [
            "In 42 Läufen gab es keinen Aufruf, den das Produkt beantwortet hat; über das Produkt ist nichts bekannt.",
            "In 42 runs there was no call that the product answered; nothing is known about the product.",
        ]
    );
    let away = Headline::Unreachable { calls: 1_200, of: 1_200 };
    assert_eq!(
        sentences(&with(away, week())),
        [
            "Das Produkt war nicht erreichbar: Kein Aufruf kam an (1.200 Versuche).",
            "The product could not be reached: no call arrived (1,200 tries).",
        ]
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
fn what_is_new_is_new_since_its_build_only_if_that_was_just_deployed() {
    let mut report = week();
    let first = report.frictions[0].first_seen.at;
    let week_ago = jiff::SignedDuration::from_hours(7 * 24);
    for (ago, since) in [(week_ago, "neu seit 1.5.0 (D-2)."), (week_ago * 2, "neu seit Mi 7.1.")] {
        report.deployments.iter_mut().for_each(|build| build.from = first - ago);
        report.first_run = Some(first - week_ago * 3);
        let [german, _] = sentences(&report);
        assert!(german.ends_with(&format!(", {since}")), "{german}");
    }
    // Nobody knows whether what was there before the first run is new.
    report.deployments.iter_mut().for_each(|build| build.from = first);
    report.first_run = Some(first);
    assert!(sentences(&report)[0].ends_with(", neu seit Mi 7.1."));
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
    let slow = |p50_ms, p95_ms| crate::facts::detect::Slow {
        tool: "todo.list".into(),
        p50_ms,
        p95_ms,
        n: 1_200,
    };
    report.slow = vec![slow(999, 1_000), slow(0, 61_040)];
    let rows = BOTH.map(|language| view(&report, language).slow.items);
    assert_eq!(rows[0][0], ["todo.list", "999 ms", "1,0 s", "1.200"]);
    assert_eq!(rows[1][1], ["todo.list", "0 ms", "61.0 s", "1,200"]);
}

#[test]
fn ratings_that_are_missing_are_told_with_their_reasons_the_most_frequent_one_first() {
    let mut report = week();
    report.reliability.unrated = crate::facts::report::Unrated {
        n: 180,
        of: 1_840,
        why: [("forgotten", 20), ("refused", 160)].into(),
    };
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
    let confounder = |what| crate::facts::compare::Confounder { what, since };
    report.reliability.confounded = ["model", "prompt"].map(confounder).to_vec();
    let lines = BOTH.map(|language| view(&report, language).reliability.items.join("\n"));
    assert!(lines[0].contains("Verändert seit Mittwoch, 7.1.: Modell, Anweisung."), "{}", lines[0]);
    assert!(
        lines[1].contains("Changed since Wednesday, 7 January: model, prompt."),
        "{}",
        lines[1]
    );
}

#[test]
fn a_noise_floor_that_is_not_known_is_no_one() {
    let mut report = week();
    report.reliability.lambda = crate::facts::compare::Pair { share: Some(1.405), rating: None };
    let line = &german(&report).reliability.items[0];
    assert!(line.starts_with("Rauschen: Anteile 1,4"), "{line}");
    assert!(line.contains("Noten nicht bekannt"), "{line}");
}

#[test]
fn an_outage_has_its_begin_end_and_length() {
    let mut report = week();
    let from = "2026-01-07T13:05:00Z".parse().unwrap();
    let to = "2026-01-07T13:45:30Z".parse().unwrap();
    report.unreachable = vec![crate::facts::report::Outage { from, to, runs: 3 }];
    let summary = german(&report).summary.join("\n");
    assert!(
        summary.contains("Nicht erreichbar: Mi 7.1., 13:05 bis 13:45 (41 Minuten, 3 Läufe)."),
        "{summary}"
    );
    report.unreachable = vec![crate::facts::report::Outage { from, to: from, runs: 1 }; 5];
    let summary = german(&report).summary.join("\n");
    assert!(summary.contains("13:05 (1 Lauf).") && summary.ends_with("noch 2 Mal."), "{summary}");
}

#[test]
fn numbers_are_written_as_the_language_writes_them() {
    let [german, english] = BOTH.map(languages::words);
    assert_eq!([german, english].map(|it| it.number(1_234_567)), ["1.234.567", "1,234,567"]);
    assert_eq!([german, english].map(|it| it.decimal(1_234.5, 2)), ["1.234,50", "1,234.50"]);
    assert_eq!(
        [-0.4, -0.04, 0.0, 0.4].map(|it| german.signed(it)),
        ["−0,4", "±0,0", "±0,0", "+0,4"]
    );
    assert_eq!(
        [0.0, 0.004, 0.44, 0.996, 1.0].map(words::percent),
        ["0 %", "<1 %", "44 %", ">99 %", "100 %"]
    );
}

#[test]
fn every_text_of_a_hostile_report_is_one_short_printable_line() {
    for language in BOTH {
        let view = view(&hostile(), language);
        let printed = printed(&view);
        assert!(printed.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{printed}");
        // Debug output writes a line break as two characters.
        assert!(!printed.contains("\\n") && !printed.contains("\\0"), "{printed}");
        let longest = printed.split('"').map(|text| text.chars().count()).max().unwrap();
        assert!(longest < 2_000, "{longest}");
        assert!(printed.len() < 400_000, "{}", printed.len());
    }
}

#[test]
fn no_sentence_of_a_world_is_empty_in_any_language() {
    let mut world = World::default();
    for persona in ["a", "b"] {
        world.run(persona, 5, [ok("todo.list"), failed("todo.list", HOSTILE)]);
    }
    for language in BOTH {
        let view = view(&report(&world.days(WEEK)), language);
        let sections = [&view.reliability, &view.cost];
        let lines = sections.into_iter().flat_map(|section| &section.items);
        let lines: Vec<_> = lines.chain(&view.summary).chain([&view.footer, &view.title]).collect();
        assert!(lines.len() > 5, "{lines:?}");
        for line in lines {
            // A part that is missing leaves a gap, empty brackets or a mark with nothing before it.
            let gaps = ["  ", "()", "[]", "( ", " )", " ,", ", .", " .", ": ."];
            assert!(gaps.iter().all(|gap| !line.contains(gap)), "{line}");
            assert!(line.starts_with(char::is_alphanumeric), "{line}");
            assert!(line == &view.title || line.ends_with('.'), "{line}");
        }
    }
}

proptest! {
    #[test]
    fn a_percentage_is_none_or_all_only_if_the_share_is(share in 0.0f64..=1.0) {
        let text = words::percent(share);
        prop_assert_eq!(text == "0 %", share == 0.0);
        prop_assert_eq!(text == "100 %", share == 1.0);
    }

    #[test]
    fn a_number_keeps_its_digits(number in any::<u64>()) {
        for language in BOTH {
            let text = languages::words(language).number(number);
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(digits, number.to_string());
        }
    }
}
