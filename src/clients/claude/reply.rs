//! What the model said.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    domain::{Cost, InputHash, JsonText, Tokens, clip, one_line},
    pricing::Pricing,
};

/// Longest category of a refusal, in characters.
const MAX_CATEGORY: usize = 64;
/// Most tokens of a kind that are believed, many times what a model takes: sums of them stay numbers that the
/// journal can hold, whatever a broken peer says.
const MOST_TOKENS: u64 = 10_000_000;

/// One reply. Serialized, it is what it takes to have it again: content, end and price.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "StoredReply")]
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub odd_inputs: Vec<OddInput>,
}

/// An input of a tool call as it was received, where that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddInput {
    /// The id of the `tool_use` block.
    id: String,
    /// The input's hash, as received.
    hash: Option<InputHash>,
    /// Whether a value in it was too deep or out of range: the call would not do what was asked.
    is_lossy: bool,
}

/// A reply as it was serialized.
#[derive(Deserialize)]
struct StoredReply {
    content: Box<RawValue>,
    stop_reason: StopReason,
    refusal: Option<String>,
    usage: Tokens,
    cost: Cost,
    #[serde(default)]
    odd_inputs: Vec<OddInput>,
}

impl TryFrom<StoredReply> for Reply {
    type Error = String;

    fn try_from(stored: StoredReply) -> Result<Self, String> {
        let StoredReply { content, stop_reason, refusal, usage, cost, mut odd_inputs } = stored;
        // An earlier version kept what could not be sent again.
        let json = JsonText::of(content.get().as_bytes());
        let content: Box<RawValue> = from_raw(json.as_str())?;
        odd_inputs.extend(OddInput::of(&json, json.as_str()));
        let blocks = Block::parse_all(content.get(), &odd_inputs)?;
        Ok(Self { blocks, content, stop_reason, refusal, usage, cost, odd_inputs })
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
}

/// A tool call as the model wrote it.
#[derive(Clone, Debug)]
pub struct ToolUse {
    /// Pairs it with its result.
    pub id: String,
    /// The tool, in Claude's spelling.
    pub name: String,
    /// Its input, as it can be read.
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
    ContextWindowExceeded,
    /// None, or one this program does not know: stop, run nothing.
    Unknown,
}

impl StopReason {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("end_turn") => Self::EndTurn,
            Some("tool_use") => Self::ToolUse,
            Some("max_tokens") => Self::MaxTokens,
            Some("stop_sequence") => Self::StopSequence,
            Some("pause_turn") => Self::PauseTurn,
            Some("refusal") => Self::Refusal,
            Some("model_context_window_exceeded") => Self::ContextWindowExceeded,
            _ => Self::Unknown,
        }
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
    stop_reason: Option<String>,
    // What the contract calls optional may also be of an unexpected kind; the reply counts.
    #[serde(default)]
    stop_details: Value,
    usage: WireUsage,
}

#[derive(Deserialize)]
struct WireUsage {
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cache_creation_input_tokens: Value,
    #[serde(default)]
    cache_read_input_tokens: Value,
    #[serde(default)]
    cache_creation: Value,
}

impl WireUsage {
    fn tokens(&self) -> Tokens {
        let number = |value: &Value| value.as_u64().unwrap_or_default().min(MOST_TOKENS);
        let written = number(&self.cache_creation_input_tokens);
        let for_an_hour = number(&self.cache_creation["ephemeral_1h_input_tokens"]);
        Tokens {
            input: self.input_tokens.min(MOST_TOKENS),
            output: self.output_tokens.min(MOST_TOKENS),
            cache_read: number(&self.cache_read_input_tokens),
            cache_write_5m: written.saturating_sub(for_an_hour),
            cache_write_1h: for_an_hour,
        }
    }
}

#[derive(Deserialize)]
struct WireBlock {
    text: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
}

