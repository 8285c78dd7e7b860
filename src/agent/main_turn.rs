//! The main turn, performed: Claude is asked and tools are called until the conversation ends or
//! something ends it.

use std::{num::NonZeroU32, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::{
    Scope, ToolHost,
    catalog::Catalog,
    conversation::{Closed, Next},
    day::Day,
    dispatch::Dispatcher,
    purse::{self, Purse},
    reminder::{self, Snapshot},
    step::{DayEnd, Recorder, Step, Unrecorded},
};
use crate::{
    clients::claude::{Ask, ClaudeClient, ClaudeError, NotPaid, Reply},
    config::PERSONA_MAX_COST_USD,
    domain::{Action, InputHash, ModuleName, Redactor, ToolName, Usd},
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
    /// Tools that Claude refused and that no run had met before.
    pub refused_tools: u64,
}

/// One tool call and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Whether it certainly did nothing: refused at the door, denied or invented. An earlier version did not
    /// say, and asked for a rating all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_run: bool,
    /// The beginning of the result's text.
    pub excerpt: String,
    /// How long it took.
    pub latency: Duration,
    /// When it began; of a call of an earlier process, by the times of its steps.
    #[serde(skip, default = "Instant::now")]
    pub started: Instant,
    /// Whether this process made it and the product failed or did it: not denied, invented or cut off.
    #[serde(skip)]
    pub reached: bool,
    /// What the policy gate had to say of it and of its result. Counted by the process that made the
    /// call.
    #[serde(skip)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// mana-mcp was away for longer than a tool call may take. The call that did not reach it is still to be
    /// made, by whoever goes on with the run.
    Away {
        /// What happened.
        reason: String,
    },
    /// The run's time was up.
    Deadline,
    /// It was stopped from outside: by a shutdown, a pause or on request.
    Stopped,
    /// A cap leaves no room for another request.
    Budget {
        /// The variable that sets it.
        variable: &'static str,
        /// If it is the cap of this persona alone: when the persona has money again.
        persona_broke_until: Option<Timestamp>,
    },
    /// The next request is too dear for a cap that others may still fit under.
    TooDear {
        /// The variable that sets it.
        variable: &'static str,
        /// What the request may cost.
        most: Usd,
        /// Whether nothing was paid for before it.
        is_first: bool,
    },
    /// It could not be written down.
    Unrecorded(Unrecorded),
}

