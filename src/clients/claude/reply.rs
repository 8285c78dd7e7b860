//! What the model said.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    domain::{Cost, Redactor, Tokens, one_line},
    pricing::Pricing,
};

/// Longest category of a refusal, in characters.
const MAX_CATEGORY: usize = 64;
/// Most tokens of a kind that are believed, many times what a model takes: sums of them stay numbers that the
/// journal can hold, whatever a broken peer says.
const MOST_TOKENS: u64 = 10_000_000;

/// What holds a history together: these are no text of the model, and a secret may be a word.
const STRUCTURE: [&str; 5] = ["type", "id", "name", "signature", "data"];

/// One reply. Serialized, it is what it takes to have it again: content, end and price.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "StoredReply")]
pub struct Reply {
    /// The content array, byte for byte.
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
}

/// A reply as it was serialized.
#[derive(Deserialize)]
struct StoredReply {
    content: Box<RawValue>,
    stop_reason: StopReason,
    refusal: Option<String>,
    usage: Tokens,
    cost: Cost,
}

impl TryFrom<StoredReply> for Reply {
    type Error = String;

    fn try_from(stored: StoredReply) -> Result<Self, String> {
        let StoredReply { content, stop_reason, refusal, usage, cost } = stored;
        Ok(Self { blocks: Block::parse_all(&content)?, content, stop_reason, refusal, usage, cost })
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
    /// Its input, byte for byte.
    pub input: Box<RawValue>,
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
struct WireReply {
    content: Box<RawValue>,
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
        let wire: WireReply = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let blocks = Block::parse_all(&wire.content)?;
        let usage = wire.usage.tokens();
        Ok(Self {
            content: wire.content,
            blocks,
            stop_reason: StopReason::parse(wire.stop_reason.as_deref()),
            // A longer one is not told at all: cut here, where nobody knows the persona's secrets, it
            // could end in a part of one.
            refusal: wire.stop_details["category"]
                .as_str()
                .filter(|category| category.chars().count() <= MAX_CATEGORY)
                .map(one_line),
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

    /// The same without secrets in what the model wrote. Where there are none, byte for byte the same.
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let refusal = self.refusal.as_ref().map(|text| redactor.redact(text).into_owned());
        let Ok(mut blocks) = from_raw::<Vec<Map<String, Value>>>(&self.content) else {
            return Self { refusal, ..self.clone() };
        };
        let texts =
            blocks.iter_mut().flatten().filter(|(key, _)| !STRUCTURE.contains(&key.as_str()));
        let changed = texts.map(|(_, value)| redactor.redact_values(value));
        let is_changed = changed.filter(|changed| *changed).count() > 0;
        let content = is_changed.then(|| serde_json::value::to_raw_value(&blocks).ok()).flatten();
        let content = content.unwrap_or_else(|| self.content.clone());
        Self { content, refusal, ..self.clone() }
    }

    /// Whether the last block is a tool call: cut off there, its input is incomplete.
    pub fn ends_in_tool_use(&self) -> bool {
        matches!(self.blocks.last(), Some(Block::ToolUse(_)))
    }
}

impl Block {
    fn parse_all(content: &RawValue) -> Result<Vec<Self>, String> {
        let blocks: Vec<Box<RawValue>> = from_raw(content)?;
        blocks.iter().map(|block| Self::parse(block)).collect()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
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
                        Ok(Self::ToolUse(ToolUse { id, name, input }))
                    }
                    _ => Err("a tool_use block without id, name or input".to_owned()),
                }
            }
            _ => Ok(Self::Other),
        }
    }
}

fn from_raw<'de, T: Deserialize<'de>>(raw: &'de RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
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

    #[test]
    fn what_the_model_wrote_loses_secrets_and_the_structure_and_other_replies_stay() {
        let content = r#"[ {"type":"tool_use","id":"toolu_1","name":"todo_create",
            "input":{"s3cret-pw":"s3cret-pw","n":[1.0,"text"]}},{"type":"text","text":"a\u00fc s3cret-pw"} ]"#;
        let reply = reply(content, "\"tool_use\"").unwrap();
        for other in ["toolu_1", "todo_create", "tool_use", "elsewhere"] {
            let redacted = reply.redacted(&Redactor::new([other]));
            assert_eq!(redacted.content.get(), content, "{other}");
        }
        let redacted = reply.redacted(&Redactor::new(["s3cret-pw"]));
        assert_eq!(
            redacted.content.get(),
            r#"[{"type":"tool_use","id":"toolu_1","name":"todo_create","input":{"s3cret-pw":"[redacted]","n":[1.0,"text"]}},{"type":"text","text":"aü [redacted]"}]"#
        );
    }
}
