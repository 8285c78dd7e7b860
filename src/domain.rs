//! What the runner is about: personas, their runs, what they did and what they think of it.
//!
//! Pure data and rules. Nothing here does I/O, reads the environment or a clock, or knows any peer's
//! JSON.

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

pub use action::{Action, IDLE_TOOL, RUN_TOOL};
pub use feedback::{ModuleRating, PARSE_MODULE, Rating};
pub use input_hash::InputHash;
pub use json_text::JsonText;
pub use label::Label;
pub(crate) use label::labels;
pub use money::{Cost, Tokens, Usd};
pub use password::derive_password;
pub use persona::{Cadence, ModuleMix, Persona, UserId, UserIdError};
pub use redact::{Redactor, redact_emails};
pub use run::{RunId, RunIdError, RunOutcome, RunState, Stage, WhyNotRun};
pub use slot::Slot;
pub use text::{clip, one_line};
pub use tool::{ModuleName, ToolName};
