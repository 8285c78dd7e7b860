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

/// The calls of a tick's runs that reached the product, by tool.
#[derive(Debug, Default)]
pub struct ToolTally(BTreeMap<String, Calls>);

#[derive(Debug, Default)]
struct Calls {
    made: usize,
    failed: usize,
    /// How often each was said.
    messages: BTreeMap<String, usize>,
}

/// Calls of which more than half failed.
#[derive(Debug, PartialEq, Eq)]
struct Failing<'a> {
    made: usize,
    failed: usize,
    /// The commonest message; of equally common ones the first by its text.
    message: &'a str,
}

impl ToolTally {
    /// Counts the calls of a run.
    pub(super) fn count(&mut self, calls: &[CallRecord]) {
        for call in calls.iter().filter(|call| call.reached) {
            self.add(call.tool_name(), call.error.as_deref());
        }
    }

    fn add(&mut self, tool: &str, error: Option<&str>) {
        let calls = self.0.entry(one_line(&redact_emails(tool))).or_default();
        calls.made += 1;
        let Some(error) = error else { return };
        calls.failed += 1;
        let message = clip(&one_line(&redact_emails(error)), MAX_MESSAGE);
        if calls.messages.len() < MAX_MESSAGES || calls.messages.contains_key(&message) {
            *calls.messages.entry(message).or_default() += 1;
        }
    }

    /// Warns of each tool of which more than half of the calls failed, and where that holds for all calls
    /// together, of that; then counts anew.
    pub(super) fn tell(&mut self) {
        let tally = mem::take(self);
        for (tool, calls) in &tally.0 {
            if let Some(Failing { made, failed, message }) = calls.failing() {
                tracing::warn!(
                    tool,
                    tool.calls = made,
                    tool.failed = failed,
                    "more than half of this tool's calls of this tick failed, mostly: {message}"
                );
            }
        }
        if let Some(Failing { made, failed, message }) = tally.all().failing() {
            tracing::warn!(
                tool.calls = made,
                tool.failed = failed,
                "more than half of all tool calls of this tick failed, mostly: {message}"
            );
        }
    }

    fn all(&self) -> Calls {
        let mut all = Calls::default();
        for calls in self.0.values() {
            all.made += calls.made;
            all.failed += calls.failed;
            for (message, times) in &calls.messages {
                *all.messages.entry(message.clone()).or_default() += times;
            }
        }
        all
    }
}

impl Calls {
    fn failing(&self) -> Option<Failing<'_>> {
        let Self { made, failed, ref messages } = *self;
        // The first of the greatest: `max_by` would take the last.
        let commonest = messages.iter().rev().max_by_key(|(_, times)| **times);
        let message = commonest.map_or("", |(message, _)| message);
        (made >= FEWEST && 2 * failed > made).then_some(Failing { made, failed, message })
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
        calls.failing().map(|it| (it.made, it.failed, it.message))
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
            assert_eq!(told(&tally.0["todo.list"]), expected, "{well} and {errors}");
        }
    }

    #[test]
    fn all_tools_together_may_be_told_of_where_none_is_alone() {
        let one = |tool| (tool, 0, ["weg"].as_slice());
        let few = tally(&[one("a.x"), one("b.x"), one("c.x"), one("d.x"), ("e.x", 2, &[])]);
        assert!(few.0.values().all(|calls| told(calls).is_none()));
        assert_eq!(told(&few.all()), Some((6, 4, "weg")));
        let half = tally(&[("a.x", 0, &["weg"; 5]), ("b.x", 5, &[])]);
        assert_eq!(told(&half.0["a.x"]), Some((5, 5, "weg")));
        assert_eq!(told(&half.all()), None);
        assert_eq!(told(&ToolTally::default().all()), None);
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
            assert_eq!(told(&tally(&[("a.x", 0, &errors)]).0["a.x"]), Some((5, 5, message)));
        }
    }

    #[test]
    fn however_many_messages_there_are_few_are_kept_and_the_calls_are_counted() {
        let errors: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
        let errors: Vec<_> = errors.iter().map(String::as_str).collect();
        let tally = tally(&[("a.x", 0, &errors)]);
        assert_eq!(tally.0["a.x"].messages.len(), MAX_MESSAGES);
        assert_eq!(tally.all().failed, 1_000);
    }
}
