//! Each detector at its threshold and just below.

use std::collections::BTreeSet;

use super::*;
use crate::{
    domain::Cause,
    facts::{
        line::{Call, Deployment, Line},
        share::Tally,
        world::{World, day, failed, failed_by, ok, with},
    },
};

/// The detectors that the issue raises by its calls.
fn raised(world: &World, issue: &str) -> Vec<Detector> {
    let window = world.window();
    let number = window.issues().iter().position(|of| &*of.id == issue).unwrap();
    raised_by_issues(&window).swap_remove(number).into_iter().collect()
}

/// The detector, what it is about, and the number of runs.
fn found(world: &World) -> Vec<(Detector, String, usize)> {
    let window = world.window();
    let about = |about| match about {
        About::Tool(name) | About::Module(name) => window.text(name).to_owned(),
        About::End(outcome) => outcome.as_str().to_owned(),
        About::Issue(_) => unreachable!(),
    };
    let findings = findings(&window).into_iter();
    findings.map(|found| (found.detector, about(found.about), found.hits.len())).collect()
}

fn world(runs: impl IntoIterator<Item = (&'static str, Vec<Call>)>) -> World {
    let mut world = World::default();
    for ((persona, calls), on) in runs.into_iter().zip(1..) {
        world.run(persona, on, calls);
    }
    world
}

#[test]
fn an_issue_fails_in_three_runs_of_two_personas_or_half_of_five_runs_of_one() {
    let fails =
        |pairs: &[(u32, u32)]| fails(pairs.iter().map(|&(hits, exposed)| Tally { hits, exposed }));
    assert!(fails(&[(2, 9), (1, 9), (0, 9)]));
    assert!(!fails(&[(1, 9), (1, 9)]), "two runs");
    assert!(!fails(&[(3, 9), (0, 9)]), "one persona");
    assert!(fails(&[(3, 6)]) && fails(&[(3, 5)]));
    assert!(!fails(&[(3, 7)]), "less than half");
    assert!(!fails(&[(4, 4)]), "four runs");
}

#[test]
fn a_dead_end_in_two_runs_belongs_to_the_last_issue_at_which_the_tool_failed() {
    let run = || {
        vec![failed("t.a", "F-1"), with("2", failed("t.a", "F-2")), failed("t.b", "F-1"), ok("t.b")]
    };
    let twice = world([("a", run()), ("a", run())]);
    assert_eq!(raised(&twice, "F-2"), [Detector::DeadEnd]);
    assert_eq!(raised(&twice, "F-1"), []);
    assert_eq!(raised(&world([("a", run())]), "F-2"), []);
}

#[test]
fn a_run_that_was_ended_from_outside_is_no_dead_end() {
    for (outcome, expected) in [
        (Outcome::Turns, false),
        (Outcome::Cost, false),
        (Outcome::Stopped, false),
        (Outcome::Failed, true),
        (Outcome::Session, true),
    ] {
        let mut world = world([("a", vec![failed("t.a", "F-1")])]);
        world.run("b", 1, [failed("t.a", "F-1")]).outcome = outcome;
        assert_eq!(raised(&world, "F-1").contains(&Detector::DeadEnd), expected, "{outcome:?}");
    }
}

#[test]
fn the_same_call_twice_again_after_a_failure_in_two_runs_is_repeated() {
    let run = |again: usize| {
        let mut calls = vec![failed("t.a", "F-1"); again + 1];
        calls.extend([with("other", ok("t.a")), ok("t.b")]);
        ("a", calls)
    };
    assert_eq!(raised(&world([run(2), run(2)]), "F-1"), [Detector::Repeated]);
    assert_eq!(raised(&world([run(2), run(1)]), "F-1"), [], "once in the second run");
    assert_eq!(raised(&world([run(5)]), "F-1"), [], "one run");
    // The texts of the failures do not matter: the last one says which issue it is.
    let texts = || ("a", vec![failed("t.a", "F-1"), failed("t.a", "F-2"), ok("t.a")]);
    assert_eq!(raised(&world([texts(), texts()]), "F-2"), [Detector::Repeated]);
    assert_eq!(raised(&world([texts(), texts()]), "F-1"), []);
    let inputs = || {
        let calls = ["1", "1", "2", "2"].map(|input| with(input, failed("t.a", "F-1")));
        ("a", calls.into_iter().chain([ok("t.a")]).collect())
    };
    assert_eq!(raised(&world([inputs(), inputs()]), "F-1"), [], "once for each input");
    let others = || {
        let inputs = ["1", "2", "3", "4"].map(|input| with(input, failed("t.a", "F-1")));
        ("a", inputs.into_iter().chain([ok("t.a")]).collect())
    };
    assert_eq!(raised(&world([others(), others()]), "F-1"), [], "other inputs");
}

#[test]
fn two_different_inputs_until_it_worked_in_three_runs_of_one_model_are_fumbling() {
    let run = |inputs: &[&str]| {
        let calls = inputs.iter().map(|input| with(input, failed("t.a", "F-1")));
        ("a", calls.chain([with("right", ok("t.a"))]).collect::<Vec<_>>())
    };
    let (two, one, same) = (|| run(&["1", "2"]), || run(&["1"]), || run(&["1", "1"]));
    assert_eq!(raised(&world([two(), two(), one()]), "F-1"), [Detector::Fumbling]);
    assert_eq!(raised(&world([two(), one(), one()]), "F-1"), [], "median 1");
    assert_eq!(raised(&world([two(), two(), one(), one()]), "F-1"), [], "median 1.5");
    assert_eq!(raised(&world([two(), two()]), "F-1"), [], "two runs");
    assert!(!raised(&world([same(), same(), same()]), "F-1").contains(&Detector::Fumbling));
    let mut two_models = world([two(), two()]);
    two_models.run("a", 3, two().1).model = Some("another".to_owned());
    assert_eq!(raised(&two_models, "F-1"), []);
}

#[test]
fn a_field_that_three_runs_fell_into_is_a_trap_in_each_combination_of_fields() {
    let rejected = |tool: &str, issue: &str, template: &str| {
        let call = failed_by(Cause::RejectedInput, tool, issue);
        vec![Call { template: Some(template.to_owned()), ..call }, ok(tool)]
    };
    let due = || ("a", rejected("t.a", "F-1", "rejected input: due invalid_type"));
    let both =
        || ("b", rejected("t.a", "F-2", "rejected input: due invalid_type, title too_small"));
    let elsewhere = || ("c", rejected("t.b", "F-3", "rejected input: due invalid_type"));
    let trap = world([due(), due(), both()]);
    assert_eq!(raised(&trap, "F-1"), [Detector::FieldTrap]);
    assert_eq!(raised(&trap, "F-2"), [Detector::FieldTrap]);
    assert_eq!(raised(&world([due(), both(), elsewhere()]), "F-1"), []);
    // The whole of a template of another form is one field.
    let foreign = |template| ("a", rejected("t.a", "F-1", template));
    let text = "priority invalid_enum_value";
    assert_eq!(
        raised(&world([foreign(text), foreign(text), foreign(text)]), "F-1"),
        [Detector::FieldTrap]
    );
    assert_eq!(raised(&world([foreign(text), foreign(text)]), "F-1"), []);
    assert_eq!(raised(&world([foreign(""), foreign(""), foreign("")]), "F-1"), []);
    let handler = || ("a", vec![failed("t.a", "F-1"), ok("t.a")]);
    assert_eq!(raised(&world([handler(), handler(), handler()]), "F-1"), []);
}

#[test]
fn calls_cut_off_in_two_runs_are_unsure_but_not_just_after_a_deployment() {
    let cut = || vec![failed_by(Cause::Cut, "t.a", "F-1"), ok("t.a")];
    let mut world = world([("a", cut()), ("a", cut())]);
    assert_eq!(raised(&world, "F-1"), [Detector::Unsure]);
    // The first call of the second run.
    let call = world.lines().iter().rev().find_map(|line| match line {
        Line::Call(call) if !call.ok => Some(call.at),
        _ => None,
    });
    let mut deployed = |seconds| {
        world.others.retain(|line| !matches!(line, Line::Deployment(_)));
        world.others.push(Line::Deployment(Deployment {
            id: "D-1".to_owned(),
            version: "2".to_owned(),
            source: "release".to_owned(),
            at: call.unwrap() - jiff::SignedDuration::from_secs(seconds),
        }));
        raised(&world, "F-1")
    };
    assert_eq!(deployed(120), [Detector::Unsure]);
    assert_eq!(deployed(119), []);
    assert_eq!(deployed(0), []);
    assert_eq!(deployed(-1), [Detector::Unsure]);
}

#[test]
fn a_tool_is_slow_by_its_p95_over_twenty_calls_or_by_very_slow_answers_in_three_runs() {
    let taking = |latency_ms| Call { latency_ms: Some(latency_ms), ..ok("t.a") };
    // Of 20 calls, the nineteenth is the p95.
    let p95 = |calls: usize, slow: usize, latency| {
        let fast = vec![taking(100); calls - slow];
        world([("a", fast.into_iter().chain(vec![taking(latency); slow]).collect())])
    };
    assert_eq!(found(&p95(20, 2, 2_001)), [(Detector::Slow, "t.a".to_owned(), 1)]);
    assert_eq!(found(&p95(20, 1, 2_001)), []);
    assert_eq!(found(&p95(20, 2, 2_000)), []);
    assert_eq!(found(&p95(19, 2, 2_001)), []);
    let runs = |latency| (0..3).map(move |_| ("a", vec![taking(latency), taking(latency)]));
    assert_eq!(found(&world(runs(5_001))), [(Detector::Slow, "t.a".to_owned(), 3)]);
    assert_eq!(found(&world(runs(5_000))), []);
    assert_eq!(found(&world(runs(5_001).take(2))), []);
    let window = world(runs(5_001)).window();
    let slow = slow(&window).remove(0);
    assert_eq!((slow.tool.as_str(), slow.p50_ms, slow.p95_ms, slow.n), ("t.a", 5_001, 5_001, 6));
    // Calls whose duration is not known are not fast ones.
    let mut calls = vec![taking(2_001); 20];
    calls.extend(vec![Call { latency_ms: None, ..ok("t.a") }; 40]);
    let slow = super::slow(&world([("a", calls)]).window()).remove(0);
    assert_eq!((slow.p50_ms, slow.n), (2_001, 20));
}

#[test]
fn a_cut_result_or_a_large_one_that_could_have_been_limited_in_three_runs_is_a_flood() {
    let runs = |call: Call, runs| world(vec![("a", vec![call]); runs]);
    let large = Call { chars: 8_001, limit_offered: true, ..ok("t.a") };
    let flood = [(Detector::Flood, "t.a".to_owned(), 3)];
    assert_eq!(found(&runs(large.clone(), 3)), flood);
    assert_eq!(found(&runs(Call { cut: true, ..ok("t.a") }, 3)), flood);
    assert_eq!(found(&runs(large.clone(), 2)), []);
    assert_eq!(found(&runs(Call { chars: 8_000, ..large.clone() }, 3)), []);
    assert_eq!(found(&runs(Call { limit_offered: false, ..large }, 3)), []);
}

#[test]
fn a_name_that_two_personas_expect_is_missing_however_they_spell_it() {
    let invented = |tool: &str| failed_by(Cause::Invented, tool, "F-1");
    let once = ("a", vec![invented("todo.bulk_complete"), invented("todo.bulkComplete")]);
    assert_eq!(missing(&world([once.clone()]).window()), []);
    let twice =
        world([once, ("b", vec![invented("todo_bulkComplete"), invented("todo.bulkComplete")])]);
    let expected = Missing { name: "todo.bulkComplete".to_owned(), personas: 2, calls: 4 };
    assert_eq!(missing(&twice.window()), [expected]);
    assert_eq!(found(&twice), []);
}

#[test]
fn a_favourite_module_is_given_up_after_a_failure_and_three_runs_without_it() {
    let world = |weight, uses: usize, last: fn() -> Call, without: usize| {
        let mut world = World::default();
        world.persona("a", "todo", weight);
        let used = (1..uses).map(|_| ok("todo.add")).chain([last()]);
        for (call, on) in used.chain((0..without).map(|_| ok("journal.add"))).zip(1..) {
            world.run("a", on, [call]);
        }
        found(&world)
    };
    let fails = || failed("todo.add", "F-1");
    assert_eq!(world(0.2, 5, fails, 3), [(Detector::GaveUp, "todo".to_owned(), 1)]);
    assert_eq!(world(0.19, 5, fails, 3), []);
    assert_eq!(world(0.2, 4, fails, 3), []);
    assert_eq!(world(0.2, 5, fails, 2), []);
    assert_eq!(world(0.2, 5, || ok("todo.add"), 3), []);
    let away = || failed_by(Cause::Unreachable, "todo.add", "F-1");
    assert_eq!(world(0.2, 5, away, 3), []);
}

#[test]
fn two_personas_that_do_not_get_in_are_locked_out() {
    let world = |ends: &[(&str, Outcome)]| {
        let mut world = World::default();
        for (persona, outcome) in ends {
            world.run(persona, 1, []).outcome = *outcome;
        }
        found(&world)
    };
    for outcome in [Outcome::Login, Outcome::Space, Outcome::Session] {
        let expected = [(Detector::LockedOut, outcome.as_str().to_owned(), 2)];
        assert_eq!(world(&[("a", outcome), ("b", outcome)]), expected);
        assert_eq!(world(&[("a", outcome), ("a", outcome)]), []);
    }
    let (login, space) = (Outcome::Login, Outcome::Space);
    let each = |runs: [usize; 2]| {
        [login, space]
            .into_iter()
            .zip(runs)
            .map(|(outcome, runs)| (Detector::LockedOut, outcome.as_str().to_owned(), runs))
            .collect::<Vec<_>>()
    };
    assert_eq!(world(&[("a", login), ("b", space)]), each([1, 1]), "the ends count together");
    assert_eq!(world(&[("a", login), ("a", login), ("b", space)]), each([2, 1]));
    assert_eq!(world(&[("a", login), ("a", space)]), []);
    assert_eq!(world(&[("a", Outcome::Failed), ("b", Outcome::Failed)]), []);
}

#[test]
fn a_bad_rating_that_rests_on_successful_calls_is_silent_pain() {
    let rated = |rating, calls: &[u32], last: Call| {
        let mut world = World::default();
        world.run("a", 1, [ok("todo.add"), ok("todo.list"), last]);
        world.rate("todo", rating, "Confusing.", calls);
        found(&world)
    };
    let pain = [(Detector::SilentPain, "todo".to_owned(), 1)];
    assert_eq!(rated(2, &[1, 2], failed("todo.add", "F-1")), pain);
    assert_eq!(rated(3, &[1, 2], failed("todo.add", "F-1")), []);
    assert_eq!(rated(2, &[1, 3], failed("todo.add", "F-1")), [], "a call failed");
    assert_eq!(rated(2, &[], ok("todo.add")), [], "not grounded");
    assert_eq!(rated(1, &[1, 9], ok("todo.add")), [], "no such call");
}

#[test]
fn a_good_rating_of_a_dead_end_is_too_kind() {
    let mut world = World::default();
    for (rating, last) in [
        (4, failed("t.a", "F-1")),
        (3, failed("t.a", "F-1")),
        (5, ok("t.a")),
        (5, failed("t.a", "F-1")),
    ] {
        world.run("a", 1, [ok("t.b"), last]);
        world.rate("t", rating, "Fine.", &[1]);
    }
    world.run("b", 1, [failed("t.a", "F-1")]);
    world.rate("t", 5, "Fine.", &[]);
    let tallies = too_kind(&world.window());
    assert_eq!(tallies, [Tally { hits: 2, exposed: 3 }, Tally { hits: 0, exposed: 0 }]);
}

#[test]
fn only_the_window_raises() {
    let run = || vec![failed("t.a", "F-1"), Call { cut: true, ..ok("t.b") }];
    let mut world = world([("a", run()), ("b", run()), ("c", run())]);
    assert_eq!(raised(&world, "F-1"), [Detector::DeadEnd]);
    assert_eq!(found(&world).len(), 1);
    world.run("a", 40, [ok("t.a")]);
    assert_eq!((raised(&world, "F-1"), found(&world)), (vec![], vec![]));
    assert!(world.window().end() > day(40));
}

#[test]
fn the_heaviest_detector_comes_first() {
    let all =
        BTreeSet::from([Detector::Repeated, Detector::Fails, Detector::DeadEnd, Detector::Slow]);
    let weights: Vec<_> = all.into_iter().map(Detector::weight).collect();
    assert_eq!(weights, [1.0, 0.7, 0.4, 0.4]);
}
