//! What the account is charged for a request.

use super::{CacheUsage, cache::Lookup};

/// The bill of one admitted request: its prompt from the start, its answer once there is one. A client that
/// disconnects before the answer is billed for the prompt all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Id of the model that the request names.
    pub model: String,
    /// Tokens of the prompt, by what the cache did with them.
    pub input: CacheUsage,
    /// The part of `input.written` that is cached for an hour.
    pub written_for_an_hour: u64,
    /// Tokens of the answer, including thinking.
    pub output: u64,
    /// Whether the request was answered.
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

    /// Marks the request as answered without any tokens being billed.
    pub(super) fn waived(&mut self) {
        (self.input, self.written_for_an_hour) = (CacheUsage::default(), 0);
        self.answered(0);
    }
}
