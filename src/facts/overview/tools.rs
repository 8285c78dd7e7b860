//! How each tool was used.

use std::collections::{HashMap, HashSet};

use super::ToolSummary;
use crate::{
    domain::ToolName,
    facts::{
        coverage::Tested,
        detect::durations,
        window::{Name, Window},
    },
};

/// The uses of a tool in a window.
#[derive(Default)]
struct Used {
    personas: HashSet<u32>,
    runs: u32,
    failed: u32,
    calls: u32,
    dead_ends: u32,
}

/// The tools by name.
pub(super) fn tools(window: &Window, tested: &Tested) -> Vec<ToolSummary> {
    let (used, durations) = (used(window), durations(window));
    let none = Used::default();
    let summary = |(tool, not_tested): (&str, _)| {
        let name = window.name(tool);
        let used = name.and_then(|name| used.get(&name)).unwrap_or(&none);
        let durations = name.and_then(|name| durations.get(&name));
        ToolSummary {
            tool: tool.to_owned(),
            module: module(window, tool),
            not_tested,
            personas: used.personas.len() as u32,
            runs: used.runs,
            failed: used.failed,
            calls: used.calls,
            dead_ends: used.dead_ends,
            p50_ms: durations.map(|it| it.p50_ms),
            p95_ms: durations.map(|it| it.p95_ms),
        }
    };
    tested.tools().map(summary).collect()
}

fn used(window: &Window) -> HashMap<Name, Used> {
    let mut tools = HashMap::<_, Used>::new();
    let rows = window.tools().all().iter().filter(|row| row.used.calls > 0);
    for row in rows.filter(|row| window.contains(row.run)) {
        let run = window.run(row.run);
        let of = tools.entry(row.tool).or_default();
        of.personas.insert(run.persona);
        of.runs += 1;
        of.failed += u32::from(row.used.failed > 0);
        of.calls = of.calls.saturating_add(row.used.calls);
        of.dead_ends += u32::from(row.used.dead_end && run.outcome.ended_by_itself());
    }
    tools
}

/// The module of a tool: as the facts say, or else the beginning of the name.
fn module(window: &Window, tool: &str) -> String {
    let name = window.name(tool);
    let of_facts = name.map(|name| window.module_of(name)).filter(|module| Some(*module) != name);
    match of_facts {
        Some(module) => window.text(module).to_owned(),
        None => ToolName::new(tool).module().as_str().to_owned(),
    }
}
