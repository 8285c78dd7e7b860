//! The conversation with Claude: its messages, the next action, the tool calls.
//!
//! [`conversation::Conversation`] decides what comes next and does no I/O. [`main_turn`] and [`rating`] do
//! the I/O. This module does not depend on mana-auth, on metrics, or on the place where steps are stored.

pub mod attachment;
pub mod call;
pub mod catalog;
mod cause;
pub mod conversation;
pub mod day;
pub mod day_end;
mod dispatch;
pub mod ended;
pub(crate) mod left_out;
pub mod main_turn;
mod nets;
pub mod observed;
pub mod policy;
pub mod prompt;
pub mod rating;
pub mod reminder;
pub mod replay;
pub mod schema;
pub mod step;
pub mod tool_result;
pub(crate) mod transcript;

pub(crate) use call::{CallRecord, Called, CalledTool, PolicyNote};
pub(crate) use catalog::{Catalog, CatalogTool};
pub(crate) use conversation::{Conversation, Limits, Next};
pub(crate) use day::{Day, MainTurn};
pub(crate) use day_end::{DayEnd, How, Whose};
pub(crate) use ended::{Closed, Ended};
pub(crate) use step::{Recorder, Step, TurnOpening, UnratedModule, Unrecorded};

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use crate::{
    clients::{
        claude::{Ask, ClaudeClient, Patience, Reply},
        mcp::{McpError, ToolOutput, Tries},
    },
    config::PolicyConfig,
    domain::{Redactor, Usd},
    shutdown::Shutdown,
};

/// Limits and shared objects of one persona's conversations.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The time at which all work of the conversations ends.
    pub deadline: Instant,
    /// How many replies the main turn may have, and how much they may cost.
    pub limits: conversation::Limits,
    /// Which tools the persona may call.
    pub policy: Arc<PolicyConfig>,
    /// How long one tool call may take, with its repetitions.
    pub tool_timeout: Duration,
    /// A stop drops a model request at once and gives a tool call half of the grace time.
    pub shutdown: Shutdown,
    /// Tools that are not offered.
    pub left_out: Arc<left_out::LeftOut>,
    /// How long the run waits for Claude's rate limits in total.
    pub patience: Arc<Patience>,
    /// Removes this persona's secrets from prompts and rows.
    pub redactor: Redactor,
}

impl Scope {
    /// Asks Claude for a reply. A pending request has no side effect except its cost, so a stop drops the
    /// request. A pause waits until the request has ended. `has_paid` says that the run has paid for a reply
    /// before; then a next request that is too expensive ends the turn without failing the run.
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
            reply = async {
                recorder.write_reply().await;
                claude.ask(ask, self.deadline, &self.patience, &self.redactor, recorder).await
            } => {
                reply.map_err(|error| {
                    Ended::of_asking(error, has_paid || recorder.lost() > Usd::ZERO)
                })
            }
            () = recorder.paused() => Err(Ended::Stopped),
        }
    }

    /// Resolves when a running tool call must be given up. The output is the reason, as the error of the call
    /// and as the end of the run.
    async fn cut_off(&self) -> (&'static str, Ended) {
        tokio::select! {
            () = sleep_until(self.deadline) => ("the run's time was up", Ended::Deadline),
            () = self.shutdown.tool_share_used() => ("the runner was stopped", Ended::Stopped),
        }
    }
}

/// Why a tool call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ToolError {
    /// The request of the call failed.
    #[error(transparent)]
    Call(#[from] McpError),
    /// A new session of the server no longer lists the tool.
    #[error("not run: mana-mcp no longer offers this tool")]
    Vanished,
    /// The server lost so many sessions of this run that the run opens no further session.
    #[error("not run: mana-mcp keeps losing the session")]
    SessionsLost,
}

/// Runs tools for the main turn. The implementation provides everything else that a call needs, such as a
/// session or an initialised vault.
pub(crate) trait ToolHost {
    /// Calls `tool`. All requests that the call needs take at most `limit` together. `tries` counts the
    /// attempts.
    fn call(
        &self,
        tool: &CatalogTool,
        arguments: Map<String, Value>,
        limit: Duration,
        tries: &Tries,
    ) -> impl Future<Output = Result<ToolOutput, ToolError>> + Send;

    /// Waits until a server that a call did not reach has been reachable at some time after `since`. The
    /// output is false if the server was not reachable by `deadline`.
    fn returns(&self, since: Instant, deadline: Instant) -> impl Future<Output = bool> + Send;
}
