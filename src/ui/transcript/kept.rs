//! What the journal has about a run.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::{
    agent::{observed, transcript::Transcript},
    domain::{Outcome, RunId, RunState},
    facts::{self, line},
    journal::{DeploymentRow, Journal, Part, Post, Result, RunFilter, RunRow, StoredStep},
};

/// How many deployments are looked through for the versions of a run.
const DEPLOYMENTS: u32 = 500;

/// What the journal has about a run.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) run: RunRow,
    /// The steps of the run, read.
    pub(super) transcript: Transcript,
    /// What the facts say of each call, by number. They follow from the steps, if these are still there.
    pub(super) calls: BTreeMap<u32, line::Call>,
    /// The ids of the issues that the failed calls belong to. They are given when the run ends.
    pub(super) issues: HashMap<u32, String>,
    /// What the facts say of each module that the run used.
    pub(super) modules: Vec<line::Module>,
    /// The posts that mana-auth has not confirmed.
    pub(super) posts: Vec<Post>,
    /// The latest builds of the product.
    pub(super) deployments: Vec<DeploymentRow>,
    /// The runs of the persona before and after this one.
    pub(super) neighbours: [Option<RunId>; 2],
}

impl Kept {
    /// Reads all that is there about the run with this id. `None` if there is no such run.
    pub(super) async fn read(journal: &Journal, id: RunId) -> Result<Option<Self>> {
        let Some(run) = journal.run(id).await? else { return Ok(None) };
        let steps = journal.steps(id).await?;
        let stored = journal.stored_calls(id).await?;
        let mut kept = Self::of(run, &steps, stored);
        if steps.is_empty() {
            let facts = journal.facts_of(id).await?;
            kept.modules = facts.map(|facts| facts.modules).unwrap_or_default();
        }
        kept.posts = journal.kept_posts_of(id).await?;
        kept.deployments = journal.latest_deployments(DEPLOYMENTS).await?;
        let persona = Some(kept.run.persona_id.clone());
        let filter = RunFilter { persona, ..RunFilter::default() };
        for (neighbour, part) in kept.neighbours.iter_mut().zip([Part::Before(id), Part::After(id)])
        {
            let found = journal.find_runs(&filter, part, 1).await?;
            *neighbour = found.items.first().map(|run| run.id);
        }
        Ok(Some(kept))
    }

    /// What steps and the stored facts of calls say about a run.
    pub(super) fn of(run: RunRow, steps: &[StoredStep], stored: Vec<line::Call>) -> Self {
        let told = steps.iter().map(|step| (step.number, step.at, &*step.body));
        let transcript = Transcript::of(told, run.state == RunState::Running);
        let issues = stored.iter().filter_map(|call| Some((call.number, call.issue.clone()?)));
        let mut kept = Self {
            issues: issues.collect(),
            transcript,
            calls: BTreeMap::new(),
            modules: Vec::new(),
            posts: Vec::new(),
            deployments: Vec::new(),
            neighbours: [None; 2],
            run,
        };
        let calls = if steps.is_empty() { stored } else { kept.extract(steps) };
        kept.calls = calls.into_iter().map(|call| (call.number, call)).collect();
        kept
    }

    /// Whether further steps of the run may follow.
    pub(super) fn goes_on(&self) -> bool {
        self.run.state == RunState::Running
    }

    /// A time of the daemon's clock, by mana-auth's time.
    pub(super) fn shifted(&self, at: Timestamp) -> Timestamp {
        at.checked_add(self.shift()).unwrap_or(at)
    }

    fn shift(&self) -> SignedDuration {
        self.run.server_at.duration_since(self.run.started_at)
    }

    /// Makes the facts of the run from its steps, as its end does. Returns those of the calls.
    fn extract(&mut self, steps: &[StoredStep]) -> Vec<line::Call> {
        let observed = observed::of_stored(steps.iter().map(|step| (&*step.body, step.at)));
        // While the run goes on, nothing that the page shows depends on its outcome.
        let outcome = self.run.outcome.or(observed.day).unwrap_or(Outcome::Stopped);
        let id = self.run.id.to_string();
        let facts = facts::extract(&observed, &id, outcome, self.shift());
        self.modules = facts.modules;
        facts.calls.into_iter().map(|(call, _)| call).collect()
    }
}
