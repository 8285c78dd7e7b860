//! What holds for any facts.

use proptest::prelude::*;

use super::*;
use crate::facts::{
    line::Line,
    world::{failed_by, window as window_of},
};

/// A run: its persona, day, deployment, calls and rating, from four numbers.
type Seed = (u8, u8, u8, u16);

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    prop::collection::vec(any::<Seed>(), 0..80)
}

/// Small facts with all kinds of lines.
fn world(seeds: &[Seed]) -> World {
    let mut world = World::default();
    for (id, version, on) in [("D-1", "1", 1), ("D-2", "2", 15), ("D-3", "1", 15), ("D-4", "3", 25)]
    {
        world.deploy(id, version, on);
    }
    for (persona, on, deployments, what) in seeds {
        let call = |bit: u8, tool: &str| match what >> bit & 3 {
            0 => failed(tool, &format!("F-{bit}")),
            1 => failed_by(crate::domain::Cause::Coded, tool, "F-CODE"),
            2 => failed_by(crate::domain::Cause::Unreachable, tool, "F-AWAY"),
            _ => ok(tool),
        };
        let calls =
            [call(0, "todo.add"), call(2, "todo.list"), call(4, "mail.send"), call(6, "todo.add")];
        let run = world.run(PERSONAS[*persona as usize % 6], i64::from(on % 30), calls);
        let deployment = |number: u8| Some(format!("D-{number}")).filter(|_| number < 5);
        run.deployment = deployment(1 + deployments % 5);
        // One in four runs is mixed, or ends without a known deployment.
        run.deployment_end = match deployments / 64 {
            0 => deployment(1 + deployments / 5 % 5),
            _ => run.deployment.clone(),
        };
        run.model = Some(format!("model {}", what >> 14));
        let grounds: &[u32] = if what >> 13 & 1 == 0 { &[1] } else { &[] };
        world.rate("todo", 1 + (what >> 8) as u8 % 5, "A note.", grounds);
    }
    world
}

/// Ways to ask, of which each of the first has two sides that no run could both have.
const ASKED: [(Option<&str>, Option<&str>); 7] = [
    (Some("D-1"), Some("D-4")),
    (Some("2"), Some("1")),
    (Some("2026-01-01..2026-01-14"), Some("2026-01-15..2026-01-30")),
    (None, None),
    (Some("2"), None),
    (Some("2026-01-10"), Some("2026-01-05..2026-01-20")),
    (None, Some("2026-01-20")),
];

