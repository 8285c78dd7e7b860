//! The content blocks of a reply: what the runner reads of them, and what is sent back. Blocks are sent back
//! byte for byte, except for what the API would refuse.
//!
//! What is changed depends on the content and the calls alone, so a resumed run sends the same bytes.

use std::{borrow::Cow, collections::HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::domain::{InputHash, JsonText};

/// Longest tool name that the API accepts in a message (docs/contracts/anthropic-messages.md, section 2).
const MAX_NAME: usize = 128;

/// One content block, as far as the runner reads it.
#[derive(Clone, Debug)]
pub enum Block {
    /// A block of text.
    Text(String),
    /// A tool call, which needs a result.
    ToolUse(ToolUse),
    /// Thinking, readable or redacted. It is sent back and never read.
    Thinking,
    /// A block of another type, also of a future one. It is sent back and never read.
    Other,
    /// A value that is no block, or a text block without text. It cannot be sent back.
    Unusable,
}

/// A tool call as the model wrote it.
#[derive(Clone, Debug)]
pub struct ToolUse {
    /// Pairs the call with its result. It may be empty or not unique until [`super::Reply::calls`] has
    /// replaced it.
    pub id: String,
    /// Name of the tool in Claude's spelling; empty if it is missing.
    pub name: String,
    /// The input in a form that can be parsed. It is `null` if it is missing, until [`super::Reply::calls`]
    /// has replaced it.
    pub input: Box<RawValue>,
    /// What is known of the input as it was received, if it had to be repaired.
    pub odd: Option<OddInput>,
}

/// An input of a tool call that could not be parsed as it was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddInput {
    /// The index of the `tool_use` block in the content, from 0.
    index: usize,
    /// Hash of the input as it was received; `None` if it has none.
    hash: Option<InputHash>,
    /// Whether a value of the input was too deep or out of range and is lost: the call would not do what was
    /// asked.
    is_lossy: bool,
}

impl ToolUse {
    /// The hash of the input as the model wrote it.
    pub fn input_hash(&self) -> Option<InputHash> {
        let Some(odd) = &self.odd else { return InputHash::of_json(self.input.get()) };
        odd.hash.clone()
    }

    /// Whether a value of the input could not be read and is lost.
    pub fn is_lossy(&self) -> bool {
        self.odd.as_ref().is_some_and(|odd| odd.is_lossy)
    }
}

impl OddInput {
    /// The inputs in `content`, which is a part of this text, that could not be parsed as they were received.
    pub(super) fn of(json: &JsonText<'_>, content: &RawValue) -> Vec<Self> {
        let read = |(index, block)| {
            let received = json.received(members(block).get("input")?.get());
            received.is_odd.then(|| Self {
                index,
                hash: InputHash::of_json(received.text),
                is_lossy: received.is_lossy,
            })
        };
        blocks_of(content).into_iter().enumerate().filter_map(read).collect()
    }
}

impl Block {
    /// Parses the blocks of a content. `odd` are the inputs that could not be parsed as they were received.
    pub(super) fn parse_all(content: &RawValue, odd: &[OddInput]) -> serde_json::Result<Vec<Self>> {
        let blocks: Vec<&RawValue> = serde_json::from_str(content.get())?;
        let odd_at = |index| odd.iter().find(|odd| odd.index == index);
        let read = |(index, block)| Self::parse(block, odd_at(index));
        Ok(blocks.into_iter().enumerate().map(read).collect())
    }

    /// Parses a block. Of a block that the runner does not use, only the type is read.
    pub(super) fn parse(raw: &RawValue, odd: Option<&OddInput>) -> Self {
        let members = members(raw);
        let text = |name: &str| serde_json::from_str::<String>(members.get(name)?.get()).ok();
        match (text("type").as_deref(), text("text")) {
            (Some("text"), Some(text)) => Self::Text(text),
            (None, _) | (Some("text"), None) => Self::Unusable,
            (Some("thinking" | "redacted_thinking"), _) => Self::Thinking,
            (Some("tool_use"), _) => Self::ToolUse(ToolUse {
                id: text("id").unwrap_or_default(),
                name: text("name").unwrap_or_default(),
                input: members.get("input").map_or_else(|| encode(&()), |raw| (*raw).to_owned()),
                odd: odd.cloned(),
            }),
            _ => Self::Other,
        }
    }
}

/// The members of a block; empty if it is not an object. Of members with the same name, the last one counts.
fn members(block: &RawValue) -> HashMap<Cow<'_, str>, &RawValue> {
    serde_json::from_str(block.get()).unwrap_or_default()
}

/// The blocks of a content; empty if it is not a list.
pub(super) fn blocks_of(content: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(content.get()).unwrap_or_default()
}

/// Whether the API refuses a text as blank: it is empty, or has only Unicode white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// What is sent back for the blocks of a reply. `calls` are the reply's tool calls with the ids that the
/// results carry.
pub(super) fn sendable<'a>(blocks: &[&'a RawValue], calls: &[ToolUse]) -> Vec<Cow<'a, RawValue>> {
    let mut calls = calls.iter();
    let send = |raw: &&'a RawValue| match Block::parse(raw, None) {
        Block::Unusable => None,
        Block::Text(text) if is_blank(&text) => None,
        Block::ToolUse(asked) => Some(sendable_call(raw, &asked, calls.next().unwrap_or(&asked))),
        Block::Text(_) | Block::Thinking | Block::Other => Some(Cow::Borrowed(*raw)),
    };
    blocks.iter().filter_map(send).collect()
}

