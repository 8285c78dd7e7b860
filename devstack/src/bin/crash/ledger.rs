//! What a journal says of model requests and MCP sessions, read from its steps.

use std::path::Path;

use mana_persona_runner::{
    agent::step::Step,
    domain::{RunId, Tokens, Usd},
    journal::{Journal, JournalError, RunRow, RunState},
};

use crate::Problem;

/// Most runs that are looked at.
const MAX_RUNS: u32 = 10_000;

/// Model requests of a run, and its MCP sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// Replies, as they were paid for.
    pub replied: Vec<(Tokens, Usd)>,
    /// What was reserved for requests whose answer was lost.
    pub lost: Vec<Usd>,
    /// The number of the step of the one under way, and what is reserved for it.
    pub under_way: Option<(u32, Usd)>,
    /// Ratings.
    pub rated: usize,
    /// Ids of the MCP sessions it opened.
    pub sessions: Vec<String>,
}

impl Requests {
    /// What these steps say.
    ///
    /// # Errors
    /// When one of them cannot be read.
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

    /// Once the run has ended: no answer is waited for any more.
    pub(crate) fn ended(mut self) -> Self {
        self.lose();
        self
    }

    fn lose(&mut self) {
        self.lost.extend(self.under_way.take().map(|(_, reserved)| reserved));
    }
}

/// The daemon's journal as a guest sees it.
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

/// Model requests whose answer is waited for by runs under way: the run, and the number of the step.
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
