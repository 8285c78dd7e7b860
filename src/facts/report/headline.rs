//! What the first sentence of a report is about.

use super::{Fleet, Headline, ModuleReport};
use crate::{
    domain::{Cause, WhyNotRun},
    facts::{
        coverage::{Coverage, DayStatus},
        frictions::Friction,
        state::State,
        window::Window,
    },
};

/// Fewer runs, or personas, say too little.
const RUNS: usize = 5;
const PERSONAS: usize = 2;

pub(super) fn headline(
    window: &Window,
    fleet: &Fleet,
    frictions: &[Friction],
    modules: &[ModuleReport],
    coverage: &Coverage,
) -> Headline {
    let was_never_up = || window.ticks().first().is_none_or(|first| *first >= window.end());
    let is_empty = window.runs().is_empty() && fleet.not_run.is_empty() && was_never_up();
    if window.days().is_none() || is_empty {
        return Headline::NoFacts;
    }
    if fleet.runs == 0 {
        // Of several reasons that are as frequent, the first one.
        let most = fleet.not_run.iter().rev().max_by_key(|it| it.count).map(|it| it.why);
        let was_down = || coverage.has(DayStatus::RunnerDown).then_some(WhyNotRun::RunnerDown);
        return Headline::NobodyRan { why: most.or_else(was_down) };
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
        let reasons = frictions.iter().enumerate();
        let reasons = reasons.filter(|(_, it)| hurts(it) && it.cause.is_some());
        // Of several with as many calls, the heaviest one.
        let reason = reasons.rev().max_by_key(|(_, it)| it.calls).map(|(position, _)| position);
        return Headline::MostCallsFail { failed, of: answered, worst: reason };
    }
    match worst {
        Some(worst) => {
            let others = frictions.iter().filter(|friction| hurts(friction)).count() - 1;
            Headline::Hurts { worst, others }
        }
        None => {
            let untested = modules.iter().filter(|module| !module.status.is_tested());
            Headline::NothingRaised { untested_modules: untested.count() }
        }
    }
}

/// The calls of the window.
struct Calls {
    /// Those that succeeded or failed because of the product or the contract.
    answered: u64,
    /// Those of them that failed.
    failed: u64,
    /// Those that did not reach the product, of runs whose calls are kept.
    in_vain: u64,
}

impl Calls {
    fn of(window: &Window) -> Self {
        let tools = window.tools().all().iter().filter(|row| window.contains(row.run));
        let (answered, failed) = tools.fold((0, 0), |(answered, failed), row| {
            (answered + u64::from(row.used.calls), failed + u64::from(row.used.failed))
        });
        let calls = window.calls().all().iter();
        let in_vain = calls.filter(|call| call.cause == Some(Cause::Unreachable)).count();
        Self { answered, failed, in_vain: in_vain as u64 }
    }
}
