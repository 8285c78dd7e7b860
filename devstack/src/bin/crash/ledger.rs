//! Reads the model requests and MCP sessions of a run from the steps in its journal.

use std::path::Path;

use mana_persona_runner::{
    agent::step::Step,
    domain::{RunId, Tokens, Usd},
    journal::{Journal, JournalError, RunRow, RunState},
};

use crate::Problem;

/// Most runs that a check can read.
const MAX_RUNS: u32 = 10_000;

/// The model requests and MCP sessions of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// Tokens and cost of each reply that was received.
    pub replied: Vec<(Tokens, Usd)>,
    /// The amounts reserved for requests whose answer was lost.
    pub lost: Vec<Usd>,
    /// The request in flight: number of its step and reserved amount.
    pub under_way: Option<(u32, Usd)>,
    /// Number of ratings that were received.
    pub rated: usize,
    /// Ids of the MCP sessions that the run opened.
    pub sessions: Vec<String>,
}

impl Requests {
    /// Reads the steps of a run.
    ///
    /// # Errors
    /// When a step cannot be read.
    pub(crate) async fn of(journal: &Journal, run: &RunRow) -> Result<Self, Problem> {
        let mut requests = Self::default();
        for stored in journal.steps(run.id).await? {
            match serde_json::from_str(&stored.body)? {
                Step::Asking { reserved } => {
                    requests.lose();
                    requests.under_way = Some((stored.number, reserved));
                }
                Step::Replied(reply) => {
                    requests.under_way = None;
                    requests.replied.push((reply.usage, reply.cost.total()));
                }
                Step::Unanswered { lost } => {
                    if lost {
                        requests.lose();
                    }
                    requests.under_way = None;
                }
                Step::SessionOpened { session } => requests.sessions.push(session),
                Step::Rated { rows } => requests.rated = rows.len(),
                _ => {}
            }
        }
        Ok(requests)
    }

    /// Counts the request in flight as lost, because the run has ended.
    pub(crate) fn ended(mut self) -> Self {
        self.lose();
        self
    }

    fn lose(&mut self) {
        self.lost.extend(self.under_way.take().map(|(_, reserved)| reserved));
    }
}

/// Opens the daemon's journal read-only.
pub(crate) async fn open(folder: &Path) -> Result<Journal, JournalError> {
    Journal::open_read_only(folder).await
}

/// All runs, oldest first.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) async fn runs(journal: &Journal) -> Result<Vec<RunRow>, Problem> {
    let mut runs = journal.latest_runs(MAX_RUNS).await?;
    if runs.len() >= MAX_RUNS as usize {
        return Err("there are more runs than are looked at".into());
    }
    runs.reverse();
    Ok(runs)
}

/// The requests in flight of all runs that have not ended: the run, and the number of the step.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) async fn under_way(journal: &Journal) -> Result<Vec<(RunId, u32)>, Problem> {
    let mut under_way = Vec::new();
    for state in [RunState::Running, RunState::RatingOwed] {
        for run in journal.runs_in(state).await? {
            let requests = Requests::of(journal, &run).await?;
            under_way.extend(requests.under_way.map(|(number, _)| (run.id, number)));
        }
    }
    Ok(under_way)
}
