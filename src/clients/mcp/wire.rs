//! Tools and tool results, as this program reads them from the JSON of mana-mcp.
//!
//! One invalid tool does not invalidate the list, and one invalid content block does not invalidate the
//! result: only the invalid part is ignored. Parts of the JSON that are not used are not parsed into values,
//! because a few megabytes of tiny values would take a gigabyte of memory.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};

use super::error::McpError;
use crate::domain::ToolName;

/// The largest number of tools that a server may list.
pub(super) const MAX_TOOLS: usize = 1_000;
/// Largest total length of one tool's name, description and schema, in bytes.
const MAX_TOOL: usize = 64 << 10;
/// The largest number of values in one tool's schema.
const MAX_TOOL_VALUES: usize = 5_000;
/// Longest tool name that MCP allows, in characters.
const MAX_NAME: usize = 128;
/// The largest number of tools or content blocks of a list that are read. Further ones are only counted.
const MAX_ITEMS: usize = MAX_TOOLS;
/// The largest number of values in the schemas of one page, counted by their commas, colons and brackets.
const MAX_VALUES: usize = 50_000;

/// A tool of the server's list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The name by which the server lists and calls the tool.
    pub name: ToolName,
    /// The description for the model; may be empty.
    pub description: String,
    /// JSON Schema of the tool's input; its `type` is always `object`.
    pub input_schema: Map<String, Value>,
    /// What the server says about the effects of the tool.
    pub hints: ToolHints,
    /// Why the tool cannot be offered to the model, if so. Then `description` and `input_schema` are empty.
    #[serde(skip)]
    pub misfit: Option<&'static str>,
}

/// What the server says about a tool's effects; `None` where the server says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolHints {
    /// The annotation `readOnlyHint`: whether the tool changes nothing.
    pub read_only: Option<bool>,
    /// The annotation `destructiveHint`: whether the tool may delete or overwrite data.
    pub destructive: Option<bool>,
    /// Whether `_meta.scope` is `admin`.
    pub is_admin: bool,
}

/// The result of a tool call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    /// Content blocks, in the server's order.
    pub content: Vec<Content>,
    /// The result as JSON data (`structuredContent`), if the server sent no content.
    pub structured: Option<String>,
    /// Whether the tool reports a failure (`isError`).
    pub is_error: bool,
}

/// A content block of a result (docs/contracts/mcp-client.md, section 2). `Other` has the name of a type that
/// this program does not know. `More` has the number of further blocks, which were not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are MCP's own")]
pub enum Content {
    Text(String),
    Image { mime_type: String, data: String },
    Audio { mime_type: String, bytes: usize },
    ResourceLink { uri: String, name: String, mime_type: Option<String> },
    TextResource { uri: String, text: String },
    BlobResource { uri: String, mime_type: Option<String>, data: String },
    Other(String),
    More(usize),
}

/// One page of a tool list. It is public, as is [`read_tools`], for a fuzz target.
pub struct ToolPage {
    /// The tools of the page that have a usable name.
    pub tools: Vec<Tool>,
    /// Total length of names, descriptions and schemas in bytes, without those of tools that are too large.
    pub size: usize,
    /// The cursor of the next page; `None` on the last page.
    pub next_cursor: Option<String>,
}

/// A member of an object as raw JSON. `None` if the member is missing or null.
pub(super) type Member<'a> = Option<&'a RawValue>;

/// The value of a member; `None` if the member is of another type.
pub(super) fn get<'a, T: Deserialize<'a>>(member: Member<'a>) -> Option<T> {
    serde_json::from_str(member?.get()).ok()
}

/// The first values of an array as raw JSON, and the number of the others. `None` if it is not an array.
fn first(array: Member<'_>) -> Option<(Vec<&RawValue>, usize)> {
    // A vector of `IgnoredAny` takes no memory, however many elements it has.
    let all = get::<Vec<IgnoredAny>>(array)?.len();
    let mut rest = array?.get();
    let first = (0..all.min(MAX_ITEMS)).map_while(|_| {
        // Skips the opening bracket or a comma.
        rest = rest.trim_ascii_start().get(1..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        let value = values.next()?.ok()?;
        rest = &rest[values.byte_offset()..];
        Some(value)
    });
    let first: Vec<_> = first.collect();
    let others = all - first.len();
    Some((first, others))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPage<'a> {
    #[serde(borrow)]
    tools: Member<'a>,
    next_cursor: Member<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawTool<'a> {
    #[serde(borrow)]
    name: Member<'a>,
    description: Member<'a>,
    input_schema: Member<'a>,
    annotations: Member<'a>,
    #[serde(rename = "_meta")]
    meta: Member<'a>,
}

/// The members that are read of a tool's `annotations` (the hints) and of its `_meta` (the scope).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawHints<'a> {
    #[serde(borrow)]
    read_only_hint: Member<'a>,
    destructive_hint: Member<'a>,
    scope: Member<'a>,
}

