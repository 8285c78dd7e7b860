//! Tools that personas expect and the product does not have.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Window;
use crate::domain::{Cause, ToolName};

/// A tool that personas called and that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The spelling that was used most often.
    pub name: String,
    /// How many personas called it.
    pub personas: usize,
    /// How many calls there were.
    pub calls: u32,
}

/// The tools that at least 2 personas called although they do not exist, those of the most personas first. Names
/// that differ only in case and in what stands between their words are one tool.
pub fn missing(window: &Window) -> Vec<Missing> {
    #[derive(Default)]
    struct Expected<'w> {
        personas: BTreeSet<u32>,
        spellings: BTreeMap<&'w str, u32>,
    }
    let mut names = BTreeMap::<_, Expected>::new();
    let is_invented = |cause| cause == Some(Cause::Invented);
    for call in window.calls().all().iter().filter(|call| is_invented(call.cause)) {
        let spelling = window.text(call.tool).trim();
        let expected = names.entry(ToolName::new(spelling).words()).or_default();
        expected.personas.insert(window.run(call.run).persona);
        *expected.spellings.entry(spelling).or_default() += 1;
    }
    let missing = |Expected { personas, spellings }: Expected| {
        let calls = spellings.values().sum();
        // The first of several spellings that are as common.
        let name = spellings.into_iter().rev().max_by_key(|(_, calls)| *calls)?.0.to_owned();
        (personas.len() >= 2).then_some(Missing { name, personas: personas.len(), calls })
    };
    let mut missing: Vec<_> = names.into_values().filter_map(missing).collect();
    missing.sort_by(|a, b| (b.personas, b.calls, &a.name).cmp(&(a.personas, a.calls, &b.name)));
    missing
}
