//! A reply's content as it is sent back: byte for byte, but for what the API would refuse.
//!
//! What is mended depends on the content and the calls alone, so a run that is resumed sends the same bytes.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::{
    Block, ToolUse,
    message::{Sent, encode},
    sendable_id,
};

/// Longest name of a tool that the API takes back (contracts/anthropic-messages.md, section 2).
const MAX_NAME: usize = 128;

/// Whether a text is one that the API refuses: empty, or nothing but Unicode white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The blocks of a content; none where that is no list.
pub(super) fn blocks_of(content: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(content.get()).unwrap_or_default()
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
        self.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The member of this name.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }
}

/// Whether a block is one of thinking.
pub(super) fn is_thinking(block: &RawValue) -> bool {
    let kind = Members::of(block).and_then(|block| block.text("type"));
    matches!(kind.as_deref(), Some("thinking" | "redacted_thinking"))
}

/// What is sent back of these blocks, `calls` being their calls as they are answered.
pub(super) fn sendable<'a>(said: &[&'a RawValue], calls: &[ToolUse]) -> Vec<Cow<'a, RawValue>> {
    let mut calls = calls.iter();
    let send = |raw: &&'a RawValue| match Block::parse(raw, None) {
        Block::Unusable => None,
        Block::Text(text) if is_blank(&text) => None,
        Block::ToolUse(asked) => Some(sendable_call(raw, &asked, calls.next().unwrap_or(&asked))),
        Block::Text(_) | Block::Other => Some(Cow::Borrowed(*raw)),
    };
    said.iter().filter_map(send).collect()
}

/// The block of a call, mended where it could not be sent back as it came.
fn sendable_call<'a>(raw: &'a RawValue, asked: &ToolUse, answered: &ToolUse) -> Cow<'a, RawValue> {
    let (id, name) = (&answered.id, &sendable_name(&asked.name));
    let has_object = asked.input.get().starts_with('{');
    if (id, name, has_object) == (&asked.id, &asked.name, true) {
        return Cow::Borrowed(raw);
    }
    let input = if has_object { &asked.input } else { &no_input() };
    Cow::Owned(encode(&Sent::ToolUse { id, name, input }))
}

/// The input of a call that has none.
pub(super) fn no_input() -> Box<RawValue> {
    encode(&serde_json::json!({}))
}

/// The name of a call as the API takes it back: `^[a-zA-Z0-9_-]{1,128}$`.
fn sendable_name(name: &str) -> String {
    match name {
        "" => "unnamed".into(),
        name => sendable_id(name).chars().take(MAX_NAME).collect(),
    }
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
        let calls: Vec<_> = calls.collect();
        let all: Vec<_> = blocks.iter().map(|block| block.get()).collect();
        let kept = sendable(&blocks_of(&content), &calls);
        let kept: Vec<_> = kept.iter().map(|block| block.get()).collect();
        (kept != all).then(|| kept.join("|"))
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
