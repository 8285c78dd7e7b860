//! Label values: closed sets, and the bounded set of tool names.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::domain::labels;

labels! {
    /// How a tick ended, or why it did not take place.
    TickOutcome {
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
    /// The cadence a persona is due by.
    DueBy {
        /// Due every hour.
        Hourly = "hourly",
        /// Due every day.
        Daily = "daily",
        /// Due on working days.
        Weekdays = "weekdays",
        /// Its row of /due cannot be read.
        Unknown = "unknown",
    }
}

labels! {
    /// Why a run opened another MCP session.
    SessionRenewal {
        /// The server no longer knew the one before.
        Lost = "lost",
        /// The server no longer accepted the JWT of the one before.
        Unauthorized = "unauthorized",
    }
}

labels! {
    /// How a tool call ended.
    ToolOutcome {
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
    ToolFault {
        /// Its input schema is one that Claude does not take.
        Schema = "schema",
        /// Claude refused a request for it.
        Refused = "refused",
    }
}

labels! {
    /// What a budget is for.
    BudgetScope {
        /// A UTC day of the fleet.
        Day = "day",
        /// A UTC month of the fleet.
        Month = "month",
    }
}

labels! {
    /// Which rows mana-auth is sent.
    RowKind {
        /// What a persona did.
        Actions = "actions",
        /// How it rated that.
        Feedback = "feedback",
    }
}

/// Distinct tool names that get a label of their own. Servers name their tools as they like; the
/// number of time series must not be theirs to choose. mana-mcp lists about sixty.
const MAX_TOOLS: usize = 150;

/// The tool names seen so far.
#[derive(Debug, Default)]
pub struct ToolLabels(Mutex<HashSet<String>>);

impl ToolLabels {
    /// The label of a listed tool, `unknown` for one that is not listed, `other` beyond the limit.
    pub fn label<'n>(&self, listed: Option<&'n str>) -> &'n str {
        let Some(name) = listed else { return "unknown" };
        let mut seen = self.0.lock();
        if !seen.contains(name) {
            if seen.len() >= MAX_TOOLS {
                return "other";
            }
            seen.insert(name.to_owned());
        }
        name
    }
}
