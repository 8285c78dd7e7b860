//! Turns the steps of a run into what its facts are extracted from.
//!
//! The same [`Observer`] is fed with the steps as they are made, and with the stored steps of a run: what a
//! run has observed when it ends is what anybody can rebuild from the journal.

use std::{collections::HashSet, mem};

use jiff::Timestamp;

use super::{CallRecord, Called, CalledTool, Step, catalog, cause, tool_result};
use crate::{
    clients::claude::{Reply, StopReason, ToolUse, sendable_id},
    domain::{Blame, Cause, InputHash, one_line, redact_emails},
    facts::{Observed, ObservedCall},
};

/// Longest beginning of an error text that is kept, in bytes.
const MAX_ERROR: usize = 4_096;
/// Longest input of a failed call that is kept, in bytes. The input of a longer one is not kept at all.
const MAX_INPUT: usize = 32 << 10;
/// Longest name that the model invented, in characters.
const MAX_INVENTED: usize = 128;
/// Longest quote of the persona's words, in characters.
const MAX_WORDS: usize = 240;

/// Takes the steps of a run in their order.
#[derive(Debug, Default)]
pub struct Observer {
    /// The calls of earlier turns, and the ends of the main turn and of the rating turn.
    seen: Observed,
    /// The ids of all calls, as [`super::Conversation`] gives them.
    known: HashSet<String>,
    /// The calls of the current turn, in the order in which the model asked for them.
    turn: Vec<Asked>,
    /// How many of the calls had been made when the model last replied.
    answered: usize,
}

/// A call of the current turn.
#[derive(Debug)]
struct Asked {
    id: String,
    input: String,
    input_hash: Option<InputHash>,
    /// The tool, and when its call began. `None` if the call was not begun.
    begun: Option<(CalledTool, Timestamp)>,
    result: Option<ObservedCall>,
}

impl Observer {
    /// Takes the next step, which was made at the time `at`.
    pub fn take(&mut self, step: &Step, at: Timestamp) {
        // The journal keeps milliseconds.
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        match step {
            Step::DayEnded(end) => self.seen.day = Some(end.outcome()),
            Step::Rated { rows } => self.seen.ratings = Some(rows.clone()),
            Step::Unrated { modules } => {
                let modules = modules.iter().map(|it| (it.module.clone(), it.why));
                self.seen.unrated = modules.collect();
            }
            // What follows belongs to the rating turn.
            _ if self.seen.day.is_some() => {}
            Step::Opened(_) => *self = Self::default(),
            Step::Replied(reply) => self.take_reply(reply),
            Step::Calling { id, tool } => {
                if let Some(asked) = self.asked(id) {
                    asked.begun = Some((tool.clone(), at));
                }
            }
            Step::NotCalled { id } => {
                if let Some(asked) = self.asked(id) {
                    asked.begun = None;
                }
            }
            Step::Called(called) => {
                if let Some(asked) = self.asked(&called.id) {
                    asked.result = Some(asked.observe(called, at));
                }
            }
            Step::Told { cut, .. } => self.settle(cut),
            Step::Asking { .. }
            | Step::Unanswered { .. }
            | Step::ThinkingStripped
            | Step::ToolLeftOut { .. }
            | Step::AttachmentsReplaced
            | Step::SessionOpened { .. }
            | Step::SessionsEnded => {}
        }
    }

    /// What the steps so far say about the run. A call without a result has failed: this program was killed
    /// during the call.
    pub fn observed(&self) -> Observed {
        let mut observed = self.seen.clone();
        let before = observed.calls.len();
        let last = self.turn.iter().enumerate().filter_map(|(index, asked)| {
            let number = u32::try_from(before + index + 1).unwrap_or(u32::MAX);
            asked.result.clone().or_else(|| asked.broken_off(number))
        });
        observed.calls.extend(last);
        // Two calls have the same number only if a step between them cannot be read.
        observed.calls.sort_by_key(|call| call.number);
        observed.calls.dedup_by_key(|call| call.number);
        observed
    }

