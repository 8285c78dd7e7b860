//! mana-mcp never expires a session, so a resumed run must end the sessions that its journal lists.

use super::{Findings, Run};
use crate::world::World;

pub(super) fn check(world: &World, runs: &[Run], auth_faults: bool, findings: &mut Findings) {
    let known =
        || runs.iter().flat_map(|run| run.requests.sessions.iter().map(move |id| (run, id)));
    let mcp = &world.peers.mcp;
    let left: Vec<_> = known().filter(|(_, session)| mcp.is_open(session)).collect();
    // A run that is closed without a login has no JWT with which it could end its sessions.
    if !auth_faults {
        for (run, session) in &left {
            findings.violations.push(format!("run {} left MCP session {session} open", run.row.id));
        }
    }
    findings.figure(format!(
        "MCP sessions: {} in the journal, {} of them left open; {} open of which no journal could know",
        known().count(),
        left.len(),
        mcp.open_sessions() - left.len(),
    ));
}