/// Reads one page of a tool list.
///
/// # Errors
/// When `result` is not a tool list, lists more than 1,000 tools, or has more than 50,000 values in schemas.
pub fn read_tools(result: &RawValue) -> Result<ToolPage, McpError> {
    let page: RawPage<'_> = get(Some(result)).unwrap_or_default();
    let no_list = || McpError::not_run("the answer is no tool list");
    let (tools, others) = first(page.tools).ok_or_else(no_list)?;
    if others > 0 {
        return Err(McpError::not_run("more than 1,000 tools"));
    }
    let tools: Vec<RawTool<'_>> =
        tools.into_iter().map(|tool| get(Some(tool)).unwrap_or_default()).collect();
    let fit = || tools.iter().filter(|tool| tool.misfit().is_none());
    if fit().map(RawTool::values).sum::<usize>() > MAX_VALUES {
        return Err(McpError::not_run("more than 50,000 values in schemas"));
    }
    let size = fit().map(RawTool::size).sum();
    let next_cursor = get(page.next_cursor).filter(|cursor: &String| !cursor.is_empty());
    Ok(ToolPage { tools: tools.iter().filter_map(RawTool::read).collect(), size, next_cursor })
}

impl RawTool<'_> {
    fn read(&self) -> Option<Tool> {
        let name = get(self.name).unwrap_or_else(String::new);
        if name.is_empty() || name.chars().count() > MAX_NAME {
            tracing::warn!("mana-mcp lists a tool without a usable name; it is left out");
            return None;
        }
        let no_schema = "it has no input schema";
        let read = || get::<Map<_, _>>(self.input_schema).ok_or(no_schema);
        let schema = self.misfit().map_or_else(read, Err);
        let (description, input_schema, misfit) = match schema {
            Ok(mut schema) => {
                // Claude refuses the whole request for one schema whose type is not object.
                schema.insert("type".into(), "object".into());
                (get(self.description).unwrap_or_default(), schema, None)
            }
            Err(why) => (String::new(), Map::new(), Some(why)),
        };
        let annotations: RawHints<'_> = get(self.annotations).unwrap_or_default();
        let meta: RawHints<'_> = get(self.meta).unwrap_or_default();
        let hints = ToolHints {
            read_only: get(annotations.read_only_hint),
            destructive: get(annotations.destructive_hint),
            is_admin: get::<String>(meta.scope).as_deref() == Some("admin"),
        };
        Some(Tool { name: ToolName::new(name), description, input_schema, hints, misfit })
    }

    /// Length of the parts that the model would be sent, in bytes.
    fn size(&self) -> usize {
        let shown = [self.name, self.description, self.input_schema];
        shown.into_iter().flatten().map(|member| member.get().len()).sum()
    }

    /// Upper bound on the number of values in the schema.
    fn values(&self) -> usize {
        let schema = self.input_schema.map_or("", RawValue::get).bytes();
        schema.filter(|b| matches!(b, b',' | b':' | b'[' | b'{')).count()
    }

    /// Why the tool is not read, if so: a tool this large would take the room of all other tools.
    fn misfit(&self) -> Option<&'static str> {
        if self.size() > MAX_TOOL {
            return Some("its description and schema have more than 64 kB");
        }
        (self.values() > MAX_TOOL_VALUES).then_some("its schema holds more than 5,000 values")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOutput<'a> {
    #[serde(borrow)]
    content: Member<'a>,
    structured_content: Member<'a>,
    is_error: Member<'a>,
}

/// A content block, or the resource in a block of type `resource`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawBlock<'a> {
    #[serde(borrow)]
    r#type: Member<'a>,
    text: Member<'a>,
    data: Member<'a>,
    mime_type: Member<'a>,
    uri: Member<'a>,
    name: Member<'a>,
    blob: Member<'a>,
    resource: Member<'a>,
}

