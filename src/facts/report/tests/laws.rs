//! What holds for any facts.

use proptest::prelude::*;

use super::*;
use crate::facts::{
    Line, derive, line,
    window::Window,
    world::{window, with},
};

/// A kind of line before the kinds that name it, and deployments in their order.
fn rank(line: &Line) -> u8 {
    match line {
        Line::Meta(_) | Line::Deployment(_) => 0,
        Line::Run(_) | Line::Issue(_) => 1,
        _ => 2,
    }
}

fn of(lines: &[Line]) -> Report {
    report(&window(lines, between(MONDAY, MONDAY + 6)))
}

/// Small facts with all kinds of lines, from four numbers for each run.
pub(in crate::facts) fn small(seeds: &[(u8, u8, u8, u16)]) -> World {
    let mut world = World::default();
    world.deploy("D-1", "1", 1);
    world.deploy("D-2", "2", MONDAY + 2);
    world.catalog("C-1", &[("todo.add", "1"), ("todo.list", "1")], &["todo.drop"]);
    world.catalog("C-2", &[("todo.add", "2"), ("mail.send", "1")], &[]);
    world.persona("a", "calendar", 0.5);
    world.mute("F-6", MONDAY, 100);
    for (persona, on, settings, what) in seeds {
        let call = |bit: u8, tool: &str| match what >> bit & 7 {
            0 | 1 => failed(tool, &format!("F-{bit}")),
            2 => failed_by(Cause::Coded, tool, "F-CODE"),
            3 => failed_by(Cause::Unreachable, tool, "F-AWAY"),
            4 => failed_by(Cause::Invented, "todo.snooze", "F-INVE"),
            5 => Call { latency_ms: Some(9_000), ..ok(tool) },
            _ => ok(tool),
        };
        let calls =
            [call(0, "todo.add"), call(3, "todo.list"), call(6, "mail.send"), call(9, "todo.add")];
        let calls = calls.map(|call| quoted(with(&what.to_string(), call), "It does not work."));
        let persona = PERSONAS[*persona as usize % 6];
        let on = MONDAY - 56 + i64::from(on % 63);
        let run = world.run(persona, on, calls);
        run.deployment = Some(format!("D-{}", 1 + settings % 2));
        run.catalog = Some(format!("C-{}", 1 + settings / 2 % 3));
        run.model = Some(format!("model {}", settings / 128));
        run.cost_usd = f64::from(*settings) / 7.0;
        let grounds: &[u32] = if what >> 15 == 0 { &[1] } else { &[] };
        world.rate("todo", 1 + (what >> 8) as u8 % 5, &format!("A note on {what}."), grounds);
        world.tick(on);
        world.absence(
            persona,
            &format!("2026-03-0{}", 1 + settings % 9),
            WhyNotRun::ALL[*settings as usize % 9],
        );
    }
    world
}

/// All lines of the facts, with those of issues, hits and tools, and the calls of these runs only.
fn without_calls(world: &World, is_kept: impl Fn(&Window, u32) -> bool) -> Vec<Line> {
    let all = world.days(Days::All);
    let text = |name| all.text(name).to_owned();
    let id = |run: u32| text(all.run(run).id);
    let kept: BTreeSet<_> =
        (0..all.runs().len() as u32).filter(|run| is_kept(&all, *run)).map(id).collect();
    let mut lines = world.lines();
    lines.retain(|line| !matches!(line, Line::Call(call) if !kept.contains(&call.run)));
    lines.extend(all.issues().iter().map(|issue| {
        Line::Issue(line::Issue {
            id: issue.id.to_string(),
            tool: issue.tool.map(text),
            cause: issue.cause,
            template: text(issue.template),
            first: issue.first.clone(),
        })
    }));
    lines.extend(all.hits().all().iter().map(|hit| {
        Line::Hit(line::Hit {
            issue: all.issues()[hit.issue as usize].id.to_string(),
            run: id(hit.run),
            calls: hit.calls,
            recovered: hit.recovered,
            tools: hit.tools.iter().map(|tool| text(*tool)).collect(),
        })
    }));
    lines.extend(all.tools().all().iter().map(|row| {
        let derive::Use { calls, failed, dead_end } = row.used;
        let (run, tool, recovered) = (id(row.run), text(row.tool), failed > 0 && !dead_end);
        Line::Tool(line::Tool { run, tool, calls, failed, dead_end, recovered })
    }));
    lines
}

