//! Runs to be carried out, new and unfinished ones in one list: at most one of a persona at a time.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tracing::Instrument;

use super::{
    admission::Admitted,
    claims::Claim,
    fan_out::fan_out,
    pipeline::{Pipeline, RunReport},
    verdict::{Failure, PANICKED},
};
use crate::{
    domain::{Persona, RunId, Slot, Stage, WhyNotRun},
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

/// What came of a persona that was due: a run, or why there is none.
pub(super) type Came = Result<RunReport, WhyNotRun>;

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
        pipeline.fleet.admit((!is_closed).then_some(admitted))
    };
    let came = fan_out(list, admit, |Work { id, what, claim }| {
        let pipeline = pipeline.clone();
        // Of the tick, if it is one's.
        let span = tracing::info_span!("run", persona.id = claim.id, run.id = %id);
        let job = async move {
            // Until the run is closed, where it panics.
            let _claim = claim;
            let run = async {
                match what {
                    What::New(persona, slot) => pipeline.run(id, *persona, slot).await,
                    What::Resume(row, close) => Box::pin(pipeline.resume(*row, close)).await,
                }
            };
            let report = AssertUnwindSafe(run).catch_unwind().await.ok();
            if report.is_none() {
                Box::pin(pipeline.close_panicked(id)).await;
            }
            report
        };
        // Boxed: a future that is moved into another one takes its size twice.
        Box::pin(job.instrument(span))
    })
    .await;
    pipeline.sessions_settled().await;
    let panicked = || RunReport::without_a_run(Failure::at(Stage::Due, PANICKED));
    came.into_iter().map(|came| Ok(came?.flatten().unwrap_or_else(panicked))).collect()
}
