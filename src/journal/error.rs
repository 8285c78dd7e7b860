//! The errors of the journal, and their kinds.

use std::{io, path::PathBuf, time::Duration};

/// The result of an operation on the journal.
pub type Result<T> = std::result::Result<T, JournalError>;

/// The kind of an error of the database, as far as the journal handles it in a special way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A constraint of a table refuses the row: another row has its key, or a cap would be exceeded.
    Conflict,
    /// The file is damaged, or is no database.
    Damaged,
    /// A statement is refused: a table is missing, or a value does not fit.
    Refused,
    /// The file or its folder cannot be written.
    ReadOnly,
    /// An error of another kind.
    Other,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder, the lock or the file cannot be created or opened. The first text says which of them.
    #[error("the journal's {0} {path} cannot be used: {2}; RUNNER_DATA_DIR names the folder", path = .1.display())]
    Folder(&'static str, PathBuf, io::Error),
    /// The second text says what is in the place of the folder or of a file. A link could lead to another folder, and
    /// opening a FIFO could take forever.
    #[error(
        "{path} is {1}, and the journal is not kept there: move it away, or name another folder in RUNNER_DATA_DIR",
        path = .0.display()
    )]
    Unfit(PathBuf, &'static str),
    /// The journal has a write-ahead log, and its folder cannot be written.
    #[error(
        "the journal {path} cannot be read where it lies: the daemon left a log beside it when it ended (-wal), \
         and to read that, SQLite must be able to write there; copy the two files into a folder of yours and \
         name it in RUNNER_DATA_DIR",
        path = .0.display()
    )]
    Unplayed(PathBuf),
    /// The files of the journal are no longer those that were opened.
    #[error(
        "the journal in {folder} was removed or replaced while the daemon runs, so what is written now is \
         lost with the process: put the files back, or restart the daemon to begin an empty one",
        folder = .0.display()
    )]
    Lost(PathBuf),
    /// Another daemon uses the journal.
    #[error(
        "another daemon is running on the journal in {path}; stop it, or give this one a RUNNER_DATA_DIR of its own",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The file is damaged or is no database. The text is what the check of the database found.
    #[error(
        "the journal {path} is damaged ({1}); it was left as it is: move it away to start with an empty one, or put back a copy",
        path = .0.display()
    )]
    Corrupt(PathBuf, String),
    /// A later version of this program has used the journal. The number is the first migration that this version does
    /// not know.
    #[error(
        "the journal {path} is one of a newer version of mana-persona-runner (migration {1}); it was \
         left as it is: start that version, or put back the copy made before it was first started",
        path = .0.display()
    )]
    Newer(PathBuf, i64),
    /// The journal was written by an earlier version of this program, and its tables were not brought up to date.
    #[error(
        "the journal {path} is one of an earlier version of mana-persona-runner: start the daemon of this version \
         once, which brings it up to date",
        path = .0.display()
    )]
    Older(PathBuf),
    /// The tables could not be migrated.
    #[error("the journal's tables cannot be brought up to date: {0}")]
    Migration(String),
    /// The folder has no journal.
    #[error("there is no journal at {path}; RUNNER_DATA_DIR names the folder of the daemon's", path = .0.display())]
    Missing(PathBuf),
    /// The database refused an operation. The texts are the attempted operation and the error of the database.
    #[error("the journal could not {0}: {2}")]
    Failed(&'static str, Kind, String),
    /// An operation took too long. The text is the attempted operation, the time is its limit.
    #[error("the journal could not {0} within {limit} s", limit = .1.as_secs())]
    Slow(&'static str, Duration),
    /// A row cannot be read. The texts are what the row holds and why it cannot be read.
    #[error("the journal's row of {0} cannot be read: {1}")]
    Row(&'static str, String),
}

impl JournalError {
    /// Whether the error concerns one row, so that the journal can still be written for other runs.
    pub(crate) fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Row(..) | Self::Failed(_, Kind::Conflict, _))
    }

    /// Whether the error concerns the rows or the tables of the operation, so that an operation on other tables may
    /// succeed. A full disk, for example, concerns the whole journal.
    pub(crate) fn is_refusal(&self) -> bool {
        self.is_of_a_row() || matches!(self, Self::Failed(_, Kind::Damaged | Kind::Refused, _))
    }
}
