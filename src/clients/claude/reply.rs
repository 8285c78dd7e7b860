//! What the model said.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value, value::RawValue};

use super::{
    bills::Bills,
    block::{Block, OddInput, ToolUse, encode, no_input, sendable_id},
};
use crate::domain::{Cost, JsonText, Redactor, Tokens, one_line};

/// Longest category of a refusal, in characters.
const MAX_CATEGORY: usize = 64;
/// Most that a reply weighs ([`JsonText::read`]): several times what the output tokens of one can say.
const MAX_WEIGHT: usize = 50_000;

/// What holds a history together: these are no text of the model, and a secret may be a word.
const STRUCTURE: [&str; 5] = ["type", "id", "name", "signature", "data"];

/// One reply. Serialized, it is what it takes to have it again: content, end and price.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Reply {
    /// The content array, byte for byte as it came, or as it can be read ([`JsonText`]).
    pub content: Box<RawValue>,
    /// A view of its blocks, in order.
    #[serde(skip)]
    pub blocks: Vec<Block>,
    /// Why the reply ended.
    pub stop_reason: StopReason,
    /// Category of a refusal, if the API names one.
    pub refusal: Option<String>,
    /// Its length and that of its prompt, in tokens.
    pub usage: Tokens,
    /// What it cost.
    pub cost: Cost,
    /// What is known only of the bytes received of inputs that could not be read as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd_inputs: Vec<OddInput>,
    /// Whether its length is not what the API says but the most that the request could take.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_guessed: bool,
    /// Whether the run's money allowed it fewer output tokens than were wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_rationed: bool,
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut reply = Self::deserialize(deserializer)?;
        // An earlier version kept what could not be sent again.
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
    /// The model is done.
    EndTurn,
    /// It waits for the results of its calls.
    ToolUse,
    /// It was cut off; a tool call at its end is incomplete.
    MaxTokens,
    /// A stop sequence came up; as `EndTurn`.
    StopSequence,
    /// The API wants to be called again with the same history.
    PauseTurn,
    /// The model declined; nothing of the reply is to be used.
    Refusal,
    /// The history fills the context window.
    #[serde(alias = "model_context_window_exceeded")]
    ContextWindowExceeded,
    /// None, or one this program does not know: stop, run nothing.
    #[serde(other)]
    Unknown,
}

impl StopReason {
    /// Whether the reply came to its end by itself, so that its calls are whole.
    fn is_complete(self) -> bool {
        matches!(self, Self::EndTurn | Self::ToolUse | Self::StopSequence | Self::PauseTurn)
    }

    /// Metric label.
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
    // Beside the content, whatever is missing or of an unexpected kind; the reply counts.
    #[serde(default)]
    stop_reason: Value,
    #[serde(default)]
    stop_details: Value,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    model: Value,
}

impl Reply {
    /// Reads a reply and prices it; the error says what is wrong with it.
    pub(super) fn parse(body: &[u8], bills: &Bills, most: &Tokens) -> serde_json::Result<Self> {
        let json = JsonText::of(body);
        let wire: WireReply<'_> = json.read(MAX_WEIGHT)?;
        let odd_inputs = OddInput::of(&json, wire.content);
        let blocks = Block::parse_all(wire.content, &odd_inputs)?;
        let has_content = !blocks.is_empty();
        let (usage, is_guessed, cost) = bills.book(&wire.usage, &wire.model, has_content, most);
        Ok(Self {
            content: wire.content.to_owned(),
            blocks,
            stop_reason: StopReason::deserialize(&wire.stop_reason).unwrap_or(StopReason::Unknown),
            // A longer one is not told at all: cut here, where nobody knows the persona's secrets, it
            // could end in a part of one.
            refusal: wire.stop_details["category"]
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

    /// The calls of a complete reply, in order, each with an id of its own: `known` has those of the calls
    /// before.
    pub fn calls(&self, known: &mut HashSet<String>) -> Vec<ToolUse> {
        let given: HashSet<&str> = self.tool_uses().map(|call| &*call.id).collect();
        let own_id = |call: &ToolUse| {
            let mut id = sendable_id(&call.id);
            // One that is mended does not take the one that another call came with.
            while (id != call.id && given.contains(&*id)) || !known.insert(id.clone()) {
                id = format!("{id}_{}", known.len());
            }
            let input = if call.input.get() == "null" { no_input() } else { call.input.clone() };
            ToolUse { id, input, ..call.clone() }
        };
        self.tool_uses().filter(|_| self.stop_reason.is_complete()).map(own_id).collect()
    }

    /// The text blocks, one after the other.
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

    /// The same without secrets in what the model wrote. Where there are none, byte for byte the same.
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
        }
        redacted
    }
}

#[cfg(test)]
mod tests;
