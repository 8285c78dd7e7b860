//! Why a command failed, and the exit code.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::civil::Date;

use super::{arguments::ImpossibleRange, text::cell};
use crate::{
    facts::{ReadError, compare::NoSide, window::ImpossibleWindow},
    journal::JournalError,
};

/// Exit code EX_USAGE of sysexits.h: the arguments make no sense.
pub const EX_USAGE: u8 = 64;
/// Exit code EX_DATAERR of sysexits.h: an export has a bad line.
const EX_DATAERR: u8 = 65;

/// Longest error, in characters.
const LONGEST: usize = 800;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No run id begins with this prefix.
    #[error("the journal has no run {0}; `mana-persona-runner runs` lists the latest")]
    NoSuchRun(String),
    /// Several run ids begin with this prefix. The second text lists some of them, one on each line.
    #[error("{0} is the beginning of several runs; say more of it:{1}")]
    Ambiguous(String, String),
    /// The journal has no issue with this id.
    #[error("the journal has no issue {0}; `mana-persona-runner frictions` lists them")]
    NoSuchIssue(String),
    /// No day is in the range of days.
    #[error(transparent)]
    Range(#[from] ImpossibleRange),
    /// There is no such window.
    #[error(transparent)]
    Window(#[from] ImpossibleWindow),
    /// There is no such side of a comparison.
    #[error(transparent)]
    Side(#[from] NoSide),
    /// A mute cannot end on a day that has passed. The second day is that of the newest fact.
    #[error("a mute until {0} would have ended: the newest fact is of {1}")]
    MuteEnded(Date, Date),
    /// A mute cannot end on a day that is so far away. The second day is that of the newest fact.
    #[error("a mute ends at most 90 days after the newest fact, which is of {1}; {0} is later")]
    MuteTooLong(Date, Date),
    /// An export cannot be read.
    #[error("{0}: {1}")]
    Facts(PathBuf, ReadError),
    /// A report must not replace the facts that it is made of.
    #[error("{0} holds facts, which the report would replace: name another file for --out")]
    OutOfFacts(PathBuf),
    /// A report could not be written to a file.
    #[error("the report cannot be written to {0}: {1}")]
    Out(PathBuf, io::Error),
    /// Standard output could not be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The error text; for an error of the journal with the folder in which the journal was searched.
    pub(super) fn with_folder(&self, folder: &Path) -> String {
        match self {
            Self::Journal(error) => format!("{error} (RUNNER_DATA_DIR: {})", folder.display()),
            Self::Ambiguous(..) => self.to_string(),
            // The error of a bad line quotes the line.
            error => cell(&error.to_string(), LONGEST),
        }
    }

    /// The exit code of the process.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NoSuchIssue(_)
            | Self::OutOfFacts(_)
            | Self::Range(_)
            | Self::Window(_)
            | Self::Side(_)
            | Self::MuteEnded(..)
            | Self::MuteTooLong(..) => EX_USAGE,
            Self::Facts(_, ReadError::Line { .. }) => EX_DATAERR,
            _ => 1,
        }
    }
}
