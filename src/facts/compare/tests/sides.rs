//! Which runs belong to which side.

use jiff::{SignedDuration, civil::date};

use super::*;
use crate::facts::{line, world::day};

fn runs(comparison: &Comparison) -> [usize; 2] {
    [comparison.a.runs, comparison.b.runs]
}

#[test]
fn the_current_deployment_is_compared_with_the_28_days_before_it() {
    let mut world = broken();
    // The last moment that is too old, and the first that is not; no deployment is known of either.
    for at in [day(1) - SignedDuration::from_nanos(1), day(1)] {
        world.run("a", 1, [ok("todo.add")]).at = at;
    }
    let comparison = latest(&world);
    assert_eq!(runs(&comparison), [28 * 6 + 1, 7 * 6]);
    assert_eq!((ids(&comparison.a), ids(&comparison.b)), (vec!["D-1"], vec!["D-2"]));
    let days = |side: &SideSummary| (side.from.unwrap(), side.to.unwrap());
    assert_eq!(days(&comparison.a), (date(2026, 1, 1), date(2026, 1, 28)));
    assert_eq!(days(&comparison.b), (date(2026, 1, 29), date(2026, 2, 4)));
    assert_eq!((comparison.a.personas, comparison.b.personas), (6, 6));
    assert_eq!(comparison.b.deployments[0].from, day(29));
}

#[test]
fn a_run_across_the_deployment_is_on_neither_side() {
    let mut world = broken();
    world.run("a", 28, [ok("todo.add")]).deployment = Some("D-1".to_owned());
    assert_eq!(runs(&latest(&world)), [169, 42], "an unknown end is no other deployment");
    let run = world.run("a", 28, [ok("todo.add")]);
    (run.deployment, run.deployment_end) = (Some("D-1".to_owned()), Some("D-2".to_owned()));
    assert_eq!(runs(&latest(&world)), [169, 42]);
    assert_eq!(runs(&compared(&world, Some("2026-01-28"), Some("D-2"))), [7, 42]);
}

#[test]
fn a_run_without_a_deployment_counts_in_a_only() {
    let mut world = broken();
    world.run("a", 28, [ok("todo.add")]);
    world.run("a", 30, [ok("todo.add")]);
    assert_eq!(runs(&latest(&world)), [169, 42]);
    assert_eq!(runs(&compared(&world, Some("2026-01-30"), Some("2026-01-31"))), [7, 6]);
    assert_eq!(runs(&compared(&world, Some("2026-01-28"), Some("2026-01-30"))), [7, 6]);
    world.run("a", 31, [ok("todo.add")]).deployment_end = Some("D-2".to_owned());
    assert_eq!(runs(&latest(&world)), [169, 43], "the end tells the deployment");
}

#[test]
fn after_a_rollback_the_version_that_comes_back_is_a_third_deployment() {
    let mut world = broken();
    world.deploy("D-3", "1", 36);
    for on in 36..=40 {
        for persona in PERSONAS {
            built(world.run(persona, on, [ok("todo.add")]), "D-3");
        }
    }
    let comparison = latest(&world);
    assert_eq!((ids(&comparison.a), ids(&comparison.b)), (vec!["D-1", "D-2"], vec!["D-3"]));
    assert_eq!(runs(&comparison), [21 * 6 + 7 * 6, 5 * 6]);
    assert_eq!(runs(&compared(&world, Some("2"), None)), [42, 30]);
    // A version means its latest deployment, an id its own.
    assert_eq!(runs(&compared(&world, Some("2"), Some("1"))), [42, 30]);
    assert_eq!(runs(&compared(&world, Some("D-1"), Some("2"))), [168, 42]);
    assert_eq!(compare(&window(&world), Some("1"), None), Err(NoSide::Same));
}

#[test]
fn an_id_comes_before_a_version_and_a_version_before_a_day() {
    let mut world = broken();
    world.deploy("2", "2026-01-05", 36);
    assert_eq!(ids(&compared(&world, Some("2"), Some("D-2")).a), ["2"]);
    assert_eq!(ids(&compared(&world, Some("2026-01-05"), Some("D-2")).a), ["2"]);
    assert_eq!(runs(&compared(&world, Some("2026-01-06"), Some("D-2"))), [6, 42]);
}

#[test]
fn a_range_has_both_its_days_and_what_both_sides_could_have_is_on_b() {
    let world = broken();
    let between = |a, b| runs(&compared(&world, Some(a), Some(b)));
    assert_eq!(between("2026-01-01..2026-01-03", "2026-01-04"), [18, 6]);
    assert_eq!(between("2026-01-01..2026-01-10", "2026-01-05..2026-01-20"), [24, 96]);
    assert_eq!(between("2026-01-05..2026-01-20", "2026-01-01..2026-01-10"), [60, 60]);
    assert_eq!(between("2026-01-20..2026-02-02", "D-2"), [54, 42]);
}

