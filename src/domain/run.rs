//! One persona's run: its identity, where it stands, how it ended.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::label::labels;

/// Identifies one run of one persona. It is the wire's `tickId`: mana-auth derives row ids from it
/// without the persona, so it must be unique per persona run (docs/contracts/mana-auth.md).
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
    pub(crate) fn of_batch(self, kind: &str, n: u32) -> Self {
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

labels! {
    /// Where a run stands, as its row says.
    pub RunState {
        /// It goes on, or the process was killed.
        Running = "running",
        /// It was stopped after its main turn had begun: actions are handed in, the slot is used up, the
        /// rating is still to be asked for.
        RatingOwed = "rating_owed",
        /// It has used up its slot.
        Finished = "finished",
        /// It failed before anything happened; its slot is free.
        Failed = "failed",
    }
}

labels! {
    /// Where in its course a run is.
    pub(crate) Stage {
        /// Reading the row of /due, or waiting for its turn.
        Due = "due",
        /// Logging in and fetching a JWT.
        Login = "login",
        /// Finding the personal space.
        Space = "space",
        /// Opening the MCP session and listing its tools.
        Mcp = "mcp",
        /// Claude and the tools.
        MainTurn = "main_turn",
        /// Handing in the actions.
        PostActions = "post_actions",
        /// Asking for ratings.
        RatingTurn = "rating_turn",
        /// Handing in the ratings.
        PostFeedback = "post_feedback",
        /// All of it done.
        Done = "done",
    }
}

labels! {
    /// How a run ended.
    pub(crate) RunOutcome {
        /// With everything handed in.
        Ok = "ok",
        /// With an error.
        Failed = "failed",
        /// By a shutdown.
        Stopped = "stopped",
        /// It did not begin: the persona is held back.
        Skipped = "skipped",
        /// It goes on when mana-mcp is there again.
        PutOff = "put_off",
    }
}

labels! {
    /// Why a due persona does not run.
    pub(crate) WhyNotRun {
        /// It has had its run for this day or hour.
        SlotUsed = "slot-used",
        /// Its last runs failed.
        HeldBack = "held-back",
        /// A run of it is under way, or has to come to its end first.
        Unfinished = "unfinished",
        /// Somebody has paused the runner.
        Paused = "paused",
        /// The money of the fleet is used up.
        Budget = "budget",
        /// Its own money is used up.
        PersonaBudget = "persona-budget",
        /// Claude is not asked for now.
        ModelStopped = "model-stopped",
        /// The runner is stopping.
        RunnerDown = "runner-down",
        /// The journal cannot be written to.
        Other = "other",
    }
}
