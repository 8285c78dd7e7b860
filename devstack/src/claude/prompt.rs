//! A request as the prompt cache reads it: its blocks in the order tools, system, messages, each with the
//! fingerprint and the size of everything up to its end (contract, section 5.1).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::request::ParsedRequest;

const BYTES_PER_TOKEN: usize = 4;

/// Fingerprint of a prompt up to the end of one block.
pub(super) type Prefix = [u8; 32];

/// Lifetime of a cache entry after its last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    FiveMinutes,
    OneHour,
}

/// One block, with the fingerprint and the size of the prompt up to its end.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub prefix: Prefix,
    /// Tokens of the prompt up to the end of this block.
    pub tokens: u64,
    pub marker: Option<Lifetime>,
    /// Whether a cache marker is valid on this block. Thinking and empty text are cached only as part of a
    /// longer prefix.
    cacheable: bool,
}

/// The blocks of one request, as the cache reads them.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub blocks: Vec<Block>,
    /// Smallest prefix that is cached, in tokens.
    pub minimum: u64,
}

impl Prompt {
    pub(super) fn of(request: &ParsedRequest) -> Self {
        let body = &request.body;
        let mut reader = Reader::default();
        reader.mix("model", &request.model);
        // Deferred tools are loaded when they are needed, not with the prompt.
        for tool in request.tools.iter().filter(|tool| tool["defer_loading"] != true) {
            reader.block("tools", tool);
        }
        reader.mix("speed", &body["speed"]);
        reader.content("system prompt", &body["system"]);
        let has_images = request.messages.iter().any(|message| has_image(&message["content"]));
        for (name, setting) in [
            ("tool_choice", &body["tool_choice"]),
            ("thinking", &body["thinking"]),
            ("effort", &body["output_config"]["effort"]),
            ("format", &body["output_config"]["format"]),
            ("images", &Value::Bool(has_images)),
        ] {
            reader.mix(name, setting);
        }
        for message in &request.messages {
            reader.content(message["role"].as_str().unwrap_or_default(), &message["content"]);
        }
        let mut blocks = reader.blocks;
        if let Some(automatic) = lifetime(body.get("cache_control"))
            && let Some(last) = blocks.iter_mut().rev().find(|block| block.cacheable)
        {
            last.marker.get_or_insert(automatic);
        }
        let minimum = request.model().map_or(u64::MAX, |model| model.cache_minimum);
        Self { blocks, minimum }
    }

    /// Tokens of the whole prompt: the sum over all blocks.
    pub(super) fn tokens(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.tokens)
    }
}

/// Reads a prompt block by block.
#[derive(Default)]
struct Reader {
    so_far: Sha256,
    tokens: u64,
    blocks: Vec<Block>,
}

impl Reader {
    /// Adds a setting that is part of every later fingerprint without being a block.
    fn mix(&mut self, name: &str, setting: impl ToString) {
        let setting = setting.to_string();
        self.so_far.update(format!("{name} {}:{setting}\n", setting.len()));
    }

    /// Adds a string or an array of blocks. Roles are hashed with each block, because adjacent messages of
    /// one role are merged.
    fn content(&mut self, role: &str, content: &Value) {
        match content {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => self.block(role, &json!({"type": "text", "text": text})),
            Value::Array(blocks) => blocks.iter().for_each(|block| self.block(role, block)),
            _ => {}
        }
    }

    fn block(&mut self, role: &str, block: &Value) {
        let text = without_markers(block).to_string();
        self.tokens += tokens_of(&text);
        self.mix(role, text);
        self.blocks.push(Block {
            prefix: self.so_far.clone().finalize().into(),
            tokens: self.tokens,
            marker: marker(block),
            cacheable: !is_thinking(block) && (block["type"] != "text" || block["text"] != ""),
        });
    }
}

/// Number of tokens that this text counts as.
pub(super) fn tokens_of(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

/// Tokens that these tools are counted as, at the beginning of a prompt.
pub fn tokens_of_tools(tools: &[Value]) -> u64 {
    tools.iter().map(|tool| tokens_of(&without_markers(tool).to_string())).sum()
}

pub(super) fn is_thinking(block: &Value) -> bool {
    matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
}

/// The block without cache markers on itself or on the parts of a tool result.
pub(super) fn without_markers(block: &Value) -> Value {
    let mut block = block.clone();
    if let Some(map) = block.as_object_mut() {
        map.shift_remove("cache_control");
        if let Some(parts) = map.get_mut("content").and_then(Value::as_array_mut) {
            for part in parts.iter_mut().filter_map(Value::as_object_mut) {
                part.shift_remove("cache_control");
            }
        }
    }
    block
}

/// The marker on a block. A marker on a part of a tool result counts for the whole result.
fn marker(block: &Value) -> Option<Lifetime> {
    let parts = block["content"].as_array().into_iter().flatten();
    let mut marked = parts.filter_map(|part| part.get("cache_control"));
    lifetime(block.get("cache_control").or_else(|| marked.next_back()))
}

fn lifetime(marker: Option<&Value>) -> Option<Lifetime> {
    match marker?["ttl"] == "1h" {
        true => Some(Lifetime::OneHour),
        false => Some(Lifetime::FiveMinutes),
    }
}

fn has_image(content: &Value) -> bool {
    let mut blocks = content.as_array().into_iter().flatten();
    blocks.any(|block| block["type"] == "image" || has_image(&block["content"]))
}
