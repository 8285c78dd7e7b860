//! The main turn as a state machine. It holds the history and decides what comes next.
//!
//! It does no I/O. The history is append-only. Every `tool_use` is answered in the next message, and a
//! truncated call is never executed (docs/contracts/anthropic-messages.md, sections 3 to 5). The only
//! removals are those of `agent::nets` after a refusal; they remove all blocks of a kind.

use std::{collections::HashSet, num::NonZeroU32};

use super::ended::Closed;
use crate::{
    clients::claude::{MAX_OUTPUT_TOKENS, Message, Reply, StopReason, ToolResult, ToolUse},
    domain::Usd,
};

// In a constant, `unwrap` of zero is an error at compile time and no panic.
/// Output tokens that an ordinary reply may have, thinking included.
const OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(8_192).unwrap();
/// Output tokens that a reply may have after a call was cut off at [`OUTPUT_TOKENS`].
const MOST_OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(MAX_OUTPUT_TOKENS).unwrap();
/// How many replies with `pause_turn`, which asks for a continuation, a conversation may have.
const MAX_PAUSES: u32 = 5;

/// Longest context of a conversation, in tokens. With a longer context every reply costs several times as
/// much.
const MAX_CONTEXT: u64 = 100_000;

/// Limits of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many replies the model may give, ≥ 1.
    pub max_replies: u32,
    /// How much replies and lost requests may cost together.
    pub max_cost: Usd,
}

impl Limits {
    /// No limits, for rebuilding a history.
    pub const NONE: Self = Self { max_replies: u32::MAX, max_cost: Usd::MAX };
}

/// The next action in a conversation.
#[derive(Debug)]
pub enum Next {
    /// Ask for a reply to [`Conversation::messages`], with at most `max_tokens` output tokens.
    AskModel,
    /// Carry out these calls, in order, and record a result for each.
    CallTools(Vec<ToolUse>),
    /// The conversation has ended, for this reason.
    Done(Closed),
}

/// A conversation of a persona with its tools.
#[derive(Debug)]
pub struct Conversation {
    pub(super) messages: Vec<Message>,
    next: Next,
    /// How many replies the model has given, dropped ones included.
    pub(super) replies: u32,
    pub(super) limits: Limits,
    /// The cost of all replies, dropped ones included.
    pub(super) spent: Usd,
    /// The most that requests without an answer may have cost.
    pub(super) lost: Usd,
    /// Tokens of the last request and its reply.
    context: u64,
    /// The limit of output tokens for the next request.
    pub(super) max_tokens: NonZeroU32,
    pauses: u32,
    call_ids: HashSet<String>,
    /// The text of the last reply that has text and is no refusal.
    pub(super) closing_words: String,
}

impl Conversation {
    /// A conversation whose history has one user message, `opening`.
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

    /// The next action. The caller carries it out and records the outcome.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// The history, as the next request sends it.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The cost so far: of replies, dropped ones included, and of requests that may have been billed without
    /// an answer.
    pub fn spent(&self) -> Usd {
        self.spent + self.lost
    }

    /// Prepares a rebuilt conversation for going on within `limits`. `lost` is the most that requests without
    /// an answer may have cost.
    pub(super) fn resume(&mut self, limits: Limits, lost: Usd) {
        (self.limits, self.lost) = (limits, lost);
        if let Next::AskModel = self.next {
            self.next = self.ask_again();
        }
    }

    /// Records the reply to the last request and decides the next action.
    pub fn record_reply(&mut self, reply: Reply) {
        self.spent += reply.cost.total();
        // A guessed usage is the most that the request could have used: twice as many tokens as the text has.
        // The limit of the context needs the likely length.
        let context = reply.usage.context();
        self.context = if reply.is_guessed { context / 2 } else { context };
        let cut_off_call =
            reply.stop_reason == StopReason::MaxTokens && reply.tool_uses().next().is_some();
        self.replies += 1;
        if cut_off_call && !reply.is_rationed && self.max_tokens < MOST_OUTPUT_TOKENS {
            // The reply is dropped, and the request is sent once more with a higher limit of output tokens.
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
            // The content of a reply is decisive, not its stop reason.
            _ if !calls.is_empty() => {
                self.messages.extend(Message::assistant(&reply.content, &calls));
                Next::CallTools(calls)
            }
            StopReason::EndTurn | StopReason::StopSequence => Next::Done(Closed::Finished),
            StopReason::ToolUse => Next::Done(Closed::NoCall { idle: self.call_ids.is_empty() }),
            StopReason::PauseTurn => self.pause(&reply),
            // A second request would get no more output tokens, because the run's money allows no more.
            StopReason::MaxTokens if reply.is_rationed => Next::Done(Closed::CostLimit),
            StopReason::MaxTokens => Next::Done(Closed::Truncated),
            StopReason::ContextWindowExceeded => Next::Done(Closed::ContextWindow),
            StopReason::Refusal => Next::Done(Closed::Refused(reply.refusal)),
            StopReason::Unknown => Next::Done(Closed::UnknownStopReason),
        };
    }

    /// Records one result for each due call, and a reminder for the model.
    ///
    /// The reminder stays in the history: models bind their thinking to everything before it, so removing a
    /// message would make the next request invalid. The reminder is a system message if the model accepts one
    /// at this place (`as_system`). Otherwise it is put after the last result.
    pub fn record_results(
        &mut self,
        results: &[ToolResult],
        reminder: Option<&str>,
        as_system: bool,
    ) {
        let Next::CallTools(calls) = &self.next else { return };
        // Otherwise Claude refuses the next request, and repeating the calls would cause their effects twice.
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
        // The API would take an empty assistant message at the end as a prefill.
        if !reply.blocks.is_empty() {
            self.messages.extend(Message::assistant(&reply.content, &[]));
            Message::trim_end(&mut self.messages);
        }
        self.ask_again()
    }

    fn ask_again(&self) -> Next {
        self.limit_reached().map_or(Next::AskModel, Next::Done)
    }

    /// The limit that forbids a further request, after the results of the due calls are recorded.
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
