//! Ticks and runs: when a tick takes place, how many runs are in flight, and what one run does from the login
//! to the feedback.

mod absences;
mod admission;
mod backfill;
mod budget;
mod claims;
mod control;
mod delivery;
mod deployments;
mod eligibility;
mod fan_out;
mod fleet;
mod gauges;
mod halts;
mod holds;
mod logbook;
mod once_a_day;
mod persist;
mod persona_tools;
mod pipeline;
mod plan;
mod report;
mod retention;
mod run_journal;
mod seed_secret;
mod server_time;
mod tick;
mod tick_slot;
mod tool_tally;
mod verdict;
mod work;

pub(crate) use admission::Hindrance;
pub(crate) use control::{Cancelled, PausedBy};
pub(crate) use delivery::Deliverer;
pub(crate) use fleet::Fleet;
pub(crate) use pipeline::Pipeline;
pub(crate) use plan::plan;
pub(crate) use report::WeeklyReport;
pub(crate) use tick::{DUE_LIMIT, PATIENCE_ON_REQUEST, TickError, TickSummary, Ticks};
