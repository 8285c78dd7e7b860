//! How far a report can be trusted.

use super::*;
use crate::{domain::UnratedWhy, facts::Line};

/// Gives the last run's modules without a rating a reason.
fn because(world: &mut World, why: UnratedWhy) {
    let of_run = |line: &&mut Line| matches!(line, Line::Module(_));
    let Some(Line::Module(last)) =
        world.others.iter().rev().find(|line| matches!(line, Line::Module(_)))
    else {
        panic!("no module")
    };
    let run = last.run.clone();
    for line in world.others.iter_mut().filter(of_run) {
        if let Line::Module(row) = line
            && row.run == run
            && row.rating.is_none()
        {
            row.unrated_why = Some(why);
        }
    }
}

#[test]
fn ratings_that_are_missing_are_counted_with_their_reasons() {
    let mut world = World::default();
    world.run("a", MONDAY, [ok("todo.list"), ok("mail.send")]);
    world.rate("todo", 4, "Fine.", &[]);
    because(&mut world, UnratedWhy::Forgotten);
    world.run("b", MONDAY, [ok("todo.list"), ok("mail.send")]);
    because(&mut world, UnratedWhy::Stopped);
    // Facts of earlier versions say no reason.
    world.run("c", MONDAY, [ok("todo.list")]);
    world.run("c", MONDAY - 1, [ok("todo.list")]);
    let report = week(&world);
    let of_module = |name| &module(&report, name).unrated;
    assert_eq!(*of_module("mail"), [("forgotten", 1), ("stopped", 1)].into());
    assert_eq!(*of_module("todo"), [("stopped", 1)].into());
    let unrated = report.reliability.unrated;
    assert_eq!(unrated, Unrated { n: 4, of: 5, why: [("forgotten", 1), ("stopped", 2)].into() });
}

#[test]
fn too_kind_are_good_ratings_of_modules_that_were_a_dead_end_in_the_run() {
    let mut world = World::default();
    let mut run = |persona, on, call: Call, rating, calls: &[u32]| {
        world.run(persona, on, [call]);
        world.rate("todo", rating, "Fine.", calls);
    };
    let dead = || failed("todo.add", "F-AAAA");
    run("a", MONDAY, dead(), 4, &[1]);
    run("b", MONDAY, dead(), 3, &[1]);
    run("c", MONDAY, dead(), 5, &[1]);
    // No dead end, no ground, not in the week.
    run("a", MONDAY + 1, ok("todo.add"), 5, &[1]);
    run("a", MONDAY + 2, dead(), 5, &[]);
    run("a", MONDAY - 1, dead(), 5, &[1]);
    let share = week(&world).reliability.too_kind.unwrap();
    assert_eq!((share.n, share.personas), (3, 3));
    assert!((share.value - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(
        week(&every_day(&["a"], MONDAY..=MONDAY, &[ok("todo.add")])).reliability.too_kind,
        None
    );
}

/// Six personas, who use six tools a day and rate six modules, from `first` to the end of the week. What fails and how it is
/// rated differs from day to day, in the week itself by `in_week`.
fn noisy(first: i64, in_week: i64) -> World {
    let mut world = World::default();
    for on in first..=MONDAY + 6 {
        for (number, persona) in (0i64..).zip(PERSONAS) {
            let chance = |tool: i64| {
                (on * 7 + number * 5 + tool * 3 + if on >= MONDAY { in_week } else { 0 }) % 11
            };
            let call = |tool: i64| {
                let name = format!("m{tool}.add");
                if chance(tool) < 4 { failed(&name, &format!("F-{tool}")) } else { ok(&name) }
            };
            world.run(persona, on, (0..6).map(call));
            for tool in 0..6 {
                let rating = 1 + chance(tool).rem_euclid(5) as u8;
                world.rate(&format!("m{tool}"), rating, "Hm.", &[tool as u32 + 1]);
            }
        }
    }
    world
}

#[test]
fn the_noise_floors_are_those_of_the_weeks_before_the_window() {
    let known = week(&noisy(MONDAY - 28, 0)).reliability.lambda;
    assert!(
        known.share.is_some_and(|it| it >= 1.0) && known.rating.is_some_and(|it| it >= 1.0),
        "{known:?}"
    );
    assert_eq!(week(&noisy(MONDAY - 28, 5)).reliability.lambda, known, "whatever the week is like");
    for first in [MONDAY, MONDAY - 7] {
        assert_eq!(week(&noisy(first, 0)).reliability.lambda, Pair::default(), "too few weeks");
    }
}

/// What has changed if a persona's runs on these days have these models.
fn confounders(runs: &[(&str, i64, Option<&str>)]) -> Vec<(&'static str, Timestamp)> {
    let mut world = World::default();
    for (persona, on, model) in runs {
        world.run(persona, *on, [ok("todo.list")]).model = model.map(str::to_owned);
    }
    week(&world).reliability.confounded.iter().map(|it| (it.what, it.since)).collect()
}

/// The begin of the run of persona "a" on this day.
fn begin(on: i64) -> Timestamp {
    day(on) + jiff::SignedDuration::from_hours(1)
}

#[test]
fn a_setting_that_changed_against_a_personas_own_past_confounds_since_its_first_run() {
    let (old, new) = (Some("old"), Some("new"));
    let changed = [
        ("a", MONDAY - 1, old),
        ("a", MONDAY, old),
        ("a", MONDAY + 2, new),
        ("a", MONDAY + 3, new),
    ];
    assert_eq!(confounders(&changed), [("model", begin(MONDAY + 2))]);
    let before = [("a", MONDAY - 56, old), ("a", MONDAY - 3, new), ("a", MONDAY, new)];
    assert_eq!(
        confounders(&before),
        [("model", begin(MONDAY - 3))],
        "changed within the eight weeks"
    );
    let too_old = [("a", MONDAY - 57, old), ("a", MONDAY - 56, new), ("a", MONDAY, new)];
    assert_eq!(confounders(&too_old), []);
}

#[test]
fn a_setting_that_changed_within_a_personas_first_week_confounds() {
    let (old, new) = (Some("old"), Some("new"));
    let first_week = [("a", MONDAY, old), ("a", MONDAY + 1, old), ("a", MONDAY + 2, new)];
    assert_eq!(confounders(&first_week), [("model", begin(MONDAY + 2))]);
    // Also if others have a past.
    let with_past = [("b", MONDAY - 1, new), ("b", MONDAY, new)];
    assert_eq!(
        confounders(&[&with_past[..], &first_week].concat()),
        [("model", begin(MONDAY + 2))]
    );
}

#[test]
fn personas_with_settings_of_their_own_and_runs_that_do_not_say_them_confound_nothing() {
    let (old, new) = (Some("old"), Some("new"));
    let own =
        [("a", MONDAY - 1, old), ("a", MONDAY, old), ("b", MONDAY - 1, new), ("b", MONDAY, new)];
    assert_eq!(confounders(&own), []);
    assert_eq!(
        confounders(&[("a", MONDAY - 1, None), ("a", MONDAY, new), ("a", MONDAY + 1, None)]),
        []
    );
    assert_eq!(confounders(&[("a", MONDAY, new), ("b", MONDAY + 1, old)]), [], "one run each");
    assert_eq!(confounders(&[]), []);
}
