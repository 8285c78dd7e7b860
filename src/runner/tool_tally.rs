//! Counts the tool calls of a tick and warns of tools that mostly fail. Such a fault of the product makes no
//! run fail, so no other message would show it.

use std::{collections::BTreeMap, mem};

use crate::{
    agent::call::CallRecord,
    domain::{clip, one_line, redact_emails},
};

/// Fewest calls of a tool in a tick for which a warning is logged.
const FEWEST: usize = 5;
/// Longest error message that is kept, in UTF-16 code units.
const MAX_MESSAGE: usize = 200;
/// Most different error messages that are counted for one tool.
const MAX_MESSAGES: usize = 50;

/// Counts of the calls that reached the product since the last warning check.
#[derive(Debug, Default)]
pub(crate) struct ToolTally {
    by_tool: BTreeMap<String, Calls>,
    all: Calls,
}

#[derive(Debug, Default)]
struct Calls {
    made: usize,
    failed: usize,
    /// How often each error message occurred.
    messages: BTreeMap<String, usize>,
}

impl ToolTally {
    /// Counts the calls of a run that reached the product.
    pub(super) fn count(&mut self, calls: &[CallRecord]) {
        for call in calls.iter().filter(|call| call.reached) {
            self.add(call.tool_name(), call.error.as_deref());
        }
    }

    fn add(&mut self, tool: &str, error: Option<&str>) {
        let error = error.map(|error| clip(&one_line(&redact_emails(error)), MAX_MESSAGE));
        let of_tool = self.by_tool.entry(one_line(&redact_emails(tool))).or_default();
        of_tool.add(error.clone());
        self.all.add(error);
    }

    /// Logs a warning for each tool of which more than half of the calls failed, and one if more than half of
    /// all calls failed. Then resets the counts.
    pub(super) fn warn_and_reset(&mut self) {
        let Self { by_tool, all } = mem::take(self);
        let tools = by_tool.iter().map(|(tool, calls)| (Some(tool), "this tool's", calls));
        for (tool, whose, calls) in tools.chain([(None, "all tool", &all)]) {
            if let Some(message) = calls.mostly_failing() {
                tracing::warn!(
                    tool,
                    tool.calls = calls.made,
                    tool.failed = calls.failed,
                    "more than half of {whose} calls of this tick failed, mostly: {message}"
                );
            }
        }
    }
}

impl Calls {
    fn add(&mut self, error: Option<String>) {
        self.made += 1;
        let Some(message) = error else { return };
        self.failed += 1;
        if self.messages.len() < MAX_MESSAGES || self.messages.contains_key(&message) {
            *self.messages.entry(message).or_default() += 1;
        }
    }

    /// The most frequent error message if more than half of at least [`FEWEST`] calls failed. Of messages
    /// that are equally frequent, the first in alphabetical order is returned.
    fn mostly_failing(&self) -> Option<&str> {
        // `max_by_key` returns the last of equal elements, so the order is reversed.
        let commonest = self.messages.iter().rev().max_by_key(|(_, times)| **times);
        let message = commonest.map_or("", |(message, _)| message);
        (self.made >= FEWEST && 2 * self.failed > self.made).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(calls: &[(&str, usize, &[&str])]) -> ToolTally {
        let mut tally = ToolTally::default();
        for (tool, well, errors) in calls {
            (0..*well).for_each(|_| tally.add(tool, None));
            errors.iter().for_each(|error| tally.add(tool, Some(error)));
        }
        tally
    }

    /// Calls, failures and message of a warning, if there is one.
    fn warning(calls: &Calls) -> Option<(usize, usize, &str)> {
        calls.mostly_failing().map(|message| (calls.made, calls.failed, message))
    }

    #[test]
    fn a_tool_is_told_of_where_more_than_half_of_at_least_five_calls_failed() {
        for (well, errors, expected) in [
            (0, 4, None),
            (2, 2, None),
            (3, 2, None),
            (2, 3, Some((5, 3, "weg"))),
            (0, 5, Some((5, 5, "weg"))),
            (3, 3, None),
            (3, 4, Some((7, 4, "weg"))),
            (0, 240, Some((240, 240, "weg"))),
            (240, 0, None),
        ] {
            let tally = tally(&[("todo.list", well, &vec!["weg"; errors])]);
            assert_eq!(warning(&tally.by_tool["todo.list"]), expected, "{well} and {errors}");
        }
    }

    #[test]
    fn all_tools_together_may_be_told_of_where_none_is_alone() {
        let one = |tool| (tool, 0, ["weg"].as_slice());
        let few = tally(&[one("a.x"), one("b.x"), one("c.x"), one("d.x"), ("e.x", 2, &[])]);
        assert!(few.by_tool.values().all(|calls| warning(calls).is_none()));
        assert_eq!(warning(&few.all), Some((6, 4, "weg")));
        let half = tally(&[("a.x", 0, &["weg"; 5]), ("b.x", 5, &[])]);
        assert_eq!(warning(&half.by_tool["a.x"]), Some((5, 5, "weg")));
        assert_eq!(warning(&half.all), None);
        assert_eq!(warning(&ToolTally::default().all), None);
    }

    #[test]
    fn the_commonest_message_is_told_on_one_line_without_an_e_mail_and_the_first_of_equals() {
        let long = "x".repeat(1_000);
        for (errors, message) in [
            (["b", "a", "c", "c", "b"], "b"),
            (["c", "b", "a", "a", "c"], "a"),
            (["kein\nPlatz", "kein  Platz", "a", "b", "c"], "kein Platz"),
            (["für a@b.example", "für c@d.example", "x", "y", "z"], "für [redacted]"),
            ([&long, &long, "a", "b", "c"], &long[..MAX_MESSAGE]),
            ([""; 5], ""),
        ] {
            assert_eq!(
                warning(&tally(&[("a.x", 0, &errors)]).by_tool["a.x"]),
                Some((5, 5, message))
            );
        }
    }

    #[test]
    fn however_many_messages_there_are_few_are_kept_and_the_calls_are_counted() {
        let errors: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
        let errors: Vec<_> = errors.iter().map(String::as_str).collect();
        let tally = tally(&[("a.x", 0, &errors)]);
        assert_eq!(tally.by_tool["a.x"].messages.len(), MAX_MESSAGES);
        assert_eq!(tally.all.failed, 1_000);
    }
}
