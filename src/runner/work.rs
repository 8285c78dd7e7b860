//! Carries out a list of runs, new and unfinished ones. At most one run of a persona is in flight at a time.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use jiff::Timestamp;
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

/// One run to be carried out.
#[derive(Debug)]
pub(super) struct Work {
    pub id: RunId,
    pub kind: WorkKind,
    /// The claim on the run's persona.
    pub claim: Claim,
}

#[derive(Debug)]
pub(super) enum WorkKind {
    /// A persona that is due for this slot, by mana-auth's time with the list of due personas.
    New { persona: Box<Persona>, slot: Slot, server_time: Timestamp },
    /// An unfinished run, and the reason to close it if it does not continue.
    Resume(Box<RunRow>, Option<&'static str>),
}

/// The report of a run, or why the persona did not run.
pub(super) type RunResult = Result<RunReport, WhyNotRun>;

/// Carries out the runs of the list, each as soon as it is admitted. The results are in the order of the
/// list.
pub(super) async fn carry_out(
    pipeline: &Arc<Pipeline>,
    list: Vec<Work>,
    admitted: Admitted,
) -> Vec<RunResult> {
    if list.is_empty() {
        return Vec::new();
    }
    let admit = |work: &Work| {
        let is_closed = matches!(work.kind, WorkKind::Resume(_, Some(_)));
        pipeline.fleet.admit((!is_closed).then_some(admitted))
    };
    let results = fan_out(list, admit, |Work { id, kind, claim }| {
        let pipeline = pipeline.clone();
        // Created here and not in the task, so that its parent is the span of the tick or recovery.
        let span = tracing::info_span!("run", persona.id = claim.id, run.id = %id);
        let job = async move {
            // Held until the run has ended, or is closed after a panic.
            let _claim = claim;
            let run = async {
                match kind {
                    WorkKind::New { persona, slot, server_time } => {
                        pipeline.run(id, *persona, slot, server_time).await
                    }
                    WorkKind::Resume(row, close) => Box::pin(pipeline.resume(*row, close)).await,
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
    results.into_iter().map(|result| Ok(result?.flatten().unwrap_or_else(panicked))).collect()
}
