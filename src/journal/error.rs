//! What can be wrong with a journal: in words, and of what kind it is.

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
    /// It was left with a log, where nothing can be written.
    Unplayed,
    /// Something else lies where the folder or a file belongs. Followed, a link would lead elsewhere, and a
    /// FIFO would never answer.
    Unfit,
    /// Its files are no longer the ones that were opened.
    Lost,
    /// Another daemon works with it.
    InUse,
    /// A later version of this program has worked with it.
    Newer,
    /// There is none to read.
    Missing,
    /// Something else.
    Other,
}

/// Why the journal cannot be used, or did not do something.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct JournalError {
    kind: Kind,
    text: String,
}

impl JournalError {
    pub(super) fn new(kind: Kind, text: String) -> Self {
        Self { kind, text }
    }

    /// An operation took too long.
    pub(super) fn slow(attempted: &str) -> Self {
        let limit = LIMIT.as_secs();
        Self::new(Kind::Slow, format!("the journal could not {attempted} within {limit} s"))
    }

    /// A row does not say what this program writes.
    pub(super) fn odd(what: &str, detail: String) -> Self {
        Self::new(Kind::Odd, format!("the journal's row of {what} cannot be read: {detail}"))
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is the trouble of one row, and no other is the worse for it.
    pub fn is_of_a_row(&self) -> bool {
        matches!(self.kind, Kind::Conflict | Kind::Odd)
    }
}
