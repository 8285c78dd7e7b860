//! The `tools` array of a request.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{block::encode, message::CacheControl};

/// The tools of a run, encoded once and sent with each request of the main turn. Clones share the tools. The
/// last tool carries a cache marker, because all personas share this prefix
/// (docs/contracts/anthropic-messages.md, section 5.2).
#[derive(Clone, Debug)]
pub struct ToolDefinitions {
    tools: Arc<[Definition]>,
    pub(super) json: Arc<RawValue>,
}

#[derive(Clone, Debug, Serialize)]
struct Definition {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    input_schema: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl ToolDefinitions {
    /// Encodes tools, given as name, description and input schema, in the order given. An empty description
    /// is left out.
    pub fn new<'a>(
        tools: impl IntoIterator<Item = (&'a str, &'a str, &'a Map<String, Value>)>,
    ) -> Self {
        let define = |(name, description, schema): (&str, &str, &_)| Definition {
            name: name.to_owned(),
            description: description.to_owned(),
            input_schema: encode(schema),
            cache_control: None,
        };
        Self::of(tools.into_iter().map(define).collect())
    }

    fn of(mut tools: Vec<Definition>) -> Self {
        if let Some(last) = tools.last_mut() {
            last.cache_control = Some(CacheControl::Ephemeral);
        }
        Self { json: encode(&tools).into(), tools: tools.into() }
    }

    /// The name of the tool at index `n`, from 0; `None` beyond the last one.
    pub fn name(&self, n: usize) -> Option<&str> {
        self.tools.get(n).map(|tool| &*tool.name)
    }

    /// The definitions without the tool of this name. The other tools keep their bytes; the cache marker
    /// moves where the last tool is removed.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self::of(self.tools.iter().filter(|tool| tool.name != name).cloned().collect())
    }

    /// The array as JSON text, as it is sent.
    pub fn as_json(&self) -> &str {
        self.json.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_without_a_tool_are_those_of_the_others() {
        let schema = Map::from_iter([("type".to_owned(), "object".into())]);
        let of = |names: &[&str]| {
            ToolDefinitions::new(names.iter().map(|name| (*name, "\u{e4} \"x\"", &schema)))
        };
        let all = of(&["a", "b", "c"]);
        for (without, left) in [("a", ["b", "c"]), ("b", ["a", "c"]), ("c", ["a", "b"])] {
            assert_eq!(all.without(without).as_json(), of(&left).as_json());
        }
        assert_eq!(all.without("d").as_json(), all.as_json());
        assert_eq!((all.name(1), all.name(3)), (Some("b"), None));
    }
}
