//! The main turn as a state machine: it holds the history and says what comes next.
//!
//! No I/O. History is append-only, every `tool_use` is answered in the message right behind it, and
//! a truncated call is never executed (docs/contracts/anthropic-messages.md, sections 3 to 5). What is
//! ever taken out of it, after a refusal, is all of its kind (`agent::nets`).

use std::{collections::HashSet, num::NonZeroU32};

use super::ended::Closed;
use crate::{
    clients::claude::{MAX_OUTPUT_TOKENS, Message, Reply, StopReason, ToolResult, ToolUse},
    domain::Usd,
};

// A zero would be an error of the compiler, not a panic.
/// Output tokens of an ordinary reply, thinking included.
const OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(8_192).unwrap();
/// Output tokens of one that was cut off with less.
const MOST_OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(MAX_OUTPUT_TOKENS).unwrap();
/// How often a reply may ask to be continued.
const MAX_PAUSES: u32 = 5;

/// Longest context, in tokens, that a conversation may reach: beyond it every reply costs a multiple.
const MAX_CONTEXT: u64 = 100_000;

/// What a conversation may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Replies, ≥ 1.
    pub max_replies: u32,
    /// Cost of its replies.
    pub max_cost: Usd,
}

impl Limits {
    /// None at all: for a history that is only rebuilt.
    pub const NONE: Self = Self { max_replies: u32::MAX, max_cost: Usd::MAX };
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Ask for a reply to [`Conversation::messages`], of so many output tokens as the conversation says.
    AskModel,
    /// Carry out these calls, in order, and record a result for each.
    CallTools(Vec<ToolUse>),
    /// Nothing.
    Done(Closed),
}

/// A conversation of a persona with its tools.
#[derive(Debug)]
pub struct Conversation {
    pub(super) messages: Vec<Message>,
    next: Next,
    /// Replies so far.
    pub(super) replies: u32,
    pub(super) limits: Limits,
    /// What its replies have cost, dropped ones included.
    pub(super) spent: Usd,
    /// What requests without an answer may have cost.
    pub(super) lost: Usd,
    context: u64,
    /// Output tokens to ask for.
    pub(super) max_tokens: NonZeroU32,
    pauses: u32,
    call_ids: HashSet<String>,
    /// The last thing the model said in words.
    pub(super) closing_words: String,
}

impl Conversation {
    /// Begins with what the user says.
    pub fn new(opening: &str, limits: Limits) -> Self {
        Self {
            messages: vec![Message::user(opening)],
            next: Next::AskModel,
            replies: 0,
            limits,
            spent: Usd::ZERO,
            lost: Usd::ZERO,
            context: 0,
            max_tokens: OUTPUT_TOKENS,
            pauses: 0,
            call_ids: HashSet::new(),
            closing_words: String::new(),
        }
    }

    /// What is to be done next.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// The history.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// What it has cost: replies, dropped ones included, and requests that may have been billed
    /// without an answer.
    pub fn spent(&self) -> Usd {
        self.spent + self.lost
    }

    /// Goes on with a rebuilt history, within these limits.
    pub(super) fn resume(&mut self, limits: Limits, lost: Usd) {
        (self.limits, self.lost) = (limits, lost);
        if let Next::AskModel = self.next {
            self.next = self.ask_again();
        }
    }

    /// Takes in the reply that was asked for.
    pub fn record_reply(&mut self, reply: Reply) {
        self.spent += reply.cost.total();
        // A guess is made for money: what a request could take is twice what its text is.
        let context = reply.usage.context();
        self.context = if reply.is_guessed { context / 2 } else { context };
        let cut_off_call =
            reply.stop_reason == StopReason::MaxTokens && reply.tool_uses().next().is_some();
        self.replies += 1;
        if cut_off_call && !reply.is_rationed && self.max_tokens < MOST_OUTPUT_TOKENS {
            // The reply is left out of the history, and asked for once more with more room.
            self.max_tokens = MOST_OUTPUT_TOKENS;
            self.next = self.ask_again();
            return;
        }
        let words = reply.text();
        if reply.stop_reason != StopReason::Refusal && !words.is_empty() {
            self.closing_words = words;
        }
        let calls = reply.calls(&mut self.call_ids);
        self.next = match reply.stop_reason {
            // What a reply holds decides, whatever reason it gives for its end.
            _ if !calls.is_empty() => {
                self.messages.extend(Message::assistant(&reply.content, &calls));
                Next::CallTools(calls)
            }
            StopReason::EndTurn | StopReason::StopSequence => Next::Done(Closed::Finished),
            StopReason::ToolUse => Next::Done(Closed::NoCall { idle: self.call_ids.is_empty() }),
            StopReason::PauseTurn => self.pause(&reply),
            // Asked again, it would get no more room than its money allows.
            StopReason::MaxTokens if reply.is_rationed => Next::Done(Closed::CostLimit),
            StopReason::MaxTokens => Next::Done(Closed::Truncated),
            StopReason::ContextWindowExceeded => Next::Done(Closed::ContextWindow),
            StopReason::Refusal => Next::Done(Closed::Refused(reply.refusal)),
            StopReason::Unknown => Next::Done(Closed::UnknownStopReason),
        };
    }

    /// Takes in the results of all calls that were to be carried out, one for each, and a reminder for
    /// the model.
    ///
    /// The reminder stays where it was said: models bind their thinking to all that precedes it, and
    /// removing a message again would make the next request invalid. It goes into a system message
    /// where the model takes one there (`as_system`), else behind the last result.
    pub fn record_results(
        &mut self,
        results: &[ToolResult],
        reminder: Option<&str>,
        as_system: bool,
    ) {
        let Next::CallTools(calls) = &self.next else { return };
        // The next request is refused otherwise; made again, the calls would take effect twice.
        debug_assert!(
            calls.iter().map(|call| &call.id).eq(results.iter().map(|it| &it.tool_use_id)),
            "one result for each call, in order"
        );
        self.messages.push(Message::tool_results(results, reminder.filter(|_| !as_system)));
        self.messages.extend(reminder.filter(|_| as_system).map(Message::system));
        self.next = self.ask_again();
    }

    fn pause(&mut self, reply: &Reply) -> Next {
        self.pauses += 1;
        if self.pauses > MAX_PAUSES {
            return Next::Done(Closed::PauseLimit);
        }
        // An empty message at the end would be a prefill.
        if !reply.blocks.is_empty() {
            self.messages.extend(Message::assistant(&reply.content, &[]));
            Message::trim_end(&mut self.messages);
        }
        self.ask_again()
    }

    fn ask_again(&self) -> Next {
        self.limit_reached().map_or(Next::AskModel, Next::Done)
    }

    /// Why the model is asked no more, once the results due are in.
    pub(super) fn limit_reached(&self) -> Option<Closed> {
        if self.spent() >= self.limits.max_cost {
            Some(Closed::CostLimit)
        } else if self.context > MAX_CONTEXT {
            Some(Closed::ContextLimit)
        } else if self.replies >= self.limits.max_replies {
            Some(Closed::TurnLimit)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
