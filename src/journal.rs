//! The durable record of runs: what was asked and answered, what is still to be handed in, what was
//! spent, and whether the runner is paused.
//!
//! Each verb (`control`, `ledger`, `outbox`, `retention`, `runs`, `steps`) is one transaction, in SQL that SQLite
//! and Postgres share: `$1` placeholders, BIGINT milliseconds since 1970, JSON as text, state changes by
//! conditional `UPDATE`. What carries them out is in `backend`, what is SQLite's own in `backend::file`.
//!
//! A write has reached the operating system when it returns (WAL, synchronous=NORMAL): it survives the
//! death of the process, not always the loss of power.

mod backend;
mod control;
mod error;
mod ledger;
mod outbox;
mod retention;
mod runs;
mod schema;
mod steps;

use std::{collections::HashSet, future::pending, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

pub use crate::domain::RunState;
pub use backend::FILE_NAME;
use backend::{
    Backend, Done, Row, Session, Sql, Statement, Value, all, begin, change, commit, number, rows,
    text, time,
};
pub use control::Key;
pub(crate) use control::{
    BUDGETS, BudgetReached, FITTING_SECRET, PAUSE, Pause, PauseMode, REFUSED_TRIES,
};
pub use error::{JournalError, Kind, Result};
pub use ledger::{Booking, Caps, Spending};
pub(crate) use ledger::{Cap, NoRoom};
pub(crate) use outbox::Post;
pub use outbox::{PostKey, PostKind};
pub(crate) use runs::{CANCELLED, HeldBack};
pub use runs::{EndedRun, NewRun, RunRow};
pub use steps::NewStep;

/// One operation, waiting for its turn included.
const LIMIT: Duration = Duration::from_secs(15);

/// Reads a row, or says what is wrong with it.
type Read<T> = fn(&Row) -> std::result::Result<T, String>;

/// Most rows that the log tells of.
const MOST_TOLD: usize = 1_000;

/// The journal of this process, or somebody else's opened to be read. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    backend: Backend,
    /// What is wrong with it, if the last write failed.
    trouble: Arc<Mutex<Option<String>>>,
    /// Rows that cannot be read and were told of.
    told: Arc<Mutex<HashSet<String>>>,
}

impl Journal {
    fn on(backend: Backend) -> Self {
        Self { backend, trouble: Arc::default(), told: Arc::default() }
    }

    /// Why nothing can be written at present, if so.
    pub fn trouble(&self) -> Option<String> {
        let lost = self.backend.folder.as_ref().and_then(|folder| folder.trouble());
        let noted = || self.trouble.lock().clone();
        lost.map(|error| error.to_string()).or_else(noted)
    }

    /// Whether something of a run's size can be written now. Tries it: a full disk has space again
    /// without telling anybody.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) async fn check_writable(&self) -> Result<()> {
        const PROBE_BYTES: usize = 64 << 10;
        const WRITE: &str = "INSERT INTO control (name, value, at) VALUES ('probe', $1, 0) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.check_folder().await?;
        // Two transactions: what one of them takes back never reaches the disk.
        self.change("be written to", WRITE, vec![text("x".repeat(PROBE_BYTES))]).await?;
        let remove = "DELETE FROM control WHERE name = 'probe'";
        self.change("be written to", remove, vec![]).await.map(drop)
    }

    /// Waits for the verb that is under way, so that who asks next knows of it: whoever waited for the verb may
    /// have been dropped.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn settled(&self) -> Result<()> {
        within_limit("come to rest", self.backend.write(|_| async { Ok(()) })).await
    }

    /// Ends the connections, after what is under way, and leaves the file to others.
    pub async fn close(&self) {
        self.close_or(pending()).await;
    }

    /// As [`Journal::close`], but waits for what is under way no longer than until `given_up`: a disk may
    /// hang.
    pub(crate) async fn close_or(&self, given_up: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.backend.close() => {}
            () = given_up => {}
            () = sleep(LIMIT) => {}
        }
        // The end of the process would do the same.
        self.backend.folder.iter().for_each(|folder| drop(folder.lock.unlock()));
    }

    /// Asks a question. That it cannot be answered is the trouble of who asks.
    async fn rows(&self, attempted: &str, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>> {
        within_limit(attempted, self.backend.rows(sql, values)).await
    }

    /// Carries out one statement; returns how many rows it has changed.
    async fn change(&self, attempted: &str, sql: Sql, values: Vec<Value>) -> Result<u64> {
        let statement =
            |mut session: Session| async move { change(&mut session, sql, values).await };
        self.write(attempted, statement).await
    }

    /// Carries out all of these statements, or none.
    async fn all(&self, attempted: &str, statements: Vec<Statement>) -> Result<()> {
        self.write(attempted, |session| all(session, statements)).await
    }

    /// Carries out a verb.
    async fn write<T, F>(&self, attempted: &str, verb: impl FnOnce(Session) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Done<T>> + Send + 'static,
    {
        self.noted(within_limit(attempted, self.backend.write(verb)).await)
    }

    /// Remembers whether something can be written: a fault of one run is nobody else's trouble.
    fn noted<T>(&self, written: Result<T>) -> Result<T> {
        let now = match &written {
            Ok(_) => None,
            Err(error) if error.is_of_a_row() => return written,
            Err(error) => Some(error.to_string()),
        };
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
        written
    }

    /// What is read of each row that says what it should; of the others the log tells once.
    fn readable<T>(&self, what: &'static str, rows: &[Row], read: Read<T>) -> Vec<T> {
        let log = |row: &Row, detail| {
            let error = JournalError::Row(what, detail);
            let whose = row.text("run_id").or_else(|_| row.text("id")).unwrap_or_default();
            let mut told = self.told.lock();
            if told.len() < MOST_TOLD && told.insert(format!("{whose} {error}")) {
                tracing::error!(run.id = whose, "{error}; it is passed over");
            }
        };
        let read = |row| read(row).map_err(|detail| log(row, detail)).ok();
        rows.iter().filter_map(read).collect()
    }
}

async fn within_limit<T>(attempted: &str, work: impl Future<Output = Done<T>>) -> Result<T> {
    match timeout(LIMIT, work).await {
        Ok(done) => done.map_err(|failure| failure.of(attempted)),
        Err(_) => Err(JournalError::Slow(attempted.into())),
    }
}

#[cfg(test)]
mod tests;
