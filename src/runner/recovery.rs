//! Runs that an earlier process was killed in, or was stopped in before their rating, and runs that were
//! put off: which of them go on, and which are closed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::{
    admission::Admitted,
    pipeline::Pipeline,
    work::{Claims, What, Work},
};
use crate::{
    domain::Persona,
    journal::{CANCELLED, JournalError, RunRow, RunState},
};

/// How long a rating is owed.
const MAX_AGE_OF_RATING: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Finds unfinished runs.
#[derive(Debug)]
pub(super) struct Recovery {
    pipeline: Arc<Pipeline>,
    claims: Arc<Claims>,
    max_age: SignedDuration,
    /// Held from the look at the claims to the claim: what is read between them stays so.
    listing: Mutex<()>,
}

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

impl Recovery {
    /// Runs that last got on longer ago than `max_age` are closed.
    pub(super) fn new(pipeline: Arc<Pipeline>, claims: Arc<Claims>, max_age: Duration) -> Self {
        let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
        Self { pipeline, claims, max_age, listing: Mutex::default() }
    }

    /// What there is to be done: young runs go on, if the runner is not paused, there is money, and
    /// Claude is asked; older ones are closed. Runs that somebody is at, and those whose end is on its way to
    /// the journal, are left alone; of several runs of a persona the others wait for the next list.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn unfinished(&self, admitted: Admitted) -> Result<Unfinished, JournalError> {
        let pipeline = &self.pipeline;
        let _listing = self.listing.lock().await;
        let claimed = self.claims.personas();
        let unsaved = pipeline.outbox.unsaved_runs().await;
        let mut runs = pipeline.journal.runs_in(RunState::Running).await?;
        runs.extend(pipeline.journal.runs_in(RunState::RatingOwed).await?);

        let may_begin = pipeline.admission.of_runs(admitted).is_none();
        let most = if may_begin { admitted.most() } else { 0 };
        let now = pipeline.clock.now();
        let (mut list, mut go_on, mut personas) = (Vec::new(), 0, claimed.clone());
        let mut busy = HashSet::new();
        for run in runs {
            personas.insert(run.persona_id.clone());
            if claimed.contains(&run.persona_id) {
                busy.insert(run.persona_id);
                continue;
            }
            if unsaved.contains(&run.id) {
                continue;
            }
            let close = self.why_closed(&run, now);
            let goes_on = close.is_none();
            if goes_on && (go_on >= most || self.is_held(&run)) {
                continue;
            }
            if let Some(claim) = self.claims.claim(&run.persona_id) {
                go_on += usize::from(goes_on);
                list.push(Work { what: What::Resume(Box::new(run), close), claim });
            }
        }
        if !list.is_empty() {
            tracing::info!(runs = list.len(), "going on with unfinished runs");
        }
        Ok(Unfinished { list, go_on, busy, personas })
    }

    fn is_held(&self, run: &RunRow) -> bool {
        let Pipeline { back_off, put_off, .. } = &*self.pipeline;
        let persona = run.persona.as_ref();
        persona.is_some_and(|Persona { user_id, .. }| {
            back_off.holds(user_id) || put_off.why(user_id).is_some()
        })
    }

    fn why_closed(&self, run: &RunRow, now: Timestamp) -> Option<String> {
        let cancelled = run.is_cancelled().then(|| CANCELLED.to_owned());
        cancelled.or_else(|| self.too_old(run, now)).or_else(|| self.other_model(run))
    }

    /// Ratings are owed for longer: a pause may last over a weekend.
    fn too_old(&self, run: &RunRow, now: Timestamp) -> Option<String> {
        let (age, most) = match run.state {
            RunState::RatingOwed => (now.duration_since(run.started_at), MAX_AGE_OF_RATING),
            _ => (now.duration_since(run.updated_at), self.max_age),
        };
        (age > most).then(|| match run.state {
            RunState::RatingOwed => {
                "its rating could not be asked for within seven days".to_owned()
            }
            _ => "it had not got on for longer than JOURNAL_RESUME_MAX_AGE_MS".to_owned(),
        })
    }

    /// Thinking is bound to the model that thought it.
    fn other_model(&self, run: &RunRow) -> Option<String> {
        let changed = run.state == RunState::Running && run.model != self.pipeline.claude.model();
        changed.then(|| "ANTHROPIC_MODEL was changed in the middle of this run".to_owned())
    }
}
