//! The tools on offer, as the JSON they are sent as.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

use super::message::encode;

/// The tools on offer, encoded once per session.
#[derive(Clone, Debug)]
pub struct ToolDefinitions(Box<RawValue>);

impl Serialize for ToolDefinitions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Serialize)]
struct WireTool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

/// Marks the end of a prefix that is to be cached for 5 minutes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct CacheControl {
    r#type: &'static str,
}

impl CacheControl {
    pub(super) const EPHEMERAL: Self = Self { r#type: "ephemeral" };
}

impl ToolDefinitions {
    /// Tools by name, description and input schema, in the order given. The last one carries a cache
    /// marker: this prefix is the same for every persona (contracts/anthropic-messages.md, 5.2).
    pub fn new<'a>(
        tools: impl IntoIterator<Item = (&'a str, &'a str, &'a Map<String, Value>)>,
    ) -> Self {
        let mut tools: Vec<_> = tools
            .into_iter()
            .map(|(name, description, input_schema)| WireTool {
                name,
                description,
                input_schema,
                cache_control: None,
            })
            .collect();
        if let Some(last) = tools.last_mut() {
            last.cache_control = Some(CacheControl::EPHEMERAL);
        }
        Self(encode(&tools))
    }

    /// The name of tool `n`, counted from 0.
    pub fn name(&self, n: usize) -> Option<String> {
        self.names().nth(n)
    }

    fn names(&self) -> impl Iterator<Item = String> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let tools: Vec<Named> = serde_json::from_str(self.as_json()).unwrap_or_default();
        tools.into_iter().map(|tool| tool.name)
    }

    /// The same without the tool of this name; the others stay byte for byte.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let n = self.names().position(|known| known == name);
        let tools = serde_json::from_str::<Vec<Box<RawValue>>>(self.as_json());
        let (Some(n), Ok(mut tools)) = (n, tools) else { return self.clone() };
        tools.remove(n);
        // The marker goes with the last one.
        let end = format!(r#","cache_control":{}}}"#, encode(&CacheControl::EPHEMERAL));
        if let Some(last) = tools.last_mut().filter(|last| !last.get().ends_with(&end))
            && let Some(open) = last.get().strip_suffix('}')
            && let Ok(marked) = RawValue::from_string(format!("{open}{end}"))
        {
            *last = marked;
        }
        Self(encode(&tools))
    }

    /// A number that differs for other definitions.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.get().hash(&mut hasher);
        hasher.finish()
    }

    /// The definitions as JSON text.
    pub fn as_json(&self) -> &str {
        self.0.get()
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
        assert_eq!((all.name(1).as_deref(), all.name(3)), (Some("b"), None));
    }
}
