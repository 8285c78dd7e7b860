//! What is compared, and which runs have it.

use super::*;
use crate::{
    domain::{Cause, Outcome},
    facts::{
        line::{self, Line},
        world::failed_by,
    },
};

/// The ids of all facts, sorted.
fn all(world: &World) -> Vec<String> {
    let mut ids: Vec<_> = latest(world).findings.into_iter().map(|finding| finding.id).collect();
    ids.sort();
    ids
}

fn sides(comparison: &Comparison, id: &str) -> [(Option<f64>, u32); 2] {
    let finding = finding(comparison, id);
    [finding.a, finding.b].map(|side| (side.value, side.n))
}

#[test]
fn each_issue_tool_module_and_rating_is_a_fact() {
    let mut world = broken();
    world.rate("todo", 3, "A note.", &[1]);
    assert_eq!(
        all(&world),
        ["F-NEW", "dead-end:todo.add", "module:todo", "rating:todo", "tool:todo.add"]
    );
    let comparison = latest(&world);
    let named = |id| {
        let finding = finding(&comparison, id);
        (finding.fact, finding.tool.as_deref(), finding.module.as_deref())
    };
    let (tool, module) = (Some("todo.add"), Some("todo"));
    assert_eq!(named("F-NEW"), (Fact::Issue, tool, module));
    assert_eq!(named("tool:todo.add"), (Fact::Tool, tool, module));
    assert_eq!(named("dead-end:todo.add"), (Fact::DeadEnd, tool, module));
    assert_eq!(named("module:todo"), (Fact::Module, None, module));
    assert_eq!(named("rating:todo"), (Fact::Rating, None, module));
}

#[test]
fn an_issue_of_several_tools_has_a_module_if_it_is_only_one() {
    let coded = |tool| failed_by(Cause::Coded, tool, "F-CODE");
    let of = |other: &'static str| {
        let world = five_weeks(|_, _, _| [coded("todo.add"), coded(other)]);
        let comparison = latest(&world);
        let found = finding(&comparison, "F-CODE");
        (found.tool.clone(), found.module.clone())
    };
    assert_eq!(of("todo.list"), (None, Some("todo".to_owned())));
    assert_eq!(of("habits.list"), (None, None));
}

#[test]
fn exposed_is_a_run_in_which_the_product_or_the_contract_answered() {
    let others =
        [Cause::Unreachable, Cause::Invented, Cause::BadJson, Cause::RunnerPolicy, Cause::Stopped];
    let world = five_weeks(|_, on, _| {
        let call = match on % 7 {
            0 => failed_by(Cause::RejectedInput, "todo.add", "F-FORM"),
            1 => ok("todo.add"),
            other => failed_by(others[other as usize - 2], "todo.add", "F-AWAY"),
        };
        [call]
    });
    assert_eq!(all(&world), ["F-FORM", "dead-end:todo.add", "module:todo", "tool:todo.add"]);
    let comparison = latest(&world);
    for id in all(&world) {
        assert_eq!(sides(&comparison, &id), [(Some(0.5), 48), (Some(0.5), 12)], "{id}");
    }
}

#[test]
fn exposed_to_an_issue_is_a_run_that_used_any_tool_at_which_the_issue_was_seen() {
    let coded = |tool| failed_by(Cause::Coded, tool, "F-CODE");
    let world = five_weeks(|persona, on, _| {
        [match persona {
            "a" if on == 1 => coded("todo.add"),
            "a" => ok("todo.add"),
            "b" if on == 35 => coded("habits.add"),
            "b" => ok("habits.add"),
            _ => ok("mail.send"),
        }]
    });
    assert_eq!(sides(&latest(&world), "F-CODE"), [(Some(0.0179), 56), (Some(0.0714), 14)]);
}

#[test]
fn retries_within_a_run_are_one_run_and_a_dead_end_has_no_later_success() {
    let world = five_weeks(|persona, _, _| {
        let last = if persona < "d" { ok("todo.add") } else { failed("todo.add", "F-1") };
        [failed("todo.add", "F-1"), failed("todo.add", "F-1"), last]
    });
    let comparison = latest(&world);
    for id in ["F-1", "tool:todo.add", "module:todo"] {
        assert_eq!(sides(&comparison, id), [(Some(1.0), 168), (Some(1.0), 42)], "{id}");
    }
    assert_eq!(sides(&comparison, "dead-end:todo.add"), [(Some(0.5), 168), (Some(0.5), 42)]);
}

