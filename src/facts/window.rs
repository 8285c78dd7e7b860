//! A window: the facts of some days, and the history that the states of its issues need.
//!
//! [`Builder`] takes the lines of an export one by one, so that half a million calls fit into some 60 MB, and
//! brings them into an order that does not depend on the order of the lines.

mod builder;
mod names;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

pub use self::builder::Builder;
pub(crate) use self::{
    names::Name,
    rows::{Absence, ByRun, Call, Hit, Issue, ModuleUse, Run, Settings, ToolUse},
};
use super::line;
use crate::domain::Week;

/// The longest label of a persona that is printed, in characters.
const LABEL: usize = 64;
/// The longest name of a tool or module that is printed, in characters.
const NAME: usize = 128;
/// The longest quote or note that is printed, in characters.
const QUOTE: usize = 240;
/// The longest template that is printed, in characters.
const TEMPLATE: usize = 300;

/// Which days a window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// So many days back from the newest day of the facts: of a run's begin or end, a call, a deployment, an absence
    /// or a tick. Without any fact there is no day.
    Last(u32),
    /// From the first to the last of these days, both inclusive.
    Between(Date, Date),
    /// The week before the one of the newest day of the facts, because that one is not over. Without any fact there is no
    /// day.
    LastWeek,
    /// All days up to the newest one.
    All,
}

/// Why there is no such window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleWindow {
    /// The number of days is 0 or reaches back too far.
    #[error("{0} days are no window: expected from 1 to 100000")]
    Count(u32),
    /// The first day comes after the last one.
    #[error("the window begins on {0}, after its last day, {1}")]
    Reversed(Date, Date),
}

/// A first day after the last one: no day.
const NO_DAY: (Date, Date) = (Date::MAX, Date::MIN);
/// The longest window, in days.
const MOST_DAYS: u32 = 100_000;

impl Days {
    /// The first and the last day, if `newest` is the newest day of the facts; the last before the first if there is
    /// no day.
    pub(crate) fn resolve(self, newest: Option<Date>) -> Result<(Date, Date), ImpossibleWindow> {
        match self {
            Self::Last(count) => {
                if !(1..=MOST_DAYS).contains(&count) {
                    return Err(ImpossibleWindow::Count(count));
                }
                let first = |newest: Date| newest.saturating_sub(jiff::Span::new().days(count - 1));
                Ok(newest.map_or(NO_DAY, |newest| (first(newest), newest)))
            }
            Self::LastWeek => Ok(newest.map_or(NO_DAY, |newest| {
                let week = Week::of(newest).before();
                (week.monday(), week.sunday())
            })),
            Self::All => Ok((Date::MIN, newest.unwrap_or(Date::MAX))),
            Self::Between(from, to) if from > to => Err(ImpossibleWindow::Reversed(from, to)),
            Self::Between(from, to) => Ok((from, to)),
        }
    }
}

/// The facts of some days, and the runs before them. Runs after them are left out.
#[derive(Debug)]
pub struct Window {
    from: Date,
    to: Date,
    newest_day: Option<Date>,
    end: Timestamp,
    zone: TimeZone,
    names: names::Names,
    module_of_tool: HashMap<Name, Name>,
    personas: Vec<line::Persona>,
    /// The runs up to the window's end, in the order in which they began.
    runs: Vec<Run>,
    /// The calls of the runs in the window.
    calls: ByRun<Call>,
    modules: ByRun<ModuleUse>,
    tools: ByRun<ToolUse>,
    hits: ByRun<Hit>,
    issues: Vec<Issue>,
    catalogs: Vec<line::Catalog>,
    deployments: Vec<line::Deployment>,
    absences: Vec<Absence>,
    ticks: Vec<Timestamp>,
}

impl Window {
    /// The first and the last day; `None` if days were to be counted back from the newest fact, and there is none.
    pub fn days(&self) -> Option<(Date, Date)> {
        (self.from <= self.to).then_some((self.from, self.to))
    }

    /// The first day.
    pub fn from(&self) -> Date {
        self.from
    }

    /// The last day.
    pub fn to(&self) -> Date {
        self.to
    }

    /// The newest day of the facts, also of those after the window. Nothing is known about later days.
    pub(crate) fn newest_day(&self) -> Option<Date> {
        self.newest_day
    }

    /// The end of the last day.
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// The time zone whose dates are the days.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The personas, by id. Their labels are cut to 64 characters.
    pub fn personas(&self) -> &[line::Persona] {
        &self.personas
    }

    /// The lists of tools, by id.
    pub fn catalogs(&self) -> &[line::Catalog] {
        &self.catalogs
    }

    /// The deployments, in the order in which the runner met them, also those after the window.
    pub fn deployments(&self) -> &[line::Deployment] {
        &self.deployments
    }

    /// The absences, by slot and reason.
    pub(crate) fn absences(&self) -> &[Absence] {
        &self.absences
    }

    /// The times at which the runner was up, in order.
    pub fn ticks(&self) -> &[Timestamp] {
        &self.ticks
    }

    /// The module of a tool that a call, a hit or an issue of the window names.
    pub(crate) fn module_of(&self, tool: Name) -> Name {
        self.module_of_tool.get(&tool).copied().unwrap_or(tool)
    }

    /// The text of a name.
    pub(crate) fn text(&self, name: Name) -> &str {
        self.names.text(name)
    }

    /// The name with this text; `None` if no line has it.
    pub(crate) fn name(&self, text: &str) -> Option<Name> {
        self.names.find(text)
    }

    /// All runs up to the window's end, in the order in which they began.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The run at this position.
    pub(crate) fn run(&self, run: u32) -> &Run {
        &self.runs[run as usize]
    }

    /// Whether the run at this position belongs to a day of the window.
    pub(crate) fn contains(&self, run: u32) -> bool {
        self.run(run).day >= self.from
    }

    /// The positions of the runs in the window, in the order in which they began.
    pub(crate) fn runs_within(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.runs.len() as u32).filter(|run| self.contains(*run))
    }

    /// The calls of the runs in the window, in order.
    pub(crate) fn calls(&self) -> &ByRun<Call> {
        &self.calls
    }

    /// The modules that each run used.
    pub(crate) fn modules(&self) -> &ByRun<ModuleUse> {
        &self.modules
    }

    /// The tools that each run used.
    pub(crate) fn tools(&self) -> &ByRun<ToolUse> {
        &self.tools
    }

    /// The issues that each run hit.
    pub(crate) fn hits(&self) -> &ByRun<Hit> {
        &self.hits
    }

    /// The issues, by id.
    pub(crate) fn issues(&self) -> &[Issue] {
        &self.issues
    }
}
