//! A main turn under way: the conversation, the calls so far, and what is known of those of the turn it is in.
//!
//! A day is played and rebuilt from its steps by the same functions: what a step changes in it is said here.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{
    Attached, CallRecord, Called, CalledTool, Catalog, Conversation, Ended, Limits, Next, Step,
    call, nets,
};
use crate::{
    clients::claude::{ToolResult, ToolUse, sendable_id},
    domain::{ModuleName, Redactor, ToolName, Usd},
};

/// Most tools that a run goes on without.
const MAX_LEFT_OUT: usize = 20;

/// A main turn under way.
#[derive(Debug)]
pub struct Day {
    pub(super) conversation: Conversation,
    /// Every call whose result is in the history, in order.
    pub(super) calls: Vec<CallRecord>,
    /// What is known of the calls of the turn that is under way, by the ids of their blocks.
    pub(super) under_way: HashMap<String, Known>,
    /// What it had cost before the last reply.
    pub(super) spent_before: Usd,
    /// Images and PDFs in the history.
    attached: Attached,
    /// The tools it is no longer offered.
    pub left_out: Vec<ToolName>,
}

/// What is known of a call.
#[derive(Debug)]
pub(super) enum Known {
    /// Its result.
    Called(Box<Called>),
    /// That an earlier process was about to make it, and when; whether it did, nobody knows.
    Calling(CalledTool, Instant),
}

/// What a persona's day came to.
#[derive(Debug, Default)]
pub struct MainTurn {
    /// Every call, in order.
    pub calls: Vec<CallRecord>,
    /// The last thing the persona said in words.
    pub closing_words: String,
    /// Model replies.
    pub replies: u32,
    /// What they cost.
    pub spent: Usd,
}

impl Day {
    /// A day that begins with what the persona is asked to do.
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

    /// Model replies so far.
    pub fn replies(&self) -> u32 {
        self.conversation.replies
    }

    /// What it has cost so far.
    pub fn spent(&self) -> Usd {
        self.conversation.spent()
    }

    /// Takes in a step of an earlier process, which was written down then.
    pub(super) fn take(&mut self, step: Step, at: Instant) {
        match step {
            Step::Replied(reply) => self.conversation.record_reply(reply),
            // An earlier version left the ids of calls as they came.
            Step::Calling { id, tool } => {
                self.under_way.insert(sendable_id(&id), Known::Calling(tool, at));
            }
            Step::NotCalled { id } => drop(self.under_way.remove(&sendable_id(&id))),
            Step::Called(mut called) => {
                called.id = sendable_id(&called.id);
                let record = &mut called.record;
                record.started = match self.under_way.get(&called.id) {
                    // The result of one that a process was killed in was written down by the next.
                    Some(Known::Calling(_, begun)) => *begun,
                    _ => at.checked_sub(record.latency).unwrap_or(at),
                };
                self.called(called);
            }
            Step::Told { reminder, as_system, cut } => {
                let (results, _) = self.settle();
                self.tell(results, reminder.as_deref(), as_system, &cut);
            }
            taken_out => {
                nets::take_out(&taken_out, &mut self.conversation.messages);
                self.go_without(&taken_out);
            }
        }
    }

    /// Takes out of the history what a request may have been refused for; `None` if there is nothing to try.
    pub(super) fn mend(&mut self, refused: &Ended, tools: &Catalog) -> Option<Step> {
        let may_go = self.left_out.len() < MAX_LEFT_OUT && !tools.is_single();
        let messages = &mut self.conversation.messages;
        let taken_out = nets::mend(refused, may_go.then_some(tools), messages)?;
        self.go_without(&taken_out);
        Some(taken_out)
    }

    fn go_without(&mut self, taken_out: &Step) {
        match taken_out {
            Step::ToolLeftOut { tool } => self.left_out.push(tool.clone()),
            Step::AttachmentsReplaced => self.attached.refuse(),
            _ => {}
        }
    }

    /// The calls of the turn under way.
    pub(super) fn asked(&self) -> &[ToolUse] {
        let Next::CallTools(asked) = self.conversation.next() else { return &[] };
        asked
    }

    /// Takes in the result of a call of the turn.
    pub(super) fn called(&mut self, called: Called) {
        self.under_way.insert(called.id.clone(), Known::Called(Box::new(called)));
    }

    /// Gives up the calls that an earlier process was about to make, and says what is known of each.
    pub(super) fn give_up(&mut self) -> Vec<Called> {
        let calls = self.calls.len();
        let broken_off = self.asked().iter().enumerate().filter_map(|(index, call)| {
            let Known::Calling(tool, at) = self.under_way.get(&call.id)? else { return None };
            Some(Called::after(calls + index, call, tool.clone()).broken_off(*at))
        });
        let broken_off: Vec<_> = broken_off.collect();
        broken_off.iter().cloned().for_each(|called| self.called(called));
        broken_off
    }

    /// Counts the calls of the turn that have a result among those of the day. Gives the results, in the order
    /// asked, and what the policy gate wants said.
    pub(super) fn settle(&mut self) -> (Vec<ToolResult>, Vec<String>) {
        let (mut results, mut all_hints) = (Vec::new(), Vec::new());
        for call in self.asked().to_vec() {
            let Some(Known::Called(called)) = self.under_way.remove(&call.id) else { continue };
            let Called { record, mut content, hints, .. } = *called;
            self.attached.ration(&mut content);
            results.push(ToolResult::of(&call, content, record.error.is_some()));
            all_hints.extend(hints);
            self.calls.push(record);
        }
        (results, all_hints)
    }

    /// Takes the results of the turn into the history, without those in these places.
    pub(super) fn tell(
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

    /// What it came to, the calls of a turn that will not go on included: each that was answered or may have
    /// run.
    pub fn close(mut self, redactor: &Redactor) -> MainTurn {
        self.give_up();
        self.settle();
        MainTurn {
            closing_words: redactor.redact(&self.conversation.closing_words).into_owned(),
            replies: self.replies(),
            spent: self.spent(),
            calls: self.calls,
        }
    }
}

impl MainTurn {
    /// Whether no listed tool was called, whatever came of it.
    pub fn is_idle(&self) -> bool {
        self.calls.iter().all(|call| call.listed().is_none())
    }

    /// The modules of the listed tools that a call reached, or may have, in order of first use.
    pub(crate) fn used_modules(&self) -> Vec<ModuleName> {
        call::used_modules(&self.calls)
    }
}
