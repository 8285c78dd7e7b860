//! Constructed facts for tests: personas whose runs make calls.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    line::{self, Call, Line, Module, Run},
    window::{Builder, Days, Window},
};
use crate::domain::{Cause, Outcome, WhyNotRun};

/// Lines of an export. Issues, hits and tools follow from the calls.
#[derive(Clone, Default)]
pub(crate) struct World {
    runs: Vec<Run>,
    /// All other lines.
    pub(crate) others: Vec<Line>,
}

/// A call that succeeded.
pub(crate) fn ok(tool: &str) -> Call {
    Call {
        run: String::new(),
        number: 0,
        at: Timestamp::UNIX_EPOCH,
        tool: tool.to_owned(),
        module: tool.split('.').next().unwrap().to_owned(),
        ok: true,
        cause: None,
        issue: None,
        template: None,
        input_hash: Some("input".to_owned()),
        latency_ms: Some(100),
        tries: 1,
        chars: 100,
        cut: false,
        limit_offered: false,
        next: None,
        quote: None,
    }
}

/// A call that failed because of the product.
pub(crate) fn failed(tool: &str, issue: &str) -> Call {
    failed_by(Cause::Handler, tool, issue)
}

/// A call that failed.
pub(crate) fn failed_by(cause: Cause, tool: &str, issue: &str) -> Call {
    let template = Some(format!("cannot {issue}"));
    Call { ok: false, cause: Some(cause), issue: Some(issue.to_owned()), template, ..ok(tool) }
}

/// `call` with another input.
pub(crate) fn with(input: &str, call: Call) -> Call {
    Call { input_hash: Some(input.to_owned()), ..call }
}

/// The begin of a day; the first is 1.
pub(crate) fn day(day: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()
        + SignedDuration::from_hours(24 * (day - 1))
}

impl World {
    /// Adds a run that ended by itself. Each persona has its own hour of the day.
    pub(crate) fn run(
        &mut self,
        persona: &str,
        on: i64,
        calls: impl IntoIterator<Item = Call>,
    ) -> &mut Run {
        let at = day(on) + SignedDuration::from_hours(i64::from(persona.as_bytes()[0] % 24));
        let id = format!("run-{:05}", self.runs.len() + 1);
        let mut modules = BTreeMap::<String, Module>::new();
        for (call, number) in calls.into_iter().zip(1..) {
            let module =
                modules.entry(call.module.clone()).or_insert_with(|| module(&id, &call.module));
            let is_pain = call.cause.is_some_and(Cause::is_pain);
            module.failed += u32::from(is_pain);
            module.dead_end = is_pain || module.dead_end && !call.ok;
            let at = at + SignedDuration::from_secs(i64::from(number));
            self.others.push(Line::Call(Call { run: id.clone(), number, at, ..call }));
        }
        self.others.extend(modules.into_values().map(Line::Module));
        self.runs.push(run(id, persona, at));
        self.runs.last_mut().unwrap()
    }

    /// Rates a module of the last run, based on these calls.
    pub(crate) fn rate(&mut self, module: &str, rating: u8, notes: &str, calls: &[u32]) {
        let last = &self.runs.last().unwrap().id;
        for line in self.others.iter_mut().rev() {
            if let Line::Module(row) = line
                && row.run == *last
                && row.module == module
            {
                row.rating = Some(rating);
                row.grounded = !calls.is_empty();
                row.notes = Some(notes.to_owned());
                row.calls = calls.to_vec();
            }
        }
    }

    /// Adds a deployment, which the runner met at the begin of this day.
    pub(crate) fn deploy(&mut self, id: &str, version: &str, on: i64) {
        self.others.push(Line::Deployment(line::Deployment {
            id: id.to_owned(),
            version: version.to_owned(),
            source: "release".to_owned(),
            at: day(on),
        }));
    }

    /// Adds a persona that likes this module.
    pub(crate) fn persona(&mut self, id: &str, favourite: &str, weight: f64) {
        let mix = [(favourite.to_owned(), weight.into())].into_iter().collect();
        self.others.push(Line::Persona(line::Persona {
            id: id.to_owned(),
            label: format!("label of {id}"),
            archetype: None,
            cadence: None,
            mix,
        }));
    }

    /// Adds a list of tools, each with its hash, and of the tools that the runner hid.
    pub(super) fn catalog(&mut self, id: &str, tools: &[(&str, &str)], hidden: &[&str]) {
        let tool = |&(name, hash): &(&str, &str)| line::CatalogTool {
            name: name.to_owned(),
            hash: hash.to_owned(),
        };
        self.others.push(Line::Catalog(line::Catalog {
            id: id.to_owned(),
            tools: tools.iter().map(tool).collect(),
            hidden: hidden.iter().map(|name| (*name).to_owned()).collect(),
        }));
    }

    /// Adds a slot for which the persona was due and did not run.
    pub(super) fn absence(&mut self, persona: &str, slot: &str, why: WhyNotRun) {
        let (slot, persona) = (slot.to_owned(), persona.to_owned());
        self.others.push(Line::Absence(line::Absence { slot, persona, why }));
    }

    /// Adds a tick at noon of a day.
    pub(super) fn tick(&mut self, on: i64) {
        let at = day(on) + SignedDuration::from_hours(12);
        self.others.push(Line::Tick(line::Tick { at }));
    }

    /// Mutes an issue from the begin of one day to the begin of another.
    pub(crate) fn mute(&mut self, issue: &str, from: i64, until: i64) {
        self.others.push(Line::Mute(line::Mute {
            issue: issue.to_owned(),
            from: day(from),
            until: day(until),
            reason: "known".to_owned(),
        }));
    }

    /// The window of the last 28 days.
    pub(crate) fn window(&self) -> Window {
        self.days(Days::Last(28))
    }

    /// The window of these days.
    pub(crate) fn days(&self, days: Days) -> Window {
        window(&self.lines(), days)
    }

    /// All lines, runs first.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.runs.iter().cloned().map(Line::Run).chain(self.others.iter().cloned()).collect()
    }
}

/// The window of these lines.
pub(crate) fn window(lines: &[Line], days: Days) -> Window {
    let mut builder = Builder::default();
    for line in lines {
        builder.take(line.clone()).unwrap();
    }
    builder.finish(days).unwrap()
}

fn run(id: String, persona: &str, at: Timestamp) -> Run {
    Run {
        id,
        persona: persona.to_owned(),
        at,
        ended_at: None,
        slot: None,
        server_time: None,
        deployment: None,
        deployment_end: None,
        model: Some("model".to_owned()),
        effort: None,
        policy: None,
        runner: None,
        prompt: None,
        catalog: None,
        outcome: Outcome::Done,
        cost_usd: 0.0,
    }
}

fn module(run: &str, module: &str) -> Module {
    Module {
        run: run.to_owned(),
        module: module.to_owned(),
        rating: None,
        grounded: false,
        unrated_why: None,
        notes: None,
        calls: Vec::new(),
        reads: 0,
        writes: 0,
        failed: 0,
        dead_end: false,
    }
}
