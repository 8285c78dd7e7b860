//! Runs that an earlier process was killed in, or was stopped in before their rating.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tracing::Instrument;

use super::{fan_out::fan_out, pipeline::Pipeline};
use crate::{
    domain::UserId,
    journal::{RunRow, RunState},
};

/// Goes on with unfinished runs, or closes them.
#[derive(Debug)]
pub(super) struct Recovery {
    pipeline: Arc<Pipeline>,
    concurrency: usize,
    max_age: SignedDuration,
}

/// A run that an earlier process has left.
#[derive(Debug)]
pub(super) struct Unfinished {
    run: RunRow,
    /// Why it does not go on.
    close: Option<String>,
}

impl Recovery {
    /// Runs that last got on longer ago than `max_age` are closed.
    pub(super) fn new(pipeline: Arc<Pipeline>, concurrency: usize, max_age: Duration) -> Self {
        let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
        Self { pipeline, concurrency, max_age }
    }

    /// What there is to be done: young runs go on, if the runner is not paused and the
    /// model is in use; older ones are closed.
    pub(super) async fn unfinished(&self) -> Vec<Unfinished> {
        let pipeline = &self.pipeline;
        let may_go_on = pipeline.control.paused().is_none() && pipeline.claude.stopped().is_none();
        let now = pipeline.clock.now();
        let under_way: Vec<_> = pipeline.control.in_flight().iter().map(|(id, _)| *id).collect();
        let mut unfinished = Vec::new();
        for state in [RunState::Running, RunState::RatingOwed] {
            match pipeline.journal.runs_in(state).await {
                Ok(runs) => unfinished.extend(runs),
                Err(error) => {
                    tracing::error!("unfinished runs stay as they are: {error}");
                    return Vec::new();
                }
            }
        }
        unfinished
            .into_iter()
            .filter(|run| !under_way.contains(&run.id))
            .map(|run| Unfinished { close: self.too_old(&run, now), run })
            .filter(|unfinished| may_go_on || unfinished.close.is_some())
            .collect()
    }

    /// Does it.
    pub(super) async fn run(&self) {
        let to_do = self.unfinished().await;
        let pipeline = &self.pipeline;
        tracing::info!(runs = to_do.len(), "going on with what an earlier process has left");
        fan_out(to_do, self.concurrency, &pipeline.shutdown, |Unfinished { run, close }| {
            let pipeline = pipeline.clone();
            let span = tracing::info_span!("run", persona.id = run.persona_id, run.id = %run.id);
            async move { pipeline.resume(run, close).await }.instrument(span)
        })
        .await;
    }

    /// Closes the run of a persona in whose task something panicked, so that what happened is handed
    /// in. It may panic again next time; at least it is not paid for every minute.
    pub(super) async fn close_panicked(&self, persona: &UserId) {
        let pipeline = &self.pipeline;
        let Ok(runs) = pipeline.journal.runs_in(RunState::Running).await else { return };
        for run in runs.into_iter().filter(|run| run.persona_id == persona.as_str()) {
            pipeline.resume(run, Some("the run panicked; the log has the place".into())).await;
        }
        pipeline.back_off.failed(persona, None);
        pipeline.metrics.record_backoff();
    }

    fn too_old(&self, run: &RunRow, now: Timestamp) -> Option<String> {
        let age = now.duration_since(run.updated_at);
        (age > self.max_age).then(|| {
            "the runner was down for longer than JOURNAL_RESUME_MAX_AGE_MS in the middle of this run"
                .to_owned()
        })
    }
}