#[test]
fn a_day_is_one_of_mana_auths_time_in_the_zone_of_the_facts() {
    let mut world = broken();
    let run = world.run("a", 3, [ok("todo.add")]);
    run.server_time = Some(day(5));
    assert_eq!(runs(&compared(&world, Some("2026-01-05"), None)), [7, 42]);
    let berlin = line::Meta { schema: "facts/v1".to_owned(), tz: "Europe/Berlin".to_owned() };
    let mut lines = world.lines();
    lines.insert(0, line::Line::Meta(berlin));
    let window = crate::facts::world::window(&lines, Days::Last(100));
    // It is the fifth in Berlin as well, and so are the runs of the others, which began at one to six in the morning.
    assert_eq!(runs(&compare(&window, Some("2026-01-05"), None).unwrap()), [7, 42]);
}

#[test]
fn what_is_no_side_is_refused_and_the_error_names_the_deployments() {
    let window = window(&broken());
    let refused = |a, b| compare(&window, Some(a), b).unwrap_err();
    for text in ["3", "", "..", "2026-01-01..", "2026-13-01", "20260101", "2026-1-1", "\u{202e}"] {
        let NoSide::Unknown(is, deployments) = refused(text, None) else { panic!("{text}") };
        assert_eq!((is.as_str(), deployments.as_str()), (text, "D-2 (2), D-1 (1)"));
    }
    let reversed = NoSide::Reversed(date(2026, 1, 2), date(2026, 1, 1));
    assert_eq!(refused("2026-01-02..2026-01-01", None), reversed);
    for (a, b) in
        [("D-2", None), ("1", Some("D-1")), ("2026-01-01", Some("2026-01-01..2026-01-01"))]
    {
        assert_eq!(refused(a, b), NoSide::Same);
    }
    assert_eq!(
        NoSide::Unknown("x".to_owned(), "none".to_owned()).to_string(),
        "\"x\" is no deployment's id or version, no day and no range of days such as \
         2026-11-02..2026-11-08; the deployments are: none"
    );
}

#[test]
fn without_any_deployment_or_with_the_first_one_there_is_nothing_to_compare() {
    let mut world = World::default();
    assert_eq!(latest(&world).verdict, Overall::NotComparable);
    world.run("a", 1, [ok("todo.add")]);
    let comparison = latest(&world);
    assert_eq!((comparison.verdict, runs(&comparison)), (Overall::NotComparable, [0, 0]));
    assert_eq!((comparison.lambda, comparison.detectable), (Pair::default(), Pair::default()));
    world.deploy("D-1", "1", 2);
    built(world.run("a", 2, [ok("todo.add")]), "D-1");
    assert_eq!(runs(&latest(&world)), [1, 1], "a run of the time before any deployment");
    world.deploy("D-2", "2", 3);
    let comparison = latest(&world);
    assert_eq!((comparison.verdict, ids(&comparison.b)), (Overall::NotComparable, vec!["D-2"]));
}

#[test]
fn of_deployments_of_the_same_time_the_last_is_the_current_one() {
    let mut world = broken();
    world.deploy("D-3", "3", 29);
    let comparison = latest(&world);
    assert_eq!((ids(&comparison.b), runs(&comparison)), (vec!["D-3"], [168, 0]));
}

#[test]
fn the_current_deployment_is_that_of_the_windows_end() {
    let world = broken();
    let until = |to| world.days(Days::Between(date(2026, 1, 1), to));
    let comparison = compare(&until(date(2026, 1, 28)), None, None).unwrap();
    assert_eq!((ids(&comparison.b), runs(&comparison)), (vec!["D-1"], [0, 168]));
    let comparison = compare(&until(date(2026, 1, 29)), None, None).unwrap();
    assert_eq!((ids(&comparison.b), runs(&comparison)), (vec!["D-2"], [168, 6]));
}

#[test]
fn half_of_the_smaller_sides_personas_must_have_run_on_both_without_those_that_are_new() {
    // On A: a, b, c and d; on B: `on_b`. The persona x is known from the time before A.
    let are_comparable = |on_b: &str| {
        let mut world = World::default();
        world.deploy("D-1", "1", 50);
        world.deploy("D-2", "2", 60);
        world.run("x", 1, [ok("todo.add")]);
        world.run("y", 2, [ok("todo.add")]);
        for persona in ["a", "b", "c", "d"] {
            built(world.run(persona, 51, [ok("todo.add")]), "D-1");
        }
        for persona in on_b.chars() {
            built(world.run(&persona.to_string(), 61, [ok("todo.add")]), "D-2");
        }
        let of = |a, b| compared(&world, a, b).verdict != Overall::NotComparable;
        assert_eq!(of(None, None), of(Some("D-2"), Some("D-1")), "{on_b}");
        of(None, None)
    };
    assert!(are_comparable("ab") && are_comparable("ax") && are_comparable("a"));
    assert!(!are_comparable("axy") && !are_comparable("xy"));
    // Those that are new could not run before.
    assert!(are_comparable("aklmnop") && !are_comparable("klm"));
}
