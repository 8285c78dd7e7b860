//! Label values: closed sets, and the bounded set of tool names.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

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
    /// How a run ended.
    RunOutcome {
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
    WhyNotRun {
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

labels! {
    /// Where in its course a run is.
    Stage {
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
pub struct ToolLabels(Mutex<HashSet<Arc<str>>>);

impl ToolLabels {
    /// The label of a listed tool, `unknown` for one that is not listed, `other` beyond the limit.
    pub fn label(&self, listed: Option<&str>) -> Arc<str> {
        let Some(name) = listed else { return "unknown".into() };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = seen.get(name) {
            return label.clone();
        }
        if seen.len() >= MAX_TOOLS {
            return "other".into();
        }
        let label: Arc<str> = name.into();
        seen.insert(label.clone());
        label
    }
}
