//! What the first sentence of a report is about.

use std::sync::Arc;

use super::{Fleet, ModuleReport};
use crate::{
    domain::{Cause, Outcome, WhyNotRun},
    facts::{
        coverage::{Coverage, DayStatus, FEWEST_PERSONAS, FEWEST_RUNS},
        frictions::Friction,
        state::State,
        window::Window,
    },
};

/// What the sentence is about: the first of these that holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Headline {
    /// There is no run and no tick up to the window's end, and no absence in it.
    NoFacts,
    /// No persona ran.
    NobodyRan {
        /// The most frequent reason; `None` if no persona is known or the window is newer than all facts.
        why: Option<Idle>,
        /// Whether there is no other reason.
        is_only: bool,
    },
    /// At least half of the runs ended at login, space or session.
    LockedOut {
        /// How many.
        runs: usize,
    },
    /// At least half of the calls did not reach the product, in at least two runs unless there is only one.
    Unreachable {
        /// How many.
        calls: u64,
        /// Of how many.
        of: u64,
    },
    /// At least half of the runs failed because of the runner or the model, and not more than half of the answered calls
    /// because of the product or the contract.
    FailedByUs {
        /// How many.
        runs: usize,
    },
    /// No call was answered.
    NothingUsed,
    /// There are fewer than 5 runs, or they are of fewer than 2 personas.
    TooFew {
        /// How many calls failed because of the product or the contract.
        failed: u64,
        /// Of how many that the product answered.
        of: u64,
    },
    /// More than half of the calls that the product answered failed because of the product or the contract.
    MostCallsFail {
        /// How many.
        failed: u64,
        /// Of how many.
        of: u64,
        /// The position of the friction that most of them had, of those that the report has and that are not resolved.
        worst: Option<usize>,
    },
    /// Something hurts.
    Hurts {
        /// The position of the heaviest friction that is not resolved.
        worst: usize,
        /// How many others there are.
        others: usize,
    },
    /// No detector raised anything but what is resolved or muted. That is no all-clear.
    NothingRaised {
        /// How many frictions of the window are resolved.
        resolved: usize,
        /// How many are muted.
        muted: usize,
        /// How many calls failed because of the product or the contract.
        failed: u64,
        /// Of how many that the product answered.
        of: u64,
        /// How many modules have a status other than rated or used.
        untested_modules: usize,
    },
}

/// Why nobody ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Personas were due and did not run.
    Absent(WhyNotRun),
    /// No absence is known: what most days of the personas came to. That nobody was due is the reason only if no day
    /// came to anything else.
    Days(DayStatus),
}

pub(super) fn headline(
    window: &Window,
    fleet: &Fleet,
    (frictions, muted): (&[Arc<Friction>], usize),
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
    let Unfinished { locked_out, failed: by_us } = Unfinished::of(window);
    if locked_out * 2 >= fleet.runs {
        return Headline::LockedOut { runs: locked_out };
    }
    let Calls { answered, failed, in_vain, runs_in_vain } = Calls::of(window);
    let are_runs = runs_in_vain >= fleet.runs.min(2);
    if in_vain > 0 && in_vain >= answered && are_runs {
        return Headline::Unreachable { calls: in_vain, of: answered + in_vain };
    }
    if by_us * 2 >= fleet.runs && failed * 2 <= answered {
        return Headline::FailedByUs { runs: by_us };
    }
    if answered == 0 {
        return Headline::NothingUsed;
    }
    if fleet.runs < FEWEST_RUNS as usize || fleet.personas < FEWEST_PERSONAS {
        return Headline::TooFew { failed, of: answered };
    }
    let hurts = |friction: &Arc<Friction>| friction.state != State::Resolved;
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

/// Runs of the window that did not come to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Those that ended at login, space or session.
    pub locked_out: usize,
    /// Those that failed because of the runner or the model.
    pub failed: usize,
}

impl Unfinished {
    pub(super) fn of(window: &Window) -> Self {
        let ended = |is_so: fn(Outcome) -> bool| {
            window.runs_within().filter(|run| is_so(window.run(*run).outcome)).count()
        };
        Self {
            locked_out: ended(Outcome::is_locked_out),
            failed: ended(|outcome| outcome == Outcome::Failed),
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
    /// In how many runs.
    runs_in_vain: usize,
}

impl Calls {
    fn of(window: &Window) -> Self {
        let tools = window.tools().all().iter().filter(|row| window.contains(row.run));
        let (answered, failed) = tools.fold((0, 0), |(answered, failed), row| {
            (answered + u64::from(row.used.calls), failed + u64::from(row.used.failed))
        });
        let calls = window.calls().all().iter();
        let in_vain: Vec<_> = calls
            .filter(|call| call.cause == Some(Cause::Unreachable))
            .map(|call| call.run)
            .collect();
        let runs_in_vain = in_vain.chunk_by(|a, b| a == b).count();
        Self { answered, failed, in_vain: in_vain.len() as u64, runs_in_vain }
    }
}
