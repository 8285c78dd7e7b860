//! The rules that must hold after the crashes, checked with devstack's own counters and the journal.

mod facts;
mod money;
mod rows;
mod sessions;
mod slots;

use mana_persona_runner::journal::{Journal, RunRow};

use crate::{Problem, ledger, ledger::Requests, rounds::Counts, world::World};

/// The figures for the summary, and the broken rules.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Lines with figures, for the summary.
    pub figures: Vec<String>,
    /// The rules that do not hold, as messages.
    pub violations: Vec<String>,
}

impl Findings {
    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }

    fn figure(&mut self, figure: String) {
        self.figures.push(figure);
    }
}

/// A run, its model requests and its MCP sessions.
struct Run {
    row: RunRow,
    requests: Requests,
}

/// Checks every rule. The daemon must have ended.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) async fn check(
    world: &World,
    counts: &Counts,
    most_lost: usize,
    auth_faults: bool,
) -> Result<Findings, Problem> {
    let journal = ledger::open(world.peers.data_folder()).await?;
    let mut findings = Findings::default();
    let runs = all_runs(&journal).await?;
    slots::check(world, &runs, &mut findings);
    rows::check(world, &runs, &mut findings).await;
    sessions::check(world, &runs, auth_faults, &mut findings);
    money::check(world, &journal, &runs, (counts, most_lost), &mut findings).await?;
    facts::check(&journal, &runs, &mut findings).await?;
    let depth = journal.outbox_depth().await?;
    findings.expect(depth.actions + depth.feedback + depth.dead == 0, || {
        format!("the outbox is not empty: {depth:?}")
    });
    let violations = world.peers.claude.violations();
    findings.expect(violations.is_empty(), || format!("requests Claude refuses: {violations:?}"));
    journal.close().await;
    Ok(findings)
}

async fn all_runs(journal: &Journal) -> Result<Vec<Run>, Problem> {
    let mut runs = Vec::new();
    for row in ledger::runs(journal).await? {
        let requests = Requests::of(journal, &row).await?.ended();
        runs.push(Run { row, requests });
    }
    Ok(runs)
}
