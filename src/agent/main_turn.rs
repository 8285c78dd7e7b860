//! The main turn, performed: Claude is asked and tools are called until the conversation ends or
//! something ends it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    Scope, ToolHost,
    catalog::Catalog,
    conversation::{Closed, Conversation, Next},
    dispatch::Dispatcher,
    reminder::{self, Snapshot},
};
use crate::{
    clients::claude::{Ask, ClaudeClient, ClaudeError, Reply},
    domain::{Action, InputHash, ModuleName, ToolName, Usd},
};

/// What a persona's day came to.
#[derive(Debug)]
pub struct MainTurn {
    /// Every call, in order.
    pub calls: Vec<CallRecord>,
    /// Why it ended.
    pub ended: Ended,
    /// The last thing the persona said in words.
    pub closing_words: String,
    /// Model replies.
    pub replies: u32,
    /// What they cost.
    pub spent: Usd,
    /// What gave cause for each reminder.
    pub reminders: Vec<&'static str>,
}

/// One tool call and what came of it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// Its number in the run, from 1.
    pub number: u32,
    /// What was called.
    pub tool: CalledTool,
    /// Hash of the input as the model wrote it.
    pub input_hash: Option<InputHash>,
    /// What went wrong, if anything.
    pub error: Option<String>,
    /// Whether nobody knows if it ran.
    pub outcome_unknown: bool,
    /// The beginning of the result's text.
    pub excerpt: String,
    /// How long it took.
    pub latency: Duration,
    /// When it began.
    pub started: Instant,
    /// What the policy gate had to say of it and of its result.
    pub policy: Vec<PolicyNote>,
}

/// A decision of the policy gate, as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyNote {
    /// `deny`, `flag` or `flag-result`.
    pub decision: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The tool a call went to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalledTool {
    /// One the server lists.
    Listed(ToolName),
    /// A name the model made up.
    Invented(String),
}

/// Why a main turn ended.
#[derive(Debug)]
pub enum Ended {
    /// The conversation came to its end.
    Closed(Closed),
    /// Claude could not be had.
    Model(ClaudeError),
    /// mana-mcp lost one session after the other.
    SessionsLost,
    /// The run's time was up.
    Deadline,
    /// The runner is stopping.
    Stopped,
}

impl Ended {
    /// Why the run failed; `None` for an ordinary end and for a stop, which is nobody's failure.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Closed(closed) => closed.failure(),
            Self::Model(error) => Some(error.to_string()),
            Self::SessionsLost => Some("mana-mcp lost three sessions of this run".into()),
            Self::Deadline => Some("the run's time (PERSONA_TIMEOUT_MS) was up".into()),
            Self::Stopped => None,
        }
    }

    /// Whether Claude refused the request itself, not its sender.
    pub(super) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Model(error) if error.is_bad_request())
    }
}

impl CallRecord {
    /// The MCP name, or what the model wrote.
    pub fn tool_name(&self) -> &str {
        match &self.tool {
            CalledTool::Listed(name) => name.as_str(),
            CalledTool::Invented(name) => name,
        }
    }

    /// The audit row of this call.
    pub fn to_action(&self) -> Action {
        let hash = self.input_hash.clone();
        Action::new(self.tool_name(), hash, self.error.as_deref(), self.latency)
    }
}

impl MainTurn {
    /// The modules of the listed tools that were called, in order of first use.
    pub fn used_modules(&self) -> Vec<ModuleName> {
        let mut used = Vec::new();
        for call in &self.calls {
            if let CalledTool::Listed(name) = &call.tool {
                let module = name.module();
                if !used.contains(&module) {
                    used.push(module);
                }
            }
        }
        used
    }
}

/// Plays a persona's day: `system` is who it is, `opening` what it is asked to do.
pub async fn run_main_turn(
    claude: &ClaudeClient,
    tools: &impl ToolHost,
    catalog: &Catalog,
    system: &str,
    opening: &str,
    scope: &Scope,
) -> MainTurn {
    let mut conversation = Conversation::new(opening, scope.limits);
    let mut dispatcher = Dispatcher::new(tools, catalog, scope);
    let mut reminders = Vec::new();
    let mut spent_before = Usd::ZERO;
    let ended = loop {
        match conversation.next() {
            Next::Done(closed) => break Ended::Closed(closed.clone()),
            Next::AskModel { max_tokens } => {
                spent_before = conversation.spent();
                let ask = Ask {
                    system,
                    tools: Some(catalog.definitions()),
                    messages: conversation.messages(),
                    max_tokens,
                    format: None,
                    cached: true,
                };
                match scope.ask(claude, ask).await {
                    Ok(reply) => conversation.record_reply(reply),
                    Err(ended) if ended.is_bad_request() && conversation.strip_thinking() => {
                        tracing::warn!("the request is sent once more without thinking blocks");
                    }
                    Err(ended) => break ended,
                }
            }
            Next::CallTools(asked) => {
                let asked = asked.to_vec();
                let calls_before = dispatcher.calls.len();
                let turn = match dispatcher.carry_out(&asked).await {
                    Ok(turn) => turn,
                    Err(ended) => break ended,
                };
                let told = if conversation.goes_on() {
                    reminder::remind(&Snapshot {
                        turn: conversation.replies(),
                        max_turns: scope.limits.max_replies,
                        calls_before,
                        calls: dispatcher.calls.len(),
                        last_failed: &dispatcher.last_failed(),
                        cost_before: spent_before,
                        cost: conversation.spent(),
                        max_cost: scope.limits.max_cost,
                        gate: &turn.hints,
                    })
                } else {
                    Vec::new()
                };
                let text = reminder::wrap(&told);
                reminders.extend(told.iter().map(|reminder| reminder.producer));
                let as_system = claude.takes_system_messages();
                conversation.record_results(&turn.results, text.as_deref(), as_system);
            }
        }
    };
    if let Ended::Closed(
        closed @ (Closed::UnknownStopReason
        | Closed::PauseLimit
        | Closed::CostLimit
        | Closed::ContextLimit),
    ) = &ended
    {
        tracing::warn!(end = ?closed, cost = %conversation.spent(), "the day ended before its time");
    }
    MainTurn {
        calls: dispatcher.calls,
        ended,
        closing_words: scope.redactor.redact(conversation.closing_words()).into_owned(),
        replies: conversation.replies(),
        spent: conversation.spent(),
        reminders,
    }
}

impl Scope {
    /// Asks for a reply. A pending request has no side effect but its cost, so a stop drops it.
    pub(super) async fn ask(&self, claude: &ClaudeClient, ask: Ask<'_>) -> Result<Reply, Ended> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Ended::Stopped),
            () = sleep_until(self.deadline) => Err(Ended::Deadline),
            reply = claude.ask(ask, self.deadline, &self.patience) => reply.map_err(Ended::Model),
        }
    }

    /// Resolves when a running tool call has to be given up, with the reason.
    pub(super) async fn cut_off(&self) -> (&'static str, Ended) {
        tokio::select! {
            () = sleep_until(self.deadline) => ("the run's time was up", Ended::Deadline),
            () = self.shutdown.tool_share_used() => ("the runner was stopped", Ended::Stopped),
        }
    }
}
