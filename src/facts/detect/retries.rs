//! What personas do after a failure: the same again, or other inputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{RunsByIssue, Window};
use crate::facts::window::{Call, Name};

/// The issues with which a call failed that was made again after a failure at least twice in a run, in at least 2
/// runs. The texts of the failures may differ: the run counts for the issue of the last one.
pub(super) fn repeated(window: &Window) -> Vec<u32> {
    let mut runs = RunsByIssue::default();
    for calls in window.calls().all().chunk_by(|a, b| a.run == b.run) {
        for Repeats { count, issue, .. } in repeats(calls) {
            if let (2.., Some(issue)) = (count, issue) {
                runs.add(issue, calls[0].run);
            }
        }
    }
    runs.with_at_least(2)
}

/// How often a run made the same call again: the same tool with the same input.
#[derive(Default)]
struct Repeats {
    /// How many of the calls came after a failure.
    count: u32,
    has_failed: bool,
    /// The issue of the last failure.
    issue: Option<u32>,
}

fn repeats(calls: &[Call]) -> impl Iterator<Item = Repeats> {
    let mut repeats = HashMap::<_, Repeats>::new();
    for call in calls.iter().filter(|call| call.ok || call.is_pain()) {
        let Some(input) = call.input else { continue };
        let same = repeats.entry((call.tool, input)).or_default();
        same.count += u32::from(same.has_failed);
        same.has_failed = call.is_pain();
        if same.has_failed {
            same.issue = call.issue;
        }
    }
    repeats.into_values()
}

/// The issues that personas overcame by trying different inputs: of the runs of one model in which a tool failed
/// and then worked, at least 3, half failed with 2 or more inputs. The friction belongs to the issue with which
/// most of these calls failed.
pub(super) fn fumbling(window: &Window) -> Vec<u32> {
    /// The runs of one model with one tool.
    #[derive(Default)]
    struct Fumbled {
        inputs: Vec<usize>,
        issues: BTreeMap<u32, u32>,
    }
    let mut groups = HashMap::<(Option<Name>, Name), Fumbled>::new();
    for calls in window.calls().all().chunk_by(|a, b| a.run == b.run) {
        let model = window.run(calls[0].run).settings.model;
        for (tool, Tries { inputs, issues }) in tries(calls) {
            let group = groups.entry((model, tool)).or_default();
            group.inputs.push(inputs);
            issues.into_iter().for_each(|issue| *group.issues.entry(issue).or_default() += 1);
        }
    }
    let raised = |mut group: Fumbled| {
        group.inputs.sort_unstable();
        let count = group.inputs.len();
        let is_raised =
            count >= 3 && group.inputs[(count - 1) / 2] + group.inputs[count / 2] >= 2 * 2;
        let most = group.issues.into_iter().rev().max_by_key(|(_, calls)| *calls);
        most.filter(|_| is_raised).map(|(issue, _)| issue)
    };
    groups.into_values().filter_map(raised).collect()
}

/// What a run tried until a tool worked.
#[derive(Default)]
struct Tries {
    /// How many different inputs failed; the largest number if the tool failed and then worked several times.
    inputs: usize,
    /// The issues of the failures.
    issues: Vec<u32>,
}

/// The tools that failed and then worked in the run.
fn tries(calls: &[Call]) -> HashMap<Name, Tries> {
    let mut tries = HashMap::<_, Tries>::new();
    let mut failed = HashMap::<_, (BTreeSet<_>, Vec<u32>)>::new();
    for call in calls {
        if call.is_pain() {
            let (inputs, issues) = failed.entry(call.tool).or_default();
            inputs.insert(call.input);
            issues.extend(call.issue);
        } else if call.ok
            && let Some((inputs, issues)) = failed.remove(&call.tool)
        {
            let of_tool = tries.entry(call.tool).or_default();
            of_tool.inputs = of_tool.inputs.max(inputs.len());
            of_tool.issues.extend(issues);
        }
    }
    tries
}
