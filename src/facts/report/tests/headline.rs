//! What the first sentence is about.

use super::*;
use crate::facts::coverage::DayStatus;

fn nobody_ran(why: Idle, is_only: bool) -> Headline {
    Headline::NobodyRan { why: Some(why), is_only }
}

fn headline(world: &World) -> Headline {
    week(world).headline
}

/// Runs of these personas on the week's first day, each with these calls.
fn monday(personas: &[&str], calls: &[Call]) -> World {
    every_day(personas, MONDAY..=MONDAY, calls)
}

#[test]
fn without_a_run_a_tick_and_an_absence_there_are_no_facts() {
    assert_eq!(report(&World::default().days(Days::LastWeek)).headline, Headline::NoFacts);
    assert_eq!(headline(&World::default()), Headline::NoFacts);
    // What comes after the week says nothing about it.
    let mut later = monday(&[], &[]);
    later.run("a", MONDAY + 7, [ok("todo.list")]);
    later.tick(MONDAY + 7);
    later.absence("a", "2026-03-09", WhyNotRun::Paused);
    assert_eq!(headline(&later), Headline::NoFacts);
    later.tick(MONDAY + 6);
    assert_eq!(headline(&later), nobody_ran(Idle::Days(DayStatus::NotDue), true));
}

#[test]
fn where_nobody_ran_the_most_frequent_absence_is_the_reason() {
    let mut world = World::default();
    world.absence("a", "2026-03-02", WhyNotRun::Paused);
    world.absence("a", "2026-03-03", WhyNotRun::Budget);
    assert_eq!(headline(&world), nobody_ran(Idle::Absent(WhyNotRun::Budget), false), "by name");
    world.absence("a", "2026-03-04", WhyNotRun::Paused);
    assert_eq!(headline(&world), nobody_ran(Idle::Absent(WhyNotRun::Paused), false));
    world.run("a", MONDAY, [ok("todo.list")]);
    assert_eq!(headline(&world), Headline::TooFew { failed: 0, of: 1 });
}

#[test]
fn where_nobody_ran_and_nobody_was_asked_the_runner_was_down() {
    let mut world = every_day(&["a"], 1..=20, &[ok("todo.list")]);
    let unknown = Headline::NobodyRan { why: None, is_only: false };
    assert_eq!(headline(&world), unknown, "nothing is known after the 20th day");
    world.tick(MONDAY + 7);
    assert_eq!(headline(&world), nobody_ran(Idle::Days(DayStatus::RunnerDown), true));
    // What most days came to counts, and that nobody was due only if it is all there was.
    (0..6).for_each(|on| world.tick(MONDAY + on));
    assert_eq!(headline(&world), nobody_ran(Idle::Days(DayStatus::RunnerDown), true));
    world.tick(MONDAY + 6);
    assert_eq!(headline(&world), nobody_ran(Idle::Days(DayStatus::NotDue), true));
}

#[test]
fn locked_out_are_at_least_half_of_the_runs_whatever_the_others_say() {
    let mut world = monday(&["a", "b"], &[failed("todo.add", "F-AAAA")]);
    for (persona, outcome) in [("c", Outcome::Login), ("d", Outcome::Space), ("e", Outcome::Failed)]
    {
        world.run(persona, MONDAY, []).outcome = outcome;
    }
    assert_ne!(headline(&world), Headline::LockedOut { runs: 2 }, "two of five");
    world.run("f", MONDAY, []).outcome = Outcome::Session;
    assert_eq!(headline(&world), Headline::LockedOut { runs: 3 });
    let mut one = World::default();
    one.run("a", MONDAY, []).outcome = Outcome::Login;
    assert_eq!(headline(&one), Headline::LockedOut { runs: 1 }, "before too few");
}

#[test]
fn the_product_was_unreachable_for_at_least_half_of_the_calls() {
    let away = || failed_by(Cause::Unreachable, "todo.list", "F-AWAY");
    let half = [ok("todo.list"), failed("todo.add", "F-AAAA"), away(), away()];
    assert_eq!(headline(&monday(&["a"], &half)), Headline::Unreachable { calls: 2, of: 4 });
    let too_few = Headline::TooFew { failed: 1, of: 2 };
    assert_eq!(headline(&monday(&["a"], &half[..3])), too_few);
    // What the model and the runner did is not counted.
    let invented = failed_by(Cause::Invented, "todo.snooze", "F-INVE");
    let calls = [invented.clone(), invented, ok("todo.list"), away()];
    assert_eq!(headline(&monday(&["a"], &calls)), Headline::Unreachable { calls: 1, of: 2 });
    assert_eq!(headline(&monday(&["a"], &[])), Headline::NothingUsed, "none of no calls");
    let mut one_of_two = monday(&["a"], &[away()]);
    one_of_two.run("b", MONDAY, []);
    assert_eq!(headline(&one_of_two), Headline::NothingUsed, "one run proves no outage");
    one_of_two.run("c", MONDAY, [away()]);
    assert_eq!(headline(&one_of_two), Headline::Unreachable { calls: 2, of: 2 });
}

