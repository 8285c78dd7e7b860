//! What the persona learns from the conversation: which modules it prefers, which tools it has used, and the
//! ids in their results.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::request::ParsedRequest;

/// Verbs that only read (docs/contracts/mana-mcp.md).
const READS: [&str; 10] =
    ["list", "search", "get", "find", "recent", "today", "read", "show", "stats", "count"];
/// Verbs of tools that the persona calls only if it oversteps.
const DESTRUCTIVE: [&str; 5] = ["delete", "remove", "purge", "clear", "reset"];

/// The calls and results of the conversation so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Number of calls, by wire name.
    called: HashMap<String, usize>,
    /// Wire names of the calls that failed in the last results.
    just_failed: Vec<String>,
    /// Ids seen in results, by module.
    ids: Vec<(String, String)>,
    /// Wire name and id of every call that used an id.
    used: Vec<(String, String)>,
}

impl Ledger {
    pub(super) fn of(request: &ParsedRequest) -> Self {
        let mut ledger = Self::default();
        let mut names = HashMap::new();
        for (id, name, input) in request.tool_calls() {
            names.insert(id, name);
            *ledger.called.entry(name.to_owned()).or_default() += 1;
            for value in input.as_object().into_iter().flat_map(|map| map.values()) {
                if let Some(text) = value.as_str() {
                    ledger.used.push((name.to_owned(), text.to_owned()));
                }
            }
        }
        for result in request.tool_results().iter().filter(|result| !result.is_error) {
            let module = names.get(result.tool_use_id.as_str()).map(|name| module_of(name));
            let value: Value = serde_json::from_str(&result.text).unwrap_or_default();
            collect_ids(&value, module.unwrap_or_default(), &mut ledger.ids);
        }
        for result in request.last_tool_results().iter().filter(|result| result.is_error) {
            let name = names.get(result.tool_use_id.as_str());
            ledger.just_failed.extend(name.map(|name| (*name).to_owned()));
        }
        ledger
    }

    /// The offered tools that the persona would use now: those of the modules named in its instructions, or
    /// of any module if none is named; without destructive tools and without those that have just failed.
    pub(super) fn candidates<'a>(&self, request: &'a ParsedRequest) -> Vec<&'a Value> {
        let usable = |tool: &&Value| {
            let name = tool["name"].as_str().unwrap_or_default();
            !is_destructive(tool) && !self.just_failed.iter().any(|failed| failed == name)
        };
        let all: Vec<&Value> = request.tools.iter().filter(usable).collect();
        let liking = Liking::of(request);
        let liked: Vec<&Value> =
            all.iter().copied().filter(|tool| liking.rank(tool) < UNMENTIONED).collect();
        if liked.is_empty() { all } else { liked }
    }

    pub(super) fn times_called(&self, tool: &Value) -> usize {
        let name = tool["name"].as_str().unwrap_or_default();
        self.called.get(name).copied().unwrap_or_default()
    }

    /// An id for the property `name` of the tool `wire_name` that this tool has not used yet. `contactId`
    /// needs an id of module `contacts`, `id` one of the tool's own module.
    pub(super) fn id_for(&self, wire_name: &str, name: &str) -> Option<&str> {
        let stem = name.trim_end_matches("Ids").trim_end_matches("Id");
        let stem = stem.trim_end_matches("_ids").trim_end_matches("_id").to_lowercase();
        let own = module_of(wire_name);
        let is_known = |module: &str| self.ids.iter().any(|(of, _)| of == module);
        let named = self.ids.iter().map(|(module, _)| module.as_str()).find(|module| {
            !matches!(stem.as_str(), "" | "id" | "ids") && module.to_lowercase().starts_with(&stem)
        });
        let module = named.or_else(|| is_known(own).then_some(own))?;
        let is_used = |id: &str| self.used.iter().any(|(by, used)| by == wire_name && used == id);
        let mut ids = self.ids.iter().filter(|(of, _)| of == module).map(|(_, id)| id.as_str());
        ids.find(|id| !is_used(id))
    }
}

/// The modules that the first user message mentions, each once, in the order in which it does.
pub(super) struct Liking(Vec<String>);

const UNMENTIONED: usize = usize::MAX / 2;

impl Liking {
    pub(super) fn of(request: &ParsedRequest) -> Self {
        let modules: HashSet<&str> = request.tool_names().into_iter().map(module_of).collect();
        let text = request.first_user_text();
        let mut mentioned: Vec<String> = Vec::new();
        for word in words(&text).filter(|word| modules.contains(word)) {
            if !mentioned.iter().any(|earlier| earlier == word) {
                mentioned.push(word.to_owned());
            }
        }
        Self(mentioned)
    }

    /// Position of the tool's module among them.
    pub(super) fn rank(&self, tool: &Value) -> usize {
        let module = module_of(tool["name"].as_str().unwrap_or_default());
        self.0.iter().position(|mentioned| mentioned == module).unwrap_or(UNMENTIONED)
    }
}

/// The module in a wire name: the part before the first `_`.
pub(super) fn module_of(wire_name: &str) -> &str {
    wire_name.split('_').next().unwrap_or_default()
}

fn verb_of(wire_name: &str) -> &str {
    wire_name.split_once('_').map_or("", |(_, verb)| verb)
}

/// Whether the tool only reads, judged by its verb.
pub(super) fn is_read(tool: &Value) -> bool {
    let verb = verb_of(tool["name"].as_str().unwrap_or_default());
    verb.ends_with("Recap")
        || verb.starts_with("consult")
        || READS.iter().any(|read| verb.starts_with(read))
}

/// Whether the tool destroys something, judged by its verb.
pub(super) fn is_destructive(tool: &Value) -> bool {
    let verb = verb_of(tool["name"].as_str().unwrap_or_default());
    DESTRUCTIVE.iter().any(|begin| verb.starts_with(begin))
}

/// The words of a text; a module name is one word.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn collect_ids(value: &Value, module: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            if let Some(id) = map.get("id").and_then(Value::as_str)
                && !found.iter().any(|(_, known)| known == id)
            {
                found.push((module.to_owned(), id.to_owned()));
            }
            map.values().for_each(|inner| collect_ids(inner, module, found));
        }
        Value::Array(values) => values.iter().for_each(|inner| collect_ids(inner, module, found)),
        _ => {}
    }
}
