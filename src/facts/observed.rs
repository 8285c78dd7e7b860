//! What the steps of a run say about it: the input of the extraction.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Cause, InputHash, ModuleName, ModuleRating, Outcome, UnratedWhy};

/// What the steps of a run say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The calls, in the order of their numbers.
    pub calls: Vec<ObservedCall>,
    /// What the main turn came to; `None` until it is over.
    pub day: Option<Outcome>,
    /// The ratings, with the row of an unreadable answer if there is one; `None` until the persona has answered.
    pub ratings: Option<Vec<ModuleRating>>,
    /// Used modules that stayed unrated, as the rating turn recorded them.
    pub unrated: Vec<(ModuleName, UnratedWhy)>,
}

/// A tool call of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedCall {
    /// The number of the call in the run, from 1.
    pub number: u32,
    /// When the call began, by the daemon's clock.
    pub at: Timestamp,
    /// The name of the tool, or the name that the model invented.
    pub tool: String,
    /// Whether the server listed the tool.
    pub is_listed: bool,
    /// Whether the tool only reads.
    pub is_read_only: bool,
    /// Whether the tool ran or may have run.
    pub may_have_run: bool,
    /// The input as the model wrote it.
    pub input: String,
    /// The hash of the input; `None` if the input is no JSON.
    pub input_hash: Option<InputHash>,
    /// Why the call failed, and the error text; `None` if the call succeeded.
    pub failure: Option<(Cause, String)>,
    /// How long the last try took.
    pub latency: Duration,
    /// How often the call was tried, from 1.
    pub tries: u32,
    /// The size of the result's text before it was cut, in characters.
    pub chars: u64,
    /// Whether the result was cut before the model got it.
    pub cut: bool,
    /// Whether the tool offers a parameter that limits the size of its result.
    pub limit_offered: bool,
    /// The persona's own words in the reply that followed the call; empty if the reply had no text.
    pub words: String,
}
