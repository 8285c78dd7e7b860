//! Runs that an earlier process was killed in, or was stopped in before their rating.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tracing::Instrument;

use super::{
    fan_out::{Outcome, fan_out},
    pipeline::Pipeline,
};
use crate::{
    domain::{RunId, UserId},
    journal::{RunRow, RunState},
};

/// How long a rating is owed.
const MAX_AGE_OF_RATING: SignedDuration = SignedDuration::from_hours(7 * 24);

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

    /// What there is to be done: young runs go on, if the runner is not paused, there is money, and the
    /// model is in use; older ones are closed. Runs whose end is on its way to the journal are left alone.
    pub(super) async fn unfinished(&self) -> Vec<Unfinished> {
        let pipeline = &self.pipeline;
        let may_go_on = !pipeline.is_held() && pipeline.claude.stopped().is_none();
        let now = pipeline.clock.now();
        let unfinished = self.runs_of_nobody().await.into_iter().map(|run| {
            let close = self.too_old(&run, now).or_else(|| self.other_model(&run));
            Unfinished { run, close }
        });
        let is_held = |run: &RunRow| {
            let persona = run.persona.as_ref();
            persona.is_some_and(|persona| pipeline.back_off.holds(&persona.user_id))
        };
        unfinished.filter(|it| it.close.is_some() || may_go_on && !is_held(&it.run)).collect()
    }

    /// Unfinished runs that no task of this process is at.
    async fn runs_of_nobody(&self) -> Vec<RunRow> {
        let pipeline = &self.pipeline;
        let mut busy: Vec<_> = pipeline.control.in_flight().iter().map(|(id, _)| *id).collect();
        busy.extend(pipeline.outbox.unsaved_runs().await);
        let mut runs = Vec::new();
        for state in [RunState::Running, RunState::RatingOwed] {
            match pipeline.journal.runs_in(state).await {
                Ok(found) => runs.extend(found),
                Err(error) => tracing::error!("unfinished runs stay as they are: {error}"),
            }
        }
        runs.retain(|run| !busy.contains(&run.id));
        runs
    }

    /// Does it.
    pub(super) async fn run(&self) {
        let to_do = self.unfinished().await;
        if to_do.is_empty() {
            return;
        }
        let pipeline = &self.pipeline;
        tracing::info!(runs = to_do.len(), "going on with what an earlier process has left");
        let ids: Vec<_> = to_do.iter().map(|it| it.run.id).collect();
        let outcomes =
            fan_out(to_do, self.concurrency, &pipeline.shutdown, |Unfinished { run, close }| {
                let pipeline = pipeline.clone();
                let span = tracing::info_span!(
                    "run",
                    persona.id = run.persona_id,
                    run.id = tracing::field::Empty
                );
                async move { pipeline.resume(run, close).await }.instrument(span)
            })
            .await;
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            if matches!(outcome, Outcome::Panicked) {
                self.close(id).await;
            }
        }
    }

    /// Closes the run of a persona in whose task something panicked, so that what happened is handed
    /// in. It may panic again next time; at least it is not paid for every minute.
    pub(super) async fn close_panicked(&self, persona: &UserId) {
        let runs = self.runs_of_nobody().await;
        for run in runs.iter().filter(|run| run.persona_id == persona.as_str()) {
            self.close(run.id).await;
        }
    }

    async fn close(&self, id: RunId) {
        let pipeline = self.pipeline.clone();
        let Ok(Some(run)) = pipeline.journal.run(id).await else { return };
        let persona = UserId::parse(&run.persona_id);
        let why = "the run panicked; the log has the place".to_owned();
        // In a task of its own: what has panicked once may do so again.
        let closing = pipeline.clone();
        let closed = tokio::spawn(async move { closing.resume(run, Some(why)).await }).await;
        if closed.is_err() {
            pipeline.journal.give_up(id, pipeline.clock.now()).await.unwrap_or_else(|error| {
                tracing::error!(run.id = %id, "{error}");
            });
        }
        let Ok(persona) = persona else { return };
        if pipeline.back_off.holds(&persona) {
            return;
        }
        let (_, until) = pipeline.back_off.failed(&persona, None);
        pipeline.metrics.record_backoff();
        if let Err(error) = pipeline.journal.hold_back(id, pipeline.clock.now(), until).await {
            tracing::warn!("{error}; a restart will not know of the back-off");
        }
    }

    /// Ratings are owed for longer: a pause may last over a weekend.
    fn too_old(&self, run: &RunRow, now: Timestamp) -> Option<String> {
        let (age, most) = match run.state {
            RunState::RatingOwed => (now.duration_since(run.started_at), MAX_AGE_OF_RATING),
            _ => (now.duration_since(run.updated_at), self.max_age),
        };
        (age > most).then(|| {
            "the runner was down for longer than JOURNAL_RESUME_MAX_AGE_MS in the middle of this run"
                .to_owned()
        })
    }

    /// Thinking is bound to the model that thought it.
    fn other_model(&self, run: &RunRow) -> Option<String> {
        let changed = run.state == RunState::Running && run.model != self.pipeline.claude.model();
        changed.then(|| "ANTHROPIC_MODEL was changed in the middle of this run".to_owned())
    }
}
