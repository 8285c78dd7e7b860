//! A main turn under way: the conversation, the calls so far, and what an earlier process has left of
//! the turn it was killed in.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{
    attachment::Attached,
    call::{CallRecord, CalledTool, used_modules},
    conversation::{Conversation, Limits, Next},
    ended::Ended,
    step::{Called, Step},
};
use crate::{
    clients::claude::{ResultBlock, ToolResult, ToolUse},
    domain::{ModuleName, Redactor, ToolName, Usd},
};

/// What a call is told whose result died with the process that made it.
const UNKNOWN: &str = "The outcome of this call is unknown: the runner broke off while it was under \
     way. It may or may not have taken effect; check before you repeat it.";

/// A main turn under way.
#[derive(Debug)]
pub struct Day {
    pub(super) conversation: Conversation,
    /// Every call whose result is in the history, in order.
    pub(super) calls: Vec<CallRecord>,
    /// What is known of the calls of the turn that was under way, by the ids of their blocks.
    pub(super) earlier: HashMap<String, Earlier>,
    /// What it had cost before the last reply.
    pub(super) spent_before: Usd,
    /// Images and PDFs in the history.
    pub(super) attached: Attached,
    /// The tools it is no longer offered.
    pub left_out: Vec<ToolName>,
}

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

/// What an earlier process has left of a call.
#[derive(Debug)]
pub(super) enum Earlier {
    /// Its result.
    Called(Box<Called>),
    /// That it was about to be made, and when; whether it was, nobody knows.
    Calling(CalledTool, Instant),
}

impl Day {
    /// A day that begins with what the persona is asked to do.
    pub fn new(opening: &str, limits: Limits) -> Self {
        Self {
            conversation: Conversation::new(opening, limits),
            calls: Vec::new(),
            earlier: HashMap::new(),
            spent_before: Usd::ZERO,
            attached: Attached::default(),
            left_out: Vec::new(),
        }
    }

    /// Model replies so far.
    pub fn replies(&self) -> u32 {
        self.conversation.replies()
    }

    /// What it has cost so far.
    pub fn spent(&self) -> Usd {
        self.conversation.spent()
    }

    /// Takes out what this step says was taken out after a refusal.
    pub(super) fn take_out(&mut self, step: &Step) {
        self.conversation.take_out(step);
        match step {
            Step::ToolLeftOut { tool } => self.left_out.push(tool.clone()),
            Step::AttachmentsReplaced => self.attached.refuse(),
            _ => {}
        }
    }

    /// The calls of all turns, those of a turn that will not go on included: each that was answered or
    /// may have run.
    pub(super) fn into_calls(mut self) -> Vec<CallRecord> {
        if let Next::CallTools(asked) = self.conversation.next() {
            for call in asked {
                let number = number_after(self.calls.len());
                match self.earlier.remove(&call.id) {
                    Some(Earlier::Called(called)) => self.calls.push(called.record),
                    Some(Earlier::Calling(tool, at)) => {
                        self.calls.push(unknown((number, at), call, tool).record);
                    }
                    None => {}
                }
            }
        }
        self.calls
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

/// The number of the call after so many.
pub(super) fn number_after(calls: usize) -> u32 {
    u32::try_from(calls + 1).unwrap_or(u32::MAX)
}

/// A call that was about to be made, then, when the process died. It is not made again, whatever it does.
pub(super) fn unknown(
    (number, started): (u32, Instant),
    call: &ToolUse,
    tool: CalledTool,
) -> Called {
    Called {
        id: call.id.clone(),
        record: CallRecord {
            number,
            tool,
            input_hash: call.input_hash(),
            error: Some(UNKNOWN.into()),
            outcome_unknown: true,
            not_run: false,
            excerpt: UNKNOWN.into(),
            latency: Duration::ZERO,
            started,
            reached: false,
            policy: Vec::new(),
        },
        content: vec![ResultBlock::Text(UNKNOWN.into())],
        hints: Vec::new(),
    }
}

/// Puts a note in the place of these results.
pub(super) fn cut(results: &mut [ToolResult], places: &[usize]) {
    for place in places {
        if let Some(result) = results.get_mut(*place) {
            *result = result.as_cut();
        }
    }
}
