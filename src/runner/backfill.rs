//! Makes the facts of runs that have none although their steps exist: runs of versions of this program that made no
//! facts, or other ones.

use tokio::time::sleep;

use super::{fleet::Fleet, retention::BREATH};
use crate::{
    agent::{
        day_end::{DayEnd, How},
        observed,
    },
    domain::{Label, Outcome, Stage},
    facts::{EXTRACTOR, extract},
    journal::{CANCELLED, JournalError, RunRow, Searched},
};

/// How the stored reasons of runs begin that earlier versions closed before their end.
const CLOSED: [&str; 9] = [
    CANCELLED,
    "not rated: ",
    "it had not got on for longer",
    "the runner ended twice",
    "the journal does not say whose run",
    "its step ",
    "ANTHROPIC_MODEL was changed",
    "stopped before its end",
    "the run's time (PERSONA_TIMEOUT_MS) was up",
];
/// How the stored reasons of runs begin that panicked.
const PANICKED: [&str; 3] =
    ["given up: it panicked", "the run panicked", "not rated: the run panicked"];
/// How many runs are read at once.
const BATCH: u32 = 20;

impl Fleet {
    /// Makes the missing facts, oldest runs first. A run whose facts cannot be made stays without them for good.
    ///
    /// # Errors
    /// When the journal, or a table of facts, cannot be used. The next call begins with the runs that are left.
    pub(super) async fn make_missing_facts(&self) -> Result<(), JournalError> {
        let (mut made, mut searched) = (0, Searched::default());
        while let Some(runs) =
            self.journal.runs_without_facts(EXTRACTOR, &mut searched, BATCH).await?
        {
            for run in runs {
                match self.make_facts(&run).await {
                    Ok(()) => made += 1,
                    Err(error) if error.is_of_a_row() => {
                        tracing::error!(run.id = %run.id, "a run stays without facts: {error}");
                        self.journal.give_facts_up(run.id).await?;
                    }
                    Err(error) => return Err(error),
                }
                sleep(BREATH).await;
            }
        }
        if made > 0 {
            tracing::info!(runs = made, "made the facts of runs that had none");
        }
        Ok(())
    }

    async fn make_facts(&self, run: &RunRow) -> Result<(), JournalError> {
        let steps = match self.journal.steps(run.id).await {
            // Of all the tables, only the steps of this run are known to be unreadable.
            Err(error) if error.is_refusal() => {
                return Err(JournalError::Row("a step", error.to_string()));
            }
            steps => steps?,
        };
        let observed = observed::of_stored(steps.iter().map(|step| (&*step.body, step.at)));
        let shift = run.server_at.duration_since(run.started_at);
        let outcome = run.outcome.unwrap_or_else(|| {
            outcome_of(run.end_reason.as_deref().unwrap_or_default(), &run.stage, observed.day)
        });
        let facts = extract(&observed, &run.id.to_string(), outcome, shift);
        self.journal.write_facts(run, &facts, outcome).await
    }
}

/// What a run of an earlier version came to that ended for this reason at this stage, and whose main turn ended like
/// this. Such a version stored the outcome of the main turn only.
fn outcome_of(reason: &str, stage: &str, day: Option<Outcome>) -> Outcome {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|it| reason.starts_with(it));
    if begins(&PANICKED) {
        return Outcome::Failed;
    }
    if begins(&CLOSED) {
        return Outcome::Stopped;
    }
    match (day, Stage::parse(stage)) {
        (_, Some(Stage::RatingTurn)) => DayEnd::new(How::Failed, reason).outcome(),
        (_, Some(Stage::PostActions)) => Outcome::Failed,
        (Some(day), _) => day,
        (None, Some(Stage::Login)) => Outcome::Login,
        (None, Some(Stage::Space)) => Outcome::Space,
        (None, Some(Stage::Mcp)) => Outcome::Session,
        (None, _) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::verdict::{Failure, PANICKED as BY_PANIC};

    #[test]
    fn what_stopped_a_run_counts_before_its_stage_and_a_panic_before_all() {
        for stage in ["login", "space", "mcp", "main_turn", "rating_turn", "done"] {
            for day in [None, Some(Outcome::Done)] {
                let outcome = |reason: &str| outcome_of(reason, stage, day);
                for failure in [Failure::stopped(Stage::Mcp), Failure::late(Stage::Mcp)] {
                    assert_eq!(outcome(&failure.error), Outcome::Stopped, "{stage}");
                }
                assert_eq!(outcome("not rated: ANTHROPIC_MODEL was changed"), Outcome::Stopped);
                assert_eq!(outcome(CANCELLED), Outcome::Stopped);
                assert_eq!(outcome(BY_PANIC), Outcome::Failed, "{stage}");
                assert_eq!(outcome(&format!("not rated: {BY_PANIC}")), Outcome::Failed);
                let twice = "given up: it panicked when it was closed";
                assert_eq!(outcome(twice), Outcome::Failed);
            }
        }
    }

    #[test]
    fn a_rating_turn_that_failed_or_rows_that_were_refused_count_more_than_a_day_that_went_well() {
        let outcome = |reason, stage| outcome_of(reason, stage, Some(Outcome::Done));
        assert_eq!(outcome("Claude answered with 500", "rating_turn"), Outcome::Failed);
        assert_eq!(outcome("PERSONA_MAX_COST_USD reached", "rating_turn"), Outcome::Cost);
        assert_eq!(outcome("mana-auth answered with 422", "post_actions"), Outcome::Failed);
        assert_eq!(outcome("done", "done"), Outcome::Done);
    }

    #[test]
    fn what_a_run_failed_at_before_its_day_follows_from_the_stage() {
        let outcome = |stage| outcome_of("no route to host", stage, None);
        let stages = ["login", "space", "mcp", "main_turn", "of tomorrow"];
        let outcomes =
            [Outcome::Login, Outcome::Space, Outcome::Session, Outcome::Failed, Outcome::Failed];
        assert_eq!(stages.map(outcome), outcomes);
    }
}
