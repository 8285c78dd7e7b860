mod facts;
mod laws;
mod sides;
mod verdicts;

use super::*;
use crate::facts::{
    line::Call,
    window::{Days, Window},
    world::{World, failed, ok},
};

const PERSONAS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Six personas for 35 days, one run a day. Version 1 begins with day 1, version 2 with day 29. `calls` are those of
/// a persona's run, by its day and whether the run is one of version 2.
fn five_weeks<C: IntoIterator<Item = Call>>(calls: impl Fn(&str, i64, bool) -> C) -> World {
    let mut world = World::default();
    world.deploy("D-1", "1", 1);
    world.deploy("D-2", "2", 29);
    for on in 1..=35 {
        for persona in PERSONAS {
            let is_new = on >= 29;
            let run = world.run(persona, on, calls(persona, on, is_new));
            built(run, if is_new { "D-2" } else { "D-1" });
        }
    }
    world
}

/// A world in which `todo.add` breaks for all with version 2.
fn broken() -> World {
    five_weeks(|_, _, is_new| [if is_new { failed("todo.add", "F-NEW") } else { ok("todo.add") }])
}

/// Gives a run a deployment, at its begin and its end.
fn built(run: &mut crate::facts::line::Run, deployment: &str) {
    run.deployment = Some(deployment.to_owned());
    run.deployment_end = Some(deployment.to_owned());
}

fn window(world: &World) -> Window {
    world.days(Days::Last(100))
}

fn compared(world: &World, a: Option<&str>, b: Option<&str>) -> Comparison {
    compare(&window(world), a, b).unwrap()
}

/// The current deployment against the 28 days before it.
fn latest(world: &World) -> Comparison {
    compared(world, None, None)
}

fn finding<'c>(comparison: &'c Comparison, id: &str) -> &'c Finding {
    comparison.findings.iter().find(|finding| finding.id == id).unwrap()
}

fn verdict(comparison: &Comparison, id: &str) -> Verdict {
    finding(comparison, id).verdict
}

fn ids(side: &SideSummary) -> Vec<&str> {
    side.deployments.iter().map(|build| build.id.as_str()).collect()
}
