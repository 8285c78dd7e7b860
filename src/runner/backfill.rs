//! Makes the facts of runs that have none although their steps exist: runs of versions of this program that made no
//! facts, or other ones.

use tokio::time::sleep;

use super::{fleet::Fleet, retention::BREATH};
use crate::{
    agent::{observed::Observer, step::Step},
    domain::{Label, Outcome, Stage},
    facts::{EXTRACTOR, extract},
    journal::{CANCELLED, JournalError, RunRow},
};

/// How the stored reasons of runs begin that earlier versions closed before their end.
const CLOSED: [&str; 7] = [
    CANCELLED,
    "not rated: ",
    "it had not got on for longer",
    "the runner ended twice",
    "the journal does not say whose run",
    "its step ",
    "ANTHROPIC_MODEL was changed",
];
/// How many runs are read at once.
const BATCH: u32 = 20;

impl Fleet {
    /// Makes the missing facts, oldest runs first. A run whose facts cannot be written stays without them.
    ///
    /// # Errors
    /// When the journal cannot be used. The next call goes on with the runs that are left.
    pub(super) async fn make_missing_facts(&self) -> Result<(), JournalError> {
        let mut made = 0;
        loop {
            let runs = self.journal.runs_without_facts(EXTRACTOR, BATCH).await?;
            let before = made;
            for run in runs {
                match self.make_facts(&run).await {
                    Ok(()) => made += 1,
                    Err(error) if error.is_of_a_row() => {
                        tracing::error!(run.id = %run.id, "a run stays without facts: {error}");
                    }
                    Err(error) => return Err(error),
                }
                sleep(BREATH).await;
            }
            if made == before {
                break;
            }
        }
        if made > 0 {
            tracing::info!(runs = made, "made the facts of runs of an earlier version");
        }
        Ok(())
    }

    async fn make_facts(&self, run: &RunRow) -> Result<(), JournalError> {
        let mut observer = Observer::default();
        for stored in self.journal.steps(run.id).await? {
            // A step that cannot be read may be of a later version.
            if let Ok(step) = serde_json::from_str::<Step>(&stored.body) {
                observer.take(&step, stored.at);
            }
        }
        let observed = observer.observed();
        let shift = run.server_at.duration_since(run.started_at);
        let outcome = run.outcome.unwrap_or_else(|| outcome_of(run, observed.day));
        let facts = extract(&observed, &run.id.to_string(), outcome, shift);
        self.journal.write_facts(run.id, &facts, outcome).await
    }
}

/// What a run of an earlier version came to whose day ended like this. Such a version stored only the stage, and the
/// reason as text.
fn outcome_of(run: &RunRow, day: Option<Outcome>) -> Outcome {
    let reason = run.end_reason.as_deref().unwrap_or_default();
    let is_closed = CLOSED.iter().any(|beginning| reason.starts_with(beginning));
    match (day, Stage::parse(&run.stage)) {
        _ if is_closed => Outcome::Stopped,
        (Some(day), _) => day,
        (None, Some(Stage::Login)) => Outcome::Login,
        (None, Some(Stage::Space)) => Outcome::Space,
        (None, Some(Stage::Mcp)) => Outcome::Session,
        (None, _) => Outcome::Failed,
    }
}
