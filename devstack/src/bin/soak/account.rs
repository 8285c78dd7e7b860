//! Checks that every call has its row and every run its slot, and that nothing is left unfinished.

use std::collections::{HashMap, HashSet};

use devstack::marked::{Comparison, NO_CALL};
use mana_persona_runner::{
    domain::{Cadence, InputHash, Slot},
    journal::{Journal, RunRow, RunState},
};

use crate::{Problem, World};

/// Most runs that the check can read.
const MAX_RUNS: u32 = 10_000;

/// The rules that do not hold after the daemon has ended.
///
/// # Errors
/// When the journal cannot be read, or has more than `MAX_RUNS` runs.
pub(crate) async fn check(world: &World) -> Result<Vec<String>, Problem> {
    let journal = Journal::open_read_only(world.peers.data_folder()).await?;
    let runs = journal.latest_runs(MAX_RUNS).await?;
    let depth = journal.outbox_depth().await?;
    journal.close().await;
    if runs.len() >= MAX_RUNS as usize {
        return Err("there are more runs than the journal lists".into());
    }
    let mut wrong = slots(world, &runs);
    if depth.actions + depth.feedback + depth.dead > 0 {
        wrong.push(format!("the outbox is not empty: {depth:?}"));
    }
    wrong.extend(rows(world, &runs).await);
    let violations = world.peers.claude.violations();
    if !violations.is_empty() {
        wrong.push(format!("requests Claude refuses: {violations:?}"));
    }
    let open = world.peers.mcp.open_sessions();
    if open > 0 {
        wrong.push(format!("{open} MCP sessions are still open"));
    }
    Ok(wrong)
}

/// Checks that every run has ended, and that each slot in which a persona was due has at most one finished
/// run.
fn slots(world: &World, runs: &[RunRow]) -> Vec<String> {
    let mut wrong = Vec::new();
    let cadences: HashMap<&str, Cadence> =
        world.personas.iter().map(|(user, cadence)| (user.as_str(), *cadence)).collect();
    let mut due = HashSet::new();
    for listing in world.peers.auth.listings() {
        for user in listing.users {
            let Some(cadence) = cadences.get(user.as_str()) else { continue };
            due.insert((user, Slot::of(*cadence, listing.server_time)));
        }
    }
    let mut finished = HashSet::new();
    let mut ends: HashMap<&str, usize> = HashMap::new();
    for run in runs {
        let place = (run.persona_id.clone(), run.slot.clone());
        let reason = run.end_reason.as_deref().unwrap_or("(none)");
        match run.state {
            RunState::Finished => {
                if !due.contains(&place) {
                    wrong.push(format!("run {} is for a slot nobody was due for", run.id));
                }
                if !finished.insert(place) {
                    wrong
                        .push(format!("{} has two finished runs for {}", run.persona_id, run.slot));
                }
                *ends.entry(reason).or_default() += 1;
            }
            RunState::Failed => *ends.entry("failed before anything happened").or_default() += 1,
            state => wrong.push(format!("run {} is still {state:?}", run.id)),
        }
    }
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let listed: Vec<_> =
        ends.iter().map(|(reason, count)| format!("{count} {reason:.60}")).collect();
    println!("  {} runs for {} slots: {}", runs.len(), due.len(), listed.join("; "));
    wrong
}

/// Compares the calls, rows and ratings of mana-mcp, mana-auth and the journal.
async fn rows(world: &World, runs: &[RunRow]) -> Vec<String> {
    let actions = world.peers.auth.actions().await;
    let hash = |input: &str| InputHash::of_json(input).map(|hash| hash.as_str().to_owned());
    let Comparison { executed, rows, unknown, repeated_reads, mut wrong } =
        world.marked.compare(world.peers.mcp.calls(), &actions, true, hash);
    println!(
        "  {} calls carried out, {} rows of calls, {unknown} without the answer having arrived, \
         {repeated_reads} reads repeated",
        executed.len(),
        rows.len(),
    );
    let feedback = world.peers.auth.feedback().await;
    println!("  {} ratings", feedback.len());
    let mut of_run: HashMap<String, (usize, usize)> = HashMap::new();
    for row in actions.iter().filter(|row| !row.tool_name.starts_with(NO_CALL)) {
        of_run.entry(row.tick_id.clone()).or_default().0 += 1;
    }
    for row in feedback.iter().filter(|row| !row.module.starts_with(NO_CALL)) {
        of_run.entry(row.tick_id.clone()).or_default().1 += 1;
    }
    for run in runs.iter().filter(|run| run.state == RunState::Finished) {
        let handed_in = of_run.remove(&run.id.to_string()).unwrap_or_default();
        let expected = (run.calls, run.ratings);
        if handed_in != expected {
            wrong.push(format!(
                "run {} has {handed_in:?} rows, its journal says {expected:?}",
                run.id
            ));
        }
    }
    wrong.extend(of_run.keys().map(|run| format!("rows are of {run}, which is no finished run")));
    wrong
}
