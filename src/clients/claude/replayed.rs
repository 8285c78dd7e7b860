//! A reply's content as it is sent back: byte for byte, but for what the API would refuse.
//!
//! What is mended depends on the content and the calls alone, so a run that is resumed sends the same bytes.

use std::{borrow::Cow, collections::HashMap};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Block, ToolUse, message::encode, sendable_id};

/// Longest name of a tool that the API takes back (contracts/anthropic-messages.md, section 2).
const MAX_NAME: usize = 128;

/// Whether a text is one that the API refuses: empty, or nothing but Unicode white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The members of a block. Of members with the same name, the last one counts.
pub(super) struct Members<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// `None` for what is no object.
    pub(super) fn of(block: &'a RawValue) -> Option<Self> {
        serde_json::from_str(block.get()).ok().map(Self)
    }

    /// The member of this name, if it is a text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The member of this name, unless it is `null`.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|raw| raw.get() != "null")
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Mended<'a> {
    Text { text: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: &'a RawValue },
}

/// The blocks of `content` that are sent back, `calls` being its calls as they are answered. `None` where all
/// of them are, as they came.
pub(super) fn mend(content: &RawValue, calls: &[ToolUse]) -> Option<Vec<Box<RawValue>>> {
    let blocks: Vec<Box<RawValue>> = serde_json::from_str(content.get()).ok()?;
    let (all, mut is_changed) = (blocks.len(), false);
    let mut calls = calls.iter();
    let kept = blocks.into_iter().filter_map(|raw| match Block::parse(&raw, None) {
        Block::Unusable => None,
        Block::Text(text) if is_blank(&text) => None,
        Block::ToolUse(asked) => {
            let call = calls.next().unwrap_or(&asked);
            let mended = mended_call(&raw, call);
            is_changed |= mended.is_some();
            Some(mended.unwrap_or(raw))
        }
        Block::Text(_) | Block::Other => Some(raw),
    });
    let kept: Vec<_> = kept.collect();
    (is_changed || kept.len() < all).then_some(kept)
}

/// The block of this call where it could not be sent back as it came.
fn mended_call(raw: &RawValue, call: &ToolUse) -> Option<Box<RawValue>> {
    let members = Members::of(raw)?;
    let name = members.text("name").filter(|name| sendable_name(name) == *name);
    let is_object = |input: &RawValue| input.get().starts_with('{');
    if members.text("id").as_ref() == Some(&call.id)
        && name.is_some()
        && members.raw("input").is_some_and(is_object)
    {
        return None;
    }
    let name = &*sendable_name(&call.name);
    let empty = no_input();
    let input = if is_object(&call.input) { &*call.input } else { &*empty };
    Some(encode(&Mended::ToolUse { id: &call.id, name, input }))
}

/// The name of a call as the API takes it back: `^[a-zA-Z0-9_-]{1,128}$`.
fn sendable_name(name: &str) -> String {
    let spelled = sendable_id(name);
    match name.is_empty() {
        true => "unnamed".into(),
        false => spelled.chars().take(MAX_NAME).collect(),
    }
}

/// The input of a call that has none.
pub(super) fn no_input() -> Box<RawValue> {
    encode(&HashMap::<(), ()>::new())
}

/// A text block that ends in white space, without that; `None` for any other block.
pub(super) fn trimmed(block: &RawValue) -> Option<Box<RawValue>> {
    let Block::Text(text) = Block::parse(block, None) else { return None };
    let kept = text.trim_end();
    (kept.len() < text.len()).then(|| encode(&Mended::Text { text: kept }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    /// What is sent back of this content; `None` where it is the same bytes.
    fn sent(content: &str) -> Option<String> {
        let content = raw(content);
        let blocks: Vec<Box<RawValue>> = serde_json::from_str(content.get()).unwrap();
        let calls = blocks.iter().filter_map(|block| match Block::parse(block, None) {
            Block::ToolUse(call) => Some(ToolUse { id: call.id.replace('.', "_"), ..call }),
            _ => None,
        });
        let kept = mend(&content, &calls.collect::<Vec<_>>())?;
        Some(kept.iter().map(|block| block.get()).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn only_what_would_be_refused_is_left_out_or_mended() {
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
        // No white space by Unicode, however little there is to see.
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
