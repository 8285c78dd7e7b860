//! Decides which unfinished runs continue and which are closed. Unfinished are runs that were interrupted by
//! the end of a process, runs that still owe their rating, and runs that were put off.

use std::collections::HashSet;

use jiff::SignedDuration;

use super::Ticks;
use crate::{
    journal::{JournalError, RunRow},
    runner::{
        admission::Admitted,
        eligibility::{Resumption, unfinished_runs},
        work::{Work, WorkKind},
    },
};

/// The unfinished runs, and what is to be done with them.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// The runs to continue or to close now.
    pub list: Vec<Work>,
    /// How many runs of the list continue, and are not only closed.
    pub go_on: usize,
    /// Ids of the personas with an unfinished run that another task has claimed.
    pub busy: HashSet<String>,
    /// Ids of all personas with a run that is unfinished or under way. They may not begin another run.
    pub personas: HashSet<String>,
}

impl Ticks {
    /// Lists the unfinished runs. A recent run continues if runs may begin now; a run that is too old is
    /// closed. Claimed runs and runs whose end is only in memory are left out. Of several runs of one persona
    /// only the first is listed; the others wait for the next list.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn unfinished(&self, admitted: Admitted) -> Result<Unfinished, JournalError> {
        // Held from reading the claims until the runs are claimed, so that two listings cannot claim the same
        // run.
        let _listing = self.listing.lock().await;
        let claimed = self.claims.all();
        let unsaved = self.pipeline.deliverer.unsaved_runs().await;
        let runs = unfinished_runs(&self.fleet.journal).await?;

        let may_begin = self.fleet.why_not_run(admitted).is_none();
        let max_age = self.fleet.config.journal.resume_max_age;
        let resumption = Resumption {
            holds: &self.fleet.holds,
            most: if may_begin { admitted as usize } else { 0 },
            model: self.pipeline.claude.model(),
            max_age: max_age.try_into().unwrap_or(SignedDuration::MAX),
            now: self.fleet.clock.now(),
        };
        let mut personas = claimed.clone();
        personas.extend(runs.iter().map(|run| run.persona_id.clone()));
        let is_claimed = |run: &RunRow| claimed.contains(&run.persona_id);
        let (under_way, runs): (Vec<_>, Vec<_>) = runs.into_iter().partition(is_claimed);
        let busy = under_way.into_iter().map(|run| run.persona_id).collect();
        let runs = runs.into_iter().filter(|run| !unsaved.contains(&run.id));
        let (mut list, mut go_on) = (Vec::new(), 0);
        for (run, close) in resumption.list(runs) {
            if let Some(claim) = self.claims.claim(&run.persona_id) {
                go_on += usize::from(close.is_none());
                let id = run.id;
                list.push(Work { id, kind: WorkKind::Resume(Box::new(run), close), claim });
            }
        }
        if !list.is_empty() {
            tracing::info!(runs = list.len(), "going on with unfinished runs");
        }
        Ok(Unfinished { list, go_on, busy, personas })
    }
}
