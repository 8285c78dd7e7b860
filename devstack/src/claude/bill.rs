//! What the account is charged for.

use super::{CacheUsage, cache::Lookup};

/// One request that was let in, as it is billed: its prompt from the start, its answer once there is one.
/// A client that goes away meanwhile is billed all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Model id.
    pub model: String,
    /// Tokens of the prompt.
    pub input: CacheUsage,
    /// The part of `input.written` that lives for an hour.
    pub written_for_an_hour: u64,
    /// Tokens of the answer, thinking included.
    pub output: u64,
    /// Whether it was answered.
    pub is_answered: bool,
}

impl Bill {
    pub(super) fn new(model: &str, lookup: &Lookup) -> Self {
        Self {
            model: model.to_owned(),
            input: lookup.usage,
            written_for_an_hour: lookup.written_for_an_hour,
            output: 0,
            is_answered: false,
        }
    }

    pub(super) fn answered(&mut self, output: u64) {
        (self.output, self.is_answered) = (output, true);
    }

    /// An answer that uses no tokens.
    pub(super) fn waived(&mut self) {
        (self.input, self.written_for_an_hour) = (CacheUsage::default(), 0);
        self.answered(0);
    }
}
