//! What the pages of `/ui` show of a window: its report, and what a report has no room for.
//!
//! It is small enough to be kept while people look at the pages; the window, which is not, is dropped.

mod personas;
#[cfg(test)]
mod tests;
mod tools;
mod weeks;

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    coverage::{DayStatus, WhyNotTested},
    digits,
    frictions::{Friction, Frictions},
    report::{ModuleReport, Parts, Report, Trend},
    window::Window,
};
use crate::domain::{Week, optional_word};

/// The most days of personas, which are the newest ones of the window.
pub const DAYS: usize = 90;
/// The most weeks of modules.
pub const WEEKS: usize = 13;

/// What the pages show of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// The report.
    pub report: Report,
    /// All frictions. Those of the report are the first ones of them.
    pub frictions: Frictions,
    /// For each of these frictions: how many runs had it on each day. `None` where nobody was exposed.
    pub trends: Vec<Trend>,
    /// What each week says of the modules.
    pub weeks: ModuleWeeks,
    /// The newest days of the window, in order, of which [`PersonaSummary::days`] tells. At most [`DAYS`].
    pub days: Vec<Date>,
    /// All personas that are known, by label.
    pub personas: Vec<PersonaSummary>,
    /// The tools of the catalogs and all others that were used, by name.
    pub tools: Vec<ToolSummary>,
}

/// What the weeks up to the window's last day say of the modules, also those before the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModuleWeeks {
    /// The weeks, oldest first: at most [`WEEKS`], from that of the first run on. The last one ends with the window.
    pub weeks: Vec<Week>,
    /// The modules of the report, in its order.
    pub modules: Vec<WeeksOfModule>,
}

/// What the weeks say of a module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeeksOfModule {
    /// The name of the module.
    #[serde(serialize_with = "text")]
    pub module: Arc<str>,
    /// In the order of [`ModuleWeeks::weeks`]; `None` where the module was neither used nor rated.
    pub weeks: Vec<Option<ModuleWeek>>,
}

/// What a week says of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModuleWeek {
    /// How many personas used it.
    pub personas: u32,
    /// In how many runs one of its tools succeeded, or failed because of the product or the contract.
    pub runs: u32,
    /// In how many of these runs a tool failed so.
    pub failed: u32,
    /// Its grounded ratings.
    pub ratings: Ratings,
}

/// Ratings from 1 to 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratings {
    /// How many.
    pub n: u32,
    sum: u32,
}

/// What a persona did in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonaSummary {
    /// The id of the persona.
    pub id: String,
    /// The label of the persona.
    #[serde(serialize_with = "text")]
    pub label: Arc<str>,
    /// What kind of user the persona is.
    pub archetype: Option<String>,
    /// How often the persona is due, in the word of the facts.
    pub cadence: Option<String>,
    /// How many runs it had.
    pub runs: u32,
    /// What they cost, in US dollars.
    pub cost_usd: f64,
    /// In how many of the runs a tool failed because of the product or the contract.
    pub failed: u32,
    /// In how many of the runs a tool failed so and did not succeed later. A run that was ended from outside does not
    /// count.
    pub dead_ends: u32,
    /// The grounded ratings of all modules.
    pub ratings: Ratings,
    /// What each day came to, in the order of [`Overview::days`].
    #[serde(serialize_with = "words")]
    pub days: Vec<DayStatus>,
    /// The persona's last run up to the window's end, which may be older than the window.
    pub last_run: Option<LastRun>,
    /// The modules of the report that the persona used in the window, or rated in it or in the eight weeks before, in the
    /// report's order.
    pub modules: Vec<PersonaModule>,
}

/// The last run of a persona.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastRun {
    /// The id of the run.
    pub id: String,
    /// When the run began.
    pub at: Timestamp,
}

/// What a persona did with a module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PersonaModule {
    /// The name of the module.
    #[serde(serialize_with = "text")]
    pub module: Arc<str>,
    /// In how many runs one of its tools succeeded, or failed because of the product or the contract.
    pub runs: u32,
    /// In how many of these runs a tool failed so.
    pub failed: u32,
    /// The persona's grounded ratings.
    pub ratings: Ratings,
    /// The persona's grounded ratings of the eight weeks before the window.
    pub before: Ratings,
}

/// How a tool was used in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSummary {
    /// The name of the tool.
    pub tool: String,
    /// The name of its module.
    pub module: String,
    /// Why the numbers say too little; `None` if they say enough.
    #[serde(with = "optional_word")]
    pub not_tested: Option<WhyNotTested>,
    /// How many personas used it.
    pub personas: u32,
    /// In how many runs it succeeded, or failed because of the product or the contract.
    pub runs: u32,
    /// In how many of these runs it failed so.
    pub failed: u32,
    /// How many calls these runs made of it.
    pub calls: u32,
    /// In how many of these runs it failed so and did not succeed later. A run that was ended from outside does not count.
    pub dead_ends: u32,
    /// Half of its successful calls took at most so many milliseconds; `None` if no duration is known.
    pub p50_ms: Option<u32>,
    /// 95 % of its successful calls took at most so many milliseconds.
    pub p95_ms: Option<u32>,
}

/// What the pages show of this window.
pub fn overview(window: &Window) -> Overview {
    let Parts { report, frictions, trends, tested, uses, grid } = Parts::of(window);
    let modules: Vec<_> = report.modules.iter().map(|it| Arc::from(&*it.module)).collect();
    let days = grid.as_ref().map(|grid| grid.days()).unwrap_or_default();
    let days = days[days.len().saturating_sub(DAYS)..].to_vec();
    let statuses = grid.iter().flat_map(|grid| grid.statuses(&days));
    Overview {
        weeks: weeks::weeks(window, &uses, &modules),
        personas: personas::personas(window, &uses, &modules, statuses),
        tools: tools::tools(window, &tested),
        report,
        frictions,
        trends,
        days,
    }
}

impl Overview {
    /// The friction with this id, and how many runs had it by day.
    pub fn friction(&self, id: &str) -> Option<(&Friction, &Trend)> {
        let mut frictions = self.frictions.frictions.iter().zip(&self.trends);
        frictions.find(|(it, _)| it.id == id).map(|(it, trend)| (&**it, trend))
    }

    /// The module with this name, and what the weeks say of it.
    pub fn module(&self, name: &str) -> Option<(&ModuleReport, &WeeksOfModule)> {
        self.report.modules.iter().zip(&self.weeks.modules).find(|(it, _)| it.module == name)
    }

    /// The persona with this id.
    pub fn persona(&self, id: &str) -> Option<&PersonaSummary> {
        self.personas.iter().find(|it| it.id == id)
    }

    /// The tools of the module with this name.
    pub fn tools_of<'o>(&'o self, module: &'o str) -> impl Iterator<Item = &'o ToolSummary> {
        self.tools.iter().filter(move |it| it.module == module)
    }
}

impl Ratings {
    fn add(&mut self, rating: u8) {
        self.n += 1;
        self.sum += u32::from(rating);
    }

    fn plus(self, other: Self) -> Self {
        Self { n: self.n + other.n, sum: self.sum + other.sum }
    }

    /// Their mean, with one digit; `None` without any.
    pub fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| digits::mean(f64::from(self.sum) / f64::from(self.n)))
    }
}

impl Serialize for Ratings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ratings = serializer.serialize_struct("Ratings", 2)?;
        ratings.serialize_field("mean", &self.mean())?;
        ratings.serialize_field("n", &self.n)?;
        ratings.end()
    }
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn words<S: Serializer>(days: &[DayStatus], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(days.iter().map(|day| day.as_str()))
}
