//! What follows from the calls of one run: the tools that the run used, and the issues that the run hit.
//!
//! Names and issues are type parameters: when a run ends, issues are known by their fingerprints, and in a window
//! by their numbers.

use std::collections::BTreeMap;

/// What the derivation reads of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt<T, I> {
    /// The tool.
    pub(crate) tool: T,
    /// What became of the call.
    pub(crate) end: End,
    /// The issue that the failure belongs to; `None` for a success and for failures that have no issue.
    pub(crate) issue: Option<I>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The call succeeded.
    Success,
    /// The call failed because of the product or the contract.
    Pain,
    /// The call failed because of infrastructure, model or runner. It does not count as a use of the tool.
    Other,
}

/// How a run used a tool: see [`super::line::Tool`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) calls: u32,
    pub(crate) failed: u32,
    pub(crate) dead_end: bool,
}

impl Use {
    /// Whether a call failed and a later call succeeded.
    pub(crate) fn recovered(self) -> bool {
        self.failed > 0 && !self.dead_end
    }
}

/// How a run met an issue: see [`super::line::Hit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Met<T, I> {
    pub(crate) issue: I,
    /// The position of the first of the calls that failed with the issue.
    pub(crate) first: usize,
    pub(crate) calls: u32,
    pub(crate) recovered: bool,
    /// The tools that failed with the issue, in order.
    pub(crate) tools: Vec<T>,
}

/// The tools that a run with these calls used, in order. `calls` are in the order in which they were made.
pub(crate) fn tools<T: Copy + Ord, I>(calls: &[Attempt<T, I>]) -> BTreeMap<T, Use> {
    let mut tools = BTreeMap::<T, Use>::new();
    for call in calls.iter().filter(|call| call.end != End::Other) {
        let tool = tools.entry(call.tool).or_default();
        tool.calls += 1;
        tool.dead_end = call.end == End::Pain;
        tool.failed += u32::from(tool.dead_end);
    }
    tools
}

/// The issues that a run with these calls hit, in the order of their first call. `calls` are in the order in
/// which they were made.
pub(crate) fn hits<T: Copy + Ord, I: Copy + Ord>(calls: &[Attempt<T, I>]) -> Vec<Met<T, I>> {
    let mut last_success = BTreeMap::new();
    // The last failure at each tool.
    let mut failures = BTreeMap::<I, (usize, u32, BTreeMap<T, usize>)>::new();
    for (position, call) in calls.iter().enumerate() {
        if call.end == End::Success {
            last_success.insert(call.tool, position);
        } else if let Some(issue) = call.issue {
            let (_, calls, tools) = failures.entry(issue).or_insert((position, 0, BTreeMap::new()));
            *calls += 1;
            tools.insert(call.tool, position);
        }
    }
    let succeeds_later =
        |(tool, failure): (&T, &usize)| last_success.get(tool).is_some_and(|at| at > failure);
    let mut hits: Vec<_> = failures
        .into_iter()
        .map(|(issue, (first, calls, tools))| Met {
            issue,
            first,
            calls,
            recovered: tools.iter().all(succeeds_later),
            tools: tools.into_keys().collect(),
        })
        .collect();
    hits.sort_by_key(|hit| hit.first);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls as text: `list+` succeeds, `list-A` fails with issue A, `list?A` fails because of something else.
    fn calls(text: &'static str) -> Vec<Attempt<&'static str, &'static str>> {
        let attempt = |word: &'static str| {
            let at = word.find(['+', '-', '?']).unwrap();
            let end = match &word[at..=at] {
                "+" => End::Success,
                "-" => End::Pain,
                _ => End::Other,
            };
            let issue = Some(&word[at + 1..]).filter(|issue| !issue.is_empty());
            Attempt { tool: &word[..at], end, issue }
        };
        text.split(' ').map(attempt).collect()
    }

    #[test]
    fn a_dead_end_is_a_failure_without_a_later_success_of_the_tool() {
        let tools = tools(&calls("add-A list+ add+ list-B list-B done?C"));
        let used = |calls, failed, dead_end| Use { calls, failed, dead_end };
        assert_eq!(tools, [("add", used(2, 1, false)), ("list", used(3, 2, true))].into());
        assert_eq!(tools.values().map(|tool| tool.recovered()).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn calls_that_others_are_to_blame_for_are_no_use_of_a_tool_and_no_success_after_a_failure() {
        assert_eq!(tools(&calls("add?X list?")), [].into());
        assert!(tools(&calls("add-A add?X"))["add"].dead_end);
    }

    #[test]
    fn an_issue_is_recovered_where_each_tool_that_failed_with_it_succeeds_after_its_last_failure() {
        let hit = |issue, first, calls, recovered, tools: &[&'static str]| Met {
            issue,
            first,
            calls,
            recovered,
            tools: tools.to_vec(),
        };
        assert_eq!(
            hits(&calls("list+ list-A add-A list+ add?B list-C list+")),
            [
                hit("A", 1, 2, false, &["add", "list"]),
                hit("B", 4, 1, false, &["add"]),
                hit("C", 5, 1, true, &["list"]),
            ]
        );
        assert!(hits(&calls("list-A add-A list+ add+"))[0].recovered);
        assert!(!hits(&calls("list-A list+ list-A"))[0].recovered);
    }
}
