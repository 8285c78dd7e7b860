//! The tools that a run offers to the model, and their names in Claude's spelling.
//!
//! A name in MCP may contain dots. A name for Claude matches `^[a-zA-Z0-9_-]{1,64}$`, so the catalog gives
//! each tool a spelling of its own. Two tools never share a spelling, and the spellings depend only on the
//! set of names: a resumed run sends the same ones. Rows, metrics and logs carry the MCP name.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    clients::{claude::ToolDefinitions, mcp::Tool},
    config::PolicyConfig,
    domain::{ToolName, words},
};

/// Longest tool name, in bytes, that every endpoint of Claude accepts (docs/contracts/anthropic-messages.md,
/// section 2).
const MAX_LEN: usize = 64;
/// Hex digits of the hash that replaces the end of a name longer than [`MAX_LEN`].
const HASH_LEN: usize = 8;

/// The tools of one run. The catalog is made once and stays the same until the run ends, except for tools
/// that are left out because Claude refuses them. Clones share the tools.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The tools as each request of the run sends them.
    pub(super) definitions: ToolDefinitions,
    by_spelling: Arc<HashMap<String, CatalogTool>>,
}

/// What the policy and the dispatch of calls need to know of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogTool {
    /// The name in `tools/list`, not Claude's spelling.
    pub name: ToolName,
    /// Whether a call changes nothing, so that it may be repeated and run beside other reads.
    pub is_read_only: bool,
    /// Whether a call may delete data of the persona.
    pub is_destructive: bool,
    /// Whether the tool is meant for administrators, so that the policy denies its calls.
    pub is_admin: bool,
    /// Whether the tool has a parameter that limits the size of its result.
    pub offers_limit: bool,
}

/// First words of verbs that only read (docs/contracts/mana-mcp.md).
const READ_VERBS: [&str; 11] = [
    "list", "search", "get", "find", "recent", "today", "read", "show", "stats", "count", "consult",
];
/// Words that make a verb a writing one although it begins as a reading one, such as `getOrCreate`.
const WRITING: [&str; 24] = [
    "and", "or", "then", "add", "create", "new", "make", "generate", "insert", "update", "upsert",
    "edit", "change", "set", "put", "write", "save", "store", "replace", "move", "rename", "merge",
    "mark", "send",
];
/// Words that make a tool destructive, anywhere in its name.
const DESTRUCTIVE: [&str; 10] =
    ["delete", "remove", "purge", "clear", "reset", "wipe", "destroy", "erase", "drop", "truncate"];
/// Words in the name of a parameter that limits the size of a result.
const LIMITS: [&str; 5] = ["limit", "max", "count", "take", "top"];
/// Names of parameters for the size of a page, without what separates their words.
const PAGE_SIZES: [&str; 2] = ["pagesize", "perpage"];
/// Words that make a tool one for administrators, anywhere in its name.
const ADMIN: [&str; 2] = ["admin", "administrator"];

impl Catalog {
    /// Makes the catalog of `tools`, without those that the policy hides. Names must be sorted and distinct.
    ///
    /// The schemas and descriptions are taken byte for byte: `tools` may be a stored list of a resumed run.
    pub fn new(tools: &[Tool], config: &PolicyConfig) -> Self {
        let is_hidden = |tool: &&Tool| config.hidden_tools.iter().any(|n| n == tool.name.as_str());
        let tools: Vec<_> = tools.iter().filter(|tool| !is_hidden(tool)).collect();
        // A server that annotates one tool annotates every tool that only reads.
        let annotates = tools.iter().any(|tool| tool.hints.read_only.is_some());
        let spellings = spell(tools.iter().map(|tool| &tool.name));
        let definitions =
            ToolDefinitions::new(tools.iter().map(|tool| {
                (&*spellings[&tool.name], tool.description.as_str(), &tool.input_schema)
            }));
        let nature = |tool: &Tool| CatalogTool::of(tool, annotates, &config.read_tools);
        let by_spelling = tools.iter().map(|tool| (spellings[&tool.name].clone(), nature(tool)));
        Self { definitions, by_spelling: Arc::new(by_spelling.collect()) }
    }

