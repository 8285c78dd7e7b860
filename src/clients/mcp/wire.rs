//! Tools and their results as this program sees them.
//!
//! One odd tool costs no list, one odd content block no result: only the odd part is passed over. And what
//! is not shown is not unfolded: a few megabytes of tiny values would take a gigabyte.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{MAX_TOOLS, McpError};
use crate::domain::ToolName;

/// Most that one tool may have of name, description and schema, in bytes.
const MAX_TOOL: usize = 64 << 10;
/// Most values of one tool's schema.
const MAX_TOOL_VALUES: usize = 5_000;
/// Longest tool name MCP allows.
const MAX_NAME: usize = 128;
/// Most content blocks that are looked at; a result with more names the number of the others.
const MAX_BLOCKS: usize = 1_000;
/// Most values in the schemas of one page, counted by their commas and brackets.
const MAX_VALUES: usize = 50_000;

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
    /// Why it can be offered to nobody, if so: then there is no description and no schema.
    #[serde(skip)]
    pub misfit: Option<&'static str>,
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
    /// The result as data, in JSON, where the server sends it beside or instead of content.
    pub structured: Option<String>,
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
    /// So many further blocks.
    More(usize),
}

/// One page of a tool list. Public, as is how it is read, for the fuzz target of it.
pub struct ToolPage {
    /// Its usable tools.
    pub tools: Vec<Tool>,
    /// How long names, descriptions and schemas are, in bytes.
    pub size: usize,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// The first values of an array, as they stand, and the number of the others.
struct First<'a, const MOST: usize>(Vec<&'a RawValue>, usize);

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for First<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a, const MOST: usize>(PhantomData<&'a RawValue>);

        impl<'de: 'a, 'a, const MOST: usize> Visitor<'de> for Reader<'a, MOST> {
            type Value = First<'a, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let (mut first, mut others) = (Vec::new(), 0);
                while first.len() < MOST
                    && let Some(item) = items.next_element()?
                {
                    first.push(item);
                }
                while first.len() == MOST && items.next_element::<IgnoredAny>()?.is_some() {
                    others += 1;
                }
                Ok(First(first, others))
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// A member of an object, as it stands; one that is missing or null is neither.
type Member<'a> = Option<&'a RawValue>;

/// The value of a member, if it is of the kind wanted.
fn get<T: DeserializeOwned>(member: Member<'_>) -> Option<T> {
    serde_json::from_str(member?.get()).ok()
}

fn text(member: Member<'_>) -> String {
    get(member).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPage<'a> {
    #[serde(borrow)]
    tools: First<'a, MAX_TOOLS>,
    #[serde(borrow)]
    next_cursor: Member<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawTool<'a> {
    #[serde(borrow)]
    name: Member<'a>,
    #[serde(borrow)]
    description: Member<'a>,
    #[serde(borrow)]
    input_schema: Member<'a>,
    #[serde(borrow)]
    annotations: Member<'a>,
    #[serde(borrow, rename = "_meta")]
    meta: Member<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawAnnotations<'a> {
    #[serde(borrow)]
    read_only_hint: Member<'a>,
    #[serde(borrow)]
    destructive_hint: Member<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMeta<'a> {
    #[serde(borrow)]
    scope: Member<'a>,
}

/// Reads a page; `None` if the result is no tool list.
///
/// # Errors
/// When it holds more than any real one.
pub fn read_tools(result: &RawValue) -> Result<Option<ToolPage>, McpError> {
    let Ok(page) = serde_json::from_str::<RawPage<'_>>(result.get()) else { return Ok(None) };
    let First(tools, others) = page.tools;
    if others > 0 {
        return Err(McpError::Oversized("more than 1,000 tools"));
    }
    let tools: Vec<RawTool<'_>> =
        tools.iter().map(|tool| serde_json::from_str(tool.get()).unwrap_or_default()).collect();
    let fit = || tools.iter().filter(|tool| tool.misfit().is_none());
    if fit().map(RawTool::values).sum::<usize>() > MAX_VALUES {
        return Err(McpError::Oversized("more than 50,000 values in schemas"));
    }
    let size = fit().map(RawTool::size).sum();
    let next_cursor = get(page.next_cursor).filter(|cursor: &String| !cursor.is_empty());
    Ok(Some(ToolPage { tools: tools.iter().filter_map(read_tool).collect(), size, next_cursor }))
}

fn read_tool(tool: &RawTool<'_>) -> Option<Tool> {
    let name = text(tool.name);
    if name.is_empty() || name.chars().count() > MAX_NAME {
        tracing::warn!("mana-mcp lists a tool without a usable name; it is left out");
        return None;
    }
    let hints = tool.hints();
    let name = ToolName::new(name);
    let read = match tool.misfit() {
        Some(why) => Err(why),
        None => get::<Map<String, Value>>(tool.input_schema).ok_or("it has no input schema"),
    };
    let mut input_schema = match read {
        Ok(input_schema) => input_schema,
        Err(why) => {
            let (description, input_schema) = Default::default();
            return Some(Tool { name, description, input_schema, hints, misfit: Some(why) });
        }
    };
    // Claude refuses a whole request for one schema that is not an object's.
    input_schema.insert("type".into(), "object".into());
    Some(Tool { name, description: text(tool.description), input_schema, hints, misfit: None })
}

impl RawTool<'_> {
    /// How many bytes of it the model would be told of.
    fn size(&self) -> usize {
        let told = [self.name, self.description, self.input_schema];
        told.into_iter().flatten().map(|member| member.get().len()).sum()
    }

    /// How many values its schema has at most.
    fn values(&self) -> usize {
        let schema = self.input_schema.map_or("", RawValue::get).bytes();
        schema.filter(|b| matches!(b, b',' | b':' | b'[' | b'{')).count()
    }

    /// Why it is not read: it would cost all others their place.
    fn misfit(&self) -> Option<&'static str> {
        if self.size() > MAX_TOOL {
            return Some("its description and schema have more than 64 kB");
        }
        (self.values() > MAX_TOOL_VALUES).then_some("its schema holds more than 5,000 values")
    }

    fn hints(&self) -> ToolHints {
        let annotations = self.annotations.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let RawAnnotations { read_only_hint, destructive_hint } = annotations.unwrap_or_default();
        let meta = self.meta.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let RawMeta { scope } = meta.unwrap_or_default();
        ToolHints {
            read_only: get(read_only_hint),
            destructive: get(destructive_hint),
            is_admin: text(scope) == "admin",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOutput<'a> {
    #[serde(borrow)]
    content: Member<'a>,
    #[serde(borrow)]
    structured_content: Member<'a>,
    #[serde(borrow)]
    is_error: Member<'a>,
}

/// A content block, or the resource in one.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawBlock<'a> {
    #[serde(borrow)]
    r#type: Member<'a>,
    #[serde(borrow)]
    text: Member<'a>,
    #[serde(borrow)]
    data: Member<'a>,
    #[serde(borrow)]
    mime_type: Member<'a>,
    #[serde(borrow)]
    uri: Member<'a>,
    #[serde(borrow)]
    name: Member<'a>,
    #[serde(borrow)]
    resource: Member<'a>,
    #[serde(borrow)]
    blob: Member<'a>,
}

