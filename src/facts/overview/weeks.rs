//! The modules by week.

use std::{collections::HashSet, sync::Arc};

use jiff::civil::Date;

use super::{ModuleWeek, ModuleWeeks, WEEKS, WeeksOfModule};
use crate::{
    domain::Week,
    facts::{
        coverage::{FEWEST_PERSONAS, FEWEST_RUNS},
        report::{Uses, grounded},
        window::Window,
    },
};

/// What the weeks up to the window's last day say of these modules.
pub(super) fn weeks(window: &Window, uses: &Uses<'_>, modules: &[Arc<str>]) -> ModuleWeeks {
    let weeks = of_window(window);
    let position = |run: u32| position(weeks.first()?.monday(), window.run(run).day);
    let of_module = |module: &Arc<str>| {
        let mut all = vec![None; weeks.len()];
        let mut personas = HashSet::new();
        for exposed in uses.exposed(module) {
            let Some(week) = position(exposed.run) else { continue };
            let of: &mut ModuleWeek = all[week].get_or_insert_default();
            of.runs += 1;
            of.failed += u32::from(exposed.failed);
            of.personas += u32::from(personas.insert((week, window.run(exposed.run).persona)));
        }
        for (run, rating) in grounded(uses.rows(module).iter().copied()) {
            if let Some(week) = position(run) {
                all[week].get_or_insert_default().ratings.add(rating);
            }
        }
        WeeksOfModule { module: module.clone(), weeks: all }
    };
    ModuleWeeks { modules: modules.iter().map(of_module).collect(), weeks }
}

impl ModuleWeek {
    /// Whether its numbers say enough to be shown.
    pub fn is_enough(&self) -> bool {
        self.runs >= FEWEST_RUNS && self.personas as usize >= FEWEST_PERSONAS
    }
}

/// The weeks from that of the first run to that of the window's last day of which anything is known, at most
/// [`WEEKS`].
fn of_window(window: &Window) -> Vec<Week> {
    let first = window.runs().iter().map(|run| run.day).min();
    let last = window.days().zip(window.newest_day()).map(|((_, to), newest)| to.min(newest));
    let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
    let mut weeks: Vec<_> = std::iter::successors(Some(Week::of(last)), |week| Some(week.before()))
        .take_while(|week| *week >= Week::of(first))
        .take(WEEKS)
        .collect();
    weeks.reverse();
    weeks
}

/// Which week from `monday` on the day belongs to; `None` if it is older.
fn position(monday: Date, day: Date) -> Option<usize> {
    let days = day.duration_since(monday).as_hours() / 24;
    (day >= monday).then(|| usize::try_from(days / 7).ok()).flatten()
}
