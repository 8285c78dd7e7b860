//! The durable record of runs: what was asked and answered, what is still to be handed in, what was
//! spent, and whether the runner is paused.
//!
//! One SQLite file in RUNNER_DATA_DIR. All SQL of the program stands in this module, in the part that
//! SQLite and Postgres share: `$1` placeholders, BIGINT milliseconds since 1970, JSON as text, state
//! changes by conditional `UPDATE`. What is SQLite's own (the file, its pragmas) is in `file`.
//!
//! A write has reached the operating system when it returns (WAL, synchronous=NORMAL): it survives the
//! death of the process, not always the loss of power.

mod control;
mod file;
mod ledger;
mod outbox;
mod place;
mod retention;
mod runs;
mod schema;
mod steps;

use std::{
    collections::HashSet,
    future::pending,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{AnyPool, Row, any::AnyRow};
use tokio::time::{sleep, timeout};

use place::Place;

pub use crate::domain::RunState;
pub use control::{BudgetReached, Pause, PauseMode};
pub use file::FILE_NAME;
pub use ledger::{Cap, Caps, NoRoom, Spending};
pub use outbox::{NewPost, OutboxDepth, Post, PostKey, PostKind};
pub use runs::{CANCELLED, EndedRun, HeldBack, NewRun, RunRow};
pub use steps::StoredStep;

/// One operation, waiting for its turn included.
const LIMIT: Duration = Duration::from_secs(15);

/// Most rows that the log tells of.
const MOST_TOLD: usize = 1_000;

/// The journal of this process, or somebody else's opened to be read. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    pool: AnyPool,
    /// What is wrong with it, if the last write failed.
    trouble: Arc<Mutex<Option<String>>>,
    /// Rows that cannot be read and were told of.
    told: Arc<Mutex<HashSet<String>>>,
    /// Of a journal in a file, that this process has for itself.
    place: Option<Arc<Place>>,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder or the file cannot be made or opened.
    #[error("the journal's {what} {path} cannot be used: {source}; RUNNER_DATA_DIR names the folder", path = path.display())]
    Folder {
        /// Folder, lock or file.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else lies where the folder or a file belongs. Followed, a link would lead elsewhere, and a
    /// FIFO would never answer.
    #[error(
        "{path} is {found}, and the journal is not kept there: move it away, or name another folder in RUNNER_DATA_DIR",
        path = path.display()
    )]
    Unfit {
        /// Where.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// It was left with a log, where nothing can be written.
    #[error(
        "the journal {path} cannot be read where it lies: the daemon left a log beside it when it ended (-wal), \
         and to read that, SQLite must be able to write there; copy the two files into a folder of yours and \
         name it in RUNNER_DATA_DIR",
        path = path.display()
    )]
    Unplayed {
        /// The file.
        path: PathBuf,
    },
    /// Its files are no longer the ones that were opened.
    #[error(
        "the journal in {folder} was removed or replaced while the daemon runs, so what is written now is \
         lost with the process: put the files back, or restart the daemon to begin an empty one",
        folder = folder.display()
    )]
    Lost {
        /// The folder.
        folder: PathBuf,
    },
    /// Another daemon works with it.
    #[error(
        "another daemon is running on the journal in {path}; stop it, or give this one a RUNNER_DATA_DIR of its own",
        path = path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is damaged, or no journal at all.
    #[error(
        "the journal {path} is damaged ({detail}); it was left as it is: move it away to start with an empty one, or put back a copy",
        path = path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// A later version of this program has worked with it.
    #[error(
        "the journal {path} is one of a newer version of mana-persona-runner (migration {migration}); it was \
         left as it is: start that version, or put back the copy made before it was first started",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first that this version does not know.
        migration: i64,
    },
    /// Its tables could not be brought up to date.
    #[error("the journal's tables cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// There is none to read.
    #[error("there is no journal at {path}; RUNNER_DATA_DIR names the folder of the daemon's", path = path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An operation failed.
    #[error("the journal could not {attempted}: {source}")]
    Storage {
        /// What was attempted.
        attempted: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// An operation took too long.
    #[error("the journal could not {attempted} within {} s", LIMIT.as_secs())]
    Slow {
        /// What was attempted.
        attempted: &'static str,
    },
    /// Of all rows one does not say what this program writes; the others do.
    #[error(
        "the journal could not {attempted}: a row does not say what this program writes: {detail}"
    )]
    Odd {
        /// What was attempted.
        attempted: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A row does not say what this program writes.
    #[error("the journal's row of {what} cannot be read: {detail}")]
    Row {
        /// Which row.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, JournalError>;

impl Journal {
    /// Why nothing can be written at present, if so.
    pub fn trouble(&self) -> Option<String> {
        let lost = self.place.as_ref().and_then(|place| place.trouble());
        let noted = || self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lost.map(|error| error.to_string()).or_else(noted)
    }

    /// Whether something of a run's size can be written now. Tries it: a full disk has space again
    /// without telling anybody.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn check_writable(&self) -> Result<()> {
        const PROBE_BYTES: usize = 64 << 10;
        self.check_place().await?;
        let filler = "x".repeat(PROBE_BYTES);
        self.write("be written to", async {
            sqlx::query(
                "INSERT INTO control (name, value, at) VALUES ('probe', $1, 0) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(filler)
            .execute(&self.pool)
            .await?;
            sqlx::query("DELETE FROM control WHERE name = 'probe'").execute(&self.pool).await
        })
        .await?;
        Ok(())
    }

    /// Size of the database, in bytes, without its write-ahead log.
    ///
    /// # Errors
    /// When the database does not say.
    pub async fn size(&self) -> Result<u64> {
        let size = self
            .read("tell its size", async {
                sqlx::query(file::SIZE).fetch_one(&self.pool).await?.try_get::<i64, _>(0)
            })
            .await?;
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// Ends the connection, after what is under way, and leaves the file to others.
    pub async fn close(&self) {
        self.close_or(pending()).await;
    }

    /// As [`Journal::close`], but waits for what is under way no longer than until `given_up`: a disk may
    /// hang.
    pub async fn close_or(&self, given_up: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.pool.close() => {}
            () = given_up => {}
            () = sleep(LIMIT) => {}
        }
        if let Some(place) = &self.place {
            place.unlock();
        }
    }

    async fn read<T>(
        &self,
        attempted: &'static str,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        let result = self.attempt(attempted, work).await;
        if let Some(error) = result.as_ref().err().filter(|error| !error.is_of_a_row()) {
            self.note_trouble(Some(error.to_string()));
        }
        result
    }

    /// As `read`, for what changes something: its success also tells that trouble is over.
    async fn write<T>(
        &self,
        attempted: &'static str,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        let result = self.attempt(attempted, work).await;
        match &result {
            Ok(_) => self.note_trouble(None),
            Err(error) if error.is_of_a_row() => {}
            Err(error) => self.note_trouble(Some(error.to_string())),
        }
        result
    }

    async fn attempt<T>(
        &self,
        attempted: &'static str,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        match timeout(LIMIT, work).await {
            Ok(result) => result.map_err(|source| match source {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                    JournalError::Odd { attempted, detail: source.to_string() }
                }
                source => JournalError::Storage { attempted, source },
            }),
            Err(_) => Err(JournalError::Slow { attempted }),
        }
    }

    /// The row as `read` makes it; of one that cannot be read the log tells once.
    fn readable<T>(&self, row: &AnyRow, read: impl FnOnce(&AnyRow) -> Result<T>) -> Option<T> {
        let log = |error: &JournalError| {
            let id = |column| row.try_get::<String, _>(column).ok();
            let whose = id("run_id").or_else(|| id("id")).unwrap_or_default();
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < MOST_TOLD && told.insert(format!("{whose} {error}")) {
                tracing::error!(run.id = whose, "{error}; it is passed over");
            }
        };
        read(row).inspect_err(log).ok()
    }

    fn note_trouble(&self, now: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
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
}

impl JournalError {
    /// Whether it is the trouble of one row, and no other is the worse for it.
    pub fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Row { .. } | Self::Odd { .. })
    }
}

/// A stored number; `None` for what is none.
fn int(row: &AnyRow, column: &str) -> Option<i64> {
    row.try_get(column).ok()
}

/// Milliseconds since 1970, as they are stored.
fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// The time stored as `millis`.
fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A count or size as the database stores it.
fn bigint(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A stored count.
fn count<T: TryFrom<i64> + Default>(number: i64) -> T {
    T::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
