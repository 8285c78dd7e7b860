//! Runs to be carried out, new and unfinished ones in one list: at most one of a persona at a time.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::{Instrument, Span, field::Empty};

use super::{
    admission::Admitted,
    fan_out::{Outcome, fan_out},
    pipeline::{Pipeline, RunReport},
};
use crate::{
    domain::{Persona, RunId, Slot, UserId},
    journal::{RunRow, RunState},
    metrics::{RunOutcome, WhyNotRun},
};

/// One run.
#[derive(Debug)]
pub(super) struct Work {
    pub what: What,
    pub claim: Claim,
}

#[derive(Debug)]
pub(super) enum What {
    New(RunId, Box<Persona>, Slot),
    /// A run that an earlier process, or a put off one, has left; and why it is closed, if it does not go on.
    Resume(Box<RunRow>, Option<String>),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Came {
    Ended(Box<RunReport>),
    /// It is closed by now.
    Panicked,
    NotBegun(WhyNotRun),
}

/// Personas of which a run is under way or about to be, by their ids as the journal has them.
#[derive(Debug, Default)]
pub(super) struct Claims(watch::Sender<HashSet<String>>);

/// Nobody else carries out a run of this persona until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    persona: String,
}

impl Claims {
    /// `None` where somebody has it already.
    pub(super) fn claim(self: &Arc<Self>, persona: &str) -> Option<Claim> {
        let persona = persona.to_owned();
        let is_free = self.0.send_if_modified(|all| all.insert(persona.clone()));
        is_free.then(|| Claim { claims: self.clone(), persona })
    }

    /// All that are claimed now.
    pub(super) fn personas(&self) -> HashSet<String> {
        self.0.borrow().clone()
    }

    /// Resolves when none of these is claimed.
    pub(super) async fn all_free(&self, personas: &HashSet<String>) {
        // The sender is there as long as this is.
        let _ = self.0.subscribe().wait_for(|all| all.is_disjoint(personas)).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.send_if_modified(|all| all.remove(&self.persona));
    }
}

/// Carries the list out, as far as the admission, which all lists share, allows. What came of it is in the
/// order of the list.
pub(super) async fn carry_out(
    pipeline: &Arc<Pipeline>,
    list: Vec<Work>,
    admitted: Admitted,
) -> Vec<Came> {
    if list.is_empty() {
        return Vec::new();
    }
    let admit = |work: &Work| {
        let is_closed = matches!(work.what, What::Resume(_, Some(_)));
        pipeline.admission.admit((!is_closed).then_some(admitted))
    };
    let outcomes = fan_out(list, admit, |Work { what, claim }| {
        let pipeline = pipeline.clone();
        let job = async move {
            // Until the run is closed, where it panics.
            let claim = claim;
            let id = what.id();
            let run = begin(&pipeline, what).instrument(run_span(&claim.persona));
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(came) => came,
                Err(_) => {
                    close_panicked(&pipeline, id).await;
                    Came::Panicked
                }
            }
        };
        // Of the tick, if it is one's.
        job.in_current_span()
    })
    .await;
    pipeline.sessions_settled().await;
    let came = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Ended(came) => came,
        Outcome::Panicked => Came::Panicked,
        Outcome::NotAdmitted(hindrance) => {
            Came::NotBegun(hindrance.why_not_run().unwrap_or(WhyNotRun::Other))
        }
    });
    came.collect()
}

impl What {
    fn id(&self) -> RunId {
        match self {
            Self::New(id, ..) => *id,
            Self::Resume(run, _) => run.id,
        }
    }
}

async fn begin(pipeline: &Pipeline, what: What) -> Came {
    Came::Ended(Box::new(match what {
        What::New(id, persona, slot) => pipeline.run(id, *persona, slot).await,
        What::Resume(run, close) => pipeline.resume(*run, close).await,
    }))
}

/// The span of a run's log lines; the run fills in its id.
fn run_span(persona: &str) -> Span {
    tracing::info_span!("run", persona.id = persona, run.id = Empty)
}

/// Closes a run in whose task something panicked, so that what happened is handed in, and holds its
/// persona back: it may panic again next time, but is not paid for every minute. A run that was not
/// begun, or has ended before the panic, is left alone.
async fn close_panicked(pipeline: &Arc<Pipeline>, id: RunId) {
    let Ok(Some(run)) = pipeline.journal.run(id).await else {
        pipeline.metrics.record_no_run(RunOutcome::Failed);
        return;
    };
    if !matches!(run.state, RunState::Running | RunState::RatingOwed) {
        return;
    }
    let persona = UserId::parse(&run.persona_id);
    let span = run_span(&run.persona_id);
    // What has panicked once may do so again.
    let closing = pipeline.close_panicked(run).instrument(span);
    if AssertUnwindSafe(closing).catch_unwind().await.is_err() {
        pipeline.give_up(id, "given up: it panicked when it was closed").await;
    }
    let Ok(persona) = persona else { return };
    if pipeline.back_off.holds(&persona) {
        return;
    }
    let (_, until) = pipeline.back_off.failed(&persona, None);
    pipeline.metrics.record_backoff();
    tracing::info!(persona.id = %persona, %until, "the persona is held back: its run panicked");
    if let Err(error) = pipeline.journal.hold_back(id, pipeline.clock.now(), until).await {
        tracing::warn!("{error}; a restart will not know of the back-off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_persona_is_claimed_once_at_a_time() {
        let claims = Arc::<Claims>::default();
        let anna = claims.claim("anna").unwrap();
        assert!(claims.claim("anna").is_none() && claims.claim("ben").is_some());
        assert_eq!(claims.personas(), HashSet::from(["anna".to_owned()]));
        drop(anna);
        claims.all_free(&HashSet::from(["anna".to_owned()])).await;
        assert!(claims.claim("anna").is_some());
    }
}
