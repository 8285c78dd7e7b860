//! The values that the runner works with: personas, their runs, their actions and their ratings.
//!
//! Data and rules only. Nothing here does I/O, reads the environment or a clock, or knows the JSON of a peer.

mod action;
mod feedback;
mod input_hash;
pub mod json_text;
mod json_tokens;
mod label;
mod money;
mod password;
mod persona;
mod redact;
mod run;
mod slot;
mod text;
mod tool;

#[cfg(test)]
pub(crate) use action::RUN_TOOL;
pub use action::{Action, IDLE_TOOL};
pub use feedback::{ModuleRating, Rating};
pub use input_hash::InputHash;
pub use json_text::JsonText;
pub(crate) use label::Label;
pub(crate) use label::labels;
pub(crate) use money::Cost;
pub use money::{Tokens, Usd};
pub use password::derive_password;
pub use persona::{Cadence, ModuleMix, Persona, UserId};
pub use redact::Redactor;
pub(crate) use redact::redact_emails;
pub use run::{RunId, RunState};
pub(crate) use run::{RunIdError, RunOutcome, Stage, WhyNotRun};
pub use slot::Slot;
pub(crate) use text::{clip, one_line};
pub use tool::ModuleName;
pub(crate) use tool::ToolName;
