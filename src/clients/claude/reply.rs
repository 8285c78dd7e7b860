//! A reply of the model: how it is read, stored and redacted.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value, value::RawValue};

use super::{
    bills::Bills,
    block::{Block, OddInput, ToolUse, encode, no_input, sendable_id},
};
use crate::domain::{Cost, JsonText, Redactor, Tokens, one_line};

/// Longest category of a refusal that is kept, in characters.
const MAX_CATEGORY: usize = 64;
/// Largest weight of a reply ([`JsonText::read`]): several times what the output tokens of one reply can
/// express.
const MAX_WEIGHT: usize = 50_000;

/// Members of a block that are not redacted: they are structure and no text of the model, and a secret may be
/// a word.
const STRUCTURE: [&str; 5] = ["type", "id", "name", "signature", "data"];

/// One reply. Its serialized form has all that is needed to restore it: content, stop reason and cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Reply {
    /// The content array, byte for byte as it was received, or in a form that can be parsed ([`JsonText`]).
    pub content: Box<RawValue>,
    /// The parsed blocks of `content`, in order.
    #[serde(skip)]
    pub blocks: Vec<Block>,
    /// Why the reply ended.
    pub stop_reason: StopReason,
    /// Category of a refusal, if the API names one.
    pub refusal: Option<String>,
    /// The tokens of the reply and of its prompt.
    pub usage: Tokens,
    /// Cost of the reply and of its prompt.
    pub cost: Cost,
    /// What is known of the inputs that could not be parsed as they were received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd_inputs: Vec<OddInput>,
    /// Whether `usage` is not what the API reports but the most that the request could take.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_guessed: bool,
    /// Whether the run's money allowed the reply fewer output tokens than were wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_rationed: bool,
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut reply = Self::deserialize(deserializer)?;
        // An earlier version stored contents that cannot be sent again, so a stored content is repaired too.
        let stored = reply.content;
        let json = JsonText::of(stored.get().as_bytes());
        let content: &RawValue = serde_json::from_str(json.as_str()).map_err(D::Error::custom)?;
        reply.odd_inputs.extend(OddInput::of(&json, content));
        reply.blocks = Block::parse_all(content, &reply.odd_inputs).map_err(D::Error::custom)?;
        reply.content = content.to_owned();
        Ok(reply)
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Why a reply ended (section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model has finished its turn.
    EndTurn,
    /// The model waits for the results of its calls.
    ToolUse,
    /// The reply was cut off. A tool call at its end is incomplete.
    MaxTokens,
    /// The model wrote a stop sequence. This is handled like `EndTurn`.
    StopSequence,
    /// The API wants to be called again with the same history.
    PauseTurn,
    /// The model declined. Nothing of the reply may be used.
    Refusal,
    /// The history fills the context window.
    #[serde(alias = "model_context_window_exceeded")]
    ContextWindowExceeded,
    /// No reason, or one that this program does not know: the run stops asking, and no call of the reply is
    /// run.
    #[serde(other)]
    Unknown,
}

impl StopReason {
    /// Whether the reply ended by itself, so that its calls are complete.
    fn is_complete(self) -> bool {
        matches!(self, Self::EndTurn | Self::ToolUse | Self::StopSequence | Self::PauseTurn)
    }

    /// The API's name of the reason, which is also a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::PauseTurn => "pause_turn",
            Self::Refusal => "refusal",
            Self::ContextWindowExceeded => "model_context_window_exceeded",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Deserialize)]
struct WireReply<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    // A member other than the content may be missing or of an unexpected type. The reply is used all the
    // same.
    stop_reason: Option<Value>,
    stop_details: Option<Value>,
    usage: Option<Value>,
    model: Option<Value>,
}

impl Reply {
    /// Reads a reply and computes its cost. The error says what is wrong with the reply.
    pub(super) fn parse(body: &[u8], bills: &Bills, most: &Tokens) -> serde_json::Result<Self> {
        let json = JsonText::of(body);
        let wire: WireReply<'_> = json.read(MAX_WEIGHT)?;
        let odd_inputs = OddInput::of(&json, wire.content);
        let blocks = Block::parse_all(wire.content, &odd_inputs)?;
        let has_content = !blocks.is_empty();
        let (usage, model) = (wire.usage.unwrap_or_default(), wire.model.unwrap_or_default());
        let (usage, is_guessed, cost) = bills.book(&usage, &model, has_content, most);
        let stop_reason = StopReason::deserialize(wire.stop_reason.unwrap_or_default());
        Ok(Self {
            content: wire.content.to_owned(),
            blocks,
            stop_reason: stop_reason.unwrap_or(StopReason::Unknown),
            // A longer category is left out and not cut. The persona's secrets are not known here, so a cut
            // text could end in a part of one.
            refusal: wire.stop_details.unwrap_or_default()["category"]
                .as_str()
                .filter(|category| category.chars().count() <= MAX_CATEGORY)
                .map(one_line),
            usage,
            cost,
            odd_inputs,
            is_guessed,
            is_rationed: false,
        })
    }

    /// The calls of a complete reply, in order, each with an id of its own. `known` has the ids of all
    /// earlier calls; the new ids are added to it.
    pub fn calls(&self, known: &mut HashSet<String>) -> Vec<ToolUse> {
        let given: HashSet<&str> = self.tool_uses().map(|call| &*call.id).collect();
        let own_id = |call: &ToolUse| {
            let mut id = sendable_id(&call.id);
            // A repaired id must not be one that another call of this reply was received with.
            while (id != call.id && given.contains(&*id)) || !known.insert(id.clone()) {
                id = format!("{id}_{}", known.len());
            }
            let input = if call.input.get() == "null" { no_input() } else { call.input.clone() };
            ToolUse { id, input, ..call.clone() }
        };
        self.tool_uses().filter(|_| self.stop_reason.is_complete()).map(own_id).collect()
    }

    /// The text of all text blocks, each trimmed and on a line of its own.
    pub fn text(&self) -> String {
        let texts = self.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.trim()),
            _ => None,
        });
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// The tool calls, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = &ToolUse> {
        self.blocks.iter().filter_map(|block| match block {
            Block::ToolUse(call) => Some(call),
            _ => None,
        })
    }

    /// This reply without secrets in what the model wrote. If it contains no secret, its content keeps its
    /// bytes.
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let mut redacted = self.clone();
        redacted.refusal = self.refusal.as_ref().map(|text| redactor.redact(text).into_owned());
        let mut blocks: Vec<Value> = serde_json::from_str(self.content.get()).unwrap_or_default();
        let mut is_changed = false;
        for block in &mut blocks {
            match block {
                Value::Object(members) => {
                    let texts =
                        members.iter_mut().filter(|(key, _)| !STRUCTURE.contains(&key.as_str()));
                    texts.for_each(|(_, text)| is_changed |= redactor.redact_values(text));
                }
                other => is_changed |= redactor.redact_values(other),
            }
        }
        if is_changed {
            redacted.content = encode(&blocks);
            // A content that was encoded here always parses.
            redacted.blocks =
                Block::parse_all(&redacted.content, &redacted.odd_inputs).unwrap_or_default();
        }
        redacted
    }
}

#[cfg(test)]
mod tests;
