//! What runs teach: the facts of a run, and what follows from the facts of many runs.
//!
//! Everything here is pure: the same facts in, the same result out. Nothing here reads a clock, sends a request
//! or knows a database. `docs/insight.md` describes the facts for people who use them.

mod absent;
pub mod compare;
pub mod coverage;
pub(crate) mod derive;
pub mod detect;
mod digits;
pub mod export;
mod exposure;
mod extract;
mod fingerprint;
pub mod frictions;
pub mod line;
mod observed;
pub mod overview;
pub mod report;
mod run;
pub mod share;
pub mod state;
mod template;
mod trend;
pub mod window;
#[cfg(test)]
pub(crate) mod world;

pub(crate) use absent::absent;
pub use export::ReadError;
pub use extract::extract;
pub use fingerprint::{FINGERPRINT, Fingerprint, leaves_tool_out};
pub use line::Line;
pub use observed::{Observed, ObservedCall};
pub use run::{RunFacts, SeenIssue};
pub use template::{code_of, rejected_fields, template};

/// The version of the extraction of facts from steps. The facts of a run that an earlier version extracted are
/// extracted again as long as the steps exist.
pub const EXTRACTOR: u32 = 1;
