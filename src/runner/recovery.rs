//! Runs that an earlier process was killed in, or was stopped in before their rating.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tracing::{Instrument, Span, field::Empty};

use super::{
    fan_out::{Outcome, fan_out},
    pipeline::{Admitted, Pipeline},
};
use crate::{
    domain::{Persona, RunId, UserId},
    journal::{CANCELLED, RunRow, RunState},
    metrics::RunOutcome,
};

/// The span of a run's log lines; the run fills in its id.
pub(super) fn run_span(persona: &str) -> Span {
    tracing::info_span!("run", persona.id = persona, run.id = Empty)
}

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

    /// What there is to be done: young runs go on, if the runner is not paused, there is money, and
    /// Claude is asked; older ones are closed. Runs whose end is on its way to the journal are left alone.
    pub(super) async fn unfinished(&self, admitted: Admitted) -> Vec<Unfinished> {
        let pipeline = &self.pipeline;
        let mut places = if pipeline.may_begin(admitted) { admitted.most() } else { 0 };
        let now = pipeline.clock.now();
        let unfinished = self.runs_of_nobody().await.into_iter().map(|run| {
            let cancelled = run.is_cancelled().then(|| CANCELLED.to_owned());
            let close = cancelled.or_else(|| self.too_old(&run, now));
            let close = close.or_else(|| self.other_model(&run));
            Unfinished { run, close }
        });
        let is_held = |run: &RunRow| {
            let persona = run.persona.as_ref();
            persona.is_some_and(|Persona { user_id, .. }| {
                pipeline.back_off.holds(user_id) || pipeline.put_off.why(user_id).is_some()
            })
        };
        let mut takes_a_place = |run: &RunRow| {
            let takes = places > 0 && !is_held(run);
            places -= usize::from(takes);
            takes
        };
        unfinished.filter(|it| it.close.is_some() || takes_a_place(&it.run)).collect()
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

    /// Does it. Returns how many runs went on.
    pub(super) async fn run(&self, admitted: Admitted) -> usize {
        let to_do = self.unfinished(admitted).await;
        if to_do.is_empty() {
            return 0;
        }
        let pipeline = &self.pipeline;
        tracing::info!(runs = to_do.len(), "going on with unfinished runs");
        let ids: Vec<_> = to_do.iter().map(|it| it.run.id).collect();
        let outcomes =
            fan_out(to_do, self.concurrency, &pipeline.shutdown, |Unfinished { run, close }| {
                let pipeline = pipeline.clone();
                let span = run_span(&run.persona_id);
                async move {
                    // Paused, stopped or out of money since: it stays as it is.
                    if close.is_none() && !pipeline.may_begin(admitted) {
                        return false;
                    }
                    let goes_on = close.is_none();
                    pipeline.resume(run, close).await;
                    goes_on
                }
                .instrument(span)
            })
            .await;
        pipeline.sessions_settled().await;
        let mut went_on = 0;
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            went_on += usize::from(!matches!(outcome, Outcome::NotStarted | Outcome::Ended(false)));
            if matches!(outcome, Outcome::Panicked) {
                self.close_panicked(id).await;
            }
        }
        went_on
    }

    /// Closes a run in whose task something panicked, so that what happened is handed in, and holds its
    /// persona back: it may panic again next time, but is not paid for every minute. A run that was not
    /// begun, or has ended before the panic, is left alone.
    pub(super) async fn close_panicked(&self, id: RunId) {
        let pipeline = self.pipeline.clone();
        let Ok(Some(run)) = pipeline.journal.run(id).await else {
            pipeline.metrics.record_no_run(RunOutcome::Failed);
            return;
        };
        if !matches!(run.state, RunState::Running | RunState::RatingOwed) {
            return;
        }
        let persona = UserId::parse(&run.persona_id);
        let span = run_span(&run.persona_id);
        // In a task of its own: what has panicked once may do so again.
        let closing = pipeline.clone();
        let closed = async move { closing.close_panicked(run).await };
        let closed = tokio::spawn(closed.instrument(span)).await;
        if closed.is_err() {
            pipeline.give_up(id, "given up: it panicked when it was closed").await;
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
