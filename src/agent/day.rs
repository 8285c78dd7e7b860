//! A main turn under way: the conversation, the calls so far, and what an earlier process has left of
//! the turn it was killed in.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{
    attachment::Attached,
    conversation::{Conversation, Limits, Next},
    main_turn::{CallRecord, CalledTool},
    step::{Called, Step},
};
use crate::{
    clients::claude::{ResultBlock, ToolUse},
    domain::{ToolName, Usd},
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
