//! Extracts the facts of a run from what its steps say.

mod modules;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::{
    Fingerprint, Observed, ObservedCall, RunFacts, SeenIssue,
    derive::{self, Attempt, End, Met, Use},
    fingerprint::leaves_tool_out,
    line, template,
};
use crate::domain::{Blame, Cause, ModuleName, Next, Outcome, ToolName};

/// The facts of the run with the id `run`, which came to `outcome`. `shift` is added to each time: it is what
/// mana-auth's clock is ahead of the clock by which the run was observed.
pub fn extract(
    observed: &Observed,
    run: &str,
    outcome: Outcome,
    shift: SignedDuration,
) -> RunFacts {
    let calls: Vec<_> = observed.calls.iter().map(|call| Seen::of(call, shift)).collect();
    let attempts: Vec<_> = calls.iter().map(Seen::attempt).collect();
    let tools = derive::tools(&attempts);
    let tool = |(tool, used): (&&str, &Use)| line::Tool {
        run: run.to_owned(),
        tool: (*tool).to_owned(),
        calls: used.calls,
        failed: used.failed,
        dead_end: used.dead_end,
        recovered: used.failed > 0 && !used.dead_end,
    };
    RunFacts {
        modules: modules::lines(observed, &calls, &tools, (run, outcome)),
        hits: hits(&calls, &attempts, run),
        tools: tools.iter().map(tool).collect(),
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

    fn attempt(&self) -> Attempt<&'a str, Fingerprint> {
        let end = match self.cause {
            None => End::Success,
            Some(cause) if cause.is_pain() => End::Pain,
            Some(_) => End::Other,
        };
        let issue = self.issue.as_ref().map(|(_, fingerprint)| *fingerprint);
        Attempt { tool: &self.call.tool, end, issue }
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
            latency_ms: Some(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
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

/// The issues that the run hit, in the order of their first call.
fn hits(
    calls: &[Seen<'_>],
    attempts: &[Attempt<&str, Fingerprint>],
    run: &str,
) -> Vec<(SeenIssue, line::Hit)> {
    let hit = |met: Met<&str, Fingerprint>| {
        let first = &calls[met.first];
        let ((template, fingerprint), cause) = (first.issue.clone()?, first.cause?);
        let issue = SeenIssue {
            fingerprint,
            tool: (!leaves_tool_out(cause)).then(|| first.call.tool.clone()),
            cause,
            template,
            at: first.at,
            call: first.call.number,
        };
        let hit = line::Hit {
            issue: String::new(),
            run: run.to_owned(),
            calls: met.calls,
            recovered: met.recovered,
            tools: met.tools.into_iter().map(str::to_owned).collect(),
        };
        Some((issue, hit))
    };
    derive::hits(attempts).into_iter().filter_map(hit).collect()
}