    /// Whether the catalog offers no tool; a run cannot begin with such a catalog.
    pub fn is_empty(&self) -> bool {
        self.by_spelling.is_empty()
    }

    /// The tool at index `n` of the definitions, from 0: `tools.N` in an error message of Claude. `None` if it
    /// must not be left out because the catalog has no other tool.
    pub(super) fn removable(&self, n: usize) -> Option<&ToolName> {
        let spelling = self.definitions.name(n).filter(|_| self.by_spelling.len() > 1)?;
        self.resolve(spelling).map(|tool| &tool.name)
    }

    /// Removes this tool from the catalog. The other tools keep their spellings.
    pub(crate) fn leave_out(&mut self, name: &ToolName) {
        let tool = self.by_spelling.iter().find(|(_, tool)| tool.name == *name);
        let Some(spelling) = tool.map(|(spelling, _)| spelling.clone()) else { return };
        Arc::make_mut(&mut self.by_spelling).remove(&spelling);
        self.definitions = self.definitions.without(&spelling);
    }

    /// The tool with this spelling; `None` if the model invented the name.
    pub(crate) fn resolve(&self, spelling: &str) -> Option<&CatalogTool> {
        self.by_spelling.get(spelling)
    }
}

impl CatalogTool {
    fn of(tool: &Tool, server_annotates: bool, read_tools: &[String]) -> Self {
        let name = tool.name.as_str();
        let words = tool.name.words();
        let has_any = |of: &[&str]| words.iter().any(|word| of.contains(&word.as_str()));
        let is_destructive = has_any(&DESTRUCTIVE) || tool.hints.destructive == Some(true);
        let reads = match server_annotates {
            true => tool.hints.read_only == Some(true),
            false => reads_by_convention(&tool.name.verb()),
        };
        Self {
            name: tool.name.clone(),
            is_read_only: reads && !is_destructive || read_tools.iter().any(|read| read == name),
            is_destructive,
            is_admin: tool.hints.is_admin || has_any(&ADMIN),
            offers_limit: offers_limit(&tool.input_schema),
        }
    }
}

/// Whether the name of a tool, of which nothing else is known, says that the tool only reads.
pub(super) fn reads_by_name(name: &ToolName) -> bool {
    let is_destructive = name.words().iter().any(|word| DESTRUCTIVE.contains(&word.as_str()));
    reads_by_convention(&name.verb()) && !is_destructive
}

/// Whether a tool with this input schema has a parameter that limits the size of its result.
fn offers_limit(schema: &Map<String, Value>) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).any(|name| {
        let words = words(name);
        let is_limit = words.iter().any(|word| LIMITS.contains(&word.as_str()));
        is_limit || PAGE_SIZES.contains(&words.concat().as_str())
    })
}

/// Whether the words of a verb say that the tool only reads: `list`, `yearRecap`, but not `listen`.
fn reads_by_convention(verb: &[String]) -> bool {
    let is_read = verb.last().is_some_and(|word| word == "recap")
        || verb.first().is_some_and(|word| READ_VERBS.contains(&word.as_str()));
    is_read && !verb.iter().any(|word| WRITING.contains(&word.as_str()))
}

/// Gives each name a spelling. A name that Claude accepts stays as it is. In other names, `_` replaces each
/// character that Claude does not accept, a hash replaces the end of a name that is too long, and a number
/// follows where the spelling is in use already.
fn spell<'a>(names: impl Iterator<Item = &'a ToolName>) -> HashMap<ToolName, String> {
    let mut names: Vec<_> = names.map(|name| (name, rewrite(name.as_str()))).collect();
    // Names that need no change come first, so that each of them keeps its name.
    names.sort_by_key(|(name, wanted)| (name.as_str() != wanted, *name));
    let (mut used, mut spellings) = (HashSet::new(), HashMap::new());
    for (name, wanted) in names {
        let (mut spelling, mut n) = (wanted.clone(), 1);
        while !used.insert(spelling.clone()) {
            n += 1;
            let suffix = format!("_{n}");
            spelling = format!("{}{suffix}", &wanted[..wanted.len().min(MAX_LEN - suffix.len())]);
        }
        spellings.insert(name.clone(), spelling);
    }
    spellings
}