/// Reads the result of a tool call. `None` if `result` is not one; an empty object is one.
pub fn read_output(result: &RawValue) -> Option<ToolOutput> {
    let output: RawOutput<'_> = serde_json::from_str(result.get()).ok()?;
    let is_empty = result.get()[1..].trim_start().starts_with('}');
    let members = [output.content, output.structured_content, output.is_error];
    if !is_empty && members.iter().all(Option::is_none) {
        return None;
    }
    let (blocks, others) = first(output.content).unwrap_or_default();
    let mut content: Vec<_> = blocks.into_iter().map(Content::read).collect();
    content.extend((others > 0).then_some(Content::More(others)));
    // Servers repeat structured content as text, so it is used only where there is no content.
    let structured = output.structured_content.filter(|_| content.is_empty());
    Some(ToolOutput {
        content,
        structured: structured.map(|raw| raw.get().to_owned()),
        is_error: get(output.is_error).unwrap_or_default(),
    })
}

impl Content {
    fn read(block: &RawValue) -> Self {
        let block: RawBlock<'_> = get(Some(block)).unwrap_or_default();
        let text = |member| get::<String>(member).unwrap_or_default();
        let kind = get(block.r#type).unwrap_or_else(|| "untyped".to_owned());
        match &*kind {
            "text" => Self::Text(text(block.text)),
            "image" => Self::Image { mime_type: text(block.mime_type), data: text(block.data) },
            "audio" => {
                // Four base64 characters hold three bytes.
                let bytes = text(block.data).len() / 4 * 3;
                Self::Audio { mime_type: text(block.mime_type), bytes }
            }
            "resource_link" => {
                let (uri, name) = (text(block.uri), text(block.name));
                Self::ResourceLink { uri, name, mime_type: get(block.mime_type) }
            }
            "resource" => {
                let resource: RawBlock<'_> = get(block.resource).unwrap_or_default();
                let (uri, mime_type) = (text(resource.uri), get(resource.mime_type));
                match get(resource.text) {
                    Some(text) => Self::TextResource { uri, text },
                    None => Self::BlobResource { uri, mime_type, data: text(resource.blob) },
                }
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

    #[test]
    fn an_invalid_tool_is_left_out_and_the_others_stay() {
        let page = read_tools(&result(json!({
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
        for none in [json!({"tools": 5}), json!([])] {
            let error = read_tools(&result(none)).err().unwrap();
            assert_eq!(error.reason, "the answer is no tool list");
        }
    }

    #[test]
    fn a_schema_keeps_its_keywords_and_their_order() {
        // Known and unknown keywords, in an order that a sorted map would not keep.
        let schema = r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"x","type":"object","required":["z","a"],"properties":{"z":{"$ref":"#/$defs/b"},"a":{"type":["string","null"],"maxLength":3,"default":null},"m":{"const":1.0}},"$defs":{"b":{"$anchor":"b","prefixItems":[{"type":"integer"}],"items":false}},"allOf":[{"if":{"required":["m"]},"then":{"minProperties":2},"else":true}],"dependentSchemas":{"z":{}},"unevaluatedProperties":false,"x-unknown":{"b":1,"a":[]}}"##;
        let page = format!(r#"{{"tools":[{{"inputSchema":{schema},"name":"a.b"}}]}}"#);
        let page = read_tools(&RawValue::from_string(page).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&page.tools[0].input_schema).unwrap(), schema);
    }

    #[test]
    fn a_block_of_an_unknown_type_does_not_invalidate_the_result() {
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
    fn of_too_many_blocks_the_first_are_read_and_the_others_counted() {
        let blocks = json!({"content": vec![json!({"type": "text", "text": "a"}); 1_500]});
        let output = read_output(&result(blocks)).unwrap();
        assert_eq!(output.content.len(), MAX_ITEMS + 1);
        assert_eq!(output.content.last(), Some(&Content::More(500)));
        let tool = |schema: Value| json!({"name": "a.b", "inputSchema": schema});
        let refused = |many| read_tools(&result(many)).err().unwrap().reason;
        let many = json!({"tools": vec![tool(json!({})); 1_001]});
        assert_eq!(refused(many), "more than 1,000 tools");
        // One tool that is too large does not affect the others; many tools below that limit are too many
        // values.
        let values = |count| tool(json!({"enum": vec![json!(1); count]}));
        let page = read_tools(&result(json!({"tools": [values(6_000), values(4_000)]}))).unwrap();
        let fits: Vec<_> = page.tools.iter().map(|tool| tool.misfit.is_none()).collect();
        assert_eq!((fits, page.size < 10_000), (vec![false, true], true));
        let many = json!({"tools": vec![values(4_000); 13]});
        assert_eq!(refused(many), "more than 50,000 values in schemas");
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
