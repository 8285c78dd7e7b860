//! The conversation with Claude: what is said, what comes next, which tools are called.
//!
//! [`conversation::Conversation`] decides and does no I/O; [`main_turn`] and [`rating`] perform. This
//! module knows nothing of mana-auth, of metrics, or of where it runs.

pub mod attachment;
pub mod call;
pub mod catalog;
pub mod conversation;
pub mod day;
pub mod day_end;
mod dispatch;
pub mod ended;
pub(crate) mod left_out;
pub mod main_turn;
mod nets;
pub mod policy;
pub mod prompt;
pub mod rating;
pub mod reminder;
pub mod replay;
pub mod schema;
pub mod step;
pub mod tool_result;
pub(crate) mod transcript;

pub(crate) use attachment::Attached;
pub(crate) use call::{CallRecord, Called, CalledTool, PolicyNote};
pub(crate) use catalog::{Catalog, CatalogTool};
pub(crate) use conversation::{Conversation, Limits, Next};
pub(crate) use day::{Day, MainTurn};
pub(crate) use day_end::{DayEnd, How, Whose};
pub(crate) use ended::{Closed, Ended};
pub(crate) use left_out::LeftOut;
pub(crate) use replay::Replay;
pub(crate) use step::{Recorder, Step, TurnOpening, Unrecorded};

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use crate::{
    clients::{
        claude::{Ask, ClaudeClient, Patience, Reply},
        mcp::{McpError, ToolOutput},
    },
    config::PolicyConfig,
    domain::{Redactor, Usd},
    shutdown::Shutdown,
};

/// Bounds of one persona's conversations.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// No work after this.
    pub deadline: Instant,
    /// Replies in the main turn, and what they may cost.
    pub limits: conversation::Limits,
    /// What the persona may do with tools.
    pub policy: Arc<PolicyConfig>,
    /// One tool call.
    pub tool_timeout: Duration,
    /// Stop and abort.
    pub shutdown: Shutdown,
    /// Tools that are not offered.
    pub left_out: Arc<LeftOut>,
    /// How long the run waits for Claude's limits in all.
    pub patience: Arc<Patience>,
    /// Keeps this persona's secrets out of prompts and rows.
    pub redactor: Redactor,
}

impl Scope {
    /// Asks for a reply. A pending request has no side effect but its cost, so a stop drops it; a pause
    /// lets it come to its end. Where the run has paid for a reply before (`has_paid`), one that is too dear is
    /// no failure.
    async fn ask(
        &self,
        claude: &ClaudeClient,
        ask: Ask<'_>,
        has_paid: bool,
        recorder: &impl Recorder,
    ) -> Result<Reply, Ended> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Ended::Stopped),
            () = sleep_until(self.deadline) => Err(Ended::Deadline),
            reply = claude.ask(ask, self.deadline, &self.patience, &self.redactor, recorder) => {
                reply.map_err(|error| {
                    Ended::of_asking(error, has_paid || recorder.lost() > Usd::ZERO)
                })
            }
            () = recorder.paused() => Err(Ended::Stopped),
        }
    }

    /// Resolves when a running tool call has to be given up, with the reason.
    async fn cut_off(&self) -> (&'static str, Ended) {
        tokio::select! {
            () = sleep_until(self.deadline) => ("the run's time was up", Ended::Deadline),
            () = self.shutdown.tool_share_used() => ("the runner was stopped", Ended::Stopped),
        }
    }
}

/// Why a tool has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ToolError {
    /// The call came to nothing.
    #[error(transparent)]
    Call(#[from] McpError),
    /// The server lists the tool no more.
    #[error("not run: mana-mcp no longer offers this tool")]
    Vanished,
    /// The server lost so many sessions of this run that there will be no further one.
    #[error("not run: mana-mcp keeps losing the session")]
    SessionsLost,
}

/// Runs tools for the main turn. What it takes besides the call itself (a session, a vault) is the
/// implementor's business.
pub(crate) trait ToolHost {
    /// Calls `tool`, with at most `limit` for it all.
    fn call(
        &self,
        tool: &CatalogTool,
        arguments: Map<String, Value>,
        limit: Duration,
    ) -> impl Future<Output = Result<ToolOutput, ToolError>> + Send;

    /// Waits until a server that a call did not reach has been there at some time after `since`; false if
    /// it has not by `deadline`.
    fn returns(&self, since: Instant, deadline: Instant) -> impl Future<Output = bool> + Send;
}
