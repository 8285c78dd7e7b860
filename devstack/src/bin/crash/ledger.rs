//! What a journal says of model requests, read from its steps.

use std::path::Path;

use mana_persona_runner::{
    agent::step::Step,
    domain::{Tokens, Usd},
    journal::{Journal, JournalError, RunRow, RunState},
};

use crate::Problem;

/// Most runs that are looked at.
const MAX_RUNS: u32 = 10_000;

/// Model requests of a run.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Replies, as they were paid for.
    pub replied: Vec<(Tokens, Usd)>,
    /// What was reserved for requests whose answer was lost.
    pub lost: Vec<Usd>,
    /// What is reserved for the one under way.
    pub under_way: Option<Usd>,
    /// Ratings.
    pub rated: usize,
}

impl Requests {
    /// What these steps say.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn of(journal: &Journal, run: &RunRow) -> Result<Self, Problem> {
        let mut requests = Self::default();
        for stored in journal.steps(run.id).await? {
            match serde_json::from_str(&stored.body)? {
                Step::Asking { reserved } => {
                    requests.lost.extend(requests.under_way.replace(reserved));
                }
                Step::Replied(reply) => {
                    requests.under_way = None;
                    requests.replied.push((reply.usage, reply.cost.total()));
                }
                Step::Unanswered { lost } => {
                    let reserved = requests.under_way.take();
                    requests.lost.extend(reserved.filter(|_| lost));
                }
                Step::Rated { rows } => requests.rated = rows.len(),
                _ => {}
            }
        }
        Ok(requests)
    }

    /// Once the run has ended: no answer is waited for any more.
    pub fn ended(mut self) -> Self {
        self.lost.extend(self.under_way.take());
        self
    }
}

/// The daemon's journal as a guest sees it.
pub async fn open(folder: &Path) -> Result<Journal, JournalError> {
    Journal::open_read_only(folder).await
}

/// All runs, oldest first.
///
/// # Errors
/// When the journal cannot be read.
pub async fn runs(journal: &Journal) -> Result<Vec<RunRow>, Problem> {
    let mut runs = journal.latest_runs(MAX_RUNS).await?;
    if runs.len() >= MAX_RUNS as usize {
        return Err("there are more runs than are looked at".into());
    }
    runs.reverse();
    Ok(runs)
}

/// Model requests whose answer is waited for by runs under way.
///
/// # Errors
/// When the journal cannot be read.
pub async fn under_way(journal: &Journal) -> Result<usize, Problem> {
    let mut under_way = 0;
    for state in [RunState::Running, RunState::RatingOwed] {
        for run in journal.runs_in(state).await? {
            under_way += usize::from(Requests::of(journal, &run).await?.under_way.is_some());
        }
    }
    Ok(under_way)
}
