//! Runs to be carried out, new and unfinished ones in one list: at most one of a persona at a time.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::Instrument;

use super::{
    admission::{Admission, Admitted},
    fan_out::{Outcome, fan_out},
    pipeline::{Pipeline, RunReport},
    verdict::PANICKED,
};
use crate::{
    domain::{Persona, RunId, Slot, WhyNotRun},
    journal::RunRow,
};

/// One run.
#[derive(Debug)]
pub(super) struct Work {
    pub id: RunId,
    pub what: What,
    pub claim: Claim,
}

#[derive(Debug)]
pub(super) enum What {
    New(Box<Persona>, Slot),
    /// A run that an earlier process, or a put off one, has left; and why it is closed, if it does not go on.
    Resume(Box<RunRow>, Option<&'static str>),
}

/// What came of a run, or of a persona that was due for one.
#[derive(Debug)]
pub(super) enum Came {
    Ended(Box<RunReport>),
    /// It does not run.
    Skipped(WhyNotRun),
    /// It does not run until mana-mcp is there again, for this reason.
    PutOff(String),
    /// It went wrong before there was a run, or came to no report.
    Failed(String),
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
    admission: &Admission,
    pipeline: &Arc<Pipeline>,
    list: Vec<Work>,
    admitted: Admitted,
) -> Vec<Came> {
    if list.is_empty() {
        return Vec::new();
    }
    let admit = |work: &Work| {
        let is_closed = matches!(work.what, What::Resume(_, Some(_)));
        admission.admit((!is_closed).then_some(admitted))
    };
    let outcomes = fan_out(list, admit, |Work { id, what, claim }| {
        let pipeline = pipeline.clone();
        // Of the tick, if it is one's.
        let span = tracing::info_span!("run", persona.id = claim.persona, run.id = %id);
        let job = async move {
            // Until the run is closed, where it panics.
            let _claim = claim;
            let run = async {
                match what {
                    What::New(persona, slot) => pipeline.run(id, *persona, slot).await,
                    What::Resume(row, close) => pipeline.resume(*row, close).await,
                }
            };
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(report) => Came::Ended(Box::new(report)),
                Err(_) => {
                    pipeline.close_panicked(id).await;
                    Came::Failed(PANICKED.to_owned())
                }
            }
        };
        job.instrument(span)
    })
    .await;
    pipeline.sessions_settled().await;
    let came = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Ended(came) => came,
        Outcome::Panicked => Came::Failed(PANICKED.to_owned()),
        Outcome::NotAdmitted(hindrance) => {
            Came::Skipped(hindrance.why_not_run().unwrap_or(WhyNotRun::Other))
        }
    });
    came.collect()
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
