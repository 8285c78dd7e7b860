//! What personas no longer do: use a module, or get into the product at all.

use std::collections::{BTreeMap, HashMap};

use super::{About, Detector, Finding, RunHit, Window};
use crate::{
    domain::{Label, Outcome},
    facts::window::{Call, Name},
};

/// A module is a favourite from this weight on.
const FAVOURITE: f64 = 0.2;
/// A persona is used to a module that so many of its runs used.
const USES: u32 = 5;
/// So many runs without the module say that the persona gave it up.
const RUNS_WITHOUT: u32 = 3;

/// Favourite modules whose last call failed and that the persona has not used since.
pub(super) fn gave_up(window: &Window) -> Vec<Finding> {
    /// How a persona uses a module.
    #[derive(Default)]
    struct Habit {
        uses: u32,
        last: u32,
        /// How many runs of the persona there were up to the last use.
        runs: u32,
    }
    // Runs that used no module at all could not have used this one either.
    let mut runs_of_persona = vec![0; window.personas().len()];
    let mut habits = HashMap::<(u32, Name), Habit>::new();
    for run in 0..window.runs().len() as u32 {
        let persona = window.run(run).persona;
        let modules = window.modules().of(run);
        runs_of_persona[persona as usize] += u32::from(!modules.is_empty());
        for row in modules {
            let habit = habits.entry((persona, row.module)).or_default();
            habit.uses += 1;
            habit.last = run;
            habit.runs = runs_of_persona[persona as usize];
        }
    }
    let mut given_up = BTreeMap::<Name, Vec<RunHit>>::new();
    for ((persona, module), habit) in habits {
        let weight = window.personas()[persona as usize].mix.get(window.text(module));
        let is_favourite =
            weight.and_then(|weight| weight.as_f64()).is_some_and(|weight| weight >= FAVOURITE);
        let runs_without = runs_of_persona[persona as usize] - habit.runs;
        if is_favourite
            && habit.uses >= USES
            && runs_without >= RUNS_WITHOUT
            && window.contains(habit.last)
            && let Some(call) = last_call_if_failed(window.calls().of(habit.last), module)
        {
            let hit = RunHit::of_calls(habit.last, vec![call.number]);
            given_up.entry(module).or_default().push(hit);
        }
    }
    let runs = window.runs_by_module();
    let finding = |(module, mut hits): (Name, Vec<RunHit>)| {
        hits.sort_unstable_by_key(|hit| hit.run);
        let exposed = runs.get(&module).cloned().unwrap_or_default();
        Finding { detector: Detector::GaveUp, about: About::Module(module), hits, exposed }
    };
    given_up.into_iter().map(finding).collect()
}

/// The last call of the module, if it failed because of the product or the contract.
fn last_call_if_failed(calls: &[Call], module: Name) -> Option<&Call> {
    let of_module = |call: &&Call| call.module == module && (call.ok || call.is_pain());
    calls.iter().rev().find(of_module).filter(|call| call.is_pain())
}

/// Runs that ended at the login, at the space or at the session, if they are of at least 2 personas together. One
/// friction for each of these ends.
pub(super) fn locked_out(window: &Window) -> Vec<Finding> {
    let ends = Outcome::ALL.iter().copied().filter(|outcome| outcome.is_locked_out());
    let ended =
        |outcome| window.runs_within().filter(move |run| window.run(*run).outcome == outcome);
    if window.personas_of(ends.clone().flat_map(ended)) < 2 {
        return Vec::new();
    }
    let at = |outcome| Finding {
        detector: Detector::LockedOut,
        about: About::End(outcome),
        hits: ended(outcome).map(|run| RunHit::of_calls(run, Vec::new())).collect(),
        exposed: window.runs_within().collect(),
    };
    ends.map(at).filter(|finding| !finding.hits.is_empty()).collect()
}
