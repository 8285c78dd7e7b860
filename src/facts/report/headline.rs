//! What the first sentence of a report is about.

use super::{Fleet, Headline, Idle, ModuleReport};
use crate::{
    domain::{Cause, Outcome},
    facts::{
        coverage::{Coverage, DayStatus, FEWEST_PERSONAS, FEWEST_RUNS},
        frictions::Friction,
        state::State,
        window::Window,
    },
};

pub(super) fn headline(
    window: &Window,
    fleet: &Fleet,
    (frictions, muted): (&[Friction], usize),
    modules: &[ModuleReport],
    coverage: &Coverage,
) -> Headline {
    let was_never_up = || window.ticks().first().is_none_or(|first| *first >= window.end());
    let is_empty = window.runs().is_empty() && fleet.not_run.is_empty() && was_never_up();
    if window.days().is_none() || is_empty {
        return Headline::NoFacts;
    }
    if fleet.runs == 0 {
        return nobody_ran(window, fleet, coverage);
    }
    let ended = |is_so: fn(Outcome) -> bool| {
        window.runs_within().filter(|run| is_so(window.run(*run).outcome)).count()
    };
    let locked_out = ended(Outcome::is_locked_out);
    if locked_out * 2 >= fleet.runs {
        return Headline::LockedOut { runs: locked_out };
    }
    let Calls { answered, failed, in_vain } = Calls::of(window);
    if in_vain > 0 && in_vain >= answered {
        return Headline::Unreachable { calls: in_vain, of: answered + in_vain };
    }
    let by_us = ended(|outcome| outcome == Outcome::Failed);
    if by_us * 2 >= fleet.runs {
        return Headline::FailedByUs { runs: by_us };
    }
    if answered == 0 {
        return Headline::NothingUsed;
    }
    if fleet.runs < FEWEST_RUNS as usize || fleet.personas < FEWEST_PERSONAS {
        return Headline::TooFew { failed, of: answered };
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
            Headline::NothingRaised {
                resolved: frictions.len(),
                muted,
                failed,
                of: answered,
                untested_modules: untested.count(),
            }
        }
    }
}

/// Why nobody ran; of several reasons that are as frequent, the first one.
fn nobody_ran(window: &Window, fleet: &Fleet, coverage: &Coverage) -> Headline {
    if let Some(most) = fleet.not_run.iter().rev().max_by_key(|it| it.count) {
        let why = Some(Idle::Absent(most.why));
        return Headline::NobodyRan { why, is_only: fleet.not_run.len() == 1 };
    }
    if window.newest_day().is_none_or(|newest| newest < window.from()) {
        return Headline::NobodyRan { why: None, is_only: false };
    }
    let mut days = coverage.totals();
    if days.len() > 1 {
        days.remove(&DayStatus::NotDue);
    }
    let most = days.iter().rev().max_by_key(|(_, count)| **count);
    Headline::NobodyRan {
        why: most.map(|(status, _)| Idle::Days(*status)),
        is_only: days.len() == 1,
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
