//! Tools and their results as this program sees them.
//!
//! rmcp's own types refuse a whole list for one odd tool and a whole result for one content block of
//! a type they do not know; read from JSON, only the odd part is passed over.

use rmcp::model::ServerResult;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::ToolName;

/// Longest tool name MCP allows.
const MAX_NAME: usize = 128;

/// A tool as listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: ToolName,
    /// What it does, for the model; may be empty.
    pub description: String,
    /// JSON Schema of its input; `type` is `object`.
    pub input_schema: Map<String, Value>,
    /// What the server says of its nature.
    pub hints: ToolHints,
}

impl Tool {
    /// How large it is as the model is to be told of it, in bytes.
    pub(super) fn size(&self) -> usize {
        let schema = serde_json::to_string(&self.input_schema).unwrap_or_default();
        self.name.as_str().len() + self.description.len() + schema.len()
    }
}

/// A tool's nature in the server's own words; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolHints {
    /// Annotation `readOnlyHint`.
    pub read_only: Option<bool>,
    /// Annotation `destructiveHint`.
    pub destructive: Option<bool>,
    /// Whether `_meta.scope` is `admin`.
    pub is_admin: bool,
}

/// What a tool answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    /// Content blocks, in order.
    pub content: Vec<Content>,
    /// The result as data, where the server sends it beside or instead of content.
    pub structured: Option<Value>,
    /// Whether the tool says that it failed.
    pub is_error: bool,
}

/// A content block (contracts/mcp-client.md, section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are MCP's own")]
pub enum Content {
    Text(String),
    Image {
        mime_type: String,
        data: String,
    },
    Audio {
        mime_type: String,
        bytes: usize,
    },
    ResourceLink {
        uri: String,
        name: String,
        mime_type: Option<String>,
    },
    TextResource {
        uri: String,
        text: String,
    },
    BlobResource {
        uri: String,
        mime_type: Option<String>,
        data: String,
    },
    /// A type this program does not know, by its name.
    Other(String),
}

/// One page of a tool list.
pub(super) struct ToolPage {
    pub tools: Vec<Tool>,
    pub next_cursor: Option<String>,
}

/// Reads a page; `None` if the result is no tool list.
pub(super) fn read_tools(result: ServerResult) -> Option<ToolPage> {
    let mut result = serde_json::to_value(result).ok()?;
    let Value::Array(tools) = result.get_mut("tools")?.take() else { return None };
    let next_cursor = result["nextCursor"].as_str().filter(|c| !c.is_empty()).map(str::to_owned);
    Some(ToolPage { tools: tools.into_iter().filter_map(read_tool).collect(), next_cursor })
}

fn read_tool(mut tool: Value) -> Option<Tool> {
    let name = tool["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        tracing::warn!("mana-mcp lists a tool without a usable name; it is left out");
        return None;
    }
    let Value::Object(mut input_schema) = tool["inputSchema"].take() else {
        // Without its name: no redactor has seen it.
        tracing::warn!("mana-mcp lists a tool without an input schema; it is left out");
        return None;
    };
    // Claude refuses a whole request for one schema that is not an object's.
    input_schema.insert("type".into(), "object".into());
    let description = tool["description"].as_str().unwrap_or_default().to_owned();
    let hint = |name: &str| tool["annotations"][name].as_bool();
    let hints = ToolHints {
        read_only: hint("readOnlyHint"),
        destructive: hint("destructiveHint"),
        is_admin: tool["_meta"]["scope"] == "admin",
    };
    Some(Tool { name: ToolName::new(name), description, input_schema, hints })
}

/// Reads a tool's answer; `None` if the result is none.
pub(super) fn read_output(result: ServerResult) -> Option<ToolOutput> {
    let result = serde_json::to_value(result).ok()?;
    let result = result.as_object()?;
    let content = match result.get("content") {
        Some(Value::Array(blocks)) => blocks.iter().map(Content::read).collect(),
        _ => Vec::new(),
    };
    let known = ["content", "structuredContent", "isError"];
    if !result.is_empty() && !known.iter().any(|key| result.contains_key(*key)) {
        return None;
    }
    Some(ToolOutput {
        content,
        structured: result.get("structuredContent").filter(|v| !v.is_null()).cloned(),
        is_error: result.get("isError").and_then(Value::as_bool).unwrap_or_default(),
    })
}

