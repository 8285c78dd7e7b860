//! The tools: their entries in `tools/list`, and what calling them does to the space.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Modules whose content is encrypted with the user's vault key.
const ENCRYPTED_MODULES: [&str; 4] = ["todo", "notes", "journal", "mood"];
const DESTRUCTIVE_VERBS: [&str; 5] = ["delete", "remove", "purge", "clear", "reset"];

/// What a tool does to the entries of one kind.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) enum Does {
    /// Writes a new entry.
    Create,
    /// Returns the entries that match.
    List,
    /// Returns the entries of today.
    Today,
    /// Changes one entry by its id.
    Change,
    /// Lists the spaces of the user; touches no entry.
    Spaces,
}

/// One tool of the catalog.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tool {
    pub name: String,
    pub description: String,
    pub does: Does,
    /// The kind of entry that the tool works on.
    pub of: String,
    /// The argument that holds the id of the entry to change.
    #[serde(default)]
    pub key: String,
    /// Fields that are set on an entry in addition to the arguments.
    #[serde(default)]
    pub sets: Map<String, Value>,
    /// Fields an entry must have to be listed.
    #[serde(default, rename = "where")]
    pub only: Map<String, Value>,
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    required: Vec<String>,
    /// The whole schema, for a tool whose schema is not built from the two fields above.
    #[serde(skip)]
    own_schema: Option<Map<String, Value>>,
}

impl Tool {
    /// A tool that is not in the catalog; it writes entries of a kind of its own.
    pub(super) fn added(name: &str, description: &str, input_schema: Map<String, Value>) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            does: Does::Create,
            of: "entry".to_owned(),
            key: String::new(),
            sets: Map::new(),
            only: Map::new(),
            properties: Map::new(),
            required: Vec::new(),
            own_schema: Some(input_schema),
        }
    }

    /// Replaces the schema of the arguments.
    pub(super) fn set_schema(&mut self, input_schema: Map<String, Value>) {
        self.own_schema = Some(input_schema);
    }

    /// The module: the part of the name before the first dot.
    pub(super) fn module(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        ENCRYPTED_MODULES.contains(&self.module())
    }

    pub(super) fn is_destructive(&self) -> bool {
        let verb = self.name.split_once('.').map_or("", |(_, verb)| verb);
        DESTRUCTIVE_VERBS.iter().any(|destructive| verb.starts_with(destructive))
    }

    /// The schema of the arguments, with the keys in the order in which zod writes them.
    pub(super) fn input_schema(&self) -> Map<String, Value> {
        if let Some(schema) = &self.own_schema {
            return schema.clone();
        }
        let mut schema = Map::new();
        schema.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), self.properties.clone().into());
        if !self.required.is_empty() {
            schema.insert("required".into(), self.required.clone().into());
        }
        schema.insert("additionalProperties".into(), false.into());
        schema
    }

    /// The tool's entry in `tools/list`.
    pub(super) fn listing(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "inputSchema": self.input_schema(),
            "execution": {"taskSupport": "forbidden"},
        })
    }
}

/// The tools that a server offers.
#[derive(Clone, Debug, Default)]
pub enum ToolSet {
    /// All tools of the catalog.
    #[default]
    Full,
    /// No tools at all.
    Empty,
    /// The tools of the catalog with these names.
    Only(Vec<String>),
}

/// The tools of `set`, in the order of the catalog.
pub(super) fn tools(set: &ToolSet) -> Result<Vec<Arc<Tool>>, serde_json::Error> {
    let all: Vec<Tool> = serde_json::from_str(include_str!("catalog.json"))?;
    let offered = all.into_iter().filter(|tool| match set {
        ToolSet::Full => true,
        ToolSet::Empty => false,
        ToolSet::Only(names) => names.contains(&tool.name),
    });
    Ok(offered.map(Arc::new).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The tools of the service when it was recorded.
    const RECORDED: &str = "habits.create habits.list habits.update habits.archive journal.add \
        me.listReferenceImages me.generateWithReference mood.log mood.today mood.recent notes.create \
        notes.search spaces.list todo.create todo.list todo.complete wardrobe.listGarments \
        wardrobe.listOutfits wardrobe.createOutfit wardrobe.tryOn comic.listStories \
        comic.createStory comic.generatePanel comic.reorderPanels comic.listCharacters \
        comic.createCharacter comic.generateVariant comic.pinVariant augur.captureSign \
        augur.resolveSign augur.listOpenSigns augur.consultOracle augur.yearRecap";
    /// Every module that some persona of the catalog prefers.
    const LIKED: [&str; 13] = [
        "todo",
        "journal",
        "notes",
        "mood",
        "calendar",
        "habits",
        "contacts",
        "articles",
        "dreams",
        "library",
        "goals",
        "newsResearch",
        "invoices",
    ];

    fn full() -> Vec<Arc<Tool>> {
        tools(&ToolSet::Full).unwrap()
    }

    #[test]
    fn the_recorded_tools_are_all_there_and_no_name_comes_twice() {
        let names: BTreeSet<_> = full().iter().map(|tool| tool.name.clone()).collect();
        assert_eq!(names.len(), full().len());
        let recorded: Vec<_> = RECORDED.split_whitespace().collect();
        assert_eq!(recorded.len(), 33);
        for name in recorded {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn every_module_a_persona_likes_has_a_read_and_a_write() {
        for module in LIKED {
            let of_module: Vec<_> =
                full().into_iter().filter(|tool| tool.module() == module).collect();
            let reads = |tool: &Arc<Tool>| matches!(tool.does, Does::List | Does::Today);
            assert!(of_module.iter().any(reads), "{module} cannot be read");
            assert!(
                of_module.iter().any(|tool| tool.does == Does::Create),
                "{module} is read-only"
            );
        }
    }

    #[test]
    fn descriptions_and_schemas_together_weigh_20_to_30_kb() {
        let listing: Vec<_> = full().iter().map(|tool| tool.listing()).collect();
        let bytes = json!({"tools": listing}).to_string().len();
        assert!((20_000..=30_000).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn the_verb_of_a_reading_tool_says_so() {
        for tool in full() {
            let verb = tool.name.split_once('.').unwrap().1.to_owned();
            let reads = ["list", "search", "recent", "today", "consult"]
                .iter()
                .any(|read| verb.starts_with(read))
                || verb.ends_with("Recap");
            let writes = matches!(tool.does, Does::Create | Does::Change);
            assert_eq!(reads, !writes, "{}", tool.name);
        }
    }

    #[test]
    fn required_arguments_and_keys_are_properties() {
        for tool in full() {
            let keys = tool.required.iter().chain((tool.does == Does::Change).then_some(&tool.key));
            for key in keys {
                assert!(tool.properties.contains_key(key), "{}: {key}", tool.name);
            }
        }
    }
}
