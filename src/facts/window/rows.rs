//! The rows of a window: lines of an export in little memory.

use std::num::NonZeroU64;

use jiff::{Timestamp, civil::Date};

use super::names::Name;
use crate::{
    domain::{Cause, Next, Outcome, UnratedWhy, WhyNotRun},
    facts::{derive, line::Sighting, state::Muting},
};

/// A run. See [`crate::facts::line::Run`].
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: Name,
    /// The position of the persona in [`super::Window::personas`].
    pub(crate) persona: u32,
    pub(crate) at: Timestamp,
    pub(crate) server_time: Option<Timestamp>,
    /// The slot that the run filled.
    pub(crate) slot: Option<Name>,
    /// The day that the run belongs to.
    pub(crate) day: Date,
    pub(crate) deployment: Option<Name>,
    pub(crate) deployment_end: Option<Name>,
    pub(crate) settings: Settings,
    /// The id of the list of tools that the run was offered.
    pub(crate) catalog: Option<Name>,
    pub(crate) outcome: Outcome,
    /// In US dollars.
    pub(crate) cost: f64,
}

/// What a run was played with. See [`crate::facts::line::Run`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) model: Option<Name>,
    pub(crate) effort: Option<Name>,
    pub(crate) policy: Option<Name>,
    pub(crate) runner: Option<Name>,
    pub(crate) prompt: Option<Name>,
}

impl Run {
    /// Whether the product was deployed during the run.
    pub(crate) fn is_mixed(&self) -> bool {
        self.deployment_end.is_some_and(|end| self.deployment.is_some_and(|begin| begin != end))
    }

    /// The deployment of a run that is not mixed.
    pub(crate) fn build(&self) -> Option<Name> {
        self.deployment.or(self.deployment_end)
    }
}

/// A tool call. See [`crate::facts::line::Call`].
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) run: u32,
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
    pub(crate) tool: Name,
    pub(crate) module: Name,
    pub(crate) ok: bool,
    pub(crate) cause: Option<Cause>,
    pub(crate) issue: Option<u32>,
    /// Equal for equal inputs.
    pub(crate) input: Option<NonZeroU64>,
    /// `None` if it is not known.
    pub(crate) latency_ms: Option<u32>,
    pub(crate) chars: u32,
    pub(crate) cut: bool,
    pub(crate) limit_offered: bool,
    pub(crate) next: Option<Next>,
    pub(crate) quote: Option<Name>,
}

impl Call {
    /// Whether the call failed because of the product or the contract.
    pub(crate) fn is_pain(&self) -> bool {
        !self.ok && self.cause.is_some_and(Cause::is_pain)
    }

    pub(super) fn attempt(&self) -> derive::Attempt<Name, u32> {
        let end = match () {
            () if self.ok => derive::End::Success,
            () if self.is_pain() => derive::End::Pain,
            () => derive::End::Other,
        };
        derive::Attempt { tool: self.tool, end, issue: self.issue }
    }
}

/// A module that a run used. See [`crate::facts::line::Module`].
#[derive(Clone, Debug)]
pub(crate) struct ModuleUse {
    pub(crate) run: u32,
    pub(crate) module: Name,
    pub(crate) rating: Option<u8>,
    pub(crate) grounded: bool,
    pub(crate) unrated: Option<UnratedWhy>,
    /// Only of grounded ratings, because no other is quoted.
    pub(crate) notes: Option<Name>,
    pub(crate) calls: Box<[u32]>,
    pub(crate) failed: u32,
    pub(crate) dead_end: bool,
}

/// A tool that a run used. See [`crate::facts::line::Tool`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToolUse {
    pub(crate) run: u32,
    pub(crate) tool: Name,
    pub(crate) used: derive::Use,
}

/// A run that had an issue. See [`crate::facts::line::Hit`].
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) run: u32,
    pub(crate) issue: u32,
    pub(crate) calls: u32,
    pub(crate) recovered: bool,
    /// The tools that failed with the issue in the run.
    pub(crate) tools: Box<[Name]>,
}

/// An issue. See [`crate::facts::line::Issue`].
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) id: Box<str>,
    pub(crate) tool: Option<Name>,
    pub(crate) cause: Cause,
    pub(crate) template: Name,
    /// The very first failure, which may be older than the oldest known run. `None` if no run is known to have it.
    pub(crate) first: Option<Sighting>,
    pub(crate) mutings: Vec<Muting>,
}

/// Rows by run.
#[derive(Debug)]
pub(crate) struct ByRun<T> {
    rows: Vec<T>,
    /// Where the rows of each run begin, and the number of all rows.
    starts: Vec<u32>,
}

impl<T> ByRun<T> {
    /// `rows` are in the order of their runs, of which there are `runs`.
    pub(super) fn new(rows: Vec<T>, runs: usize, run_of: impl Fn(&T) -> u32) -> Self {
        let mut starts = Vec::with_capacity(runs + 1);
        let mut row = 0;
        for run in 0..runs {
            starts.push(row as u32);
            row += rows[row..].iter().take_while(|row| run_of(row) as usize == run).count();
        }
        starts.push(row as u32);
        Self { rows, starts }
    }

    /// The rows of the run at this position.
    pub(crate) fn of(&self, run: u32) -> &[T] {
        let run = run as usize;
        &self.rows[self.starts[run] as usize..self.starts[run + 1] as usize]
    }

    /// All rows, in the order of their runs.
    pub(crate) fn all(&self) -> &[T] {
        &self.rows
    }
}

/// A due persona that did not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absence {
    pub(crate) slot: Name,
    /// The position of the persona in [`super::Window::personas`].
    pub(crate) persona: u32,
    pub(crate) why: WhyNotRun,
}
