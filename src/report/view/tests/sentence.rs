//! The first sentence.

use std::sync::Arc;

use super::*;
use crate::{
    domain::WhyNotRun,
    facts::{
        report::{Fleet, Headline, Idle, NotRun, report},
        window::Days,
        world::World,
    },
    report::sample::{WEEK, week},
};

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