    /// The call of the current turn with this id. An earlier version stored the ids of calls as Claude sent
    /// them.
    fn asked(&mut self, id: &str) -> Option<&mut Asked> {
        let id = sendable_id(id);
        self.turn.iter_mut().find(|asked| asked.id == id)
    }

    fn take_reply(&mut self, reply: &Reply) {
        self.settle(&[]);
        if reply.stop_reason != StopReason::Refusal {
            // An address is recognised only as a whole, so the text is cut afterwards.
            let words = one_line(&reply.text());
            let words: String = redact_emails(&words).chars().take(MAX_WORDS).collect();
            for call in self.seen.calls.iter_mut().skip(self.answered) {
                if call.failure.is_some() {
                    call.words.clone_from(&words);
                }
            }
        }
        self.answered = self.seen.calls.len();
        self.turn = reply.calls(&mut self.known).into_iter().map(Asked::new).collect();
    }

    /// Moves the results of the current turn into the calls of the run. The results at the indices `cut` were
    /// cut, because the run had no money to send them.
    fn settle(&mut self, cut: &[usize]) {
        let calls = mem::take(&mut self.turn).into_iter().filter_map(|asked| asked.result);
        let calls = calls.enumerate().map(|(index, mut call)| {
            call.cut |= cut.contains(&index);
            call
        });
        self.seen.calls.extend(calls);
    }
}

impl Asked {
    fn new(call: ToolUse) -> Self {
        let input_hash = call.input_hash();
        let input = call.input.get();
        let input = if input.len() > MAX_INPUT { "" } else { input };
        Self { id: call.id, input: input.to_owned(), input_hash, begun: None, result: None }
    }

    /// The call with its result, which was written at the time `at`.
    fn observe(&self, called: &Called, at: Timestamp) -> ObservedCall {
        let Called { record, content, .. } = called;
        let CallRecord { number, input_hash, error, latency, detail, .. } = record;
        let is_old = detail.is_missing();
        let failure = error.as_deref().map(|text| {
            let cause = detail.cause.unwrap_or_else(|| cause::of_record(record, text));
            (cause, text[..text.floor_char_boundary(MAX_ERROR)].to_owned())
        });
        let cause = failure.as_ref().map(|(cause, _)| *cause);
        let (chars, cut) = match is_old {
            true if cause.is_none_or(is_answer) => tool_result::size_of(content),
            _ => (detail.chars, detail.cut),
        };
        ObservedCall {
            number: *number,
            at: self.begun.as_ref().map_or(at, |(_, begun)| *begun),
            tool: match &record.tool {
                CalledTool::Listed(name) => name.as_str().to_owned(),
                CalledTool::Invented(name) => one_line(name).chars().take(MAX_INVENTED).collect(),
            },
            is_listed: record.listed().is_some(),
            is_read_only: match is_old {
                true => record.listed().is_some_and(catalog::reads_by_name),
                false => detail.reads,
            },
            may_have_run: !(record.not_run || is_old && cause::was_not_run(record)),
            input: cause.filter(|cause| names_issue(*cause)).map_or("", |_| &self.input).to_owned(),
            input_hash: input_hash.clone(),
            failure,
            latency: if is_old { *latency } else { detail.last_try },
            tries: detail.tries.max(1),
            chars,
            cut,
            limit_offered: detail.limit_offered,
            words: String::new(),
        }
    }

    /// The call as the next process would record it. `None` if it was not begun.
    fn broken_off(&self, number: u32) -> Option<ObservedCall> {
        let (tool, begun) = self.begun.clone()?;
        let call = Called::broken_off(number, &self.id, self.input_hash.clone(), tool);
        Some(self.observe(&call, begun))
    }
}

/// Whether a call that failed for this cause has an answer of the tool.
fn is_answer(cause: Cause) -> bool {
    matches!(cause, Cause::Handler | Cause::Coded | Cause::RejectedInput | Cause::ServerPolicy)
}

/// Whether failures of this cause are grouped into issues, for which the input is needed.
fn names_issue(cause: Cause) -> bool {
    matches!(cause.blame(), Blame::Product | Blame::Contract)
}

#[cfg(test)]
mod tests;
