//! Label values that come in closed sets and are nobody else's.

use crate::domain::labels;

labels! {
    /// How a tick ended, or why it did not take place.
    pub(crate) TickOutcome {
        /// Every due persona was dealt with.
        Completed = "completed",
        /// /due could not be read.
        Failed = "failed",
        /// The one before was still running.
        Overlap = "overlap",
        /// The runner is paused.
        Paused = "paused",
        /// All use of the model has stopped.
        ModelStopped = "model_stopped",
        /// The rate limit of the personas endpoint leaves no time for it.
        RateLimited = "rate_limited",
    }
}

labels! {
    /// Why a run opened another MCP session.
    pub(crate) SessionRenewal {
        /// The server no longer knew the one before.
        Lost = "lost",
        /// The server no longer accepted the JWT of the one before.
        Unauthorized = "unauthorized",
    }
}

labels! {
    /// How a tool call ended.
    pub ToolOutcome {
        /// The tool did what it was asked.
        Ok = "ok",
        /// It did not.
        Error = "error",
        /// Nobody knows: no answer came.
        Unknown = "unknown",
    }
}

labels! {
    /// Why a tool is offered to nobody.
    pub(crate) ToolFault {
        /// Its input schema is one that Claude does not take.
        Schema = "schema",
        /// Claude refused a request for it.
        Refused = "refused",
    }
}

labels! {
    /// What a budget is for.
    pub(crate) BudgetScope {
        /// A UTC day of the fleet.
        Day = "day",
        /// A UTC month of the fleet.
        Month = "month",
    }
}
