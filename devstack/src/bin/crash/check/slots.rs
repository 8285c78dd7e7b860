//! Checks that every persona has one finished run for each slot in which it was due, and no other.

use std::collections::{BTreeSet, HashMap};

use devstack::auth::Delivery;
use mana_persona_runner::{domain::Slot, journal::RunState};

use super::{Findings, Run};
use crate::world::World;

pub(super) fn check(world: &World, runs: &[Run], findings: &mut Findings) {
    let mut finished: HashMap<(&str, &str), Vec<&Run>> = HashMap::new();
    for run in runs {
        match run.row.state {
            RunState::Finished => {
                finished.entry((&run.row.persona_id, run.row.slot.as_str())).or_default().push(run);
            }
            RunState::Failed => {}
            state => findings.violations.push(format!("run {} is still {state:?}", run.row.id)),
        }
    }
    let due = due(world);
    let displaced = displaced(world, runs);
    for ((persona, slot), of_slot) in &finished {
        let id = of_slot[0].row.id;
        findings.expect(of_slot.len() == 1, || {
            format!("{persona} has {} finished runs for {slot}", of_slot.len())
        });
        findings.expect(due.contains(&((*persona).to_owned(), (*slot).to_owned())), || {
            format!("run {id} is for {slot}, for which {persona} was never due")
        });
    }
    let mut without = 0;
    for (persona, slot) in &due {
        let has_run = finished.contains_key(&(persona.as_str(), slot.as_str()));
        let was_displaced = displaced.contains(&(persona.clone(), slot.clone()));
        without += usize::from(!has_run && was_displaced);
        findings.expect(has_run || was_displaced, || {
            format!("{persona} was due for {slot} and has no finished run for it")
        });
    }
    let failed = runs.iter().filter(|run| run.row.state == RunState::Failed).count();
    findings.figure(format!(
        "slots: {} due, {} with one finished run each, {without} no longer due when a late post of an \
         earlier slot arrived; {failed} runs failed before anything happened",
        due.len(),
        finished.len(),
    ));
    let mut ends: HashMap<&str, usize> = HashMap::new();
    for run in runs.iter().filter(|run| run.row.state == RunState::Finished) {
        *ends.entry(run.row.end_reason.as_deref().unwrap_or("(none)")).or_default() += 1;
    }
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    for (reason, count) in ends {
        findings.figure(format!("  {count} finished: {reason}"));
    }
}

/// The persona and slot of every entry in the answers of /due.
fn due(world: &World) -> BTreeSet<(String, String)> {
    let listings = world.peers.auth.listings();
    let due = listings.iter().flat_map(|listing| {
        listing.users.iter().filter_map(|user| {
            let slot = Slot::of(*world.cadences.get(user)?, listing.server_time);
            Some((user.clone(), slot.to_string()))
        })
    });
    due.collect()
}

/// Slots in which a persona was no longer due because rows of an earlier slot were delivered late or again.
fn displaced(world: &World, runs: &[Run]) -> BTreeSet<(String, String)> {
    let slots: HashMap<String, &Run> =
        runs.iter().map(|run| (run.row.id.to_string(), run)).collect();
    let mut displaced = BTreeSet::new();
    for Delivery { at, user, tick_id } in world.peers.auth.deliveries() {
        let Some(cadence) = world.cadences.get(&user) else { continue };
        let arrived = Slot::of(*cadence, at);
        if slots.get(&tick_id).is_some_and(|run| run.row.slot < arrived) {
            displaced.insert((user, arrived.to_string()));
        }
    }
    displaced
}
