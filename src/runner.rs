//! Ticks and runs: when, how many at once, and what happens to one persona from login to feedback.

mod admission;
mod budget;
mod claims;
mod control;
mod delivery;
mod fan_out;
mod fleet;
mod gauges;
mod holds;
mod once_a_day;
mod persist;
mod persona_tools;
mod pipeline;
mod retention;
mod run_journal;
mod seed_secret;
mod tick;
mod tick_slot;
mod tool_tally;
mod verdict;
mod work;

pub use admission::Hindrance;
pub use control::{Cancelled, Control, InFlightRun, PausedBy};
pub use delivery::Deliverer;
pub use fleet::Fleet;
pub use pipeline::Pipeline;
pub use seed_secret::SeedSecret;
pub use tick::{FailedRun, Patience, TickError, TickSummary, Ticks};
pub use tick_slot::{SlotTaken, TickResult};
pub use tool_tally::ToolTally;
