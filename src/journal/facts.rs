//! The facts: what runs, ticks and deployments leave behind for reports, longer than the steps.
//!
//! All times are mana-auth's. `runs` and `issues` are written in the transaction that ends a run (`of_run`); `lines`
//! reads everything back in the order of an export, and `retention` deletes what is too old.

mod backfill;
pub(super) mod catalogs;
mod deployments;
mod lines;
mod mutes;
mod of_run;
pub(super) mod personas;
mod presence;
mod retention;

pub use deployments::{DeploymentRow, DeploymentSource};
pub use lines::History;
pub use personas::persona_line;
pub use presence::{HaltKind, TickFacts};

use super::Key;

/// The IANA name of the time zone whose dates are the days of the facts: TZ of the daemon that was started last.
pub const TIME_ZONE: Key<String> = Key::named("time_zone");

#[cfg(test)]
mod tests;