#[test]
fn too_few_are_fewer_than_five_runs_or_than_two_personas() {
    let calls = [ok("todo.list")];
    let is_too_few =
        |personas: &[&str]| matches!(headline(&monday(personas, &calls)), Headline::TooFew { .. });
    assert!(is_too_few(&PERSONAS[..4]) && !is_too_few(&PERSONAS[..5]));
    assert!(is_too_few(&["a"; 9]) && !is_too_few(&["a", "a", "a", "a", "b"]));
}

#[test]
fn most_calls_fail_if_more_than_half_of_those_that_were_answered_do() {
    let broken = || failed("todo.add", "F-AAAA");
    let half = [ok("todo.list"), broken()];
    assert!(matches!(headline(&monday(&PERSONAS, &half)), Headline::Hurts { .. }));
    let invented = failed_by(Cause::Invented, "todo.snooze", "F-INVE");
    let more = [ok("todo.list"), broken(), broken(), invented.clone(), invented];
    let expected = Headline::MostCallsFail { failed: 12, of: 18, worst: Some(0) };
    assert_eq!(headline(&monday(&PERSONAS, &more)), expected);
}

#[test]
fn the_reason_of_most_failed_calls_is_the_issue_of_most_calls_and_not_the_heaviest_one() {
    // Each run is stopped by one issue, recovers from the other, and waits for a slow tool.
    let mut calls =
        vec![failed("mail.send", "F-HARD"), Call { latency_ms: Some(9_000), ..ok("mail.list") }];
    calls.extend((0..5).map(|_| failed("todo.add", "F-MANY")));
    calls.push(ok("todo.add"));
    let report = week(&monday(&PERSONAS, &calls));
    let Headline::MostCallsFail { worst: Some(worst), .. } = report.headline else {
        panic!("{:?}", report.headline)
    };
    assert_eq!(report.frictions[0].id, "F-HARD");
    assert_eq!(report.frictions[worst].id, "F-MANY");
}

#[test]
fn what_hurts_is_the_heaviest_friction_that_is_not_resolved() {
    let mut world = World::default();
    for on in MONDAY..=MONDAY + 6 {
        for persona in PERSONAS {
            let broke =
                if on <= MONDAY + 1 { failed("mail.send", "F-GONE") } else { ok("mail.send") };
            let breaks = if persona < "c" { failed("todo.add", "F-HERE") } else { ok("todo.add") };
            world.run(persona, on, [broke, breaks, ok("todo.list"), ok("todo.list")]);
        }
    }
    let report = week(&world);
    let states: Vec<_> = report.frictions.iter().map(|it| (&*it.id, it.state)).collect();
    assert_eq!(states, [("F-HERE", State::New), ("F-GONE", State::Resolved)]);
    assert_eq!(report.headline, Headline::Hurts { worst: 0, others: 0 });
}

#[test]
fn nothing_raised_tells_how_many_modules_were_not_tested() {
    let mut world = every_day(&PERSONAS, MONDAY..=MONDAY + 6, &[ok("todo.list"), ok("mail.send")]);
    world.run("a", MONDAY, [ok("habits.add")]);
    world.persona("a", "calendar", 0.5);
    // Used: todo and mail. Too few: habits. Not offered: calendar.
    let expected =
        Headline::NothingRaised { resolved: 0, muted: 0, failed: 0, of: 85, untested_modules: 2 };
    assert_eq!(headline(&world), expected);
}

#[test]
fn nothing_raised_tells_what_is_muted_what_is_resolved_and_what_failed() {
    let mut world = World::default();
    for on in MONDAY..=MONDAY + 6 {
        for persona in PERSONAS {
            let gone =
                if on <= MONDAY + 1 { failed("mail.send", "F-GONE") } else { ok("mail.send") };
            let muted = failed("todo.add", "F-MUTE");
            world.run(persona, on, [gone, muted, ok("todo.list"), ok("todo.list")]);
        }
    }
    world.mute("F-MUTE", MONDAY, 100);
    let Headline::NothingRaised { resolved, muted, failed, of, .. } = headline(&world) else {
        panic!("{:?}", headline(&world))
    };
    assert_eq!((resolved, muted, failed, of), (1, 1, 54, 168));
}

#[test]
fn runs_that_failed_by_us_say_little_about_the_product() {
    let mut world = monday(&PERSONAS[..4], &[failed("todo.add", "F-AAAA"), ok("todo.list")]);
    for (persona, failed) in ["e", "f", "g"].into_iter().zip(1..) {
        world.run(persona, MONDAY, []).outcome = Outcome::Failed;
        assert!(!matches!(headline(&world), Headline::FailedByUs { .. }), "{failed} of more");
    }
    world.run("h", MONDAY, []).outcome = Outcome::Failed;
    assert_eq!(headline(&world), Headline::FailedByUs { runs: 4 });
    // What the product did to the others comes first.
    let mut world = monday(&PERSONAS[..4], &[failed("todo.add", "F-AAAA")]);
    for persona in ["e", "f", "g", "h"] {
        world.run(persona, MONDAY, []).outcome = Outcome::Failed;
    }
    assert!(matches!(headline(&world), Headline::MostCallsFail { failed: 4, of: 4, .. }));
    let invented = failed_by(Cause::Invented, "todo.snooze", "F-INVE");
    assert_eq!(headline(&monday(&PERSONAS, &[invented])), Headline::NothingUsed);
}
