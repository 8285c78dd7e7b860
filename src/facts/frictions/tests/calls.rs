//! The calls that a friction names, and their module.

use super::*;

#[test]
fn a_friction_without_an_issue_names_its_own_calls() {
    let mut world = World::default();
    let slow = line::Call { latency_ms: Some(6_000), ..ok("x.slow") };
    let flood = line::Call { cut: true, ..ok("x.flood") };
    let fails = line::Call {
        next: Some(Next::Ended),
        quote: Some("Oh no.".to_owned()),
        ..failed("todo.add", "F-AAAA")
    };
    for on in 1..=3 {
        let calls = [ok("x.y"), slow.clone(), flood.clone(), ok("todo.list"), fails.clone()];
        world.run("a", on, calls);
        world.rate("todo", 1, "Ugly.", &[4]);
    }
    let frictions = frictions(&world.window());
    let of = |id: &str| frictions.frictions.iter().find(|friction| friction.id == id).unwrap();
    let begin = |on| day(on) + jiff::SignedDuration::from_hours(1);
    for (id, call) in [("slow:x.slow", 2), ("flood:x.flood", 3), ("silent-pain:todo", 4)] {
        let (first, last) = (&of(id).first_seen, &of(id).last_seen);
        assert_eq!((first.call, last.call), (Some(call), Some(call)), "{id}");
        let after = jiff::SignedDuration::from_secs(i64::from(call));
        assert_eq!((first.at, last.at), (begin(1) + after, begin(3) + after), "{id}");
        assert!(of(id).next.values().all(|count| *count == 0), "{id}");
    }
    assert_eq!(of("F-AAAA").next["ended"], 3);
}

#[test]
fn a_module_was_given_up_after_its_last_failed_call() {
    let mut world = World::default();
    world.persona("a", "todo", 0.5);
    for on in 1..=4 {
        world.run("a", on, [ok("todo.add")]);
    }
    let then = |next, call| line::Call { next: Some(next), ..call };
    world.run(
        "a",
        5,
        [
            then(Next::OtherFailed, failed("todo.list", "F-AAAA")),
            then(Next::Ended, failed("todo.add", "F-BBBB")),
        ],
    );
    for on in 6..=8 {
        world.run("a", on, [ok("mail.list")]);
    }
    let frictions = frictions(&world.window());
    let given_up =
        frictions.frictions.iter().find(|friction| friction.id == "gave-up:todo").unwrap();
    assert_eq!(
        (given_up.calls, given_up.first_seen.call, given_up.last_seen.call),
        (1, Some(2), Some(2))
    );
    assert_eq!((given_up.next["ended"], given_up.next["other-failed"]), (1, 0));
}

#[test]
fn the_module_is_that_of_the_calls_and_of_an_issue_at_several_tools_the_only_one() {
    let friction = |first: &str, second: &str| {
        let mut world = World::default();
        let coded = |module: &str, tool| line::Call {
            module: module.to_owned(),
            ..crate::facts::world::failed_by(Cause::Coded, tool, "F-CODE")
        };
        for persona in ["a", "b"] {
            world.run(persona, 1, [coded(first, "create_task"), coded(second, "list_tasks")]);
            world.rate(first, 1, "Cannot create.", &[1]);
        }
        frictions(&world.window()).frictions.remove(0)
    };
    let one = friction("todo", "todo");
    assert_eq!((&one.tool, one.module.as_deref()), (&None, Some("todo")));
    assert_eq!(one.quote.as_ref().unwrap().text, "Cannot create.");
    assert_eq!(friction("todo", "mail").module, None);
}