/// Reads a tool's answer; `None` if the result is none.
pub fn read_output(result: &RawValue) -> Option<ToolOutput> {
    let output: RawOutput<'_> = serde_json::from_str(result.get()).ok()?;
    let is_empty = || result.get()[1..].trim_start().starts_with('}');
    if output.content.is_none()
        && output.structured_content.is_none()
        && output.is_error.is_none()
        && !is_empty()
    {
        return None;
    }
    let blocks = output.content.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let First::<MAX_BLOCKS>(blocks, others) = blocks.unwrap_or(First(Vec::new(), 0));
    let mut content: Vec<_> = blocks.into_iter().map(Content::read).collect();
    content.extend((others > 0).then_some(Content::More(others)));
    // It only stands in for content.
    let structured = output.structured_content.filter(|_| content.is_empty());
    Some(ToolOutput {
        content,
        structured: structured.map(|raw| raw.get().to_owned()),
        is_error: get(output.is_error).unwrap_or_default(),
    })
}

impl Content {
    fn read(block: &RawValue) -> Self {
        let block: RawBlock<'_> = serde_json::from_str(block.get()).unwrap_or_default();
        let kind = get(block.r#type).unwrap_or_else(|| "untyped".to_owned());
        match &*kind {
            "text" => Self::Text(text(block.text)),
            "image" => Self::Image { mime_type: text(block.mime_type), data: text(block.data) },
            "audio" => {
                // Four base64 characters hold three bytes.
                let bytes = text(block.data).len() / 4 * 3;
                Self::Audio { mime_type: text(block.mime_type), bytes }
            }
            "resource_link" => Self::ResourceLink {
                uri: text(block.uri),
                name: text(block.name),
                mime_type: get(block.mime_type),
            },
            "resource" => {
                let resource = block.resource.and_then(|raw| serde_json::from_str(raw.get()).ok());
                let resource: RawBlock<'_> = resource.unwrap_or_default();
                let uri = text(resource.uri);
                if let Some(text) = get(resource.text) {
                    return Self::TextResource { uri, text };
                }
                let mime_type = get(resource.mime_type);
                Self::BlobResource { uri, mime_type, data: text(resource.blob) }
            }
            _ => Self::Other(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(value: Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(&value).unwrap()
    }

    fn tools(result: &RawValue) -> Option<ToolPage> {
        read_tools(result).unwrap()
    }

    #[test]
    fn an_odd_tool_is_left_out_and_the_others_stay() {
        let page = tools(&result(json!({
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
        let fits: Vec<_> =
            page.tools.iter().map(|tool| (tool.name.as_str(), tool.misfit.is_none())).collect();
        assert_eq!(fits, [("todo.list", true), ("no.schema", false), ("odd.schema", false)]);
        assert_eq!(page.tools[0].input_schema["type"], "object");
        assert_eq!(page.next_cursor.as_deref(), Some("2"));
        assert!(tools(&result(json!({"tools": 5}))).is_none());
        assert!(tools(&result(json!([]))).is_none());
    }

    #[test]
    fn a_schema_keeps_its_keywords_and_their_order() {
        // Known ones and others, in an order no map would have by itself.
        let schema = r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"x","type":"object","required":["z","a"],"properties":{"z":{"$ref":"#/$defs/b"},"a":{"type":["string","null"],"maxLength":3,"default":null},"m":{"const":1.0}},"$defs":{"b":{"$anchor":"b","prefixItems":[{"type":"integer"}],"items":false}},"allOf":[{"if":{"required":["m"]},"then":{"minProperties":2},"else":true}],"dependentSchemas":{"z":{}},"unevaluatedProperties":false,"x-unknown":{"b":1,"a":[]}}"##;
        let page = format!(r#"{{"tools":[{{"inputSchema":{schema},"name":"a.b"}}]}}"#);
        let page = tools(&RawValue::from_string(page).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&page.tools[0].input_schema).unwrap(), schema);
    }

    #[test]
    fn a_block_of_an_unknown_type_does_not_spoil_the_result() {
        let output = read_output(&result(json!({
            "content": [{"type": "text", "text": "a"}, {"type": "hologram", "rays": 9}],
            "isError": true,
        })))
        .unwrap();
        assert_eq!(output.content, [Content::Text("a".into()), Content::Other("hologram".into())]);
        assert!(output.is_error);
    }

    #[test]
    fn an_empty_result_is_a_result_and_something_else_is_not() {
        assert_eq!(read_output(&result(json!({}))), Some(ToolOutput::default()));
        assert_eq!(read_output(&result(json!({"content": []}))), Some(ToolOutput::default()));
        assert_eq!(read_output(&result(json!({"prompts": []}))), None);
    }

    #[test]
    fn of_very_many_blocks_or_values_the_first_are_read_and_the_rest_is_counted() {
        let blocks = json!({"content": vec![json!({"type": "text", "text": "a"}); 1_500]});
        let output = read_output(&result(blocks)).unwrap();
        assert_eq!(output.content.len(), MAX_BLOCKS + 1);
        assert_eq!(output.content.last(), Some(&Content::More(500)));
        let tool = |schema: Value| json!({"name": "a.b", "inputSchema": schema});
        let many = json!({"tools": vec![tool(json!({})); 1_001]});
        assert!(matches!(read_tools(&result(many)), Err(McpError::Oversized(_))));
        // One that is too large costs no other its place; many that are not are no list to offer.
        let values = |count| tool(json!({"enum": vec![json!(1); count]}));
        let page = tools(&result(json!({"tools": [values(6_000), values(4_000)]}))).unwrap();
        let fits: Vec<_> = page.tools.iter().map(|tool| tool.misfit.is_none()).collect();
        assert_eq!((fits, page.size < 10_000), (vec![false, true], true));
        let many = json!({"tools": vec![values(4_000); 13]});
        assert!(matches!(read_tools(&result(many)), Err(McpError::Oversized(_))));
    }

    #[test]
    fn structured_content_is_kept_as_text_where_there_is_no_content() {
        let raw = r#"{"structuredContent":{"b":1.0, "a":[]},"content":[]}"#;
        let output = read_output(&RawValue::from_string(raw.into()).unwrap()).unwrap();
        assert_eq!(output.structured.as_deref(), Some(r#"{"b":1.0, "a":[]}"#));
        let both =
            json!({"structuredContent": {"a": 1}, "content": [{"type": "text", "text": "a"}]});
        assert_eq!(read_output(&result(both)).unwrap().structured, None);
    }
}
