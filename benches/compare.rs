//! Measures the comparison of two deployments of 35 days, the last seven of which are those of the second one: for ten
//! personas and for a thousand. A run uses eight of 33 tools and four of nine modules, which it rates.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

mod shared;

use std::{process::ExitCode, time::Instant};

use mana_persona_runner::facts::{
    Line,
    compare::compare,
    window::{Builder, Days},
};
use serde_json::{Value, json};

use crate::shared::{Chance, peak_mb};

const DAYS: u32 = 35;
const DAYS_BEFORE: u32 = 28;
const TOOLS: u64 = 33;
const TOOLS_OF_MODULE: u64 = 4;
/// The number of personas, and the longest that their comparison may take, in milliseconds.
const FLEETS: [(u32, u128); 2] = [(10, 150), (1_000, 3_000)];
/// The most memory that the benchmark may need, in MB.
const GOAL_MB: u64 = 100;

fn main() -> ExitCode {
    let measured: Vec<_> = FLEETS.into_iter().map(measure).collect();
    let peak = peak_mb();
    println!("at most {peak} MB in memory (goal: {GOAL_MB} MB)");
    let is_met = peak <= GOAL_MB && measured.iter().all(|is_met| *is_met);
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares the deployments of a fleet; returns whether that took no longer than `goal` milliseconds.
fn measure((personas, goal): (u32, u128)) -> bool {
    let mut builder = Builder::default();
    let mut chance = Chance(1);
    for (number, day) in [(1, 0), (2, DAYS_BEFORE)] {
        let id = format!("D-{number}");
        take(
            &mut builder,
            "deployment",
            json!({"id": id, "version": id, "source": "env", "at": at(day, 0)}),
        );
    }
    for day in 0..DAYS {
        (0..personas).for_each(|persona| add_run(&mut builder, &mut chance, day, persona));
    }
    let window = builder.finish(Days::Last(DAYS)).unwrap();
    let began = Instant::now();
    let comparison = compare(&window, None, None).unwrap();
    let took = began.elapsed().as_millis();
    println!(
        "{personas} personas, {} runs, {} facts: {took} ms (goal: {goal} ms)",
        comparison.a.runs + comparison.b.runs,
        comparison.findings.len(),
    );
    took <= goal
}

/// Adds a run with its tools, one of twenty of which fails, its ratings, and the issues that it hit.
fn add_run(builder: &mut Builder, chance: &mut Chance, day: u32, persona: u32) {
    let run = format!("0198c0de-0000-7000-8000-{day:04}{persona:08}");
    let build = if day < DAYS_BEFORE { "D-1" } else { "D-2" };
    let of_run = json!({"id": run, "persona": format!("persona-{persona:04}"), "outcome": "done",
        "at": at(day, persona), "deployment": build, "deploymentEnd": build, "model": "m", "costUsd": 0.1});
    take(builder, "run", of_run);
    let first = chance.below(TOOLS);
    for tool in (first..first + 8).map(|tool| tool % TOOLS) {
        let name = format!("module{}.tool{tool}", tool / TOOLS_OF_MODULE);
        let failed = chance.below(20) == 0;
        let used = json!({"run": run, "tool": name, "calls": 2, "failed": u32::from(failed), "deadEnd": failed});
        take(builder, "tool", used);
        if failed {
            let issue = format!("F-{tool:04}");
            take(
                builder,
                "issue",
                json!({"id": issue, "tool": name, "cause": "handler", "template": "it broke"}),
            );
            take(builder, "hit", json!({"run": run, "issue": issue, "calls": 1, "tools": [name]}));
        }
    }
    for module in 0..4 {
        let module = (first / TOOLS_OF_MODULE + module) % (TOOLS / TOOLS_OF_MODULE + 1);
        let rated = json!({"run": run, "module": format!("module{module}"), "rating": 1 + chance.below(5),
            "grounded": true});
        take(builder, "module", rated);
    }
}

fn at(day: u32, persona: u32) -> String {
    let begin: jiff::Timestamp = "2026-11-01T06:00:00Z".parse().unwrap();
    let minutes = i64::from(day) * 1_440 + i64::from(persona % 600);
    (begin + jiff::SignedDuration::from_mins(minutes)).to_string()
}

/// Gives the builder a line of this kind.
fn take(builder: &mut Builder, kind: &str, mut fields: Value) {
    fields["kind"] = kind.into();
    builder.take(serde_json::from_value::<Line>(fields).unwrap()).unwrap();
}
