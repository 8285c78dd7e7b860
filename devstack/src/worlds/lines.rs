//! The lines of a world.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    domain::{Cause, Outcome},
    facts::line::{Deployment, Hit, Issue, Line, Meta, Module, Persona, Run, SCHEMA, Tool},
};

use super::{BEFORE, End, MODULES, PERSONAS, STRUCK, TOOLS};

/// The begin of the first day.
const FIRST_DAY: Timestamp = Timestamp::constant(1_767_225_600, 0);
const MODULE_NAMES: [&str; MODULES] = [
    "todo", "notes", "calendar", "habits", "contacts", "food", "money", "times", "music", "places",
];
/// The issue of a fault that has one of its own.
const FAULT: usize = TOOLS;

/// The lines so far, by kind.
pub(super) struct Lines {
    first: Vec<Line>,
    runs: Vec<Run>,
    modules: Vec<Module>,
    hits: Vec<Hit>,
    tools: Vec<Tool>,
}

/// The name of a tool.
pub(super) fn tool(number: usize) -> String {
    format!("{}.tool{}", module(number % MODULES), number / MODULES)
}

/// The name of a module.
pub(super) fn module(number: usize) -> String {
    MODULE_NAMES[number].to_owned()
}

fn persona(number: usize) -> String {
    format!("persona-{number}")
}

fn issue(number: usize) -> String {
    let letter = |number: usize| char::from(b'A' + (number % 26) as u8);
    format!("F-AA{}{}", letter(number / 26), letter(number))
}

fn at(day: usize) -> Timestamp {
    FIRST_DAY + SignedDuration::from_hours(24 * day as i64)
}

fn build(day: usize) -> &'static str {
    if day < BEFORE { "build-a" } else { "build-b" }
}

impl Lines {
    pub(super) fn new() -> Self {
        let deployment = |day: usize, version: &str| {
            Line::Deployment(Deployment {
                id: build(day).to_owned(),
                version: version.to_owned(),
                source: "release".to_owned(),
                at: at(day),
            })
        };
        let personas = (0..PERSONAS).map(|number| {
            Line::Persona(Persona {
                id: persona(number),
                label: format!("label.{number}"),
                archetype: None,
                cadence: Some("daily".to_owned()),
                mix: serde_json::Map::new(),
            })
        });
        let meta = Line::Meta(Meta { schema: SCHEMA.to_owned(), tz: "UTC".to_owned() });
        let first = [meta, deployment(0, "1.0.0"), deployment(BEFORE, "1.1.0")];
        Self {
            first: first.into_iter().chain(personas).collect(),
            runs: Vec::new(),
            modules: Vec::new(),
            hits: Vec::new(),
            tools: Vec::new(),
        }
    }

    /// Begins the run of a persona on a day. What follows belongs to it.
    pub(super) fn begin_run(&mut self, number: usize, day: usize) {
        let id = format!("run-{:05}", self.runs.len() + 1);
        // Each persona has its own hour.
        let at = at(day) + SignedDuration::from_hours(8 + number as i64);
        let of_module = |number| Module {
            run: id.clone(),
            module: module(number),
            rating: None,
            grounded: false,
            unrated_why: None,
            notes: None,
            calls: Vec::new(),
            reads: 0,
            writes: 0,
            failed: 0,
            dead_end: false,
        };
        self.modules.extend((0..MODULES).map(of_module));
        self.runs.push(Run {
            id,
            persona: persona(number),
            at,
            ended_at: Some(at + SignedDuration::from_mins(5)),
            slot: None,
            server_time: Some(at),
            deployment: Some(build(day).to_owned()),
            deployment_end: Some(build(day).to_owned()),
            model: None,
            effort: None,
            policy: None,
            runner: None,
            prompt: None,
            catalog: None,
            outcome: Outcome::Done,
            cost_usd: 0.0,
        });
    }

    /// The run used a tool, with one call that failed or succeeded, and one that succeeded if it recovered.
    pub(super) fn use_tool(&mut self, number: usize, end: End) {
        let run = format!("run-{:05}", self.runs.len());
        let (failed, recovered) = match end {
            End::Success => (false, false),
            End::Failure { is_recovered, .. } => (true, is_recovered),
        };
        if let End::Failure { is_fault, is_recovered } = end {
            self.hits.push(Hit {
                issue: issue(if is_fault { FAULT } else { number }),
                run: run.clone(),
                calls: 1,
                recovered: is_recovered,
                tools: vec![tool(number)],
            });
        }
        let dead_end = failed && !recovered;
        let calls = 1 + u32::from(recovered);
        let of_run = self.modules.len() - MODULES;
        let of_module = &mut self.modules[of_run + number % MODULES];
        of_module.reads += calls;
        of_module.failed += u32::from(failed);
        of_module.dead_end |= dead_end;
        self.tools.push(Tool {
            run,
            tool: tool(number),
            calls,
            failed: failed.into(),
            dead_end,
            recovered,
        });
    }

    /// The run rates a module if it used it: `rating` is rounded to 1..5.
    pub(super) fn rate(&mut self, number: usize, rating: f64) {
        let of_run = self.modules.len() - MODULES;
        let of_module = &mut self.modules[of_run + number];
        if of_module.reads > 0 {
            of_module.rating = Some(rating.round().clamp(1.0, 5.0) as u8);
            of_module.grounded = true;
        }
    }

    /// All lines, in the order of an export.
    pub(super) fn finish(self) -> Vec<Line> {
        let seen: BTreeSet<_> = self.hits.iter().map(|hit| hit.issue.clone()).collect();
        let seen = (0..=FAULT).filter(|number| seen.contains(&issue(*number)));
        let issues = seen.map(|number| {
            Line::Issue(Issue {
                id: issue(number),
                tool: Some(tool(if number == FAULT { STRUCK } else { number })),
                cause: Cause::Handler,
                template: format!("issue {number}"),
                first: None,
            })
        });
        let first = self.first.into_iter();
        let before = first.chain(self.runs.into_iter().map(Line::Run));
        let modules = self.modules.into_iter().filter(|row| row.reads > 0).map(Line::Module);
        let after =
            self.hits.into_iter().map(Line::Hit).chain(self.tools.into_iter().map(Line::Tool));
        before.chain(modules).chain(issues).chain(after).collect()
    }
}
