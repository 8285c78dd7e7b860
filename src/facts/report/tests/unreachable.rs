//! When the product could not be reached.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

/// Calls of runs at a second of the week's first day: those in vain and those that were answered.
fn world(calls: impl IntoIterator<Item = (&'static str, i64, bool)>) -> World {
    let mut world = World::default();
    for (persona, second, is_in_vain) in calls {
        let call = match is_in_vain {
            true => failed_by(Cause::Unreachable, "todo.list", "F-AWAY"),
            false => ok("todo.list"),
        };
        let run = world.run(persona, MONDAY, []).id.clone();
        let at = day(MONDAY) + SignedDuration::from_secs(second);
        world.others.push(line(Call { run, number: 1, at, ..call }));
    }
    world
}

fn line(call: Call) -> crate::facts::Line {
    crate::facts::Line::Call(call)
}

/// The outages: first and last second, and how many runs.
fn outages(world: &World) -> Vec<(i64, i64, usize)> {
    let second = |at: Timestamp| at.duration_since(day(MONDAY)).as_secs();
    week(world).unreachable.iter().map(|it| (second(it.from), second(it.to), it.runs)).collect()
}

const MINUTE: i64 = 60;

#[test]
fn calls_in_vain_within_ten_minutes_are_one_outage_whatever_was_answered_meanwhile() {
    let (a, b) = (("a", 0, true), ("a", 10 * MINUTE, true));
    assert_eq!(outages(&world([a, b])), [(0, 600, 2)]);
    assert_eq!(outages(&world([a, ("b", 100, false), b])), [(0, 600, 2)]);
    assert_eq!(
        outages(&world([a, ("b", 100, false), ("a", 601, true)])),
        [(0, 0, 1), (601, 601, 1)]
    );
}

#[test]
fn calls_in_vain_within_an_hour_are_one_outage_if_none_was_answered_meanwhile() {
    let (a, b) = (("a", 0, true), ("b", 60 * MINUTE, true));
    assert_eq!(outages(&world([a, b])), [(0, 3_600, 2)]);
    assert_eq!(outages(&world([a, ("b", 60 * MINUTE + 1, true)])).len(), 2);
    assert_eq!(outages(&world([a, ("c", 1, false), b])).len(), 2, "answered");
    // What was answered before the outage or after it does not split it. Of the same second, answers come first.
    assert_eq!(outages(&world([("c", 0, false), a, b, ("c", 3_601, false)])).len(), 1);
    for persona in ["a", "z"] {
        assert_eq!(outages(&world([a, (persona, 60 * MINUTE, false), b])).len(), 2, "{persona}");
    }
}

#[test]
fn a_failure_of_the_product_is_an_answer_and_one_of_the_model_is_none() {
    let with = |cause| {
        let mut world = world([("a", 0, true), ("b", 30 * MINUTE, true)]);
        let run = world.run("c", MONDAY, []).id.clone();
        let at = day(MONDAY) + SignedDuration::from_mins(10);
        world.others.push(line(Call {
            run,
            number: 1,
            at,
            ..failed_by(cause, "todo.add", "F-AAAA")
        }));
        outages(&world).len()
    };
    assert_eq!([Cause::Handler, Cause::RejectedInput, Cause::Cut].map(with), [2; 3]);
    assert_eq!([Cause::Invented, Cause::RunnerPolicy, Cause::Stopped].map(with), [1; 3]);
}

#[test]
fn a_run_with_several_calls_in_vain_counts_once_and_those_of_other_weeks_do_not() {
    let mut world = World::default();
    let away = || failed_by(Cause::Unreachable, "todo.list", "F-AWAY");
    world.run("a", MONDAY, [away(), away(), away()]);
    world.run("a", MONDAY - 1, [away()]);
    world.run("a", MONDAY + 7, [away()]);
    // The hour of "a" is the first one.
    assert_eq!(outages(&world), [(3_601, 3_603, 1)]);
}

proptest! {
    #[test]
    fn outages_are_disjoint_and_in_order_and_each_call_in_vain_is_in_exactly_one(
        calls in prop::collection::vec((0usize..6, 0i64..20_000, any::<bool>()), 0..60),
    ) {
        let calls: Vec<_> = calls.into_iter().map(|(who, at, vain)| (PERSONAS[who], at, vain)).collect();
        let outages = outages(&world(calls.clone()));
        for pair in outages.windows(2) {
            let pause = pair[1].0 - pair[0].1;
            let is_answered = calls.iter().any(|(_, at, vain)| !vain && *at > pair[0].1 && *at <= pair[1].0);
            prop_assert!(pause > 60 * MINUTE || pause > 5 * MINUTE && is_answered, "{pair:?}");
        }
        let mut runs = 0;
        for (from, to, count) in &outages {
            prop_assert!(from <= to);
            let within = calls.iter().filter(|(_, at, vain)| *vain && (from..=to).contains(&at)).count();
            // Each run has one call.
            prop_assert_eq!(*count, within);
            runs += count;
        }
        prop_assert_eq!(runs, calls.iter().filter(|(.., vain)| *vain).count());
    }
}
