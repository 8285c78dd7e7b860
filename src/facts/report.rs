//! The report of a window: what a team must know, without any word of a language.
//!
//! Its JSON is `report/v1`. What only a picture shows, such as the days of a spark line, is not part of the JSON.

mod changes;
mod headline;
mod modules;
mod parts;
mod past;
mod reliability;
#[cfg(test)]
pub(super) mod tests;
mod unreachable;
mod uses;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

pub use self::headline::{Headline, Idle, Unfinished};
pub(super) use self::{
    parts::Parts,
    past::side,
    uses::{Uses, grounded},
};
pub use super::trend::{TREND_DAYS, Trend};
use super::{
    compare::{Build, Confounder, Pair},
    coverage::{Coverage, ModuleStatus, NotTested},
    detect::{Missing, Slow},
    frictions::{DaysOf, Friction, Quote, shared},
    share::Share,
    window::Window,
};
use crate::domain::{WhyNotRun, word};

/// The schema of [`Report`].
const SCHEMA: &str = "report/v1";

/// The report of a window. What a person must know, in one sentence, is added in a language.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `report/v1`.
    pub schema: &'static str,
    /// The days.
    pub window: DaysOf,
    /// The deployments that runs of the window met, and those that the runner first met in it, in the order in which
    /// the runner met them.
    pub deployments: Vec<Build>,
    /// Who ran, and who did not.
    pub fleet: Fleet,
    /// When the product could not be reached, in order.
    pub unreachable: Vec<Outage>,
    /// The frictions that a detector raised and nobody has muted, by impact.
    #[serde(serialize_with = "shared")]
    pub frictions: Vec<Arc<Friction>>,
    /// How many frictions are muted.
    pub muted: usize,
    /// What is different from the time before.
    pub changes: Changes,
    /// All modules of the catalog, those that personas like and those that they used, by name.
    pub modules: Vec<ModuleReport>,
    /// Tools that personas expect and the product does not have.
    pub missing: Vec<Missing>,
    /// Slow tools, slowest first.
    pub slow: Vec<Slow>,
    /// What nobody tested.
    pub not_tested: Vec<NotTested>,
    /// What each day came to.
    pub coverage: Coverage,
    /// How far the report can be trusted.
    pub reliability: Reliability,
    /// What the runs cost.
    pub cost: Spending,
    /// What the sentence is about.
    #[serde(skip)]
    pub headline: Headline,
    /// The time zone whose dates are the days.
    #[serde(skip)]
    pub zone: TimeZone,
    /// For each friction: how many runs had it on each day. `None` where nobody was exposed.
    #[serde(skip)]
    pub trends: Vec<Trend>,
    /// Whether any list of the product's tools is known. Without one, nobody knows which tools were not tested.
    #[serde(skip)]
    pub is_catalog_known: bool,
    /// Issues that were resolved in the window without any hit in it, by id. They are no frictions of the window.
    #[serde(skip)]
    pub resolved_without_hit: Vec<Resolved>,
    /// How many runs of the window made calls that are no longer kept. The parts that need single calls (missing, slow,
    /// unreachable, what came next) do not know them.
    #[serde(skip)]
    pub runs_without_calls: usize,
    /// Runs that did not come to their end.
    #[serde(skip)]
    pub unfinished: Unfinished,
    /// When the first run began of which anything is known, also before the window.
    #[serde(skip)]
    pub first_run: Option<Timestamp>,
}

/// Who ran, and who did not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// How many personas ran.
    pub personas: usize,
    /// How many runs they had.
    pub runs: usize,
    /// On how many days, summed over the personas.
    pub persona_days: usize,
    /// What the runs cost, in US dollars.
    pub cost_usd: f64,
    /// How often a due persona did not run, by the reason's word.
    pub not_run: Vec<NotRun>,
}

/// How often a due persona did not run for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct NotRun {
    #[serde(with = "word")]
    pub why: WhyNotRun,
    pub count: u32,
}