/// What is told of these facts without single calls, as JSON. Which detectors an issue raises needs the calls.
fn without_what_needs_calls(window: &Window) -> String {
    let report = report(window);
    let issues = frictions::frictions(window).frictions.into_iter().filter(|it| it.cause.is_some());
    let issue =
        |it: &Friction| (it.id.clone(), it.state.as_str(), [it.runs, it.runs_exposed, it.calls]);
    let modules = report.modules.iter();
    serde_json::json!({
        "fleet": report.fleet,
        "cost": report.cost,
        "coverage": report.coverage,
        "notTested": report.not_tested,
        "reliability": report.reliability,
        "tools": report.changes.tools,
        "muted": report.muted,
        "deployments": report.deployments,
        "issues": issues.map(|it| issue(&it)).collect::<BTreeSet<_>>(),
        "modules": modules.map(|it| (&it.module, it.status.as_str(), &it.rating, it.friction)).collect::<Vec<_>>(),
    })
    .to_string()
}

#[test]
fn the_same_facts_give_the_same_report() {
    assert_eq!(week(&rich()), week(&rich()));
}

#[test]
fn the_calls_of_runs_before_the_window_are_not_needed() {
    let world = rich();
    let lines = without_calls(&world, |all, run| all.run(run).at >= day(MONDAY));
    let calls = |lines: &[Line]| lines.iter().filter(|it| matches!(it, Line::Call(_))).count();
    assert!(calls(&lines) < calls(&world.lines()) / 2);
    assert_eq!(of(&lines), week(&world));
}

#[test]
fn a_report_of_days_whose_calls_are_gone_says_how_many_runs_they_had() {
    let world = rich();
    let old = of(&without_calls(&world, |_, _| false));
    assert_eq!((old.runs_without_calls, week(&world).runs_without_calls), (42, 0));
    assert_eq!((old.unreachable.len(), old.missing.len(), old.slow.len()), (0, 0, 0));
    let quotes: Vec<_> = old.modules.iter().filter_map(|it| it.quote.as_ref()).collect();
    assert!(quotes.len() > 1 && quotes.iter().all(|quote| quote.call.is_none()), "{quotes:?}");
    let half = of(&without_calls(&world, |all, run| run % 2 == 0 || !all.contains(run)));
    assert_eq!(half.runs_without_calls, 21);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_order_of_the_lines_does_not_matter(
        seeds in prop::collection::vec(any::<(u8, u8, u8, u16)>(), 0..80),
        keys in prop::collection::vec(any::<u32>(), 1..400),
    ) {
        let mut lines = small(&seeds).lines();
        let report = of(&lines);
        let mut keys = keys.iter().cycle();
        lines.sort_by_cached_key(|line| {
            let rank = rank(line);
            (rank, if rank == 0 { 0 } else { *keys.next().unwrap() })
        });
        prop_assert_eq!(of(&lines), report);
    }

    #[test]
    fn only_what_needs_single_calls_differs_without_them(
        seeds in prop::collection::vec(any::<(u8, u8, u8, u16)>(), 0..80),
    ) {
        let world = small(&seeds);
        let week_of = |lines: &[Line]| window(lines, between(MONDAY, MONDAY + 6));
        let old = week_of(&without_calls(&world, |_, _| false));
        prop_assert_eq!(without_what_needs_calls(&old), without_what_needs_calls(&week_of(&world.lines())));
        let lines = without_calls(&world, |all, run| all.run(run).at >= day(MONDAY));
        prop_assert_eq!(of(&lines), week(&world));
    }

    #[test]
    fn the_parts_of_a_report_agree(seeds in prop::collection::vec(any::<(u8, u8, u8, u16)>(), 0..80)) {
        let report = week(&small(&seeds));
        prop_assert_eq!(report.frictions.len(), report.trends.len());
        let unraised = |it: &Friction| it.detector.is_none() || it.state == State::Muted;
        prop_assert!(!report.frictions.iter().any(|it| unraised(it)));
        prop_assert!(report.frictions.is_sorted_by(|a, b| a.impact >= b.impact));
        let Changes { new, regressed, resolved, .. } = &report.changes;
        for (id, state) in [(new, State::New), (regressed, State::Regressed), (resolved, State::Resolved)]
            .into_iter()
            .flat_map(|(ids, state)| ids.iter().map(move |id| (id, state)))
        {
            prop_assert!(report.frictions.iter().any(|it| it.id == *id && it.state == state));
        }
        for module in &report.modules {
            let (status, share) = (module.status, module.friction);
            prop_assert_eq!(module.rating.is_some(), status == ModuleStatus::Rated);
            prop_assert!(status.is_tested() || share.is_none());
            let delta = module.rating.as_ref().and_then(|it| it.delta.as_ref());
            if let Some(delta) = delta {
                prop_assert_eq!(delta.low.is_some(), delta.personas >= 5);
                prop_assert_eq!(delta.points.len(), if delta.personas < 5 { delta.personas } else { 0 });
            }
        }
        let quoted = report.modules.iter().filter_map(|it| it.quote.as_ref().map(|it| &it.persona));
        let quoted: Vec<_> = quoted.collect();
        prop_assert_eq!(quoted.iter().collect::<BTreeSet<_>>().len(), quoted.len());
    }
}
