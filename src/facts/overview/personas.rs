//! What each persona did.

use std::sync::Arc;

use super::{LastRun, PersonaModule, PersonaSummary, Ratings};
use crate::facts::{
    compare::Side,
    coverage::DayStatus,
    digits,
    report::{Uses, grounded, side},
    window::Window,
};

/// All personas by label. `days` are the statuses of the days of each persona of the window, in its order.
pub(super) fn personas(
    window: &Window,
    uses: &Uses<'_>,
    modules: &[Arc<str>],
    days: impl Iterator<Item = Vec<DayStatus>>,
) -> Vec<PersonaSummary> {
    let mut personas = blank(window);
    add_runs(window, &mut personas);
    modules.iter().for_each(|module| add_module(window, uses, module, &mut personas));
    personas.iter_mut().zip(days).for_each(|(persona, days)| persona.days = days);
    for persona in &mut personas {
        persona.cost_usd = digits::usd(persona.cost_usd);
        persona.ratings =
            persona.modules.iter().map(|it| it.ratings).fold(persona.ratings, Ratings::plus);
        persona.modules.shrink_to_fit();
    }
    personas.sort_by(|a, b| (&a.label, &a.id).cmp(&(&b.label, &b.id)));
    personas
}

/// The personas in the window's order, before anything is known of their runs.
fn blank(window: &Window) -> Vec<PersonaSummary> {
    let blank = |persona: &crate::facts::line::Persona| PersonaSummary {
        id: persona.id.clone(),
        label: (*persona.label).into(),
        archetype: persona.archetype.clone(),
        cadence: persona.cadence.clone(),
        runs: 0,
        cost_usd: 0.0,
        failed: 0,
        dead_ends: 0,
        ratings: Ratings::default(),
        days: Vec::new(),
        last_run: None,
        modules: Vec::new(),
    };
    window.personas().iter().map(blank).collect()
}

fn add_runs(window: &Window, personas: &mut [PersonaSummary]) {
    let mut last = vec![None; personas.len()];
    for (number, run) in (0..).zip(window.runs()) {
        last[run.persona as usize] = Some(number);
        if !window.contains(number) {
            continue;
        }
        let persona = &mut personas[run.persona as usize];
        let tools = window.tools().of(number);
        let is_dead_end = run.outcome.ended_by_itself() && tools.iter().any(|it| it.used.dead_end);
        persona.runs += 1;
        persona.cost_usd += run.cost;
        persona.failed += u32::from(tools.iter().any(|it| it.used.failed > 0));
        persona.dead_ends += u32::from(is_dead_end);
    }
    for (persona, last) in personas.iter_mut().zip(last) {
        let last = last.map(|last| window.run(last));
        persona.last_run =
            last.map(|last| LastRun { id: window.text(last.id).to_owned(), at: last.at });
    }
}

fn add_module(
    window: &Window,
    uses: &Uses<'_>,
    module: &Arc<str>,
    personas: &mut [PersonaSummary],
) {
    for exposed in uses.exposed(module).iter().filter(|it| window.contains(it.run)) {
        let of = of_module(&mut personas[window.run(exposed.run).persona as usize], module);
        of.runs += 1;
        of.failed += u32::from(exposed.failed);
    }
    for (run, rating) in grounded(uses.rows(module).iter().copied()) {
        let Some(side) = side(window, run) else { continue };
        let of = of_module(&mut personas[window.run(run).persona as usize], module);
        match side {
            Side::A => of.before.add(rating),
            Side::B => of.ratings.add(rating),
        }
    }
}

/// What the persona did with the module, which is the last one that was added or none of them.
fn of_module<'p>(persona: &'p mut PersonaSummary, module: &Arc<str>) -> &'p mut PersonaModule {
    let modules = &mut persona.modules;
    if modules.last().is_none_or(|last| last.module != *module) {
        modules.push(PersonaModule {
            module: module.clone(),
            runs: 0,
            failed: 0,
            ratings: Ratings::default(),
            before: Ratings::default(),
        });
    }
    let last = modules.len() - 1;
    &mut modules[last]
}