impl Reply {
    /// Reads a reply and prices it; the error says what is wrong with it.
    pub(super) fn parse(body: &[u8], pricing: &Pricing) -> Result<Self, String> {
        let json = JsonText::of(body);
        let wire: WireReply<'_> = from_raw(json.as_str())?;
        let odd_inputs = OddInput::of(&json, wire.content.get());
        let blocks = Block::parse_all(wire.content.get(), &odd_inputs)?;
        let usage = wire.usage.tokens();
        Ok(Self {
            content: wire.content.to_owned(),
            blocks,
            odd_inputs,
            stop_reason: StopReason::parse(wire.stop_reason.as_deref()),
            refusal: wire.stop_details["category"]
                .as_str()
                .map(|category| clip(&one_line(category), MAX_CATEGORY)),
            cost: pricing.cost(&usage),
            usage,
        })
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
        let read = |block: &&RawValue| {
            let block: HashMap<String, &RawValue> = from_raw(block.get()).ok()?;
            let received = json.received(block.get("input")?.get());
            let id = from_raw(block.get("id")?.get()).ok()?;
            let hash = InputHash::of_json(received.text);
            received.is_odd.then_some(Self { id, hash, is_lossy: received.is_lossy })
        };
        blocks.iter().filter_map(read).collect()
    }
}

impl Block {
    fn parse_all(content: &str, odd: &[OddInput]) -> Result<Vec<Self>, String> {
        let blocks: Vec<&RawValue> = from_raw(content)?;
        blocks.iter().map(|block| Self::parse(block.get(), odd)).collect()
    }

    fn parse(raw: &str, odd: &[OddInput]) -> Result<Self, String> {
        // Only the type is read of a block the runner does not look into.
        #[derive(Deserialize)]
        struct Type<'a> {
            #[serde(borrow)]
            r#type: std::borrow::Cow<'a, str>,
        }
        let kind: Type<'_> = from_raw(raw)?;
        match &*kind.r#type {
            "text" => {
                let block: WireBlock = from_raw(raw)?;
                block.text.map(Self::Text).ok_or_else(|| "a text block without text".to_owned())
            }
            "tool_use" => {
                let block: WireBlock = from_raw(raw)?;
                match (block.id, block.name, block.input) {
                    (Some(id), Some(name), Some(input)) => {
                        let odd = odd.iter().find(|odd| odd.id == id).cloned();
                        Ok(Self::ToolUse(ToolUse { id, name, input, odd }))
                    }
                    _ => Err("a tool_use block without id, name or input".to_owned()),
                }
            }
            _ => Ok(Self::Other),
        }
    }
}

