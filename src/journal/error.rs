//! What can be wrong with a journal, and of what kind it is.

use std::{io, path::PathBuf};

use super::LIMIT;

/// The result of an operation.
pub type Result<T> = std::result::Result<T, JournalError>;

/// What went wrong, whatever the database calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another row is in its place: a fault of one run.
    Conflict,
    /// A row does not say what this program writes; the others do.
    Odd,
    /// There is no room left.
    Full,
    /// It took too long.
    Slow,
    /// The file is damaged, or no journal at all.
    Damaged,
    /// Nothing may be written there.
    ReadOnly,
    /// Something else.
    Other,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder, the lock or the file, as the first says, cannot be made or opened.
    #[error("the journal's {0} {path} cannot be used: {2}; RUNNER_DATA_DIR names the folder", path = .1.display())]
    Folder(&'static str, PathBuf, io::Error),
    /// Something else, as the second says, lies where the folder or a file belongs. Followed, a link would lead
    /// elsewhere, and a FIFO would never answer.
    #[error(
        "{path} is {1}, and the journal is not kept there: move it away, or name another folder in RUNNER_DATA_DIR",
        path = .0.display()
    )]
    Unfit(PathBuf, &'static str),
    /// It was left with a log, where nothing can be written.
    #[error(
        "the journal {path} cannot be read where it lies: the daemon left a log beside it when it ended (-wal), \
         and to read that, SQLite must be able to write there; copy the two files into a folder of yours and \
         name it in RUNNER_DATA_DIR",
        path = .0.display()
    )]
    Unplayed(PathBuf),
    /// Its files are no longer the ones that were opened.
    #[error(
        "the journal in {folder} was removed or replaced while the daemon runs, so what is written now is \
         lost with the process: put the files back, or restart the daemon to begin an empty one",
        folder = .0.display()
    )]
    Lost(PathBuf),
    /// Another daemon works with it.
    #[error(
        "another daemon is running on the journal in {path}; stop it, or give this one a RUNNER_DATA_DIR of its own",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The file is damaged, or no journal at all: what the database found.
    #[error(
        "the journal {path} is damaged ({1}); it was left as it is: move it away to start with an empty one, or put back a copy",
        path = .0.display()
    )]
    Corrupt(PathBuf, String),
    /// A later version of this program has worked with it: the first migration that this version does not know.
    #[error(
        "the journal {path} is one of a newer version of mana-persona-runner (migration {1}); it was \
         left as it is: start that version, or put back the copy made before it was first started",
        path = .0.display()
    )]
    Newer(PathBuf, i64),
    /// Its tables could not be brought up to date.
    #[error("the journal's tables cannot be brought up to date: {0}")]
    Migration(String),
    /// There is none to read.
    #[error("there is no journal at {path}; RUNNER_DATA_DIR names the folder of the daemon's", path = .0.display())]
    Missing(PathBuf),
    /// An operation failed: what was attempted, and what the database said.
    #[error("the journal could not {0}: {2}")]
    Failed(String, Kind, String),
    /// An operation took too long.
    #[error("the journal could not {0} within {limit} s", limit = LIMIT.as_secs())]
    Slow(String),
    /// A row does not say what this program writes: which, and what is wrong with it.
    #[error("the journal's row of {0} cannot be read: {1}")]
    Row(&'static str, String),
}

impl JournalError {
    /// What went wrong.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Failed(_, kind, _) => *kind,
            Self::Slow(_) => Kind::Slow,
            Self::Row(..) => Kind::Odd,
            Self::Corrupt(..) => Kind::Damaged,
            _ => Kind::Other,
        }
    }

    /// Whether it is the trouble of one row, and no other is the worse for it.
    pub(crate) fn is_of_a_row(&self) -> bool {
        matches!(self.kind(), Kind::Conflict | Kind::Odd)
    }
}
