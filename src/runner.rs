//! Ticks and runs: when, how many at once, and what happens to one persona from login to feedback.

mod back_off;
mod fan_out;
pub mod interval;
mod login_check;
mod persist;
mod persona_tools;
mod pipeline;
mod tick;
mod tick_slot;

pub use login_check::{LoginCheck, LoginDiagnosis};
pub use pipeline::{Pipeline, RunReport};
pub use tick::{FailedRun, Tick, TickError, TickSummary};
pub use tick_slot::{SlotTaken, TickSlot};
