//! What the model said.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value, value::RawValue};

use super::{
    bills::Bills,
    message::encode,
    replayed::{Members, no_input},
};
use crate::{
    domain::{Cost, InputHash, JsonText, Redactor, Tokens, one_line},
    http::HttpClient,
};

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

/// An input of a tool call as it was received, where that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddInput {
    /// The place of the `tool_use` block in the content, from 0.
    place: usize,
    /// The input's hash, as received.
    hash: Option<InputHash>,
    /// Whether a value in it was too deep or out of range: the call would not do what was asked.
    is_lossy: bool,
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut reply = Self::deserialize(deserializer)?;
        // An earlier version kept what could not be sent again.
        let stored = reply.content;
        let json = JsonText::of(stored.get().as_bytes());
        reply.content = from_raw(json.as_str()).map_err(D::Error::custom)?;
        reply.odd_inputs.extend(OddInput::of(&json, json.as_str()));
        let blocks = Block::parse_all(&reply.content, &reply.odd_inputs);
        reply.blocks = blocks.map_err(D::Error::custom)?;
        Ok(reply)
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// One content block, as far as the runner looks into it.
#[derive(Clone, Debug)]
pub enum Block {
    /// Text.
    Text(String),
    /// A tool call.
    ToolUse(ToolUse),
    /// Anything else: thinking, and types to come. Replayed, never read.
    Other,
    /// No block at all, or a text block without text. It could not be sent back.
    Unusable,
}

/// A tool call as the model wrote it.
#[derive(Clone, Debug)]
pub struct ToolUse {
    /// Pairs it with its result. May be empty, or not the only one, until [`Reply::calls`] has mended that.
    pub id: String,
    /// The tool, in Claude's spelling; empty where it is missing.
    pub name: String,
    /// Its input, as it can be read; `null` where it is missing, which [`Reply::calls`] makes `{}`.
    pub input: Box<RawValue>,
    /// What is known of the input as it was received, if that is not the same.
    pub odd: Option<OddInput>,
}

impl ToolUse {
    /// The hash of the input as the model wrote it.
    pub fn input_hash(&self) -> Option<InputHash> {
        match &self.odd {
            Some(odd) => odd.hash.clone(),
            None => InputHash::of_json(self.input.get()),
        }
    }

    /// Whether the input lacks a value that could not be read.
    pub fn is_lossy(&self) -> bool {
        self.odd.as_ref().is_some_and(|odd| odd.is_lossy)
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

/// An id as the API takes it back; others lose what it refuses.
pub fn sendable_id(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() { "call".into() } else { id.replace(|c| !fits(c), "_") }
}

impl Reply {
    /// Reads a reply and prices it; the error says what is wrong with it.
    pub(super) fn parse(
        body: &[u8],
        bills: &Bills,
        most: &Tokens,
        http: &HttpClient,
    ) -> Result<Self, String> {
        let json = JsonText::of(body);
        let wire: WireReply<'_> = json.read(MAX_WEIGHT).map_err(|error| error.to_string())?;
        let odd_inputs = OddInput::of(&json, wire.content.get());
        let mut reply = Self {
            content: wire.content.to_owned(),
            blocks: Block::parse_all(wire.content, &odd_inputs)?,
            stop_reason: StopReason::deserialize(&wire.stop_reason).unwrap_or(StopReason::Unknown),
            // A longer one is not told at all: cut here, where nobody knows the persona's secrets, it
            // could end in a part of one.
            refusal: wire.stop_details["category"]
                .as_str()
                .filter(|category| category.chars().count() <= MAX_CATEGORY)
                .map(one_line),
            usage: Tokens::default(),
            cost: Cost::default(),
            odd_inputs,
            is_guessed: false,
            is_rationed: false,
        };
        bills.book(&mut reply, (&wire.usage, &wire.model), most, http);
        Ok(reply)
    }

    /// Whether it came to its end by itself, so that its calls are whole.
    pub fn is_complete(&self) -> bool {
        use StopReason::{EndTurn, PauseTurn, StopSequence, ToolUse};
        matches!(self.stop_reason, EndTurn | ToolUse | StopSequence | PauseTurn)
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
        let calls = self.tool_uses().filter(|_| self.is_complete());
        calls.map(own_id).collect()
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
        let refusal = self.refusal.as_ref().map(|text| redactor.redact(text).into_owned());
        let Ok(mut blocks) = serde_json::from_str::<Vec<Value>>(self.content.get()) else {
            return Self { refusal, ..self.clone() };
        };
        let mut is_changed = false;
        for block in &mut blocks {
            let texts: Vec<_> = match block {
                Value::Object(members) => {
                    let is_text = |key: &str| !STRUCTURE.contains(&key);
                    members.iter_mut().filter(|(key, _)| is_text(key)).map(|(_, v)| v).collect()
                }
                other => vec![other],
            };
            for text in texts {
                is_changed |= redactor.redact_values(text);
            }
        }
        let content = is_changed.then(|| serde_json::value::to_raw_value(&blocks).ok()).flatten();
        let content = content.unwrap_or_else(|| self.content.clone());
        Self { content, refusal, ..self.clone() }
    }

    /// Whether the last block is a tool call: cut off there, its input is incomplete.
    pub fn ends_in_tool_use(&self) -> bool {
        matches!(self.blocks.last(), Some(Block::ToolUse(_)))
    }
}

impl OddInput {
    /// The inputs in `content`, a piece of this text, that could not be read as they came.
    fn of(json: &JsonText<'_>, content: &str) -> Vec<Self> {
        if !json.received(content).is_odd {
            return Vec::new();
        }
        let blocks: Vec<&RawValue> = from_raw(content).unwrap_or_default();
        let read = |(place, block): (usize, &&RawValue)| {
            let received = json.received(Members::of(block)?.raw("input")?.get());
            let hash = InputHash::of_json(received.text);
            received.is_odd.then_some(Self { place, hash, is_lossy: received.is_lossy })
        };
        blocks.iter().enumerate().filter_map(read).collect()
    }
}

impl Block {
    fn parse_all(content: &RawValue, odd: &[OddInput]) -> Result<Vec<Self>, String> {
        let blocks: Vec<&RawValue> = from_raw(content.get())?;
        let odd_at = |place| odd.iter().find(|odd| odd.place == place);
        let read = |(place, block): (usize, &&RawValue)| Self::parse(block, odd_at(place));
        Ok(blocks.iter().enumerate().map(read).collect())
    }

    /// Reads a block. Only the type is read of one the runner does not look into.
    pub(super) fn parse(raw: &RawValue, odd: Option<&OddInput>) -> Self {
        let Some(block) = Members::of(raw) else { return Self::Unusable };
        match (block.text("type").as_deref(), block.text("text")) {
            (Some("text"), Some(text)) => Self::Text(text),
            (None, _) | (Some("text"), None) => Self::Unusable,
            (Some("tool_use"), _) => {
                let id = block.text("id").unwrap_or_default();
                let name = block.text("name").unwrap_or_default();
                let input = block.raw("input").map_or_else(|| encode(&()), RawValue::to_owned);
                Self::ToolUse(ToolUse { id, name, input, odd: odd.cloned() })
            }
            _ => Self::Other,
        }
    }
}

fn from_raw<'de, T: Deserialize<'de>>(raw: &'de str) -> Result<T, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
