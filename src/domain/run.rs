//! The run of one persona: its id, its state and its outcome.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::label::labels;

/// Identifies one run of one persona. It is the wire's `tickId`. mana-auth derives row ids from it without
/// the persona, so it must be unique for each run of each persona (docs/contracts/mana-auth.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Uuid);

/// The text is not the id of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a run looks like 019aa5b4-7f1e-7cc3-9d5e-3f1f7a1c2b3d")]
pub struct RunIdError;

impl RunId {
    /// A new id: a UUID v7, so ids sort by the time at which they were made.
    #[allow(clippy::new_without_default, reason = "a default that differs each time would mislead")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the run's `n`-th further batch of rows of this kind. The same arguments always give the same
    /// id, so a batch that is built again after a restart is the same batch.
    #[must_use]
    pub(crate) fn of_batch(self, kind: &str, n: u32) -> Self {
        let digest = Sha256::digest(format!("{self} {kind} {n}"));
        let bytes = std::array::from_fn(|index| digest[index]);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Parses the id of a run.
    ///
    /// # Errors
    /// When `text` is not a UUID.
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
    /// The state of a run, as its row in the journal has it.
    pub RunState {
        /// The run goes on, or the process was killed during the run.
        Running = "running",
        /// The run was stopped after its main turn had begun. Its actions are handed in and its slot is used
        /// up; the persona was not asked for ratings yet.
        RatingOwed = "rating_owed",
        /// The run has ended and has used up its slot.
        Finished = "finished",
        /// The run failed before anything happened in the product; its slot is free.
        Failed = "failed",
    }
}

labels! {
    /// The part of its work that a run has reached.
    pub(crate) Stage {
        /// The row of /due is read, or the run waits until it may begin.
        Due = "due",
        /// The persona logs in and gets a JWT.
        Login = "login",
        /// The personal space is looked up.
        Space = "space",
        /// The MCP session is opened and its tools are listed.
        Mcp = "mcp",
        /// Claude is asked for replies, and the tools are called.
        MainTurn = "main_turn",
        /// The actions are handed in.
        PostActions = "post_actions",
        /// The persona is asked for ratings.
        RatingTurn = "rating_turn",
        /// The ratings are handed in.
        PostFeedback = "post_feedback",
        /// Nothing is left to do.
        Done = "done",
    }
}

labels! {
    /// How a run ended.
    pub(crate) RunOutcome {
        /// The run ended by itself, with everything handed in.
        Ok = "ok",
        /// The run ended with an error.
        Failed = "failed",
        /// The run was stopped by a shutdown.
        Stopped = "stopped",
        /// The run did not begin, because the persona is held back.
        Skipped = "skipped",
        /// The run continues when mana-mcp is reachable again.
        PutOff = "put_off",
    }
}

labels! {
    /// Why a due persona does not run.
    pub WhyNotRun {
        /// The persona has had its run for this day or hour.
        SlotUsed = "slot-used",
        /// The last runs of the persona have failed.
        HeldBack = "held-back",
        /// A run of the persona is in progress, or has to be completed first.
        Unfinished = "unfinished",
        /// An operator has paused the runner.
        Paused = "paused",
        /// The budget of the whole fleet is used up.
        Budget = "budget",
        /// The budget of this persona is used up.
        PersonaBudget = "persona-budget",
        /// All use of the model has stopped for now.
        ModelStopped = "model-stopped",
        /// The runner is stopping.
        RunnerDown = "runner-down",
        /// The journal cannot be written.
        Other = "other",
    }
}
