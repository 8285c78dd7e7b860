//! The values that the runner works with: personas, their runs, their actions and their ratings.
//!
//! Data and rules only. Nothing here does I/O, reads the environment or a clock, or knows the JSON of a peer.

mod action;
mod cause;
mod feedback;
mod input_hash;
mod json_indent;
pub mod json_text;
mod json_tokens;
mod label;
mod language;
mod money;
mod outcome;
mod password;
mod persona;
mod plan;
mod product_version;
mod redact;
mod run;
mod slot;
mod text;
mod tool;
mod week;

pub use action::{Action, IDLE_TOOL, RUN_TOOL};
pub use cause::{Blame, Cause, Next};
pub(crate) use feedback::PARSE_MODULE;
pub use feedback::{ModuleRating, Rating};
pub use input_hash::InputHash;
pub(crate) use json_indent::indented_json;
pub use json_text::JsonText;
pub(crate) use label::{Label, labels, optional_word, word};
pub use language::Language;
pub use money::{Cost, Tokens, Usd};
pub use outcome::{Outcome, UnratedWhy};
pub use password::derive_password;
pub use persona::{Cadence, ModuleMix, Persona, UserId};
pub use plan::{CapLeft, DuePersona, Expected, Plan};
pub use product_version::{ProductVersion, ProductVersionError};
pub use redact::Redactor;
pub(crate) use redact::redact_emails;
pub use run::{RunId, RunState, WhyNotRun};
pub(crate) use run::{RunIdError, RunOutcome, Stage};
pub use slot::Slot;
pub(crate) use text::{clip, clipped_line, is_printable, one_line, printable, printable_line};
pub(crate) use tool::words;
pub use tool::{ModuleName, ToolName};
pub use week::{NotAWeek, Week};
