//! How a scripted persona rates, and what it does wrong.

use serde::Deserialize;

/// The manner of one persona. The default is a persona that makes no mistakes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Manner {
    /// How the persona rates.
    pub rates: Rates,
    /// In how many of a hundred replies to a failed call the persona makes the same call again. Otherwise it
    /// says that it tries something else, and does.
    pub repeats: usize,
    /// In how many of a hundred replies the persona calls a tool that does not exist.
    pub invents: usize,
    /// In how many of a hundred replies the persona calls an offered tool that destroys something.
    pub oversteps: usize,
    /// In which of its runs, counted from 1, the persona is loud: [`LOUD_CALLS`] calls in a row have invalid
    /// inputs.
    pub loud_on: Option<u64>,
    /// How much the choice among equally often used tools ignores which module the persona likes more; 0 means
    /// hardly.
    pub variety: usize,
}

/// How a persona rates a module that it used.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Rates {
    /// The same from 3 to 5 on each day, less after failed calls.
    #[default]
    Taste,
    /// 1 or 2 after a dead end in the module (the last call of a tool failed), 3 after other failures, else 4
    /// or 5.
    Experience,
    /// As `Taste`, and from run to run this many hundredths of a point more.
    Drifts(i64),
    /// 4 or 5, whatever happened.
    Flatters,
}

/// Number of calls with invalid inputs in a loud run.
pub const LOUD_CALLS: usize = 40;