fn from_raw<'de, T: Deserialize<'de>>(raw: &'de str) -> Result<T, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Result<Reply, String> {
        Reply::parse(body, &Pricing::load(None, "claude-haiku-5-5").unwrap())
    }

    fn reply(content: &str, stop_reason: &str) -> Result<Reply, String> {
        let usage = r#"{"input_tokens":12,"output_tokens":3,"cache_read_input_tokens":null}"#;
        parse(
            format!(r#"{{"content":{content},"stop_reason":{stop_reason},"usage":{usage},"x":1}}"#)
                .as_bytes(),
        )
    }

    #[test]
    fn content_is_kept_as_bytes_and_viewed_by_type() {
        let content = r#"[{"type":"thinking","thinking":"","signature":"S"},
            {"type":"text","text":" Hallo ","citations":null}, {"type":"from_the_future","a":[1]},
            {"type":"tool_use","id":"t1","name":"todo_list","input":{"b":1.0, "a":2},"caller":{}}]"#;
        let reply = reply(content, "\"tool_use\"").unwrap();
        assert_eq!(reply.content.get(), content);
        assert_eq!(reply.text(), "Hallo");
        let calls: Vec<_> = reply.tool_uses().collect();
        assert_eq!(calls.len(), 1);
        assert_eq!((calls[0].id.as_str(), calls[0].name.as_str()), ("t1", "todo_list"));
        assert_eq!(calls[0].input.get(), r#"{"b":1.0, "a":2}"#);
        assert!(reply.ends_in_tool_use());
        assert_eq!((reply.usage.input, reply.usage.output, reply.usage.cache_read), (12, 3, 0));
    }

    #[test]
    fn a_reply_is_the_same_after_it_was_stored() {
        let content = r#"[{"type":"thinking","signature":"S=="}, {"type":"tool_use",
            "id":"t1","name":"todo_list","input":{"b":1.0,"a":"\u0000"}}]"#;
        let reply = reply(content, "\"tool_use\"").unwrap();
        let stored = serde_json::to_string(&reply).unwrap();
        let again: Reply = serde_json::from_str(&stored).unwrap();
        assert_eq!(again.content.get(), content);
        assert_eq!(again.stop_reason, StopReason::ToolUse);
        assert_eq!((again.usage, again.cost), (reply.usage, reply.cost));
        assert_eq!(again.tool_uses().count(), 1);
    }

    #[test]
    fn an_odd_text_or_input_is_repaired_and_its_hash_is_that_of_what_was_received() {
        let content = r#"[{"type":"text","text":"a\ud83d"},{"type":"tool_use","id":"t1","name":"n",
            "input":{"t":"\ud83d"}},{"type":"tool_use","id":"t2","name":"n","input":{"n":1e400}},
            {"type":"tool_use","id":"t3","name":"n","input":{}}]"#;
        let reply = reply(content, "\"tool_use\"").unwrap();
        assert_eq!(reply.text(), "a\u{fffd}");
        let again: Reply = serde_json::from_str(&serde_json::to_string(&reply).unwrap()).unwrap();
        // Kept as it came by an earlier version.
        let kept = format!(
            r#"{{"content":{content},"stop_reason":"tool_use","refusal":null,"usage":{},"cost":{}}}"#,
            serde_json::to_string(&reply.usage).unwrap(),
            serde_json::to_string(&reply.cost).unwrap()
        );
        let kept: Reply = serde_json::from_str(&kept).unwrap();
        for reply in [&reply, &again, &kept] {
            let calls: Vec<_> = reply.tool_uses().collect();
            let inputs: Vec<_> = calls.iter().map(|call| call.input.get()).collect();
            assert_eq!(inputs, [r#"{"t":"\ufffd"}"#, r#"{"n":null}"#, "{}"]);
            let hashes: Vec<_> =
                calls.iter().map(|call| call.input_hash().unwrap().to_string()).collect();
            // As Node gives them for the inputs received.
            assert_eq!(hashes, ["3c265f4d42b969ac", "5b4da02351c1c209", "44136fa355b3678a"]);
            let lossy: Vec<_> = calls.iter().map(|call| call.is_lossy()).collect();
            assert_eq!(lossy, [false, true, false]);
        }
    }

    #[test]
    fn odd_optional_fields_do_not_spoil_a_paid_reply() {
        let body = r#"{"content":[],"stop_reason":"end_turn","stop_details":"none","usage":{
            "input_tokens":1,"output_tokens":2,"cache_read_input_tokens":-3,"cache_creation":7}}"#;
        let reply = parse(body.as_bytes()).unwrap();
        assert_eq!((reply.usage.prompt(), reply.refusal), (1, None));
    }

    #[test]
    fn numbers_of_tokens_beyond_belief_are_cut() {
        let body = format!(
            r#"{{"content":[],"stop_reason":"end_turn","usage":{{"input_tokens":{0},
            "output_tokens":{0},"cache_read_input_tokens":{0},"cache_creation_input_tokens":{0}}}}}"#,
            u64::MAX
        );
        let reply = parse(body.as_bytes()).unwrap();
        assert_eq!((reply.usage.input, reply.usage.prompt()), (MOST_TOKENS, 3 * MOST_TOKENS));
        // Thousands of such replies still come to a number the journal can hold.
        let most = reply.cost.total().picodollars().saturating_mul(1_000);
        assert!(i64::try_from(most).is_ok(), "{most}");
    }

    #[test]
    fn every_stop_reason_is_known_or_unknown() {
        for name in [
            "end_turn",
            "tool_use",
            "max_tokens",
            "stop_sequence",
            "pause_turn",
            "refusal",
            "model_context_window_exceeded",
        ] {
            let reason = reply("[]", &format!("\"{name}\"")).unwrap().stop_reason;
            assert_eq!(reason.as_str(), name);
        }
        for unknown in ["null", "\"compaction\"", "\"\""] {
            assert_eq!(reply("[]", unknown).unwrap().stop_reason, StopReason::Unknown);
        }
    }

    #[test]
    fn what_cannot_be_paired_or_read_is_an_error() {
        for content in [
            "null",
            "{}",
            "[1]",
            "[{}]",
            r#"[{"type":"text"}]"#,
            r#"[{"type":"tool_use","name":"x","input":{}}]"#,
            r#"[{"type":"tool_use","id":"x","input":{}}]"#,
        ] {
            assert!(reply(content, "\"end_turn\"").is_err(), "{content}");
        }
        assert!(parse(b"<html>").is_err());
        assert!(parse(br#"{"content":[],"stop_reason":"end_turn"}"#).is_err());
    }
}