/// The block of a call, repaired if the API would refuse it.
fn sendable_call<'a>(raw: &'a RawValue, asked: &ToolUse, answered: &ToolUse) -> Cow<'a, RawValue> {
    let (id, name) = (&answered.id, &sendable_name(&asked.name));
    let has_object = asked.input.get().starts_with('{');
    if (id, name, has_object) == (&asked.id, &asked.name, true) {
        return Cow::Borrowed(raw);
    }
    let input = if has_object { &asked.input } else { &no_input() };
    Cow::Owned(encode(&MendedCall { id, name, input }))
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "tool_use")]
struct MendedCall<'a> {
    id: &'a str,
    name: &'a str,
    input: &'a RawValue,
}

/// The input that is sent back for a call without one.
pub(super) fn no_input() -> Box<RawValue> {
    encode(&json!({}))
}

/// A tool name in a form that the API accepts: `^[a-zA-Z0-9_-]{1,128}$`.
fn sendable_name(name: &str) -> String {
    if name.is_empty() {
        "unnamed".into()
    } else {
        sendable_id(name).chars().take(MAX_NAME).collect()
    }
}

/// Encodes a value of this module. Such values consist of strings, booleans and JSON that was parsed before.
pub(super) fn encode(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    #[allow(clippy::expect_used, reason = "nothing in these types can fail to encode")]
    serde_json::value::to_raw_value(value).expect("strings, booleans and JSON encode")
}

/// An id in a form that the API accepts: each character that it would refuse becomes `_`.
pub(crate) fn sendable_id(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() { "call".into() } else { id.replace(|c| !fits(c), "_") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    /// What is sent back for this content; `None` if it is the same bytes.
    fn sent(content: &str) -> Option<String> {
        let content = raw(content);
        let blocks: Vec<Box<RawValue>> = serde_json::from_str(content.get()).unwrap();
        let calls = blocks.iter().filter_map(|block| match Block::parse(block, None) {
            Block::ToolUse(call) => Some(ToolUse { id: call.id.replace('.', "_"), ..call }),
            _ => None,
        });
        let calls: Vec<_> = calls.collect();
        let all: Vec<_> = blocks.iter().map(|block| block.get()).collect();
        let kept = sendable(&blocks_of(&content), &calls);
        let kept: Vec<_> = kept.iter().map(|block| block.get()).collect();
        (kept != all).then(|| kept.join("|"))
    }

    #[test]
    fn only_what_would_be_refused_is_left_out_or_repaired() {
        let call = |rest: &str| format!(r#"[{{"type":"tool_use",{rest}}}]"#);
        let whole = r#"[ {"type":"text","text":" a "},{"type":"thinking","thinking":""} ,{"type":"new", "n":1.0}]"#;
        assert_eq!(sent(whole), None);
        assert_eq!(sent("[]"), None);
        assert_eq!(sent(&call(r#""id":"a", "name":"n","input":{"b":1.0}, "caller":{}"#)), None);
        for blank in ["", " ", "\\n\\t\\r", "\u{a0}\u{2003}", "\\u2028\\u0085", "\u{3000}"] {
            let content =
                format!(r#"[{{"type":"text","text":"{blank}"}}, {{"n":1.0, "type":"new"}}]"#);
            assert_eq!(sent(&content).as_deref(), Some(r#"{"n":1.0, "type":"new"}"#), "{blank:?}");
        }
        // These characters are invisible, but they are not white space in Unicode.
        assert_eq!(
            sent(r#"[{"type":"text","text":"\u200b"},{"type":"text","text":"\u0000"}]"#),
            None
        );
        assert_eq!(sent(r#"[7,{"type":"text"},{}]"#).as_deref(), Some(""));
        for (odd, mended) in [
            (
                r#""id":"a.b","name":"n","input":{"b":1.0}"#,
                r#""id":"a_b","name":"n","input":{"b":1.0}"#,
            ),
            (r#""id":"a","name":"n","input":null"#, r#""id":"a","name":"n","input":{}"#),
            (r#""id":"a","name":"n""#, r#""id":"a","name":"n","input":{}"#),
            (r#""id":"a","name":"n","input":[1]"#, r#""id":"a","name":"n","input":{}"#),
            (r#""id":"a","name":"n","input":"{}""#, r#""id":"a","name":"n","input":{}"#),
            (r#""id":"a","name":"","input":{}"#, r#""id":"a","name":"unnamed","input":{}"#),
            (r#""id":"a","input":{}"#, r#""id":"a","name":"unnamed","input":{}"#),
        ] {
            let mended = format!(r#"{{"type":"tool_use",{mended}}}"#);
            assert_eq!(sent(&call(odd)), Some(mended), "{odd}");
        }
    }
}
