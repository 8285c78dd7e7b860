//! The durable record of runs: their steps, the posts that mana-auth has not confirmed yet, the spent money, and
//! whether the runner is paused.
//!
//! What is kept for reports, longer than the steps, is in `facts`; what the page shows of it in detail is read in
//! `browse`.
//!
//! Each operation (`control`, `facts`, `ledger`, `outbox`, `pins`, `reports`, `retention`, `runs`, `steps`) is one
//! transaction, in SQL that SQLite and Postgres share: `$1` placeholders, BIGINT milliseconds since 1970, JSON as text,
//! state changes by conditional `UPDATE`. `backend` executes the SQL; only `backend::file` is specific to SQLite.
//!
//! When an operation returns, the operating system has its data (WAL, synchronous=NORMAL). The data survives the
//! death of the process, but not always the loss of power.

mod backend;
mod browse;
mod control;
mod error;
mod facts;
mod ledger;
mod outbox;
mod pins;
mod reports;
mod retention;
mod runs;
mod schema;
mod steps;

use std::{
    borrow::Cow, collections::HashSet, fmt::Display, future::pending, sync::Arc, time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

pub use crate::domain::RunState;
pub use backend::FILE_NAME;
use backend::{
    Backend, Row, Snapshot, Sql, Statement, Value, failed, number, optional, rows_of, text, time,
};
pub use browse::{
    Choices, DayHits, FoundRun, KnownPersona, LiveCall, LiveCalls, OwnRating, Page, Part,
    PersonaHits, PersonaRun, Position, Rated, RatingFilter, Revision, RunFilter, RunRating, Sample,
    StoredRating, ToolSample,
};
pub use control::Key;
pub(crate) use control::{
    BUDGETS, BudgetReached, FITTING_SECRET, PAUSE, Pause, PauseMode, REFUSED_TRIES,
};
pub use error::{JournalError, Kind, Result};
pub use facts::{
    DeploymentRow, DeploymentSource, HaltKind, History, Searched, TIME_ZONE, TickFacts,
    persona_line,
};
pub use ledger::{Booking, Books, Cap, NoRoom, Spending, UnfinishedBooks};
pub use outbox::{OutboxDepth, Post, PostKey, PostKind};
pub use reports::{ListedReport, NewReport, PostState, ReportPost, StoredReport};
pub(crate) use runs::{CANCELLED, has_lost_rows};
pub use runs::{EndedRun, HeldBack, KeptSettings, NewRun, RunRow, RunSettings};
pub use steps::{NewStep, StoredStep};

/// Longest time of an operation, with the time that it waits for the connection.
const LIMIT: Duration = Duration::from_secs(15);
/// The same for a query of the page.
const PAGE_LIMIT: Duration = Duration::from_secs(2);

/// Reads a row, or returns a text about what is wrong with it.
type Read<T> = fn(&Row) -> std::result::Result<T, String>;

/// For how many unreadable rows the log gets an error at most.
const MOST_TOLD: usize = 1_000;

/// A journal: the daemon's own, or one that a command has opened beside the daemon. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    backend: Backend,
    /// Longest time of an operation, with the time that it waits for the connection.
    limit: Duration,
    /// The error of the last write, unless the error concerned one row only; `None` after a successful write.
    trouble: Arc<Mutex<Option<String>>>,
    /// The unreadable rows that were logged, each with its error.
    told: Arc<Mutex<HashSet<String>>>,
}

impl Journal {
    fn on(backend: Backend) -> Self {
        Self { backend, limit: LIMIT, trouble: Arc::default(), told: Arc::default() }
    }

    /// The same journal for people who look at the page: read through a connection of its own, for which no run waits.
    /// It is opened at the first query and closed a minute after the last one. A query of more than two seconds is broken
    /// off, and its result is [`JournalError::Slow`]. Nothing can be written.
    ///
    /// A journal in memory or of another process has only one connection, which is shared and can write.
    pub fn for_page(&self) -> Self {
        let backend = self.backend.for_page();
        // A write that is refused here is no trouble of the daemon's journal.
        let (trouble, told) = (Arc::default(), self.told.clone());
        Self { backend, limit: PAGE_LIMIT, trouble, told }
    }

    /// Why the journal cannot be written; `None` if it can, as far as the last write and the last look at its
    /// files show.
    pub fn trouble(&self) -> Option<String> {
        let lost = self.backend.folder.as_ref().and_then(|folder| folder.trouble());
        let noted = || self.trouble.lock().clone();
        lost.map(|error| error.to_string()).or_else(noted)
    }

