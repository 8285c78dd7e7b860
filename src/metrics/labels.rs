//! Label values that are closed sets and are used only by metrics.

use crate::domain::labels;

labels! {
    /// How a tick ended, or why it did not take place.
    pub(crate) TickOutcome {
        /// Every due persona was run or skipped.
        Completed = "completed",
        /// The request for due personas (/due) failed.
        Failed = "failed",
        /// The tick before was still running.
        Overlap = "overlap",
        /// The runner is paused.
        Paused = "paused",
        /// All use of the model has stopped.
        ModelStopped = "model_stopped",
        /// The rate limit of the personas endpoint lasts longer than the tick waits.
        RateLimited = "rate_limited",
    }
}

labels! {
    /// Why a run opened another MCP session.
    pub(crate) SessionRenewal {
        /// The server no longer knew the session before.
        Lost = "lost",
        /// The server no longer accepted the JWT of the session before.
        Unauthorized = "unauthorized",
    }
}

labels! {
    /// How a tool call ended.
    pub ToolOutcome {
        /// The tool did what the call asked for.
        Ok = "ok",
        /// The call failed, was denied or was not made.
        Error = "error",
        /// No answer arrived, so it is unknown whether the tool ran.
        Unknown = "unknown",
    }
}

labels! {
    /// Why a tool is offered to no persona.
    pub(crate) ToolFault {
        /// Claude does not accept the input schema of the tool.
        Schema = "schema",
        /// Claude refused a request because of the tool.
        Refused = "refused",
    }
}

labels! {
    /// The period of a budget of the fleet.
    pub(crate) BudgetScope {
        /// A day in UTC (BUDGET_DAILY_USD).
        Day = "day",
        /// A month in UTC (BUDGET_MONTHLY_USD).
        Month = "month",
    }
}