impl Ended {
    /// Why the run failed; `None` for an ordinary end and for a stop, which is nobody's failure.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Closed(closed) => closed.failure(),
            Self::Model(error) => Some(error.to_string()),
            Self::SessionsLost => Some("mana-mcp lost three sessions of this run".into()),
            Self::Away { reason } => Some(reason.clone()),
            Self::Deadline => Some("the run's time (PERSONA_TIMEOUT_MS) was up".into()),
            Self::Unrecorded(error) => Some(error.to_string()),
            Self::TooDear { variable, most, is_first: true } => {
                Some(NotPaid::TooDear { variable, most: *most }.to_string())
            }
            Self::Stopped | Self::Budget { .. } | Self::TooDear { .. } => None,
        }
    }

    /// What it means for the rest of the run.
    pub fn summary(&self, redactor: &Redactor) -> DayEnd {
        let failure = self.failure().map(|error| redactor.redact(&error).into_owned());
        let broke_until = match self {
            Self::Budget { persona_broke_until, .. } => *persona_broke_until,
            _ => None,
        };
        DayEnd {
            stopped: matches!(self, Self::Stopped),
            out_of_money: matches!(self, Self::Budget { .. }),
            persona_is_broke: broke_until.is_some(),
            broke_until,
            reason: match (self, &failure) {
                (_, Some(failure)) => failure.clone(),
                (Self::Closed(closed), None) => closed.describe().to_owned(),
                (Self::Budget { variable, .. }, None) => format!("{variable} is used up"),
                (Self::TooDear { variable: PERSONA_MAX_COST_USD, .. }, None) => {
                    Closed::CostLimit.describe().to_owned()
                }
                (Self::TooDear { variable, most, .. }, None) => {
                    NotPaid::TooDear { variable, most: *most }.to_string()
                }
                (_, None) => "stopped from outside".to_owned(),
            },
            failure,
        }
    }

    fn of_asking(error: ClaudeError) -> Self {
        match error {
            ClaudeError::NotPaid(NotPaid::Budget { variable, persona_broke_until }) => {
                Self::Budget { variable, persona_broke_until }
            }
            ClaudeError::NotPaid(NotPaid::TooDear { variable, most }) => {
                Self::TooDear { variable, most, is_first: false }
            }
            ClaudeError::NotPaid(NotPaid::Paused) => Self::Stopped,
            ClaudeError::NotPaid(NotPaid::Unrecorded { reason }) => {
                Self::Unrecorded(Unrecorded { reason })
            }
            error => Self::Model(error),
        }
    }

    /// After so much was paid for.
    fn after(self, spent: Usd) -> Self {
        match self {
            Self::TooDear { variable: PERSONA_MAX_COST_USD, .. } if spent > Usd::ZERO => {
                Self::Closed(Closed::CostLimit)
            }
            Self::TooDear { variable, most, .. } => {
                Self::TooDear { variable, most, is_first: spent == Usd::ZERO }
            }
            ended => ended,
        }
    }

    /// The refusal, where Claude refused the request itself, not its sender.
    pub(super) fn bad_request(&self) -> Option<&ClaudeError> {
        match self {
            Self::Model(error) if error.is_bad_request() => Some(error),
            _ => None,
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
    /// The main turn of an earlier process, as far as it came.
    pub fn of_earlier(day: Day, redactor: &Redactor) -> Self {
        let (words, replies) = (day.conversation.closing_words(), day.conversation.replies());
        Self {
            closing_words: redactor.redact(words).into_owned(),
            replies,
            spent: day.conversation.spent(),
            ended: Ended::Stopped,
            reminders: Vec::new(),
            refused_tools: 0,
            calls: day.into_calls(),
        }
    }

    /// Whether no listed tool was called, whatever came of it.
    pub fn is_idle(&self) -> bool {
        !self.calls.iter().any(|call| matches!(call.tool, CalledTool::Listed(_)))
    }

    /// The modules of the listed tools that a call reached, or may have, in order of first use.
    pub fn used_modules(&self) -> Vec<ModuleName> {
        used_modules(&self.calls)
    }
}

/// The modules of the listed tools that these calls reached, or may have, in order of first use.
pub(super) fn used_modules(calls: &[CallRecord]) -> Vec<ModuleName> {
    let mut used = Vec::new();
    for call in calls.iter().filter(|call| !call.not_run) {
        if let CalledTool::Listed(name) = &call.tool {
            let module = name.module();
            if !used.contains(&module) {
                used.push(module);
            }
        }
    }
    used
}

/// Plays a persona's day, or the rest of one: `system` is who it is.
pub async fn run_main_turn(
    claude: &ClaudeClient,
    tools: &impl ToolHost,
    catalog: Catalog,
    system: &str,
    day: Day,
    scope: &Scope,
    recorder: &impl Recorder,
) -> MainTurn {
    let Day { mut conversation, calls, earlier, mut spent_before, attached, .. } = day;
    let mut dispatcher =
        Dispatcher::new(tools, catalog, scope, recorder).after(calls, earlier, attached);
    let (mut reminders, mut refused_tools) = (Vec::new(), 0);
    let ended = loop {
        match conversation.next() {
            Next::Done(closed) => break Ended::Closed(closed.clone()),
            Next::AskModel { max_tokens } => {
                spent_before = conversation.spent();
                let purse = Purse { claude, catalog: &dispatcher.catalog, system };
                let (messages, words) = (conversation.messages(), conversation.closing_words());
                let ask = purse.ask(messages, max_tokens, &dispatcher.calls, words);
                let reply = scope.ask(claude, ask, recorder).await;
                conversation.note_lost(recorder.lost());
                match reply {
                    Ok(reply) => conversation.record_reply(reply),
                    Err(ended) => match conversation.mend(&ended, &dispatcher.catalog) {
                        Some(step) => {
                            recorder.note(&step).await;
                            if let Step::ToolLeftOut { tool } = &step {
                                refused_tools += u64::from(scope.left_out.refuse(tool));
                            }
                            dispatcher.take_out(&step);
                        }
                        None => break ended.after(conversation.spent()),
                    },
                }
            }
            Next::CallTools(asked) => {
                let asked = asked.to_vec();
                let calls_before = dispatcher.calls.len();
                let mut turn = match dispatcher.carry_out(&asked).await {
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
                let mut cut = Vec::new();
                if conversation.goes_on() {
                    let purse = Purse { claude, catalog: &dispatcher.catalog, system };
                    let (messages, words) = (conversation.messages(), conversation.closing_words());
                    let ask = purse.ask(messages, NonZeroU32::MIN, &dispatcher.calls, words);
                    let left = recorder.left();
                    cut = purse.beyond(ask, &turn.results, text.as_deref(), left);
                }
                purse::cut(&mut turn.results, &cut);
                conversation.record_results(&turn.results, text.as_deref(), as_system);
                recorder.note(&Step::Told { reminder: text, as_system, cut }).await;
            }
        }
    };
    if let Ended::TooDear { most, .. } = &ended {
        tracing::warn!(end = ?ended, cost = %conversation.spent(), %most, "the next request is too dear");
    }
    if let Ended::Closed(
        closed @ (Closed::UnknownStopReason
        | Closed::NoCall { .. }
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
        refused_tools,
    }
}

impl Scope {
    /// Asks for a reply. A pending request has no side effect but its cost, so a stop drops it; a pause
    /// lets it come to its end.
    pub(super) async fn ask(
        &self,
        claude: &ClaudeClient,
        ask: Ask<'_>,
        recorder: &impl Recorder,
    ) -> Result<Reply, Ended> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Ended::Stopped),
            () = sleep_until(self.deadline) => Err(Ended::Deadline),
            reply = claude.ask(ask, self.deadline, &self.patience, &self.redactor, recorder) => {
                reply.map_err(Ended::of_asking)
            }
            () = recorder.paused() => Err(Ended::Stopped),
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
