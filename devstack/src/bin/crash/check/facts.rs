//! Checks that the stored facts of each run are those that its steps say, and that each issue was first seen at the
//! earliest of its failures.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mana_persona_runner::{
    agent::observed,
    domain::RunState,
    facts::{Fingerprint, Line, RunFacts, extract, line},
    journal::{History, Journal, RunRow},
};

use super::{Findings, Run};
use crate::Problem;

/// When an issue was first seen, in which run, and in which of its calls.
type Sighting = (Timestamp, String, u32);

pub(super) async fn check(
    journal: &Journal,
    runs: &[Run],
    findings: &mut Findings,
) -> Result<(), Problem> {
    let mut first = BTreeMap::<Fingerprint, Sighting>::new();
    let (mut with_facts, mut calls, mut failed) = (0, 0, 0);
    let ended = |row: &&RunRow| matches!(row.state, RunState::Finished | RunState::Failed);
    for row in runs.iter().map(|run| &run.row).filter(ended) {
        let id = row.id.to_string();
        let rebuilt = rebuilt(journal, row).await?;
        let stored = journal.facts_of(row.id).await?;
        findings.expect(stored.as_ref() == Some(&rebuilt) && row.outcome.is_some(), || {
            let outcome = row.outcome;
            format!("run {id} ({outcome:?}) has other facts than its steps say: {stored:?} instead of {rebuilt:?}")
        });
        with_facts += 1;
        calls += rebuilt.calls.len();
        failed += rebuilt.calls.iter().filter(|(call, _)| !call.ok).count();
        for (issue, _) in rebuilt.hits {
            let seen = (issue.at, id.clone(), issue.call);
            let first = first.entry(issue.fingerprint).or_insert_with(|| seen.clone());
            *first = seen.min(first.clone());
        }
    }
    let issues = issues(journal).await?;
    findings.expect(issues == first, || {
        format!("the issues were first seen at {first:?}, and the journal says {issues:?}")
    });
    findings.figure(format!(
        "facts: {with_facts} runs as their steps say, with {calls} calls, {failed} of them failed, {} issues",
        issues.len()
    ));
    Ok(())
}

/// The facts of a run, as the back-fill makes them.
async fn rebuilt(journal: &Journal, run: &RunRow) -> Result<RunFacts, Problem> {
    let steps = journal.steps(run.id).await?;
    let observed = observed::of_stored(steps.iter().map(|step| (&*step.body, step.at)));
    let shift = run.server_at.duration_since(run.started_at);
    let outcome = run.outcome.ok_or("an ended run has no outcome")?;
    Ok(extract(&observed, &run.id.to_string(), outcome, shift))
}

async fn issues(journal: &Journal) -> Result<BTreeMap<Fingerprint, Sighting>, Problem> {
    let mut issues = BTreeMap::new();
    let each = |line| {
        if let Line::Issue(line::Issue { tool, cause, template, first: Some(first), .. }) = line {
            let fingerprint = Fingerprint::of(cause, tool.as_deref(), &template);
            let run = first.run.unwrap_or_default();
            issues.insert(fingerprint, (first.at, run, first.call.unwrap_or_default()));
        }
    };
    journal.facts_lines(None, History::All, each).await?;
    Ok(issues)
}