impl Content {
    fn read(block: &Value) -> Self {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let mime_type = |value: &Value| value["mimeType"].as_str().map(str::to_owned);
        let kind = block["type"].as_str().unwrap_or("untyped");
        match kind {
            "text" => Self::Text(text(block, "text")),
            "image" => {
                Self::Image { mime_type: text(block, "mimeType"), data: text(block, "data") }
            }
            "audio" => {
                // Four base64 characters hold three bytes.
                let bytes = block["data"].as_str().map_or(0, |data| data.len() / 4 * 3);
                Self::Audio { mime_type: text(block, "mimeType"), bytes }
            }
            "resource_link" => Self::ResourceLink {
                uri: text(block, "uri"),
                name: text(block, "name"),
                mime_type: mime_type(block),
            },
            "resource" => {
                let resource = &block["resource"];
                let uri = text(resource, "uri");
                if resource["text"].is_string() {
                    return Self::TextResource { uri, text: text(resource, "text") };
                }
                let mime_type = mime_type(resource);
                Self::BlobResource { uri, mime_type, data: text(resource, "blob") }
            }
            other => Self::Other(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(value: Value) -> ServerResult {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_odd_tool_is_left_out_and_the_others_stay() {
        let page = read_tools(result(json!({
            "tools": [
                {"name": "todo.list", "description": "Lists.", "inputSchema": {"$schema": "x", "properties": {}}},
                {"name": "", "inputSchema": {"type": "object"}},
                {"name": "x".repeat(129), "inputSchema": {"type": "object"}},
                {"name": "no.schema"},
                {"name": "odd.schema", "inputSchema": "object"},
                17,
            ],
            "nextCursor": "2",
        })))
        .unwrap();
        assert_eq!(page.tools.len(), 1);
        assert_eq!(page.tools[0].name.as_str(), "todo.list");
        assert_eq!(page.tools[0].input_schema["type"], "object");
        assert_eq!(page.next_cursor.as_deref(), Some("2"));
        assert!(read_tools(result(json!({"tools": 5}))).is_none());
    }

    #[test]
    fn a_schema_keeps_its_keywords_and_their_order() {
        // Known ones and others, in an order no map would have by itself.
        let schema = r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"x","type":"object","required":["z","a"],"properties":{"z":{"$ref":"#/$defs/b"},"a":{"type":["string","null"],"maxLength":3,"default":null},"m":{"const":1.0}},"$defs":{"b":{"$anchor":"b","prefixItems":[{"type":"integer"}],"items":false}},"allOf":[{"if":{"required":["m"]},"then":{"minProperties":2},"else":true}],"dependentSchemas":{"z":{}},"unevaluatedProperties":false,"x-unknown":{"b":1,"a":[]}}"##;
        let page = format!(r#"{{"tools":[{{"inputSchema":{schema},"name":"a.b"}}]}}"#);
        let page = read_tools(serde_json::from_str(&page).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&page.tools[0].input_schema).unwrap(), schema);
    }

    #[test]
    fn a_block_of_an_unknown_type_does_not_spoil_the_result() {
        let output = read_output(result(json!({
            "content": [{"type": "text", "text": "a"}, {"type": "hologram", "rays": 9}],
            "isError": true,
        })))
        .unwrap();
        assert_eq!(output.content, [Content::Text("a".into()), Content::Other("hologram".into())]);
        assert!(output.is_error);
    }

    #[test]
    fn an_empty_result_is_a_result_and_something_else_is_not() {
        assert_eq!(read_output(result(json!({}))), Some(ToolOutput::default()));
        assert_eq!(read_output(result(json!({"content": []}))), Some(ToolOutput::default()));
        assert_eq!(read_output(result(json!({"prompts": []}))), None);
    }
}
