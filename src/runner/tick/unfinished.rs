//! Runs that an earlier process was killed in, or was stopped in before their rating, and runs that were
//! put off: which of them go on, and which are closed.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::Ticks;
use crate::{
    domain::RunState,
    journal::{CANCELLED, JournalError, RunRow},
    runner::{
        admission::Admitted,
        work::{What, Work},
    },
};

/// How long a rating is owed.
const MAX_AGE_OF_RATING: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What earlier runs leave to be done.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// What is to be done now.
    pub list: Vec<Work>,
    /// How many of the list go on, and are not just closed.
    pub go_on: usize,
    /// Ids of the personas with an unfinished run that somebody is at.
    pub busy: HashSet<String>,
    /// Ids of all personas with a run that is unfinished or under way: none of them begins another.
    pub personas: HashSet<String>,
}

impl Ticks {
    /// What there is to be done: young runs go on, if the runner is not paused, there is money, and
    /// Claude is asked; older ones are closed. Runs that somebody is at, and those whose end is on its way to
    /// the journal, are left alone; of several runs of a persona the others wait for the next list.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn unfinished(&self, admitted: Admitted) -> Result<Unfinished, JournalError> {
        // From the look at the claims to the claim: what is read between them stays so.
        let _listing = self.listing.lock().await;
        let claimed = self.claims.all();
        let unsaved = self.pipeline.deliverer.unsaved_runs().await;
        let mut runs = self.fleet.journal.runs_in(RunState::Running).await?;
        runs.extend(self.fleet.journal.runs_in(RunState::RatingOwed).await?);

        let may_begin = self.fleet.why_not_run(admitted).is_none();
        let most = if may_begin { admitted.most() } else { 0 };
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
                list.push(Work { id, what: What::Resume(Box::new(run), close), claim });
            }
        }
        if !list.is_empty() {
            tracing::info!(runs = list.len(), "going on with unfinished runs");
        }
        Ok(Unfinished { list, go_on, busy, personas })
    }

    fn why_closed(&self, run: &RunRow, now: Timestamp) -> Option<&'static str> {
        let (since, most, too_old) = match run.state {
            // For longer: a pause may last over a weekend.
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
            // Thinking is bound to the model that thought it.
            let is_bound =
                run.state == RunState::Running && run.model != self.pipeline.claude.model();
            is_bound.then_some("ANTHROPIC_MODEL was changed in the middle of this run")
        }
    }
}
