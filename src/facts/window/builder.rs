//! Takes the lines of an export and makes a window of them.

mod finish;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    num::NonZeroU64,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Days, ImpossibleWindow, LABEL, NAME, Name, TEMPLATE, Window,
    names::{Names, beginning},
    rows::{Absence, Call, Hit, Issue, ModuleUse, Run, Settings, ToolUse},
};
use crate::{
    domain::Cause,
    facts::{
        coverage::days,
        derive, leaves_tool_out,
        line::{self, Line, Sighting},
        state::Muting,
    },
};

/// Above the size from which glibc maps each block apart, in bytes.
const ROOM: usize = 33 << 20;

/// Takes lines and makes a [`Window`] of them. The lines of a kind may come in any order, which matters only for
/// deployments of the same time; a run comes before what it did, and an issue before its hits.
#[derive(Debug)]
pub struct Builder {
    zone: TimeZone,
    names: Names,
    personas: Vec<line::Persona>,
    persona_of_id: HashMap<Box<str>, u32>,
    runs: Vec<Run>,
    run_of_id: HashMap<Name, u32>,
    issues: Vec<IssueSoFar>,
    issue_of_id: HashMap<Box<str>, u32>,
    calls: Vec<Call>,
    modules: Vec<ModuleUse>,
    tools: Vec<ToolUse>,
    hits: Vec<Hit>,
    catalogs: Vec<line::Catalog>,
    deployments: Vec<line::Deployment>,
    absences: Vec<Absence>,
    ticks: Vec<Timestamp>,
    /// The newest time of a run or a call.
    newest: Option<Timestamp>,
    mutes: HashMap<String, Vec<Muting>>,
}

/// An issue that a line describes, or that calls have named so far.
#[derive(Debug)]
struct IssueSoFar {
    issue: Issue,
    /// Whether a line describes the issue.
    is_described: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            names: Names::default(),
            personas: Vec::new(),
            persona_of_id: HashMap::new(),
            runs: roomy(),
            run_of_id: HashMap::new(),
            issues: Vec::new(),
            issue_of_id: HashMap::new(),
            calls: roomy(),
            modules: roomy(),
            tools: roomy(),
            hits: roomy(),
            catalogs: Vec::new(),
            deployments: Vec::new(),
            absences: Vec::new(),
            ticks: Vec::new(),
            newest: None,
            mutes: HashMap::new(),
        }
    }
}

