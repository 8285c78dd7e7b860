//! A main turn under way: the conversation, the finished calls, and the state of the current turn's calls.
//!
//! The same functions change a day when it is played and when it is rebuilt from its steps.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{
    CallRecord, Called, CalledTool, Catalog, Conversation, Ended, Limits, Next, Step,
    attachment::Attached, call, nets,
};
use crate::{
    clients::claude::{ToolResult, ToolUse, sendable_id},
    domain::{ModuleName, Redactor, ToolName, Usd},
};

/// How many refused tools a run removes from its catalog at most.
const MAX_LEFT_OUT: usize = 20;

/// A main turn under way.
#[derive(Debug)]
pub struct Day {
    pub(super) conversation: Conversation,
    /// Every call whose result is in the history, in order.
    pub(super) calls: Vec<CallRecord>,
    /// States of the current turn's calls, by the ids of their `tool_use` blocks. A call that was not begun
    /// has no entry.
    pub(super) under_way: HashMap<String, CallState>,
    /// The cost of the day before the last reply.
    pub(super) spent_before: Usd,
    /// Number and size of the images and PDFs in the history.
    attached: Attached,
    /// Tools that are no longer offered in this day, because Claude refused them.
    pub left_out: Vec<ToolName>,
}

/// The state of a call in the current turn.
#[derive(Debug)]
pub(super) enum CallState {
    /// The call has this result.
    Called(Box<Called>),
    /// An earlier process was about to call this tool at this time. It is unknown whether the call was made.
    Calling(CalledTool, Instant),
}

/// The result of a main turn.
#[derive(Debug, Default)]
pub struct MainTurn {
    /// All calls, in order.
    pub calls: Vec<CallRecord>,
    /// The text of the model's last reply that has text and is no refusal; empty if there is none.
    pub closing_words: String,
    /// How many replies the model gave, dropped ones included.
    pub replies: u32,
    /// The cost of the replies and of requests that may have been billed without an answer.
    pub spent: Usd,
}

impl Day {
    /// A day whose history has one message, `opening`.
    pub fn new(opening: &str, limits: Limits) -> Self {
        Self {
            conversation: Conversation::new(opening, limits),
            calls: Vec::new(),
            under_way: HashMap::new(),
            spent_before: Usd::ZERO,
            attached: Attached::default(),
            left_out: Vec::new(),
        }
    }

    /// How many replies the model has given so far, dropped ones included.
    pub fn replies(&self) -> u32 {
        self.conversation.replies
    }

    /// Applies a step that an earlier process wrote at the time `at`.
    pub(super) fn take(&mut self, step: Step, at: Instant) {
        match step {
            Step::Replied(reply) => self.conversation.record_reply(reply),
            // An earlier version stored the ids of calls as Claude sent them.
            Step::Calling { id, tool } => {
                self.under_way.insert(sendable_id(&id), CallState::Calling(tool, at));
            }
            Step::NotCalled { id } => drop(self.under_way.remove(&sendable_id(&id))),
            Step::Called(mut called) => {
                called.id = sendable_id(&called.id);
                let record = &mut called.record;
                record.started = match self.under_way.get(&called.id) {
                    // A process was killed during this call, and the next process wrote the result. The call
                    // began when the first process wrote its `Calling`.
                    Some(CallState::Calling(_, begun)) => *begun,
                    _ => at.checked_sub(record.latency).unwrap_or(at),
                };
                self.record_call(called);
            }
            Step::Told { reminder, as_system, cut } => {
                let (results, _) = self.settle();
                self.record_results(results, reminder.as_deref(), as_system, &cut);
            }
            removal => {
                nets::take_out(&removal, &mut self.conversation.messages);
                self.record_removal(&removal);
            }
        }
    }

    /// Removes from the history what Claude may have refused the last request for. Returns the removal as a
    /// step; `None` if there is nothing left to remove.
    pub(super) fn mend(&mut self, refused: &Ended, tools: &Catalog) -> Option<Step> {
        let may_go = self.left_out.len() < MAX_LEFT_OUT;
        let messages = &mut self.conversation.messages;
        let removal = nets::mend(refused, may_go.then_some(tools), messages)?;
        self.record_removal(&removal);
        Some(removal)
    }

    fn record_removal(&mut self, removal: &Step) {
        match removal {
            Step::ToolLeftOut { tool } => self.left_out.push(tool.clone()),
            Step::AttachmentsReplaced => self.attached.refuse(),
            _ => {}
        }
    }

    /// The calls that the model asked for in the current turn; empty if no calls are due.
    pub(super) fn asked(&self) -> &[ToolUse] {
        let Next::CallTools(asked) = self.conversation.next() else { return &[] };
        asked
    }

    /// Stores the result of a call of the current turn.
    pub(super) fn record_call(&mut self, called: Called) {
        self.under_way.insert(called.id.clone(), CallState::Called(Box::new(called)));
    }

    /// Ends the calls that an earlier process was about to make. Each gets the result that its outcome is
    /// unknown. Returns these results.
    pub(super) fn give_up(&mut self) -> Vec<Called> {
        let calls = self.calls.len();
        let broken_off = self.asked().iter().enumerate().filter_map(|(index, call)| {
            let CallState::Calling(tool, at) = self.under_way.get(&call.id)? else { return None };
            let number = u32::try_from(calls + index + 1).unwrap_or(u32::MAX);
            let mut called = Called::broken_off(number, &call.id, call.input_hash(), tool.clone());
            called.record.started = *at;
            Some(called)
        });
        let broken_off: Vec<_> = broken_off.collect();
        broken_off.iter().cloned().for_each(|called| self.record_call(called));
        broken_off
    }

    /// Moves the current turn's calls that have a result into the calls of the day. Returns their results, in
    /// the order in which the model asked for the calls, and the hints of the policy gate.
    pub(super) fn settle(&mut self) -> (Vec<ToolResult>, Vec<String>) {
        let (mut results, mut all_hints) = (Vec::new(), Vec::new());
        for call in self.asked().to_vec() {
            let Some(CallState::Called(called)) = self.under_way.remove(&call.id) else { continue };
            let Called { record, mut content, hints, .. } = *called;
            self.attached.ration(&mut content);
            results.push(ToolResult::of(&call, content, record.error.is_some()));
            all_hints.extend(hints);
            self.calls.push(record);
        }
        (results, all_hints)
    }

    /// Adds the results of the current turn to the history. The results at the indices `cut` are replaced by
    /// a note.
    pub(super) fn record_results(
        &mut self,
        mut results: Vec<ToolResult>,
        reminder: Option<&str>,
        as_system: bool,
        cut: &[usize],
    ) {
        for index in cut {
            if let Some(result) = results.get_mut(*index) {
                *result = result.as_cut();
            }
        }
        self.conversation.record_results(&results, reminder, as_system);
    }

    /// The result of the day. It includes the calls of a turn that was broken off, as far as they have an
    /// answer or may have run.
    pub fn close(mut self, redactor: &Redactor) -> MainTurn {
        self.give_up();
        self.settle();
        MainTurn {
            closing_words: redactor.redact(&self.conversation.closing_words).into_owned(),
            replies: self.replies(),
            spent: self.conversation.spent(),
            calls: self.calls,
        }
    }
}

impl MainTurn {
    /// The modules of the listed tools that a call has reached or may have reached, in the order of their
    /// first use.
    pub(crate) fn used_modules(&self) -> Vec<ModuleName> {
        call::used_modules(&self.calls)
    }
}
