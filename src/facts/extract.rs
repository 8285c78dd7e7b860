//! Extracts the facts of a run from what its steps say.

mod modules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};

use super::{
    Fingerprint, Observed, ObservedCall, RunFacts, SeenIssue, fingerprint::leaves_tool_out, line,
    template,
};
use crate::domain::{Blame, Cause, ModuleName, Next, ToolName};

/// The facts of the run with the id `run`. `shift` is added to each time: it is what mana-auth's clock is ahead
/// of the clock by which the run was observed.
pub fn extract(observed: &Observed, run: &str, shift: SignedDuration) -> RunFacts {
    let calls: Vec<_> = observed.calls.iter().map(|call| Seen::of(call, shift)).collect();
    let ends = ToolEnd::of_all(&calls);
    RunFacts {
        modules: modules::lines(observed, &calls, &ends, run),
        hits: hits(&calls, &ends, run),
        tools: ends.iter().map(|(tool, end)| end.line(tool, run)).collect(),
        calls: lines(&calls, run),
    }
}

/// A call with what follows from it alone.
struct Seen<'a> {
    call: &'a ObservedCall,
    module: ModuleName,
    at: Timestamp,
    /// Why the call failed.
    cause: Option<Cause>,
    /// The template of the error text, and the fingerprint of the issue. `None` if the call has no issue.
    issue: Option<(String, Fingerprint)>,
}

impl<'a> Seen<'a> {
    fn of(call: &'a ObservedCall, shift: SignedDuration) -> Self {
        let issue = call.failure.as_ref().filter(|(cause, _)| has_issue(*cause));
        Self {
            call,
            module: ToolName::new(&*call.tool).module(),
            at: call.at.checked_add(shift).unwrap_or(call.at),
            cause: call.failure.as_ref().map(|(cause, _)| *cause),
            issue: issue.map(|(cause, text)| {
                let template = template(*cause, text, &call.input);
                let fingerprint = Fingerprint::of(*cause, Some(&call.tool), &template);
                (template, fingerprint)
            }),
        }
    }

    fn is_ok(&self) -> bool {
        self.cause.is_none()
    }

    fn is_pain(&self) -> bool {
        self.cause.is_some_and(Cause::is_pain)
    }

    /// What the persona did after this call, if it failed. `next` is the run's next call.
    fn what_next(&self, next: Option<&Self>) -> Option<Next> {
        self.cause?;
        let Some(next) = next else { return Some(Next::Ended) };
        let (this, that) = (self.call, next.call);
        let is_same_input = this.input_hash.is_some() && this.input_hash == that.input_hash;
        Some(match (this.tool == that.tool && is_same_input, next.is_ok()) {
            (true, true) => Next::AgainOk,
            (true, false) => Next::AgainFailed,
            (false, _) if self.module != next.module => Next::OtherModule,
            (false, true) => Next::OtherOk,
            (false, false) => Next::OtherFailed,
        })
    }
}

/// Whether failures for this cause are grouped into issues.
fn has_issue(cause: Cause) -> bool {
    matches!(cause.blame(), Blame::Product | Blame::Contract | Blame::Infra)
}

/// How the calls of a tool ended in the run.
#[derive(Default)]
struct ToolEnd {
    /// How many calls succeeded, or failed because of the product or the contract.
    calls: u32,
    failed: u32,
    /// The index of the last call that succeeded, and of the last one that failed because of the product or
    /// the contract.
    last_ok: Option<usize>,
    last_failed: Option<usize>,
}

impl ToolEnd {
    fn of_all<'a>(calls: &[Seen<'a>]) -> BTreeMap<&'a str, Self> {
        let mut ends = BTreeMap::<_, Self>::new();
        for (index, seen) in calls.iter().enumerate() {
            if !seen.is_ok() && !seen.is_pain() {
                continue;
            }
            let end = ends.entry(&*seen.call.tool).or_default();
            end.calls += 1;
            if seen.is_ok() {
                end.last_ok = Some(index);
            } else {
                end.failed += 1;
                end.last_failed = Some(index);
            }
        }
        ends
    }

    /// Whether a call failed and no later call succeeded.
    fn is_dead(&self) -> bool {
        self.last_failed > self.last_ok
    }

    fn line(&self, tool: &str, run: &str) -> line::Tool {
        line::Tool {
            run: run.to_owned(),
            tool: tool.to_owned(),
            calls: self.calls,
            failed: self.failed,
            dead_end: self.is_dead(),
            recovered: self.failed > 0 && !self.is_dead(),
        }
    }
}

fn lines(calls: &[Seen<'_>], run: &str) -> Vec<(line::Call, Option<Fingerprint>)> {
    let nexts = calls.iter().skip(1).map(Some).chain([None]);
    let line = |(seen, next): (&Seen<'_>, Option<&Seen<'_>>)| {
        let ObservedCall { number, tool, input_hash, latency, words, .. } = seen.call;
        let call = line::Call {
            run: run.to_owned(),
            number: *number,
            at: seen.at,
            tool: tool.clone(),
            module: seen.module.as_str().to_owned(),
            ok: seen.is_ok(),
            cause: seen.cause,
            issue: None,
            template: seen.issue.as_ref().map(|(template, _)| template.clone()),
            input_hash: input_hash.as_ref().map(|hash| hash.as_str().to_owned()),
            latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            tries: seen.call.tries.max(1),
            chars: seen.call.chars,
            cut: seen.call.cut,
            limit_offered: seen.call.limit_offered,
            next: seen.what_next(next),
            quote: (!seen.is_ok() && !words.is_empty()).then(|| words.clone()),
        };
        (call, seen.issue.as_ref().map(|(_, fingerprint)| *fingerprint))
    };
    calls.iter().zip(nexts).map(line).collect()
}

/// The failures of one issue in the run.
struct Failures<'a> {
    first: &'a Seen<'a>,
    cause: Cause,
    template: &'a str,
    calls: u32,
    /// The index of the last failure at each tool.
    last_at: BTreeMap<&'a str, usize>,
}

fn hits<'a>(
    calls: &'a [Seen<'a>],
    ends: &BTreeMap<&str, ToolEnd>,
    run: &str,
) -> Vec<(SeenIssue, line::Hit)> {
    let mut issues = IndexMap::<Fingerprint, Failures<'a>>::new();
    for (index, seen) in calls.iter().enumerate() {
        let (Some(cause), Some((template, fingerprint))) = (seen.cause, &seen.issue) else {
            continue;
        };
        let new = || Failures { first: seen, cause, template, calls: 0, last_at: BTreeMap::new() };
        let failures = issues.entry(*fingerprint).or_insert_with(new);
        failures.calls += 1;
        failures.last_at.insert(&seen.call.tool, index);
    }
    let succeeded_after = |(tool, failed): (&&str, &usize)| {
        ends.get(tool).and_then(|end| end.last_ok).is_some_and(|ok| ok > *failed)
    };
    let hit = |(fingerprint, failures): (Fingerprint, Failures<'_>)| {
        let Failures { first, cause, template, calls, last_at } = failures;
        let issue = SeenIssue {
            fingerprint,
            tool: (!leaves_tool_out(cause)).then(|| first.call.tool.clone()),
            cause,
            template: template.to_owned(),
            at: first.at,
            call: first.call.number,
        };
        let hit = line::Hit {
            issue: String::new(),
            run: run.to_owned(),
            calls,
            recovered: last_at.iter().all(succeeded_after),
            tools: last_at.keys().map(|tool| (*tool).to_owned()).collect(),
        };
        (issue, hit)
    };
    issues.into_iter().map(hit).collect()
}
