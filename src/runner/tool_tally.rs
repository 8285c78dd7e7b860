//! Tools that fail in a tick, and with what: a fault of the product that no run fails of.

use std::{collections::BTreeMap, mem};

use crate::{
    agent::call::CallRecord,
    domain::{clip, one_line, redact_emails},
};

/// Fewest calls that say something.
const FEWEST: usize = 5;
/// Longest message, in UTF-16 units.
const MAX_MESSAGE: usize = 200;
/// Most messages of a tool that are told apart.
const MAX_MESSAGES: usize = 50;

/// The calls of a tick's runs that reached the product.
#[derive(Debug, Default)]
pub(crate) struct ToolTally {
    by_tool: BTreeMap<String, Calls>,
    all: Calls,
}

#[derive(Debug, Default)]
struct Calls {
    made: usize,
    failed: usize,
    /// How often each was said.
    messages: BTreeMap<String, usize>,
}

impl ToolTally {
    /// Counts the calls of a run.
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

    /// Warns of each tool of which more than half of the calls failed, and where that holds for all calls
    /// together, of that; then counts anew.
    pub(super) fn tell(&mut self) {
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

    /// The commonest message, of equally common ones the first by its text, where more than half of the calls
    /// failed.
    fn mostly_failing(&self) -> Option<&str> {
        // The first of the greatest: `max_by` would take the last.
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

    /// Calls, failures and message of a tool, or of all, where they are warned of.
    fn told(calls: &Calls) -> Option<(usize, usize, &str)> {
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
            assert_eq!(told(&tally.by_tool["todo.list"]), expected, "{well} and {errors}");
        }
    }

    #[test]
    fn all_tools_together_may_be_told_of_where_none_is_alone() {
        let one = |tool| (tool, 0, ["weg"].as_slice());
        let few = tally(&[one("a.x"), one("b.x"), one("c.x"), one("d.x"), ("e.x", 2, &[])]);
        assert!(few.by_tool.values().all(|calls| told(calls).is_none()));
        assert_eq!(told(&few.all), Some((6, 4, "weg")));
        let half = tally(&[("a.x", 0, &["weg"; 5]), ("b.x", 5, &[])]);
        assert_eq!(told(&half.by_tool["a.x"]), Some((5, 5, "weg")));
        assert_eq!(told(&half.all), None);
        assert_eq!(told(&ToolTally::default().all), None);
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
            assert_eq!(told(&tally(&[("a.x", 0, &errors)]).by_tool["a.x"]), Some((5, 5, message)));
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