    /// Writes and deletes a row of the size of a small run, because only a write shows that a full disk has space
    /// again.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub(crate) async fn check_writable(&self) -> Result<()> {
        const PROBE_BYTES: usize = 64 << 10;
        const WRITE: &str = "INSERT INTO control (name, value, at) VALUES ('probe', $1, 0) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.check_folder().await?;
        // Two transactions, because a row that one transaction writes and deletes need not reach the disk.
        self.change("be written to", WRITE, vec![text("x".repeat(PROBE_BYTES))]).await?;
        self.change("be written to", "DELETE FROM control WHERE name = 'probe'", vec![]).await
    }

    /// Waits until the write that is being executed has ended. Later reads see its data, even if the caller of the
    /// write was dropped.
    ///
    /// # Errors
    /// If the wait takes too long.
    pub async fn settled(&self) -> Result<()> {
        self.within_limit("come to rest", self.backend.writer.session()).await.map(drop)
    }

    /// Closes the connections after the statements that are being executed, and releases the lock of the folder.
    pub async fn close(&self) {
        self.close_or(pending()).await;
    }

    /// Like [`Journal::close`], but stops waiting for the statements when `given_up` resolves, because a disk may
    /// hang.
    pub(crate) async fn close_or(&self, given_up: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.backend.close() => {}
            () = given_up => {}
            () = sleep(LIMIT) => {}
        }
        // An error does not matter: the end of the process releases the lock too.
        self.backend.folder.iter().for_each(|folder| drop(folder.lock.unlock()));
    }

    /// The rows of a query. A failed query does not count as trouble of the journal.
    async fn rows(
        &self,
        task: &'static str,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>> {
        self.within_limit(task, self.backend.rows(sql.into(), values)).await
    }

    /// Begins a read that may take long. Nobody who writes waits for it.
    async fn snapshot(&self, task: &'static str) -> Result<Snapshot> {
        self.within_limit(task, self.backend.snapshot()).await
    }

    /// Executes one statement that returns no rows.
    async fn change(&self, task: &'static str, sql: Sql, values: Vec<Value>) -> Result<()> {
        self.write(task, vec![(sql.into(), values)]).await.map(drop)
    }

    /// Executes all of these statements, or none of them, and returns the rows of their RETURNING clauses. Notes
    /// whether the journal can be written; an error of a single row does not count, because other runs can still be
    /// written.
    async fn write(&self, task: &'static str, statements: Vec<Statement>) -> Result<Vec<Row>> {
        let written = self.try_to_write(task, statements).await;
        if !written.as_ref().is_err_and(JournalError::is_of_a_row) {
            self.note_trouble(written.as_ref().err());
        }
        written
    }

    /// Like [`Journal::write`], for statements of facts alone. A refusal of them is no trouble of the journal: runs need
    /// no facts.
    async fn write_facts_alone(
        &self,
        task: &'static str,
        mut statements: Vec<Statement>,
    ) -> Result<Vec<Row>> {
        statements.push(browse::change());
        let written = self.try_to_write(task, statements).await;
        if !written.as_ref().is_err_and(JournalError::is_refusal) {
            self.note_trouble(written.as_ref().err());
        }
        written
    }

    /// Executes what `statements` gives for `true`: statements that a run needs, and others about facts. If the database
    /// refuses these statements, what it gives for `false` is executed, which is without facts.
    async fn write_with_facts(
        &self,
        task: &'static str,
        run: impl Display,
        statements: impl Fn(bool) -> Vec<Statement>,
    ) -> Result<()> {
        let mut with_facts = statements(true);
        with_facts.push(browse::change());
        let written = self.try_to_write(task, with_facts).await;
        match written {
            Err(error) if error.is_refusal() => {
                tracing::error!(run.id = %run, "{error}; tried again without facts");
                self.write(task, statements(false)).await.map(drop)
            }
            written => {
                self.note_trouble(written.as_ref().err());
                written.map(drop)
            }
        }
    }

    async fn try_to_write(
        &self,
        task: &'static str,
        statements: Vec<Statement>,
    ) -> Result<Vec<Row>> {
        self.within_limit(task, self.backend.write(statements)).await
    }

    async fn within_limit<T>(
        &self,
        task: &'static str,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        match timeout(self.limit, work).await {
            Ok(done) => done.map_err(|error| failed(task, &error)),
            Err(_) => Err(JournalError::Slow(task, self.limit)),
        }
    }

    /// Notes that a write has failed with this error, or that it has succeeded.
    fn note_trouble(&self, error: Option<&JournalError>) {
        let now = error.map(ToString::to_string);
        let mut trouble = self.trouble.lock();
        match (&*trouble, &now) {
            (None, Some(error)) => tracing::error!(
                "{error}; no model request is made until it works again (disk full? another process \
                 holding it?)"
            ),
            (Some(_), None) => tracing::warn!("the journal works again"),
            _ => {}
        }
        *trouble = now;
    }

    /// The rows that can be read. Each of the others is logged once.
    fn readable<T>(&self, what: &'static str, rows: &[Row], read: Read<T>) -> Vec<T> {
        rows.iter().filter_map(|row| self.readable_row(what, row, read)).collect()
    }

    fn readable_row<T>(&self, what: &'static str, row: &Row, read: Read<T>) -> Option<T> {
        let log = |detail| {
            let error = JournalError::Row(what, detail);
            let whose = row.text("run_id").or_else(|_| row.text("id")).unwrap_or_default();
            let mut told = self.told.lock();
            if told.len() < MOST_TOLD && told.insert(format!("{whose} {error}")) {
                tracing::error!(run.id = whose, "{error}; it is passed over");
            }
        };
        read(row).map_err(log).ok()
    }
}

#[cfg(test)]
mod tests;
