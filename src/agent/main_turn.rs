//! The main turn, performed: Claude is asked and tools are called until the conversation ends or
//! something ends it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    Scope, ToolHost,
    catalog::Catalog,
    conversation::{Closed, Conversation, Next},
    tool_result,
};
use crate::{
    clients::{
        claude::{Ask, ClaudeClient, ClaudeError, ToolResult, ToolUse},
        mcp::{CallError, ToolOutput},
    },
    domain::{Action, InputHash, ModuleName, ToolName, clip, one_line},
};

/// Longest excerpt kept of a result, in characters; rows and recap cut it further.
const EXCERPT: usize = 500;

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
            Self::Deadline => Some("the run's time (PERSONA_TIMEOUT_MS) was up".into()),
            Self::Stopped => None,
        }
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
    let mut conversation = Conversation::new(opening, scope.max_turns);
    let mut calls = Vec::new();
    let ended = loop {
        match conversation.next() {
            Next::Done(closed) => break Ended::Closed(closed.clone()),
            Next::AskModel { max_tokens } => {
                let ask = Ask {
                    system,
                    tools: Some(catalog.definitions()),
                    messages: conversation.messages(),
                    max_tokens,
                    format: None,
                };
                match scope.ask(claude, ask).await {
                    Ok(reply) => conversation.record_reply(reply),
                    Err(ended) => break ended,
                }
            }
            Next::CallTools(asked) => {
                let asked = asked.to_vec();
                match call_tools(tools, catalog, &asked, scope, &mut calls).await {
                    Ok(results) => conversation.record_results(&results),
                    Err(ended) => break ended,
                }
            }
        }
    };
    if let Ended::Closed(closed @ (Closed::UnknownStopReason | Closed::PauseLimit)) = &ended {
        tracing::warn!(end = ?closed, "the conversation ended in an unusual way");
    }
    MainTurn {
        calls,
        ended,
        closing_words: conversation.closing_words().to_owned(),
        replies: conversation.replies(),
    }
}

impl Scope {
    /// Asks for a reply. A pending request has no side effect but its cost, so a stop drops it.
    pub(super) async fn ask(
        &self,
        claude: &ClaudeClient,
        ask: Ask<'_>,
    ) -> Result<crate::clients::claude::Reply, Ended> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Ended::Stopped),
            () = sleep_until(self.deadline) => Err(Ended::Deadline),
            reply = claude.ask(ask, self.deadline) => reply.map_err(Ended::Model),
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

/// Carries out the calls in order. On an end from outside, what has happened is in `calls`.
async fn call_tools(
    tools: &impl ToolHost,
    catalog: &Catalog,
    asked: &[ToolUse],
    scope: &Scope,
    calls: &mut Vec<CallRecord>,
) -> Result<Vec<ToolResult>, Ended> {
    let mut results = Vec::with_capacity(asked.len());
    for call in asked {
        if scope.shutdown.is_stopping() {
            return Err(Ended::Stopped);
        }
        if Instant::now() >= scope.deadline {
            return Err(Ended::Deadline);
        }
        let number = u32::try_from(calls.len() + 1).unwrap_or(u32::MAX);
        let started = Instant::now();
        let (tool, answer, cut_off) = call_tool(tools, catalog, call, scope).await;
        let record = CallRecord {
            number,
            tool,
            input_hash: InputHash::of_json(call.input.get()),
            error: answer.error,
            outcome_unknown: answer.outcome_unknown,
            excerpt: clip(&tool_result::text_of(&answer.content), EXCERPT),
            latency: started.elapsed(),
        };
        tracing::debug!(
            call.number = number,
            tool = one_line(record.tool_name()),
            call.ok = record.error.is_none(),
            took_ms = record.latency.as_millis() as u64,
            "tool call ended"
        );
        results.push(ToolResult::of(call, answer.content, record.error.is_some()));
        calls.push(record);
        if let Some(ended) = cut_off {
            return Err(ended);
        }
    }
    Ok(results)
}

/// What came of a call, for the model and for the record.
struct Answer {
    content: Vec<crate::clients::claude::ResultBlock>,
    error: Option<String>,
    outcome_unknown: bool,
}

impl Answer {
    fn error(text: String, outcome_unknown: bool) -> Self {
        let content = vec![crate::clients::claude::ResultBlock::Text(text.clone())];
        Self { content, error: Some(text), outcome_unknown }
    }

    fn of_output(output: &ToolOutput, scope: &Scope) -> Self {
        let content = tool_result::to_blocks(output, &scope.redactor);
        let error = output.is_error.then(|| {
            let text = tool_result::text_of(&content);
            if text.is_empty() { "the tool failed without saying why".to_owned() } else { text }
        });
        Self { content, error, outcome_unknown: false }
    }

    fn of_call_error(error: &CallError, scope: &Scope) -> Self {
        let unknown = matches!(error, CallError::OutcomeUnknown { .. });
        let hint = if unknown {
            " The call may or may not have taken effect; check before you repeat it."
        } else {
            ""
        };
        let text = format!("{error}.{hint}");
        Self::error(scope.redactor.redact(&text).into_owned(), unknown)
    }
}

async fn call_tool(
    tools: &impl ToolHost,
    catalog: &Catalog,
    call: &ToolUse,
    scope: &Scope,
) -> (CalledTool, Answer, Option<Ended>) {
    let Some(name) = catalog.resolve(&call.name) else {
        let text = "There is no such tool. Use only the tools that are offered.".to_owned();
        return (CalledTool::Invented(call.name.clone()), Answer::error(text, false), None);
    };
    let tool = CalledTool::Listed(name.clone());
    let Some(arguments) = tool_result::as_arguments(call.input.get()) else {
        let text = "Not run: the input must be a JSON object.".to_owned();
        return (tool, Answer::error(text, false), None);
    };
    let limit = scope.tool_timeout.min(scope.deadline.saturating_duration_since(Instant::now()));
    tokio::select! {
        biased;
        result = tools.call(name, arguments, limit) => {
            let answer = match result {
                Ok(output) => Answer::of_output(&output, scope),
                Err(error) => Answer::of_call_error(&error, scope),
            };
            (tool, answer, None)
        }
        (reason, ended) = scope.cut_off() => {
            let error = CallError::OutcomeUnknown { reason: reason.into() };
            (tool, Answer::of_call_error(&error, scope), Some(ended))
        }
    }
}
