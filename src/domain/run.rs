//! The identity of one persona's run.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Identifies one run of one persona. It is the wire's `tickId`: mana-auth derives row ids from it
/// without the persona, so it must be unique per persona run (contracts/mana-auth.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Uuid);

/// Not the id of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a run looks like 019aa5b4-7f1e-7cc3-9d5e-3f1f7a1c2b3d")]
pub struct RunIdError;

impl RunId {
    /// A new id (UUID v7: ids sort by the time they were made).
    #[allow(clippy::new_without_default, reason = "a default that differs each time would mislead")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the run's `n`-th further batch of rows of this kind. The same each time it is asked
    /// for, so that a batch built again after a restart is the same batch.
    #[must_use]
    pub fn of_batch(self, kind: &str, n: u32) -> Self {
        let digest = Sha256::digest(format!("{self} {kind} {n}"));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// When `text` is no UUID.
    pub fn parse(text: &str) -> Result<Self, RunIdError> {
        text.parse().map(Self).map_err(|_| RunIdError)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
