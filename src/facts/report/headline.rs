//! What the first sentence of a report is about.

use std::collections::BTreeSet;

use super::{Fleet, Headline, ModuleReport};
use crate::{
    domain::Cause,
    facts::{coverage::ModuleStatus, frictions::Friction, state::State, window::Window},
};

/// Fewer runs, or personas, say too little.
const RUNS: usize = 5;
const PERSONAS: usize = 2;

pub(super) fn headline(
    window: &Window,
    fleet: &Fleet,
    frictions: &[Friction],
    modules: &[ModuleReport],
) -> Headline {
    if window.days().is_none() || window.runs().is_empty() && fleet.not_run.is_empty() {
        return Headline::NoFacts;
    }
    if fleet.runs == 0 {
        let most = fleet.not_run.iter().rev().max_by_key(|it| it.count);
        return Headline::NobodyRan { why: most.map(|it| it.why) };
    }
    let locked_out = window.runs_within().filter(|run| window.run(*run).outcome.is_locked_out());
    let locked_out = locked_out.count();
    if locked_out * 2 >= fleet.runs {
        return Headline::LockedOut { runs: locked_out };
    }
    let Calls { answered, failed, in_vain } = Calls::of(window);
    if in_vain > 0 && in_vain >= answered {
        return Headline::Unreachable { calls: in_vain, of: answered + in_vain };
    }
    if fleet.runs < RUNS || fleet.personas < PERSONAS {
        return Headline::TooFew;
    }
    let hurts = |friction: &Friction| friction.state != State::Resolved;
    let worst = frictions.iter().position(hurts);
    if failed * 2 > answered {
        return Headline::MostCallsFail { failed, of: answered, worst };
    }
    match worst {
        Some(worst) => {
            let others = frictions.iter().filter(|friction| hurts(friction)).count() - 1;
            Headline::Hurts { worst, others }
        }
        None => {
            let is_tested = |module: &&ModuleReport| {
                matches!(module.status, ModuleStatus::Rated | ModuleStatus::Used)
            };
            let tested = modules.iter().filter(is_tested).count();
            Headline::NothingRaised { untested_modules: modules.len() - tested }
        }
    }
}

/// The calls of the window.
struct Calls {
    /// Those that succeeded or failed because of the product or the contract.
    answered: u64,
    /// Those of them that failed.
    failed: u64,
    /// Those that did not reach the product.
    in_vain: u64,
}

impl Calls {
    fn of(window: &Window) -> Self {
        let runs: BTreeSet<_> = window.runs_within().collect();
        let tools = window.tools().all().iter().filter(|row| runs.contains(&row.run));
        let (answered, failed) = tools.fold((0, 0), |(answered, failed), row| {
            (answered + u64::from(row.used.calls), failed + u64::from(row.used.failed))
        });
        let is_in_vain = |cause: Option<Cause>| cause == Some(Cause::Unreachable);
        let in_vain = window.calls().all().iter().filter(|call| is_in_vain(call.cause)).count();
        Self { answered, failed, in_vain: in_vain as u64 }
    }
}
