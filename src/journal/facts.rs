//! The facts: what runs, ticks and deployments leave behind for reports, longer than the steps.
//!
//! All times are mana-auth's. `runs` and `issues` are written in the transaction that ends a run (`of_run`); `lines`
//! reads everything back in the order of an export, and `retention` deletes what is too old.

mod backfill;
pub(super) mod catalogs;
mod deployments;
mod lines;
mod mutes;
pub(super) mod of_run;
pub(super) mod personas;
mod presence;
mod retention;
mod window;

pub use backfill::Searched;
pub(super) use catalogs::read as read_catalog;
pub use deployments::{DeploymentRow, DeploymentSource};
pub use lines::History;
pub(super) use lines::{
    CALL_COLUMNS, MODULE_COLUMNS, days, read_call, read_issue, read_module, slots,
};
pub(super) use mutes::read as read_mute;
pub use personas::persona_line;
pub(super) use personas::read as read_persona;
pub(super) use presence::absence as read_absence;
pub use presence::{HaltKind, TickFacts};

use super::{Key, Value, optional, text};

/// The IANA name of the time zone whose dates are the days of the facts: TZ of the daemon that was started last.
pub const TIME_ZONE: Key<String> = Key::named("time_zone");

/// The longest name of a tool or a module that is kept, in characters.
const LONGEST_NAME: usize = 128;
/// How many names a list keeps.
const MOST_NAMES: usize = 2_000;

/// A text of a fact, without NUL, which Postgres refuses.
fn words(words: &str) -> Value {
    text(words.replace('\0', ""))
}

/// A text of a fact that may be absent, without NUL.
fn optional_words(words: Option<&str>) -> Value {
    optional(words.map(|words| words.replace('\0', "")))
}

/// A name as a list keeps it.
fn name(name: &str) -> String {
    name.chars().filter(|c| *c != '\0').take(LONGEST_NAME).collect()
}

#[cfg(test)]
pub(super) mod tests;