#[test]
fn runs_that_were_ended_from_outside_have_no_dead_ends() {
    for outcome in [Outcome::Turns, Outcome::Cost, Outcome::Stopped, Outcome::Failed] {
        let mut world = broken();
        let run = world.run("a", 35, [failed("todo.add", "F-NEW")]);
        built(run, "D-2");
        run.outcome = outcome;
        let comparison = latest(&world);
        assert_eq!(finding(&comparison, "tool:todo.add").b.n, 43);
        let counts = u32::from(outcome == Outcome::Failed);
        assert_eq!(finding(&comparison, "dead-end:todo.add").b.n, 42 + counts, "{outcome:?}");
    }
}

#[test]
fn a_run_of_a_module_counts_once_whatever_tools_it_used() {
    let world = five_weeks(|persona, _, _| {
        let add = if persona == "a" { failed("todo.add", "F-1") } else { ok("todo.add") };
        [ok("todo.list"), add, ok("todo.show")]
    });
    assert_eq!(sides(&latest(&world), "module:todo"), [(Some(0.1667), 168), (Some(0.1667), 42)]);
}

#[test]
fn only_grounded_ratings_count() {
    let mut world = World::default();
    world.deploy("D-2", "2", 29);
    for on in 1..=35 {
        for persona in PERSONAS {
            let run = world.run(persona, on, [ok("todo.add"), ok("mail.send")]);
            run.deployment = (on >= 29).then(|| "D-2".to_owned());
            world.rate("todo", if on < 29 { 4 } else { 3 }, "A note.", &[1]);
            world.rate("mail", 1, "A note that rests on nothing.", &[]);
        }
    }
    assert_eq!(sides(&latest(&world), "rating:todo"), [(Some(4.0), 168), (Some(3.0), 42)]);
    assert!(!all(&world).contains(&"rating:mail".to_owned()));
}

#[test]
fn only_personas_with_runs_on_both_sides_count() {
    let world = five_weeks(|persona, on, _| {
        [match persona {
            "a" if on < 29 => failed("todo.add", "F-1"),
            "b" if on >= 29 => failed("todo.add", "F-1"),
            "a" | "b" => ok("mail.send"),
            _ => ok("todo.add"),
        }]
    });
    assert_eq!(sides(&latest(&world), "tool:todo.add"), [(Some(0.0), 112), (Some(0.0), 28)]);
}

#[test]
fn what_no_run_of_a_side_has_is_no_fact_and_what_no_persona_has_on_both_is_untested() {
    let mut world = broken();
    world.deploy("D-0", "0", -99);
    world.run("a", -50, [failed("mail.send", "F-OLD")]);
    built(world.run("a", 2, [ok("habits.list")]), "D-1");
    built(world.run("b", 30, [ok("habits.list")]), "D-2");
    let comparison = latest(&world);
    assert!(comparison.findings.iter().all(|finding| finding.module.as_deref() != Some("mail")));
    let found = finding(&comparison, "tool:habits.list");
    assert_eq!(found.verdict, Verdict::Untested);
    assert_eq!((found.effect, found.p, found.p_adjusted), (None, None, None));
    assert_eq!((found.a, found.b), (Value { value: None, n: 0 }, Value { value: None, n: 0 }));
}

#[test]
fn facts_follow_from_tools_and_hits_where_the_calls_are_no_longer_kept() {
    let world = five_weeks(|persona, on, is_new| {
        let breaks = if is_new { on % 2 == 0 } else { on % 9 == 0 && persona < "c" };
        let add = if breaks { failed("todo.add", "F-1") } else { ok("todo.add") };
        [ok("todo.list"), add, ok("mail.send")]
    });
    let full = window(&world);
    let text = |name| full.text(name).to_owned();
    let mut lines = world.lines();
    lines.retain(|line| !matches!(line, Line::Call(_)));
    lines.extend(full.issues().iter().map(|issue| {
        Line::Issue(line::Issue {
            id: issue.id.to_string(),
            tool: issue.tool.map(text),
            cause: issue.cause,
            template: text(issue.template),
            first: issue.first.clone(),
        })
    }));
    lines.extend(full.tools().all().iter().map(|row| {
        Line::Tool(line::Tool {
            run: text(full.run(row.run).id),
            tool: text(row.tool),
            calls: row.used.calls,
            failed: row.used.failed,
            dead_end: row.used.dead_end,
            recovered: false,
        })
    }));
    lines.extend(full.hits().all().iter().map(|hit| {
        Line::Hit(line::Hit {
            issue: full.issues()[hit.issue as usize].id.to_string(),
            run: text(full.run(hit.run).id),
            calls: hit.calls,
            recovered: hit.recovered,
            tools: Vec::new(),
        })
    }));
    let without_calls = crate::facts::world::window(&lines, Days::Last(100));
    assert_eq!(compare(&without_calls, None, None).unwrap(), latest(&world));
}
