//! What a run and a module's rating came to, as the facts record them.

use super::labels;

labels! {
    /// What a run came to.
    pub Outcome {
        /// The persona ended its day by itself.
        Done = "done",
        /// The run had as many replies as PERSONA_MAX_TURNS allows, or its context was full.
        Turns = "turns",
        /// PERSONA_MAX_COST_USD was reached, or a budget was used up.
        Cost = "cost",
        /// A shutdown, a pause, a cancel request or the deadline ended the run, or it was closed because it was too
        /// old or could not be read.
        Stopped = "stopped",
        /// The persona could not log in.
        Login = "login",
        /// The persona's space could not be found.
        Space = "space",
        /// No MCP session could be opened, or mana-mcp lost three of them.
        Session = "session",
        /// Anything else, such as an error of the model.
        Failed = "failed",
    }
}

impl Outcome {
    /// Whether the run ended before it could use anything of the product: at login, space or session.
    pub fn is_locked_out(self) -> bool {
        matches!(self, Self::Login | Self::Space | Self::Session)
    }

    /// Whether the run was not ended from outside. One that was may have had no time to try again what failed.
    pub fn ended_by_itself(self) -> bool {
        !matches!(self, Self::Turns | Self::Cost | Self::Stopped)
    }
}

labels! {
    /// Why a module that a persona used has no rating.
    pub UnratedWhy {
        /// The model refused to answer.
        Refused = "refused",
        /// No rating could be read in the answer.
        Unreadable = "unreadable",
        /// The answer left the module out, also when it was asked for once more.
        Forgotten = "forgotten",
        /// A budget was used up.
        NoMoney = "no-money",
        /// The run was stopped.
        Stopped = "stopped",
        /// The run ended before the question.
        NotReached = "not-reached",
        /// The request failed.
        ModelFailed = "model-failed",
    }
}