impl Builder {
    /// Takes the next line. The days of facts without a [`line::Meta`] are those of UTC.
    ///
    /// # Errors
    ///
    /// What was expected instead of this line. The builder is then of no further use.
    pub fn take(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Meta(meta) => self.take_meta(&meta)?,
            Line::Catalog(catalog) => self.take_catalog(catalog),
            Line::Deployment(deployment) => self.take_deployment(deployment),
            Line::Persona(persona) => self.take_persona(persona),
            Line::Run(run) => self.take_run(&run)?,
            Line::Call(call) => self.take_call(&call)?,
            Line::Module(module) => self.take_module(module)?,
            Line::Issue(issue) => self.take_issue(issue),
            Line::Hit(hit) => self.take_hit(&hit)?,
            Line::Tool(tool) => self.take_tool(&tool)?,
            Line::Absence(absence) => self.take_absence(&absence)?,
            Line::Tick(tick) => self.ticks.push(tick.at),
            Line::Mute(mute) => {
                let muting = Muting { from: mute.from, until: mute.until };
                self.mutes.entry(mute.issue).or_default().push(muting);
            }
        }
        Ok(())
    }

    fn take_meta(&mut self, meta: &line::Meta) -> Result<(), String> {
        if meta.schema != line::SCHEMA {
            return Err(format!("expected the schema {}", line::SCHEMA));
        }
        self.zone =
            TimeZone::get(&meta.tz).map_err(|_| "expected the name of a time zone in tz")?;
        Ok(())
    }

    fn take_catalog(&mut self, mut catalog: line::Catalog) {
        let offered = catalog.tools.iter_mut().map(|tool| &mut tool.name);
        offered.chain(&mut catalog.hidden).for_each(|name| cut(name, NAME));
        self.catalogs.push(catalog);
    }

    fn take_deployment(&mut self, mut deployment: line::Deployment) {
        cut(&mut deployment.version, NAME);
        self.deployments.push(deployment);
    }

    fn take_persona(&mut self, mut persona: line::Persona) {
        cut(&mut persona.label, LABEL);
        let mix = mem::take(&mut persona.mix).into_iter();
        persona.mix =
            mix.map(|(name, weight)| (beginning(&name, NAME).to_owned(), weight)).collect();
        let position = self.persona(&persona.id);
        self.personas[position as usize] = persona;
    }

    /// The position of the persona with this id. The label of a persona that no line describes is its id.
    fn persona(&mut self, id: &str) -> u32 {
        if let Some(position) = self.persona_of_id.get(id) {
            return *position;
        }
        let position = self.personas.len() as u32;
        self.persona_of_id.insert(id.into(), position);
        self.personas.push(line::Persona {
            id: id.to_owned(),
            label: beginning(id, LABEL).to_owned(),
            archetype: None,
            cadence: None,
            mix: serde_json::Map::new(),
        });
        position
    }

    fn take_run(&mut self, run: &line::Run) -> Result<(), String> {
        let persona = self.persona(&run.persona);
        self.newest =
            [Some(run.at), run.server_time, run.ended_at, self.newest].into_iter().max().flatten();
        let mut name = |text: &str| self.names.add(text, usize::MAX);
        let mut optional = |text: &Option<String>| text.as_deref().map(&mut name);
        let row = Run {
            persona,
            at: run.at,
            // The zone is known only at the end.
            day: jiff::civil::Date::ZERO,
            server_time: run.server_time,
            deployment: optional(&run.deployment),
            deployment_end: optional(&run.deployment_end),
            settings: Settings {
                model: optional(&run.model),
                effort: optional(&run.effort),
                policy: optional(&run.policy),
                runner: optional(&run.runner),
                prompt: optional(&run.prompt),
            },
            catalog: optional(&run.catalog),
            slot: optional(&run.slot),
            outcome: run.outcome,
            cost: run.cost_usd,
            id: name(&run.id),
        };
        if self.run_of_id.insert(row.id, self.runs.len() as u32).is_some() {
            return Err("expected one line for each run".to_owned());
        }
        self.runs.push(row);
        Ok(())
    }

    /// The position of the run with this id.
    fn run(&self, id: &str) -> Result<u32, String> {
        let run = self.names.find(id).and_then(|id| self.run_of_id.get(&id));
        run.copied()
            .ok_or_else(|| "expected the id of a run that an earlier line describes".to_owned())
    }

    fn take_call(&mut self, call: &line::Call) -> Result<(), String> {
        let run = self.run(&call.run)?;
        self.newest = self.newest.max(Some(call.at));
        let cause = call.cause.filter(|_| !call.ok);
        let issue = match (&call.issue, cause) {
            (Some(id), Some(cause)) => Some(self.issue_of_call(id, cause, run, call)),
            _ => None,
        };
        self.calls.push(Call {
            run,
            number: call.number,
            at: call.at,
            tool: self.names.add(&call.tool, NAME),
            module: self.names.add(&call.module, NAME),
            ok: call.ok,
            cause,
            issue,
            input: call.input_hash.as_deref().map(hash),
            latency_ms: call.latency_ms.map(|ms| ms.try_into().unwrap_or(u32::MAX)),
            chars: call.chars.try_into().unwrap_or(u32::MAX),
            cut: call.cut,
            limit_offered: call.limit_offered,
            next: call.next,
            quote: self.names.add_quote(call.quote.as_deref()),
        });
        Ok(())
    }

    /// The position of the issue of a call. Unless a line describes the issue, its first call does.
    fn issue_of_call(&mut self, id: &str, cause: Cause, run: u32, call: &line::Call) -> u32 {
        let known = self.issue_of_id.get(id).copied();
        if let Some(known) = known.filter(|known| self.issues[*known as usize].is_described) {
            return known;
        }
        let deployment = self.runs[run as usize].deployment;
        let issue = Issue {
            id: id.into(),
            tool: (!leaves_tool_out(cause)).then(|| self.names.add(&call.tool, NAME)),
            cause,
            template: self.names.add(call.template.as_deref().unwrap_or_default(), TEMPLATE),
            first: Some(Sighting {
                at: call.at,
                run: Some(call.run.clone()),
                call: Some(call.number),
                deployment: deployment.map(|name| self.names.text(name).to_owned()),
            }),
            mutings: Vec::new(),
        };
        match known {
            Some(known) => {
                let so_far = &mut self.issues[known as usize].issue;
                if issue.first < so_far.first {
                    *so_far = issue;
                }
                known
            }
            None => self.add_issue(IssueSoFar { issue, is_described: false }),
        }
    }

    fn add_issue(&mut self, issue: IssueSoFar) -> u32 {
        let position = self.issues.len() as u32;
        self.issue_of_id.insert(issue.issue.id.clone(), position);
        self.issues.push(issue);
        position
    }

    fn take_issue(&mut self, issue: line::Issue) {
        let described = IssueSoFar {
            issue: Issue {
                tool: issue.tool.as_deref().map(|tool| self.names.add(tool, NAME)),
                cause: issue.cause,
                template: self.names.add(&issue.template, TEMPLATE),
                first: issue.first,
                mutings: Vec::new(),
                id: issue.id.into(),
            },
            is_described: true,
        };
        match self.issue_of_id.get(&described.issue.id) {
            Some(position) => self.issues[*position as usize] = described,
            None => _ = self.add_issue(described),
        }
    }

    fn take_module(&mut self, module: line::Module) -> Result<(), String> {
        if !module.rating.is_none_or(|rating| (1..=5).contains(&rating)) {
            return Err("expected a rating from 1 to 5".to_owned());
        }
        let notes = module.notes.as_deref().filter(|_| module.grounded);
        self.modules.push(ModuleUse {
            run: self.run(&module.run)?,
            module: self.names.add(&module.module, NAME),
            rating: module.rating,
            grounded: module.grounded,
            unrated: module.unrated_why,
            notes: self.names.add_quote(notes),
            calls: module.calls.into(),
            failed: module.failed,
            dead_end: module.dead_end,
        });
        Ok(())
    }

    fn take_hit(&mut self, hit: &line::Hit) -> Result<(), String> {
        let issue = self.issue_of_id.get(&*hit.issue).copied();
        self.hits.push(Hit {
            run: self.run(&hit.run)?,
            issue: issue.ok_or("expected the id of an issue that an earlier line describes")?,
            calls: hit.calls,
            recovered: hit.recovered,
            tools: hit.tools.iter().map(|tool| self.names.add(tool, NAME)).collect(),
        });
        Ok(())
    }

    fn take_tool(&mut self, tool: &line::Tool) -> Result<(), String> {
        let used = derive::Use { calls: tool.calls, failed: tool.failed, dead_end: tool.dead_end };
        let run = self.run(&tool.run)?;
        self.tools.push(ToolUse { run, tool: self.names.add(&tool.tool, NAME), used });
        Ok(())
    }

    fn take_absence(&mut self, absence: &line::Absence) -> Result<(), String> {
        if days::of_slot(&absence.slot, &self.zone).is_none() {
            return Err("expected a slot such as 2026-11-18 or 2026-11-18T14".to_owned());
        }
        let slot = self.names.add(&absence.slot, NAME);
        let persona = self.persona(&absence.persona);
        self.absences.push(Absence { slot, persona, why: absence.why });
        Ok(())
    }

    /// The window of these days.
    ///
    /// # Errors
    ///
    /// Why there is no such window.
    pub fn finish(self, days: Days) -> Result<Window, ImpossibleWindow> {
        finish::finish(self, days)
    }
}

/// Room for the rows of a large fleet. glibc gives a block of more than 32 MB back to the system as soon as it is freed,
/// but keeps much of what was in smaller ones, so that a daemon would stay as large as its largest window. A page of the
/// room that has no row takes no memory.
fn roomy<T>() -> Vec<T> {
    Vec::with_capacity(ROOM / size_of::<T>())
}

/// Leaves the first `most` characters of `text`.
fn cut(text: &mut String, most: usize) {
    text.truncate(beginning(text, most).len());
}

/// A number for the hash of an input. Texts would need four times as much memory.
fn hash(text: &str) -> NonZeroU64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    NonZeroU64::MIN.saturating_add(hasher.finish())
}
