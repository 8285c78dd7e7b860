//! What most pages show: the overview of a window, and comparisons. Both are computed from all facts, which takes up to
//! seconds, so they are kept ([`cache`]) and computed on a thread of their own.

mod cache;
#[cfg(test)]
mod tests;

use std::{ops::Deref, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

use self::cache::Cache;
use super::{times::Times, trouble::Trouble, words};
use crate::{
    clock::Clock,
    domain::Language,
    facts::{
        compare::{Build, Comparison, NoSide, compare},
        overview::{Overview, overview},
        window::{Builder, Days, ImpossibleWindow},
    },
    journal::{History, Journal, JournalError, Revision},
    shutdown::Shutdown,
};

/// How many overviews are kept.
const OVERVIEWS: usize = 4;
/// How many comparisons are kept.
const COMPARISONS: usize = 2;

/// The overviews and comparisons of a journal.
#[derive(Debug)]
pub(super) struct Overviews {
    /// The journal of the page.
    journal: Journal,
    shutdown: Shutdown,
    overviews: Cache<Days, Overview, Revision>,
    comparisons: Cache<Sides, Compared, Revision>,
}

/// The two sides as they are asked for.
type Sides = [Option<String>; 2];

/// What was computed, and for which facts.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: Arc<T>,
    /// When it was computed, if the facts have changed since.
    pub(super) as_of: Option<Timestamp>,
    /// Why it could not be computed again.
    pub(super) failure: Option<String>,
}

/// A comparison, and what a page needs to ask for another one.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) outcome: Result<Comparison, NoSide>,
    /// All deployments, in the order in which the runner met them.
    pub(super) builds: Vec<Build>,
    /// The time zone whose dates are the days.
    pub(super) zone: TimeZone,
}

/// Why something could not be computed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Window(#[from] ImpossibleWindow),
    #[error("the computation has panicked")]
    Panicked(#[from] JoinError),
    #[error("the daemon stops")]
    Stopping,
}

impl Overviews {
    /// Those of the facts in `journal`, which is the one of the page.
    pub(super) fn new(journal: Journal, clock: &Clock, shutdown: &Shutdown) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        let overviews = Cache::new(OVERVIEWS, turn.clone(), clock.clone(), shutdown.clone());
        let comparisons = Cache::new(COMPARISONS, turn, clock.clone(), shutdown.clone());
        Self { journal, shutdown: shutdown.clone(), overviews, comparisons }
    }

    /// The overview of a window.
    pub(super) async fn overview(&self, days: Days) -> Result<Found<Overview>, Trouble> {
        let revision = match self.journal.revision().await {
            Ok(revision) => revision,
            Err(error) => return self.overviews.old(&days, &error).ok_or(error.into()),
        };
        let reader = self.reader();
        let compute = move || {
            reader.compute(move |reader| {
                let facts = reader.facts(reader.journal.facts_for(days))?;
                Ok(overview(&facts.finish(days)?))
            })
        };
        told(self.overviews.get(days, &revision, compute).await)
    }

    /// The comparison of two sides; see [`compare`].
    pub(super) async fn comparison(
        &self,
        a: Option<&str>,
        b: Option<&str>,
    ) -> Result<Found<Compared>, Trouble> {
        let sides = [a, b].map(|side| side.map(str::to_owned));
        let revision = match self.journal.revision().await {
            Ok(revision) => revision,
            Err(error) => return self.comparisons.old(&sides, &error).ok_or(error.into()),
        };
        let reader = self.reader();
        let asked = sides.clone();
        let compute = move || {
            reader.compute(move |reader| {
                // No fact that is compared needs a single call.
                let facts = reader.facts(reader.journal.facts(History::NoCalls))?;
                let window = facts.finish(Days::All)?;
                let [a, b] = &asked;
                Ok(Compared {
                    outcome: compare(&window, a.as_deref(), b.as_deref()),
                    builds: window.deployments().iter().map(Build::from).collect(),
                    zone: window.zone().clone(),
                })
            })
        };
        told(self.comparisons.get(sides, &revision, compute).await)
    }

    fn reader(&self) -> Reader {
        Reader { journal: self.journal.clone(), shutdown: self.shutdown.clone() }
    }
}

/// Reads facts and computes on a thread of its own.
struct Reader {
    journal: Journal,
    shutdown: Shutdown,
}

impl Reader {
    /// What `work` computes, and the revision of the facts at its begin.
    #[expect(clippy::disallowed_methods, reason = "the two threads of the runtime belong to runs")]
    async fn compute<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<(T, Revision), String> {
        let computed = async {
            let revision = self.journal.revision().await?;
            let value = spawn_blocking(move || work(&self)).await??;
            Ok::<_, Failure>((value, revision))
        };
        computed.await.map_err(|failure| failure.to_string())
    }

    /// Reads facts on the calling thread, which must not be one of the runtime.
    fn facts(
        &self,
        facts: impl Future<Output = Result<Builder, JournalError>>,
    ) -> Result<Builder, Failure> {
        let facts = Handle::current().block_on(self.shutdown.unless_stopping(facts));
        Ok(facts.ok_or(Failure::Stopping)??)
    }
}

fn told<T>(found: Option<Result<Found<T>, String>>) -> Result<Found<T>, Trouble> {
    found.ok_or(Trouble::NotYet)?.map_err(Trouble::Other)
}

impl<T> Found<T> {
    /// A line that says how old it is; nothing if the facts have not changed since.
    pub(super) fn notice(&self, language: Language, times: &Times) -> Markup {
        let words = words::overviews::words(language);
        html! {
            @if let Some(as_of) = self.as_of {
                p.trouble role="status" {
                    (words.as_of(&times.minute(as_of)))
                    @if let Some(failure) = &self.failure { " " (words.failed(failure)) }
                }
            }
        }
    }
}

impl<T> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
