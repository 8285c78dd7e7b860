//! The tools on offer, and their names in Claude's spelling.
//!
//! MCP names contain dots, Claude's may not: they match `^[a-zA-Z0-9_-]{1,64}$`. The map between the
//! two is collision-free, depends on nothing but the set of names, and exists here only; rows,
//! metrics and logs carry the MCP name.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write,
};

use sha2::{Digest, Sha256};

use crate::{
    clients::{claude::ToolDefinitions, mcp::Tool},
    domain::ToolName,
};

/// Longest name Claude takes everywhere (contracts/anthropic-messages.md, section 2).
const MAX_LEN: usize = 64;
/// Hex digits of the hash that stands for the cut-off rest of a long name.
const HASH_LEN: usize = 8;

/// A session's tools, frozen.
#[derive(Clone, Debug)]
pub struct Catalog {
    definitions: ToolDefinitions,
    by_spelling: HashMap<String, ToolName>,
}

impl Catalog {
    /// The catalog of these tools, which are sorted by name and distinct.
    pub fn new(tools: &[Tool]) -> Self {
        let spellings = spell(tools.iter().map(|tool| &tool.name));
        let definitions = ToolDefinitions::new(tools.iter().map(|tool| {
            let spelling = spellings[&tool.name].as_str();
            (spelling, tool.description.as_str(), &tool.input_schema)
        }));
        let by_spelling = spellings.into_iter().map(|(name, spelling)| (spelling, name)).collect();
        Self { definitions, by_spelling }
    }

    /// The tools as they are offered to the model.
    pub fn definitions(&self) -> &ToolDefinitions {
        &self.definitions
    }

    /// The tool the model means; `None` if it made the name up.
    pub fn resolve(&self, spelling: &str) -> Option<&ToolName> {
        self.by_spelling.get(spelling)
    }
}

/// A spelling for each name: as it is where Claude takes it, else with `_` for every other character,
/// a hash for what is too long, and a number for what is taken.
fn spell<'a>(names: impl Iterator<Item = &'a ToolName>) -> HashMap<ToolName, String> {
    let names: BTreeSet<&ToolName> = names.collect();
    // Names that fit go first, so that none of them has to give way to a rewritten one.
    let (fitting, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| fits(name.as_str()));
    let mut taken = HashSet::new();
    let mut spellings = HashMap::new();
    for name in fitting.into_iter().chain(others) {
        let wanted = rewrite(name.as_str());
        let mut spelling = wanted.clone();
        for n in 2.. {
            if taken.insert(spelling.clone()) {
                break;
            }
            let suffix = format!("_{n}");
            spelling = format!("{}{suffix}", &wanted[..wanted.len().min(MAX_LEN - suffix.len())]);
        }
        spellings.insert(name.clone(), spelling);
    }
    spellings
}

fn fits(name: &str) -> bool {
    (1..=MAX_LEN).contains(&name.len()) && name.bytes().all(fits_byte)
}

fn fits_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// `name` in characters Claude takes, at most 64 of them. ASCII only, so it can be cut anywhere.
fn rewrite(name: &str) -> String {
    let is_fitting = |c: char| u8::try_from(c).is_ok_and(fits_byte);
    let mut spelling: String = name.chars().map(|c| if is_fitting(c) { c } else { '_' }).collect();
    if spelling.is_empty() {
        return "tool".into();
    }
    if spelling.len() > MAX_LEN {
        spelling.truncate(MAX_LEN - HASH_LEN - 1);
        spelling.push('_');
        for byte in &Sha256::digest(name)[..HASH_LEN / 2] {
            // Writing to a String cannot fail.
            let _ = write!(spelling, "{byte:02x}");
        }
    }
    spelling
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spellings(names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|name| ToolName::new(*name)).collect();
        let spellings = spell(names.iter());
        names.iter().map(|name| spellings[name].clone()).collect()
    }

    #[test]
    fn dots_become_underscores_and_what_fits_keeps_its_name() {
        assert_eq!(spellings(&["todo.create", "a_b", "a.b"]), ["todo_create", "a_b", "a_b_2"]);
        assert_eq!(spellings(&["a.b", "a_b", "a_b_2", "a b"]), ["a_b_4", "a_b", "a_b_2", "a_b_3"]);
        assert_eq!(spellings(&["", "ä.ö"]), ["tool", "___"]);
    }

    #[test]
    fn long_names_are_told_apart_by_a_hash() {
        let (a, b) = ("m.".repeat(40) + "a", "m.".repeat(40) + "b");
        let spelled = spellings(&[&a, &b]);
        assert_ne!(spelled[0], spelled[1]);
        assert!(spelled.iter().all(|s| s.len() == 64), "{spelled:?}");
    }

    #[test]
    fn an_invented_name_resolves_to_nothing() {
        let tool = Tool {
            name: ToolName::new("todo.create"),
            description: String::new(),
            input_schema: serde_json::Map::new(),
        };
        let catalog = Catalog::new(&[tool]);
        assert_eq!(catalog.resolve("todo_create").map(ToolName::as_str), Some("todo.create"));
        assert_eq!(catalog.resolve("todo.create"), None);
        assert_eq!(catalog.resolve("todo_delete"), None);
    }

    proptest! {
        #[test]
        fn spellings_are_distinct_fit_the_pattern_and_depend_on_the_set_only(
            names in prop::collection::vec(
                prop_oneof![".{0,8}", "[a-c._]{0,4}", "[a-b.]{60,130}", "a(_[2-4])?"], 0..40),
            seed in any::<u64>(),
        ) {
            let mut names: Vec<_> = names.into_iter().map(ToolName::new).collect();
            let spelled = spell(names.iter());
            let distinct: HashSet<_> = spelled.values().collect();
            prop_assert_eq!(distinct.len(), spelled.len());
            prop_assert_eq!(spelled.len(), names.iter().collect::<HashSet<_>>().len());
            prop_assert!(spelled.values().all(|spelling| fits(spelling)));
            if !names.is_empty() {
                let middle = seed as usize % names.len();
                names.rotate_left(middle);
            }
            prop_assert_eq!(spell(names.iter()), spelled);
        }
    }
}
