//! Decides which unfinished runs continue and which are closed. Unfinished are runs that were interrupted by
//! the end of a process, runs that still owe their rating, and runs that were put off.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::Ticks;
use crate::{
    domain::RunState,
    journal::{CANCELLED, JournalError, RunRow},
    runner::{
        admission::Admitted,
        work::{Work, WorkKind},
    },
};

/// Longest time after the start of a run for which its rating can still be requested.
const MAX_AGE_OF_RATING: SignedDuration = SignedDuration::from_hours(7 * 24);

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
        let mut runs = self.fleet.journal.runs_in(RunState::Running).await?;
        runs.extend(self.fleet.journal.runs_in(RunState::RatingOwed).await?);

        let may_begin = self.fleet.why_not_run(admitted).is_none();
        let most = if may_begin { admitted as usize } else { 0 };
        let now = self.fleet.clock.now();
        let (mut list, mut go_on, mut personas) = (Vec::new(), 0, claimed.clone());
        let mut busy = HashSet::new();
        let is_held = |run: &RunRow| {
            let persona = run.persona.as_ref();
            persona.is_some_and(|persona| self.fleet.holds.why(&persona.user_id).is_some())
        };
        for run in runs {
            personas.insert(run.persona_id.clone());
            if claimed.contains(&run.persona_id) {
                busy.insert(run.persona_id);
                continue;
            }
            let close = self.why_closed(&run, now);
            let goes_on = close.is_none();
            if unsaved.contains(&run.id) || (goes_on && (go_on >= most || is_held(&run))) {
                continue;
            }
            if let Some(claim) = self.claims.claim(&run.persona_id) {
                go_on += usize::from(goes_on);
                let id = run.id;
                list.push(Work { id, kind: WorkKind::Resume(Box::new(run), close), claim });
            }
        }
        if !list.is_empty() {
            tracing::info!(runs = list.len(), "going on with unfinished runs");
        }
        Ok(Unfinished { list, go_on, busy, personas })
    }

    fn why_closed(&self, run: &RunRow, now: Timestamp) -> Option<&'static str> {
        let (since, most, too_old) = match run.state {
            // Longer than for a running one, because a pause may last over a weekend.
            RunState::RatingOwed => (
                run.started_at,
                MAX_AGE_OF_RATING,
                "its rating could not be asked for within seven days",
            ),
            _ => (
                run.updated_at,
                self.fleet.config.journal.resume_max_age.try_into().unwrap_or(SignedDuration::MAX),
                "it had not got on for longer than JOURNAL_RESUME_MAX_AGE_MS",
            ),
        };
        if run.is_cancelled() {
            Some(CANCELLED)
        } else if now.duration_since(since) > most {
            Some(too_old)
        } else {
            // Claude accepts thinking blocks only with the model that made them.
            let is_bound =
                run.state == RunState::Running && run.model != self.pipeline.claude.model();
            is_bound.then_some("ANTHROPIC_MODEL was changed in the middle of this run")
        }
    }
}