/// A time in which the product could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The first call that did not reach it.
    pub from: Timestamp,
    /// The last one.
    pub to: Timestamp,
    /// How many runs had such a call.
    pub runs: usize,
}

/// What is different from the time before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Ids of new frictions.
    pub new: Vec<String>,
    /// Ids of frictions that came back.
    pub regressed: Vec<String>,
    /// Ids of frictions that are resolved.
    pub resolved: Vec<String>,
    /// The tools that the product had for the newest run of the window, against those for the newest run before it.
    /// Those that the runner hid are there.
    pub tools: ToolChanges,
}

/// The difference of two lists of tools: names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ToolChanges {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Tools whose description or input schema differs.
    pub changed: Vec<String>,
}

/// An issue that was resolved in the window without any hit in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The id of the issue.
    pub id: String,
    /// The tool, if the issue is one of a single tool.
    pub tool: Option<String>,
    /// The template of the error texts.
    pub template: String,
    /// When the run began that had it last.
    pub last_hit: Timestamp,
    /// When the run began that resolved it.
    pub at: Timestamp,
}

/// What is known about a module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModuleReport {
    /// The name of the module.
    pub module: String,
    /// What is known about it.
    #[serde(with = "word")]
    pub status: ModuleStatus,
    /// How many personas used it: a tool of it succeeded, or failed because of the product or the contract.
    pub personas: usize,
    /// In how many runs.
    pub runs: u32,
    /// The ratings; `None` unless the status is rated.
    pub rating: Option<RatingReport>,
    /// The share of runs in which a tool of the module failed because of the product or the contract, of those in which
    /// one of its tools succeeded or failed so; `None` if too little is known.
    pub friction: Option<Share>,
    /// The notes of the lowest grounded rating. Each persona is quoted for one module, that with the lowest rating.
    pub quote: Option<Quote>,
    /// How many ratings name no call of the module. They are in no mean.
    #[serde(skip)]
    pub ungrounded: u32,
    /// How many uses have no rating for each known reason, by its word; without zeros.
    #[serde(skip)]
    pub unrated: BTreeMap<&'static str, u32>,
    /// The mean of the grounded ratings of each day; no number unless the status is rated.
    #[serde(skip)]
    pub trend: Trend,
}

/// The grounded ratings of a module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatingReport {
    /// Their mean, 1 to 5, with one digit.
    pub mean: f64,
    /// How many ratings.
    pub n: u32,
    /// Of how many personas.
    pub personas: usize,
    /// The difference to the same personas' ratings in the eight weeks before; `None` if no persona has any.
    pub delta: Option<Delta>,
}

/// A difference of ratings within personas, with one digit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delta {
    /// The difference.
    pub value: f64,
    /// The lower end of the interval of 95 %; `None` with fewer than five personas.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// How many ratings of the window.
    pub n: u32,
    /// How many personas have ratings on both sides.
    pub personas: usize,
    /// The difference of each of these personas, ascending, if they are fewer than five; else empty.
    pub points: Vec<f64>,
}

/// How far the report can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reliability {
    /// The noise floors of the four weeks before the window; `None` where one is not known.
    pub lambda: Pair,
    /// Of the grounded ratings of modules that were a dead end in the run, those of 4 or 5.
    pub too_kind: Option<Share>,
    /// Ratings that are missing.
    pub unrated: Unrated,
    /// What else has changed, and may be the reason for what the report says.
    pub confounded: Vec<Confounder>,
}

/// Ratings that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unrated {
    /// How many uses of a module in a run were not rated.
    pub n: u32,
    /// Of how many.
    pub of: u32,
    /// How often for each known reason, by its word; without zeros.
    pub why: BTreeMap<&'static str, u32>,
}

/// What the runs cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spending {
    /// In US dollars.
    pub usd: f64,
    /// For a day of a persona; `None` without any.
    pub per_persona_day_usd: Option<f64>,
}

/// The report of this window.
pub fn report(window: &Window) -> Report {
    Parts::of(window).report
}