/// A kind of line before the kinds that name it, and deployments in their order.
fn kind(line: &Line) -> u8 {
    match line {
        Line::Deployment(_) => 0,
        Line::Run(_) => 1,
        _ => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_order_of_lines_changes_nothing(
        seeds in seeds(),
        keys in prop::collection::vec(any::<u32>(), 1..400),
    ) {
        let mut lines = world(&seeds).lines();
        let printed = |lines: &[Line]| {
            let window = window_of(lines, Days::Last(100));
            let compare = |(a, b)| serde_json::to_string(&compare(&window, a, b).unwrap()).unwrap();
            ASKED.map(compare)
        };
        let expected = printed(&lines);
        let mut keys = keys.iter().cycle();
        lines.sort_by_cached_key(|line| {
            let key = if kind(line) == 0 { 0 } else { *keys.next().unwrap() };
            (kind(line), key)
        });
        prop_assert_eq!(printed(&lines), expected);
    }

    #[test]
    fn counts_add_up_and_numbers_lie_where_they_can(seeds in seeds()) {
        let window = window(&world(&seeds));
        for (a, b) in ASKED {
            let comparison = compare(&window, a, b).unwrap();
            let Comparison { a, b, findings, .. } = &comparison;
            prop_assert!(a.runs + b.runs <= window.runs().len() && a.personas <= a.runs);
            for finding in findings {
                let is_rating = finding.fact == Fact::Rating;
                prop_assert!(finding.a.n as usize <= a.runs && finding.b.n as usize <= b.runs);
                let range = if is_rating { 1.0..=5.0 } else { 0.0..=1.0 };
                for value in [finding.a, finding.b] {
                    prop_assert_eq!(value.value.is_some(), value.n > 0);
                    prop_assert!(value.value.is_none_or(|value| range.contains(&value)));
                }
                prop_assert_eq!(finding.effect.is_some(), finding.p.is_some());
                prop_assert!(finding.p.is_none_or(|p| p > 0.0 && p <= 1.0));
                prop_assert!(finding.p_adjusted.is_none_or(|p| p >= finding.p.unwrap() && p <= 1.0));
                let has_verdict = finding.verdict <= Verdict::Better;
                prop_assert_eq!(has_verdict, !finding.personas.is_empty());
                prop_assert_eq!(has_verdict, finding.after.is_some());
                if let Some(Effect { low: Some(low), high: Some(high), .. }) = finding.effect {
                    prop_assert!(low <= high);
                }
            }
            let is_worse = findings.iter().any(|finding| finding.verdict == Verdict::Worse);
            prop_assert_eq!(is_worse, comparison.verdict == Overall::Worse);
        }
    }

    #[test]
    fn the_other_way_round_worse_is_better(seeds in seeds()) {
        let window = window(&world(&seeds));
        for (a, b) in &ASKED[..2] {
            let [one, other] = [(*a, *b), (*b, *a)].map(|(a, b)| compare(&window, a, b).unwrap());
            prop_assert_eq!((&one.a, &one.b), (&other.b, &other.a));
            prop_assert_eq!(one.findings.len(), other.findings.len());
            for found in &one.findings {
                let turned = finding(&other, &found.id);
                prop_assert_eq!((found.a, found.b), (turned.b, turned.a));
                let effects = [found, turned].map(|it| it.effect.map(|it| it.value));
                prop_assert_eq!(effects[0], effects[1].map(|value| 0.0 - value));
                // The noise floors are those of different weeks.
                if one.lambda == other.lambda {
                    let turn = |verdict| match verdict {
                        Verdict::Worse => Verdict::Better,
                        Verdict::Better => Verdict::Worse,
                        other => other,
                    };
                    let is_sure = |it: Verdict| matches!(it, Verdict::Worse | Verdict::Better);
                    prop_assert_eq!(is_sure(found.verdict), is_sure(turned.verdict));
                    if is_sure(found.verdict) {
                        prop_assert_eq!(turn(found.verdict), turned.verdict);
                    }
                }
            }
        }
    }

    #[test]
    fn sides_whose_runs_are_the_same_have_no_verdict(seeds in seeds()) {
        let mut twice = World::default();
        twice.deploy("D-1", "1", 1);
        twice.deploy("D-2", "2", 31);
        let one = world(&seeds);
        let mut lines = twice.lines();
        for (suffix, build, days) in [("a", "D-1", 0), ("b", "D-2", 30)] {
            let later = jiff::SignedDuration::from_hours(24 * days);
            lines.extend(one.lines().into_iter().filter_map(|line| match line {
                Line::Run(mut run) => {
                    run.id += suffix;
                    run.at += later;
                    built(&mut run, build);
                    Some(Line::Run(run))
                }
                Line::Call(mut call) => {
                    call.run += suffix;
                    Some(Line::Call(call))
                }
                Line::Module(mut module) => {
                    module.run += suffix;
                    Some(Line::Module(module))
                }
                _ => None,
            }));
        }
        let comparison = compare(&window_of(&lines, Days::Last(100)), Some("1"), Some("2")).unwrap();
        for finding in comparison.findings {
            prop_assert!(matches!(finding.verdict, Verdict::Unchanged | Verdict::Undecided), "{finding:?}");
            prop_assert_eq!((finding.a, finding.effect.unwrap().value), (finding.b, 0.0));
        }
    }
}
