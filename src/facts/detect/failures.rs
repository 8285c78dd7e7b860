//! What the failures of an issue say.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::SignedDuration;

use super::{RunsByIssue, Window};
use crate::{
    domain::Cause,
    facts::{rejected_fields, share::Tally, window::Name},
};

/// How long calls may be cut off after a deployment, because servers restart.
const DEPLOYING: SignedDuration = SignedDuration::from_mins(2);

/// Whether an issue with these tallies, one a persona, is raised: at least 3 runs of at least 2 personas, or half
/// of at least 5 exposed runs of one persona.
pub(in crate::facts) fn fails(tallies: impl Iterator<Item = Tally>) -> bool {
    let (mut runs, mut personas, mut is_half_of_one) = (0, 0, false);
    for Tally { hits, exposed } in tallies.filter(|tally| tally.hits > 0) {
        runs += hits;
        personas += 1;
        is_half_of_one |= exposed >= 5 && 2 * hits >= exposed;
    }
    runs >= 3 && personas >= 2 || is_half_of_one
}

/// The issues that were dead ends in at least 2 runs that ended by themselves.
pub(super) fn dead_ends(window: &Window) -> Vec<u32> {
    let mut runs = RunsByIssue::default();
    for run in window.runs_within() {
        if !window.run(run).outcome.ended_by_itself() {
            continue;
        }
        for row in window.tools().of(run).iter().filter(|row| row.used.dead_end) {
            if let Some(issue) = last_issue(window, run, row.tool) {
                runs.add(issue, run);
            }
        }
    }
    runs.with_at_least(2)
}

/// The last issue at which the tool failed in the run. Of a run whose calls are no longer kept: the issue with
/// the most failures that did not recover.
fn last_issue(window: &Window, run: u32, tool: Name) -> Option<u32> {
    let calls = window.calls().of(run);
    if !calls.is_empty() {
        let last = calls.iter().rev().find(|call| call.tool == tool && call.is_pain());
        return last.and_then(|call| call.issue);
    }
    let is_of_tool = |issue: u32| window.issues()[issue as usize].cause.is_pain();
    let hits = window.hits().of(run).iter();
    hits.filter(|hit| hit.tools.contains(&tool) && is_of_tool(hit.issue))
        .max_by_key(|hit| (!hit.recovered, hit.calls, Reverse(hit.issue)))
        .map(|hit| hit.issue)
}

/// The rejections that at least 3 runs met. A template of a rejection has the paths and codes of the fields, so
/// that an issue is one combination of fields; a field counts in all combinations of the same tool. Another program
/// may write templates of another form: each such template is a field of its own.
pub(super) fn field_traps(window: &Window) -> Vec<u32> {
    let mut runs_of_field = BTreeMap::<_, RunsByIssue>::new();
    for hit in window.hits().all().iter().filter(|hit| window.contains(hit.run)) {
        let issue = &window.issues()[hit.issue as usize];
        if issue.cause == Cause::RejectedInput {
            let template = window.text(issue.template);
            let mut fields = rejected_fields(template);
            if fields.is_empty() && !template.is_empty() {
                fields.push((template.to_owned(), String::new()));
            }
            for field in fields {
                let runs = runs_of_field.entry((issue.tool, field)).or_default();
                runs.add(hit.issue, hit.run);
            }
        }
    }
    let is_trap = |RunsByIssue(runs): &RunsByIssue| {
        runs.values().flatten().collect::<BTreeSet<_>>().len() >= 3
    };
    let traps = runs_of_field.into_values().filter(is_trap);
    traps.flat_map(|RunsByIssue(runs)| runs.into_keys()).collect()
}

/// The issues of calls that were cut off in at least 2 runs, not just after a deployment.
pub(super) fn unsure(window: &Window) -> Vec<u32> {
    let is_deploying = |at: jiff::Timestamp| {
        let before = window.deployments().partition_point(|deployment| deployment.at <= at);
        let newest = before.checked_sub(1).map(|index| window.deployments()[index].at);
        newest.is_some_and(|deployed| at.duration_since(deployed) < DEPLOYING)
    };
    let mut runs = RunsByIssue::default();
    for call in window.calls().all() {
        if let (Some(Cause::Cut), Some(issue)) = (call.cause, call.issue)
            && !is_deploying(call.at)
        {
            runs.add(issue, call.run);
        }
    }
    runs.with_at_least(2)
}
