//! Computes a report, and keeps what else follows from the same facts on the way.

use std::collections::BTreeSet;

use super::{
    Fleet, NotRun, Report, SCHEMA, Spending, Unfinished, changes, headline, modules, reliability,
    unreachable, uses::Uses,
};
use crate::{
    domain::WhyNotRun,
    facts::{
        absent,
        compare::Build,
        coverage::{Coverage, Grid, Tested, days},
        detect::{missing, slow},
        digits,
        frictions::{self, Friction, Frictions},
        line,
        state::State,
        trend::Trend,
        window::Window,
    },
};

/// A report, and what else was computed for it.
pub(in crate::facts) struct Parts<'w> {
    pub(in crate::facts) report: Report,
    /// All frictions. The report has the first ones of them.
    pub(in crate::facts) frictions: Frictions,
    /// Of each of these frictions.
    pub(in crate::facts) trends: Vec<Trend>,
    pub(in crate::facts) tested: Tested,
    pub(in crate::facts) uses: Uses<'w>,
    /// `None` for a window without a day.
    pub(in crate::facts) grid: Option<Grid>,
}

impl<'w> Parts<'w> {
    pub(in crate::facts) fn of(window: &'w Window) -> Self {
        let mut resolved_without_hit = Vec::new();
        let (all, all_trends) = frictions::with_trends(window, |issue| {
            resolved_without_hit.extend(changes::resolved_without_hit(window, issue));
        });
        let is_raised =
            |friction: &Friction| friction.detector.is_some() && friction.state != State::Muted;
        let raised = all.frictions.iter().zip(&all_trends);
        let raised = raised.filter(|(friction, _)| is_raised(friction));
        let (frictions, trends): (Vec<_>, Vec<_>) =
            raised.map(|(friction, trend)| (friction.clone(), trend.clone())).unzip();
        let tested = modules::tested(window);
        let uses = Uses::of(window);
        let modules = modules::modules(window, &uses, &tested);
        let grid = Grid::of(window);
        let coverage = grid.as_ref().map_or_else(Coverage::default, Grid::coverage);
        let fleet = fleet(window);
        let report = Report {
            schema: SCHEMA,
            window: all.window,
            deployments: deployments(window),
            unreachable: unreachable::unreachable(window),
            muted: all.muted,
            changes: changes::changes(window, &frictions),
            missing: missing(window),
            slow: slow(window),
            reliability: reliability::reliability(window),
            cost: Spending {
                usd: fleet.cost_usd,
                per_persona_day_usd: (fleet.persona_days > 0)
                    .then(|| digits::usd(fleet.cost_usd / fleet.persona_days as f64)),
            },
            headline: headline::headline(
                window,
                &fleet,
                (&frictions, all.muted),
                &modules,
                &coverage,
            ),
            zone: window.zone().clone(),
            trends,
            resolved_without_hit,
            is_catalog_known: tested.is_catalog_known(),
            unfinished: Unfinished::of(window),
            first_run: window.runs().first().map(|run| run.at),
            runs_without_calls: window
                .runs_within()
                .filter(|run| has_lost_calls(window, *run))
                .count(),
            fleet,
            frictions,
            modules,
            not_tested: tested.not_tested(),
            coverage,
        };
        Self { report, frictions: all, trends: all_trends, tested, uses, grid }
    }
}

/// Whether the run made calls that are no longer kept.
fn has_lost_calls(window: &Window, run: u32) -> bool {
    window.calls().of(run).is_empty() && !window.tools().of(run).is_empty()
}

fn deployments(window: &Window) -> Vec<Build> {
    let runs = window.runs_within().map(|run| window.run(run));
    let met: BTreeSet<_> =
        runs.flat_map(|run| [run.deployment, run.deployment_end]).flatten().collect();
    let is_of_window = |deployment: &&line::Deployment| {
        let day = days::date(deployment.at, window.zone());
        let is_met = window.name(&deployment.id).is_some_and(|name| met.contains(&name));
        is_met || (window.from()..=window.to()).contains(&day)
    };
    window.deployments().iter().filter(is_of_window).map(Build::from).collect()
}

fn fleet(window: &Window) -> Fleet {
    let runs = || window.runs_within().map(|run| window.run(run));
    // A persona whose slot is used had its run.
    let absent = absent(window).into_iter().filter(|(why, _)| *why != WhyNotRun::SlotUsed);
    let mut not_run: Vec<_> = absent.map(|(why, count)| NotRun { why, count }).collect();
    not_run.sort_by_key(|it| it.why.as_str());
    Fleet {
        personas: runs().map(|run| run.persona).collect::<BTreeSet<_>>().len(),
        runs: runs().count(),
        persona_days: runs().map(|run| (run.persona, run.day)).collect::<BTreeSet<_>>().len(),
        cost_usd: digits::usd(runs().map(|run| run.cost).sum()),
        not_run,
    }
}
