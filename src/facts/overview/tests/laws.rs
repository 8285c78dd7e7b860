//! What holds for any facts.

use proptest::prelude::*;

use super::*;
use crate::{
    domain::Label,
    facts::{
        coverage::{Coverage, coverage},
        frictions::frictions,
        report::{report, tests::laws::small, tests::rich},
        state::State,
        window::Window,
    },
};

/// Checks what each overview has in common with the report.
fn agrees_with_the_report(window: &Window) {
    let overview = overview(window);
    let Overview { report: of, .. } = &overview;
    assert_eq!(*of, report(window));
    assert_eq!(overview.frictions, frictions(window));
    let all = &overview.frictions.frictions;
    assert_eq!(all.len(), overview.trends.len());
    assert_eq!(of.frictions, all[..of.frictions.len()]);
    assert_eq!(of.trends, overview.trends[..of.frictions.len()]);
    let is_raised = |it: &Friction| it.detector.is_some() && it.state != State::Muted;
    assert!(!all[of.frictions.len()..].iter().any(|it| is_raised(it)));

    let modules = of.modules.iter().map(|it| &*it.module);
    assert!(modules.eq(overview.weeks.modules.iter().map(|it| &*it.module)));
    assert!(overview.weeks.modules.iter().all(|it| it.weeks.len() == overview.weeks.weeks.len()));
    let empty = Some(ModuleWeek::default());
    assert!(!overview.weeks.modules.iter().any(|it| it.weeks.contains(&empty)));

    let personas = &overview.personas;
    assert_eq!(personas.iter().map(|it| it.runs as usize).sum::<usize>(), of.fleet.runs);
    assert_eq!(personas.iter().filter(|it| it.runs > 0).count(), of.fleet.personas);
    let cost: f64 = personas.iter().map(|it| it.cost_usd).sum();
    assert!((cost - of.cost.usd).abs() < 1e-5, "{cost}");
    assert!(personas.iter().all(|it| it.dead_ends <= it.failed && it.failed <= it.runs));
    days_are_those_of(&overview, &coverage(window));
    for module in &of.modules {
        let mine = personas.iter().flat_map(|it| &it.modules);
        let mine: Vec<_> = mine.filter(|it| *it.module == module.module).collect();
        assert_eq!(mine.iter().map(|it| it.runs).sum::<u32>(), module.runs);
        assert_eq!(mine.iter().filter(|it| it.runs > 0).count(), module.personas);
    }
    let tested = overview.tools.iter().filter(|tool| tool.not_tested.is_none());
    assert!(tested.clone().all(|tool| tool.runs >= 5 && tool.personas >= 2));
    assert!(overview.tools.iter().all(|tool| tool.failed <= tool.runs && tool.runs <= tool.calls));
    for slow in &of.slow {
        let tool = tool(&overview, &slow.tool);
        assert_eq!((tool.p50_ms, tool.p95_ms), (Some(slow.p50_ms), Some(slow.p95_ms)));
    }
}

fn days_are_those_of(overview: &Overview, coverage: &Coverage) {
    match coverage {
        Coverage::Personas(rows) => {
            assert_eq!(rows.len(), overview.personas.len());
            for (row, persona) in rows.iter().zip(&overview.personas) {
                let (days, statuses): (Vec<_>, Vec<_>) =
                    row.days.iter().map(|day| (day.day, day.status)).unzip();
                assert_eq!(
                    (&row.persona, days),
                    (&persona.label.to_string(), overview.days.clone())
                );
                assert_eq!(statuses, persona.days);
            }
        }
        Coverage::Counts(days) => {
            for (n, day) in days.iter().enumerate() {
                assert_eq!(day.day, overview.days[n]);
                for (word, count) in &day.counts {
                    let status = DayStatus::parse(word);
                    let of_status = |it: &&PersonaSummary| Some(it.days[n]) == status;
                    let found = overview.personas.iter().filter(of_status).count();
                    assert_eq!(found as u32, *count);
                }
            }
        }
    }
}

/// Checks that the last week of an overview of one week says what the report says.
fn week_agrees_with_the_report(overview: &Overview) {
    for module in &overview.report.modules {
        let (_, weeks) = overview.module(&module.module).unwrap();
        let last = weeks.weeks.last().copied().flatten().unwrap_or_default();
        assert_eq!((last.runs, last.personas as usize), (module.runs, module.personas));
        if let Some(share) = module.friction {
            assert!((share.value * share.n as f64 - f64::from(last.failed)).abs() < 1e-6);
        }
        if let Some(rating) = &module.rating {
            assert_eq!((Some(rating.mean), rating.n), (last.ratings.mean(), last.ratings.n));
        }
    }
}

#[test]
fn the_overview_of_a_rich_week_agrees_with_its_report() {
    let world = rich();
    agrees_with_the_report(&world.days(between(MONDAY, MONDAY + 6)));
    agrees_with_the_report(&world.days(Days::Last(28)));
    let overview = week(&world);
    week_agrees_with_the_report(&overview);
    assert!(overview.frictions.frictions.len() > overview.report.frictions.len());
    assert_eq!(overview.weeks.weeks.len(), 10);
    assert!(overview.friction("F-NEWW").is_some() && overview.friction("F-XXXX").is_none());
}

#[test]
fn the_days_of_many_personas_are_those_that_the_report_counts() {
    let mut world = World::default();
    for n in 0..60 {
        world.run(&format!("p{n}"), MONDAY + n % 7, [ok("todo.list")]);
        world.tick(MONDAY + n % 5);
    }
    let window = world.days(between(MONDAY, MONDAY + 6));
    assert!(matches!(coverage(&window), Coverage::Counts(_)));
    agrees_with_the_report(&window);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_overview_agrees_with_its_report(
        seeds in prop::collection::vec(any::<(u8, u8, u8, u16)>(), 0..80),
        days in 1..90_u32,
    ) {
        let world = small(&seeds);
        agrees_with_the_report(&world.days(between(MONDAY, MONDAY + 6)));
        agrees_with_the_report(&world.days(Days::Last(days)));
        week_agrees_with_the_report(&week(&world));
    }

    #[test]
    fn the_order_of_the_runs_does_not_matter(
        seeds in prop::collection::vec(any::<(u8, u8, u8, u16)>(), 0..80),
        turn in 0..1_000_usize,
    ) {
        let lines = small(&seeds).lines();
        let is_run = |line: &crate::facts::Line| matches!(line, crate::facts::Line::Run(_));
        let (mut runs, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_run);
        let of = |runs: &[_]| {
            let lines: Vec<_> = runs.iter().chain(&others).cloned().collect();
            overview(&crate::facts::world::window(&lines, between(MONDAY, MONDAY + 6)))
        };
        let before = of(&runs);
        if !runs.is_empty() {
            let by = turn % runs.len();
            runs.rotate_left(by);
        }
        prop_assert_eq!(of(&runs), before);
    }
}
