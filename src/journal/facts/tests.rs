//! Tests of the facts in a journal.

mod deployments;
mod earlier;
mod lines;
mod names;
mod presence;
mod refused;
mod retention;
mod runs;
mod window;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    domain::{Cause, Outcome, RunId, RunState, Slot},
    facts::{Fingerprint, Line, RunFacts, SeenIssue, line},
    journal::{
        EndedRun, Journal, NewRun, RunSettings,
        tests::{NOON, begin, ended, persona},
    },
};

pub(in crate::journal) fn at(seconds: u64) -> Timestamp {
    NOON + Duration::from_secs(seconds)
}

pub(in crate::journal) const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Facts with `ok` calls that succeeded and then one call for each fingerprint, which failed with it.
pub(in crate::journal) fn facts(run: RunId, begun: Timestamp, ok: u32, failed: &[i64]) -> RunFacts {
    let mut facts = RunFacts::default();
    let fingerprints = failed.iter().map(|number| Some(Fingerprint(*number)));
    let calls = (0..ok).map(|_| None).chain(fingerprints);
    for (number, fingerprint) in (1..).zip(calls) {
        let call_at = begun + Duration::from_secs(u64::from(number));
        let call = line::Call {
            run: run.to_string(),
            number,
            at: call_at,
            tool: "todo.create".into(),
            module: "todo".into(),
            ok: fingerprint.is_none(),
            cause: fingerprint.map(|_| Cause::Handler),
            issue: None,
            template: fingerprint.map(|_| "no <script>|`\u{202e}".into()),
            input_hash: Some("00ff".into()),
            latency_ms: Some(12),
            tries: 2,
            chars: 9_000,
            cut: true,
            limit_offered: false,
            next: None,
            quote: None,
        };
        let issue = fingerprint.map(|fingerprint| SeenIssue {
            fingerprint,
            tool: Some("todo.create".into()),
            cause: Cause::Handler,
            template: "no <script>|`\u{202e}".into(),
            at: call_at,
            call: number,
        });
        let hit = line::Hit {
            issue: String::new(),
            run: run.to_string(),
            calls: 1,
            recovered: false,
            tools: vec!["todo.create".into()],
        };
        facts.hits.extend(issue.map(|issue| (issue, hit)));
        facts.calls.push((call, fingerprint));
    }
    let failures = u32::try_from(failed.len()).unwrap();
    facts.tools.push(line::Tool {
        run: run.to_string(),
        tool: "todo.create".into(),
        calls: ok + failures,
        failed: failures,
        dead_end: failures > 0,
        recovered: false,
    });
    facts.modules.push(line::Module {
        run: run.to_string(),
        module: "todo".into(),
        rating: Some(4),
        grounded: true,
        unrated_why: None,
        notes: Some("fein".into()),
        calls: vec![1],
        reads: 0,
        writes: ok + failures,
        failed: failures,
        dead_end: failures > 0,
    });
    facts
}

pub(in crate::journal) async fn end(
    journal: &Journal,
    run: RunId,
    state: RunState,
    facts: RunFacts,
) {
    let outcome = Outcome::Done;
    let end = EndedRun { facts, outcome, ..ended(state) };
    journal.end_run(run, &end, &[], NOON).await.unwrap();
}

/// A finished run of anna that began at this time.
async fn run(journal: &Journal, begun: Timestamp, ok: u32, failed: &[i64]) -> RunId {
    let run = begin(journal, "anna", "s", begun).await;
    end(journal, run, RunState::Finished, facts(run, begun, ok, failed)).await;
    run
}

/// The runs that a search finds which has two runs at once.
async fn without_facts(journal: &Journal, version: u32) -> Vec<RunId> {
    let (mut found, mut searched) = (Vec::new(), Searched::default());
    while let Some(runs) = journal.runs_without_facts(version, &mut searched, 2).await.unwrap() {
        found.extend(runs.iter().map(|run| run.id));
    }
    found
}

async fn lines(journal: &Journal) -> Vec<Line> {
    let mut lines = Vec::new();
    journal.facts_lines(None, History::All, |line| lines.push(line)).await.unwrap();
    lines
}

/// The lines that `of` chooses.
async fn lines_of<T>(journal: &Journal, of: fn(Line) -> Option<T>) -> Vec<T> {
    lines(journal).await.into_iter().filter_map(of).collect()
}

fn call(line: Line) -> Option<line::Call> {
    if let Line::Call(call) = line { Some(call) } else { None }
}

fn issue(line: Line) -> Option<line::Issue> {
    if let Line::Issue(issue) = line { Some(issue) } else { None }
}

fn hit(line: Line) -> Option<line::Hit> {
    if let Line::Hit(hit) = line { Some(hit) } else { None }
}
