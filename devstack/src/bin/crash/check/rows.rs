//! Checks that no row is lost or duplicated and that no call is executed twice.

use std::collections::{BTreeSet, HashMap, HashSet};

use devstack::{
    auth::ActionRow,
    marked::{Comparison, NO_CALL},
};
use mana_persona_runner::{
    domain::{IDLE_TOOL, InputHash},
    journal::RunState,
};

use super::{Findings, Run};
use crate::world::World;

pub(super) async fn check(world: &World, runs: &[Run], findings: &mut Findings) {
    let rows = world.peers.auth.actions().await;
    let hash = |input: &str| InputHash::of_json(input).map(|hash| hash.as_str().to_owned());
    let calls = world.peers.mcp.calls();
    let Comparison { executed, rows: of_calls, unknown, wrong, .. } =
        world.marked.compare(calls, &rows, false, hash);
    findings.violations.extend(wrong);
    let mut by_run: HashMap<&str, Vec<&ActionRow>> = HashMap::new();
    for row in &rows {
        by_run.entry(&row.tick_id).or_default().push(row);
    }
    of_runs(runs, &mut by_run, findings);
    for (run, rows) in by_run {
        findings
            .violations
            .push(format!("{} rows are of {run}, which is no finished run", rows.len()));
    }
    feedback(world, runs, &rows, findings).await;
    identical_bytes(world, findings);
    let errors = of_calls.values().filter(|row| row.result != "ok").count();
    findings.figure(format!(
        "calls: {} carried out, each once; {} rows of calls, {errors} of them errors, of which {unknown} \
         were carried out without anybody knowing; {} other rows",
        executed.len(),
        of_calls.len(),
        rows.len() - of_calls.len(),
    ));
}

/// Checks that each finished run has as many rows as its journal says, without a gap. Removes these rows from
/// `by_run`.
fn of_runs(runs: &[Run], by_run: &mut HashMap<&str, Vec<&ActionRow>>, findings: &mut Findings) {
    for run in runs.iter().filter(|run| run.row.state == RunState::Finished) {
        let id = run.row.id.to_string();
        let rows = by_run.remove(id.as_str()).unwrap_or_default();
        let calls = rows.iter().filter(|row| !row.tool_name.starts_with(NO_CALL)).count();
        findings.expect(calls == run.row.calls, || {
            format!("run {id} has {calls} rows of calls, its journal says {}", run.row.calls)
        });
        // A run that is stopped after its first reply and before the reply's calls finishes its slot without
        // a row.
        let was_stopped =
            run.row.end_reason.as_deref().is_some_and(|why| why.starts_with("stopped"));
        findings.expect(!rows.is_empty() || was_stopped, || {
            format!("run {id} is finished without a row")
        });
        findings.expect(rows.len() - calls <= 1, || format!("run {id} has two closing rows"));
        let idle = rows.iter().any(|row| row.tool_name == IDLE_TOOL);
        findings.expect(!idle || calls == 0, || format!("run {id} was idle and has calls"));
        for index in 0..rows.len() {
            let place = format!("{id}-{index}-");
            findings.expect(rows.iter().any(|row| row.id.starts_with(&place)), || {
                format!("run {id} has no row {index}")
            });
        }
    }
}

async fn feedback(world: &World, runs: &[Run], actions: &[ActionRow], findings: &mut Findings) {
    let rows = world.peers.auth.feedback().await;
    let mut ids = HashSet::new();
    for row in &rows {
        findings.expect(ids.insert(&row.id), || format!("feedback {} is there twice", row.id));
    }
    let mut by_run: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for row in &rows {
        by_run.entry(&row.tick_id).or_default().insert(&row.module);
    }
    let mut rated_runs = 0;
    for run in runs.iter().filter(|run| run.row.state == RunState::Finished) {
        let id = run.row.id.to_string();
        let rated = by_run.remove(id.as_str()).unwrap_or_default();
        rated_runs += usize::from(!rated.is_empty());
        findings.expect(
            rated.len() == run.row.ratings && rated.len() == run.requests.rated,
            || {
                let Run { row, requests } = run;
                format!(
                    "run {id} has feedback of {} modules, its journal says {} and {}",
                    rated.len(),
                    row.ratings,
                    requests.rated
                )
            },
        );
        if run.row.end_reason.as_deref() == Some("done") {
            let of_run = actions.iter().filter(|row| row.tick_id == id);
            let used = of_run.filter(|row| !row.tool_name.starts_with(NO_CALL));
            let used: BTreeSet<_> =
                used.filter_map(|row| row.tool_name.split('.').next()).collect();
            findings
                .expect(rated == used, || format!("run {id} rated {rated:?} and used {used:?}"));
        }
    }
    for run in by_run.keys() {
        findings.violations.push(format!("feedback is of {run}, which is no finished run"));
    }
    findings.figure(format!("feedback: {} rows of {rated_runs} runs", rows.len()));
}

/// Checks that a batch that is posted again has the same bytes.
fn identical_bytes(world: &World, findings: &mut Findings) {
    let posts = world.peers.auth.served.recorder.matching(|request| {
        request.path().ends_with("/actions") || request.path().ends_with("/feedback")
    });
    let mut first: HashMap<(String, String), &[u8]> = HashMap::new();
    for post in &posts {
        let body = post.json();
        let row =
            [&body["actions"][0], &body["feedback"][0]].into_iter().find(|row| row.is_object());
        let id = row.and_then(|row| row["tickId"].as_str()).unwrap_or_default().to_owned();
        let before = first.entry((post.path().to_owned(), id.clone())).or_insert(&post.body);
        findings
            .expect(*before == &*post.body, || format!("a post of {id} was sent in two versions"));
    }
    findings.figure(format!("posts: {} batches, sent {} times", first.len(), posts.len()));
}
