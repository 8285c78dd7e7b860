//! The identity of one persona's run.

use std::fmt;

use uuid::Uuid;

/// Identifies one run of one persona. It is the wire's `tickId`: mana-auth derives row ids from it
/// without the persona, so it must be unique per persona run (contracts/mana-auth.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id (UUID v7: ids sort by the time they were made).
    #[allow(clippy::new_without_default, reason = "a default that differs each time would mislead")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