/// Rewrites `name` in characters that Claude accepts, at most [`MAX_LEN`] of them. The result is ASCII, so it
/// can be cut at any byte.
fn rewrite(name: &str) -> String {
    let is_fitting = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut spelling: String = name.chars().map(|c| if is_fitting(c) { c } else { '_' }).collect();
    if spelling.is_empty() {
        return "tool".into();
    }
    if spelling.len() > MAX_LEN {
        spelling.truncate(MAX_LEN - HASH_LEN - 1);
        spelling.push('_');
        let hash = Sha256::digest(name);
        spelling.extend(hash[..HASH_LEN / 2].iter().map(|byte| format!("{byte:02x}")));
    }
    spelling
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::clients::mcp::ToolHints;

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
        let catalog = catalog(&[tool("todo.create")]);
        let found = catalog.resolve("todo_create").map(|tool| tool.name.as_str());
        assert_eq!(found, Some("todo.create"));
        assert_eq!(catalog.resolve("todo.create"), None);
        assert_eq!(catalog.resolve("todo_delete"), None);
    }

    fn tool(name: &str) -> Tool {
        Tool {
            name: ToolName::new(name),
            description: String::new(),
            input_schema: serde_json::Map::new(),
            hints: ToolHints::default(),
            misfit: None,
        }
    }

    fn catalog(tools: &[Tool]) -> Catalog {
        let config = PolicyConfig {
            mode: crate::config::PolicyMode::Enforce,
            allow_destructive: Vec::new(),
            tool_rate: 30,
            hidden_tools: vec!["me.generateWithReference".into()],
            read_tools: vec!["odd.peek".into()],
        };
        Catalog::new(tools, &config)
    }

    #[test]
    fn reads_and_destroyers_are_known_by_their_verb() {
        for (name, reads, destroys) in [
            ("todo.list", true, false),
            ("me.listReferenceImages", true, false),
            ("notes.search", true, false),
            ("mood.today", true, false),
            ("augur.consultOracle", true, false),
            ("augur.yearRecap", true, false),
            ("odd.peek", true, false),
            ("music.listen", false, false),
            ("todo.create", false, false),
            ("todo.deleteAll", false, true),
            ("app.reset", false, true),
            ("todo.removeTag", false, true),
            ("mail.purge", false, true),
            ("chat.clearHistory", false, true),
            ("todo.items.delete", false, true),
            ("todo_delete", false, true),
            ("todo.Delete", false, true),
            ("todo.DELETE", false, true),
            ("todo.bulkDelete", false, true),
            ("todo.HTTPDelete", false, true),
            ("todo.delete2", false, true),
            ("todo/erase-all", false, true),
            ("todo:drop", false, true),
            ("todo.wipe", false, true),
            ("todo.listAndDelete", false, true),
            ("db.truncate", false, true),
            ("delete", false, true),
            ("todo.undelete", false, false),
            ("habits.archive", false, false),
            ("x.listDeleted", true, false),
            ("x.clearance", false, false),
            ("x.preset", false, false),
            ("todo.items.list", true, false),
            ("todo.List", true, false),
            ("list_todos", true, false),
            ("todo.getOrCreate", false, false),
            ("todo.findAndUpdate", false, false),
            ("todo.getNew", false, false),
            ("augur.saveRecap", false, false),
            ("todo.markRead", false, false),
            ("list.rename", false, false),
            ("store.list", true, false),
        ] {
            let catalog = catalog(&[tool(name)]);
            let found = catalog.by_spelling.values().next().unwrap();
            assert_eq!((found.is_read_only, found.is_destructive), (reads, destroys), "{name}");
        }
    }

    #[test]
    fn what_is_for_administrators_says_so_in_a_word_of_its_name() {
        for (name, is_admin) in [
            ("admin.users", true),
            ("Admin.users", true),
            ("admin_users", true),
            ("users.listForAdmin", true),
            ("users/administrator-reset", true),
            ("ADMIN", true),
            ("users.administer", false),
            ("badminton.list", false),
        ] {
            let catalog = catalog(&[tool(name)]);
            assert_eq!(catalog.by_spelling.values().next().unwrap().is_admin, is_admin, "{name}");
        }
    }

    #[test]
    fn a_parameter_that_limits_the_result_says_so_in_its_name() {
        for (name, is_limit) in [
            ("limit", true),
            ("maxResults", true),
            ("max_items", true),
            ("count", true),
            ("pageSize", true),
            ("page_size", true),
            ("per_page", true),
            ("perPage", true),
            ("take", true),
            ("top", true),
            ("topic", false),
            ("discount", false),
            ("page", false),
            ("limitless", false),
        ] {
            let schema = json!({"type": "object", "properties": {name: {"type": "integer"}}});
            let Value::Object(schema) = schema else { panic!() };
            assert_eq!(offers_limit(&schema), is_limit, "{name}");
        }
        assert!(!offers_limit(&Map::new()));
    }

    #[test]
    fn annotations_of_the_server_win_over_verbs_except_of_what_destroys() {
        let annotated = |name, read_only, destructive| Tool {
            hints: ToolHints { read_only, destructive, is_admin: false },
            ..tool(name)
        };
        let catalog = catalog(&[
            annotated("a.list", None, None),
            annotated("a.make", Some(true), None),
            annotated("a.burn", Some(false), Some(true)),
            annotated("a.wipe", Some(true), Some(false)),
            annotated("a.look", Some(true), Some(true)),
        ]);
        let nature = |name| {
            let tool = catalog.resolve(name).unwrap();
            (tool.is_read_only, tool.is_destructive)
        };
        assert_eq!(nature("a_list"), (false, false));
        assert_eq!(nature("a_make"), (true, false));
        for name in ["a_burn", "a_wipe", "a_look"] {
            assert_eq!(nature(name), (false, true), "{name}");
        }
    }

    #[test]
    fn a_tool_that_is_left_out_changes_nothing_for_the_others() {
        let mut catalog = catalog(&[tool("a.b"), tool("a_b"), tool("c")]);
        assert_eq!(catalog.removable(0).map(ToolName::as_str), Some("a.b"));
        catalog.leave_out(&ToolName::new("a_b"));
        assert!(catalog.resolve("a_b").is_none());
        assert_eq!(catalog.resolve("a_b_2").map(|tool| tool.name.as_str()), Some("a.b"));
        assert_eq!(catalog.removable(1).map(ToolName::as_str), Some("c"));
        assert_eq!(catalog.removable(2), None);
        catalog.leave_out(&ToolName::new("none"));
        catalog.leave_out(&ToolName::new("c"));
        assert_eq!(catalog.resolve("a_b_2").map(|tool| tool.name.as_str()), Some("a.b"));
        assert_eq!(catalog.removable(0), None);
    }

    #[test]
    fn hidden_tools_are_not_offered() {
        let catalog = catalog(&[tool("me.generateWithReference"), tool("me.list")]);
        assert!(catalog.resolve("me_generateWithReference").is_none());
        assert!(!catalog.definitions.as_json().contains("generateWithReference"));
        assert!(catalog.resolve("me_list").is_some());
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
            prop_assert!(spelled.values().all(|spelling| rewrite(spelling) == *spelling));
            if !names.is_empty() {
                let middle = seed as usize % names.len();
                names.rotate_left(middle);
            }
            prop_assert_eq!(spell(names.iter()), spelled);
        }
    }
}
