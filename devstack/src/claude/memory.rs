//! The replies that Claude served and the histories they belong to: a client must replay them byte for byte
//! (contract, sections 3 and 5.4).

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{
    prompt::{is_thinking, without_markers},
    refusal::Refusal,
    request::ParsedRequest,
    validate::call::{check_call, is_blank, is_name},
};

/// The replies served so far.
#[derive(Debug, Default)]
pub(super) struct Memory {
    replies: Vec<Reply>,
    /// Indexes of replies by the ids and signatures in their blocks.
    by_mark: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Reply {
    /// The raw text of each block.
    blocks: Vec<String>,
    values: Vec<Value>,
    model: String,
    /// Fingerprint of the whole request that the reply answered.
    history: [u8; 32],
    paused: bool,
    /// Ids of calls in this reply that another call has too.
    repeated: Vec<String>,
}

/// The origin of an assistant message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Written by the client, not by Claude.
    Foreign,
    /// A reply that was served, with the same bytes; holds its index.
    Served(usize),
}

#[derive(Deserialize)]
struct RawBody<'a> {
    #[serde(borrow)]
    messages: Vec<RawMessage<'a>>,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl Memory {
    /// Records a reply before it is served. Content that is not an array of objects is ignored: no client can
    /// replay it.
    pub(super) fn remember(&mut self, request: &ParsedRequest, content: &str, stop: Option<&str>) {
        let Some((blocks, values)) = split(content) else { return };
        let index = self.replies.len();
        let mut repeated = Vec::new();
        for mark in values.iter().filter_map(mark) {
            let served = self.by_mark.entry(mark.to_owned()).or_default();
            if !served.is_empty() {
                repeated.push(mark.to_owned());
            }
            served.push(index);
        }
        let history = History::of(&request.body).whole(&request.messages);
        let paused = stop == Some("pause_turn");
        let model = request.model.clone();
        self.replies.push(Reply { blocks, values, model, history, paused, repeated });
    }

    /// The origin of each message of `raw`, a body whose messages have a role and a content; `None`
    /// for messages of other roles.
    ///
    /// # Errors
    /// When an assistant message carries the ids or signatures of a served reply but other bytes.
    pub(super) fn trace(&self, raw: &str) -> Result<Vec<Option<Origin>>, Refusal> {
        let body: RawBody<'_> = serde_json::from_str(raw)
            .map_err(|error| Refusal::invalid("messages", &error.to_string()))?;
        body.messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                (message.role == "assistant").then(|| self.origin(index, message)).transpose()
            })
            .collect()
    }

    fn origin(&self, index: usize, message: &RawMessage<'_>) -> Result<Origin, Refusal> {
        let Some((blocks, values)) = split(message.content.get()) else {
            return Ok(Origin::Foreign);
        };
        let marks: Vec<usize> = values
            .iter()
            .filter_map(mark)
            .filter_map(|mark| self.by_mark.get(mark))
            .flatten()
            .copied()
            .collect();
        let candidates = if marks.is_empty() {
            // A reply without ids is recognised by its values, whatever its byte form.
            (0..self.replies.len()).filter(|&i| self.replies[i].is_sent_as(&values, None)).collect()
        } else {
            marks
        };
        let is_replayed = |i: &&usize| self.replies[**i].is_sent_as(&values, Some(&blocks));
        if let Some(&found) = candidates.iter().find(is_replayed) {
            return Ok(Origin::Served(found));
        }
        match candidates.is_empty() {
            true => Ok(Origin::Foreign),
            false => Err(Refusal::invalid(
                &format!("messages.{index}.content"),
                "this reply was changed since it was served: assistant content must be replayed \
                 byte for byte",
            )),
        }
    }

    /// Whether the reply ended with `pause_turn`, so that the conversation may end with it.
    pub(super) fn is_paused(&self, origin: Option<Origin>) -> bool {
        matches!(origin, Some(Origin::Served(index)) if self.replies[index].paused)
    }

    /// Checks that every replayed thinking block still follows the history that it was generated for.
    ///
    /// # Errors
    /// The first thinking block whose history differs.
    pub(super) fn check_thinking(
        &self,
        body: &Value,
        messages: &[Value],
        origins: &[Option<Origin>],
        binds: bool,
    ) -> Result<(), Refusal> {
        let model = body["model"].as_str().unwrap_or_default();
        let mut history = History::of(body);
        let mut kept_earlier = false;
        for (index, (message, origin)) in messages.iter().zip(origins).enumerate() {
            if let Some(origin) = origin {
                let thinking = position_of_thinking(&message["content"]);
                let wrong = match (origin, thinking) {
                    (Origin::Foreign, thinking) => thinking.is_some(),
                    (Origin::Served(reply), Some(_)) => {
                        let reply = &self.replies[*reply];
                        reply.model != model || (binds && reply.history != history.so_far())
                    }
                    // A client may remove the oldest thinking blocks, but not one that follows a kept block.
                    (Origin::Served(reply), None) => {
                        binds && kept_earlier && self.replies[*reply].values.iter().any(is_thinking)
                    }
                };
                if wrong {
                    return Err(unbound(index, thinking.unwrap_or_default()));
                }
                kept_earlier |= thinking.is_some();
            }
            history.add(message);
        }
        Ok(())
    }
}

impl Reply {
    /// Whether `sent` is this reply, with or without its thinking, and without the blocks that would be
    /// refused. With `raw`, the text of each block, the bytes must be equal too.
    fn is_sent_as(&self, sent: &[Value], raw: Option<&[String]>) -> bool {
        [true, false].into_iter().any(|thinks| {
            let may_stay = |value: &Value| is_sendable(value) && (thinks || !is_thinking(value));
            let kept: Vec<usize> =
                (0..self.values.len()).filter(|&i| may_stay(&self.values[i])).collect();
            kept.len() == sent.len()
                && kept.iter().enumerate().all(|(n, &i)| {
                    let (served, sent) = (&self.values[i], &sent[n]);
                    match raw {
                        Some(raw) if self.blocks[i] == raw[n] => true,
                        None if served == sent => true,
                        _ => {
                            self.is_call_with_replacements(served, sent)
                                || (n + 1 == kept.len() && self.is_end_trimmed(served, sent))
                        }
                    }
                })
        })
    }

    /// Whether `sent` is this call with the refused parts replaced.
    fn is_call_with_replacements(&self, served: &Value, sent: &Value) -> bool {
        let (Some(from), Some(to)) = (served.as_object(), sent.as_object()) else { return false };
        let is_repeated = || {
            from.get("id")
                .and_then(Value::as_str)
                .is_some_and(|id| self.repeated.iter().any(|r| r == id))
        };
        let is_call = served["type"] == "tool_use" && sent["type"] == "tool_use";
        if !is_call || (check_call(from, "").is_ok() && !is_repeated()) {
            return false;
        }
        let kept = |key: &str| from.get(key).is_none_or(|value| to.get(key) == Some(value));
        let input_kept = kept("input") || !served["input"].is_object();
        let name_kept = kept("name") || !served["name"].as_str().is_some_and(is_name);
        check_call(to, "").is_ok() && input_kept && name_kept
    }

    /// Whether `sent` is the last text of this unfinished reply without its trailing white space.
    fn is_end_trimmed(&self, served: &Value, sent: &Value) -> bool {
        let trimmed = served["text"].as_str().map(str::trim_end);
        self.paused
            && sent["type"] == "text"
            && trimmed.is_some()
            && trimmed == sent["text"].as_str()
    }
}

/// Whether the API accepts this block when a client sends it back.
fn is_sendable(block: &Value) -> bool {
    match block["type"].as_str() {
        None => false,
        Some("text") => block["text"].as_str().is_some_and(|text| !is_blank(text)),
        Some(_) => true,
    }
}

/// The refusal for the first thinking block in `messages`; `None` if there is none.
pub(super) fn refuse_thinking(messages: &[Value]) -> Option<Refusal> {
    let mut thoughts = messages.iter().map(|message| position_of_thinking(&message["content"]));
    let message = thoughts.position(|thought| thought.is_some())?;
    Some(unbound(message, position_of_thinking(&messages[message]["content"])?))
}

fn unbound(message: usize, block: usize) -> Refusal {
    Refusal::invalid(
        &format!("messages.{message}.content.{block}"),
        "Invalid `signature` in `thinking` block. The block is bound to a different conversation: \
         replay it only behind the unchanged system prompt, tools and messages it was written \
         after, or remove all thinking blocks",
    )
}

/// The raw text and the value of each block; `None` if `content` is no array.
fn split(content: &str) -> Option<(Vec<String>, Vec<Value>)> {
    let raw: Vec<&RawValue> = serde_json::from_str(content).ok()?;
    let values = serde_json::from_str(content).ok()?;
    Some((raw.into_iter().map(|block| block.get().to_owned()).collect(), values))
}

/// The id or signature that identifies a block as generated by Claude.
fn mark(block: &Value) -> Option<&str> {
    let key = match block["type"].as_str()? {
        "thinking" => "signature",
        "redacted_thinking" => "data",
        _ => "id",
    };
    block[key].as_str()
}

fn position_of_thinking(content: &Value) -> Option<usize> {
    content.as_array()?.iter().position(is_thinking)
}

/// A running fingerprint of tools, system and messages: everything that a thinking block is bound to. Cache
/// markers, thinking blocks and deferred tools are not included.
struct History(Sha256);

impl History {
    fn of(body: &Value) -> Self {
        let mut history = Self(Sha256::new());
        let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        for tool in tools.iter().filter(|tool| tool["defer_loading"] != true) {
            history.block("tools", tool);
        }
        history.content("system prompt", &body["system"]);
        history
    }

    fn whole(mut self, messages: &[Value]) -> [u8; 32] {
        for message in messages {
            self.add(message);
        }
        self.so_far()
    }

    /// Adds one message. Roles are hashed with each block, because adjacent messages of one role are merged.
    fn add(&mut self, message: &Value) {
        self.content(message["role"].as_str().unwrap_or_default(), &message["content"]);
    }

    fn content(&mut self, role: &str, content: &Value) {
        match content {
            Value::String(text) => {
                self.block(role, &serde_json::json!({"type": "text", "text": text}));
            }
            Value::Array(blocks) => {
                blocks.iter().filter(|b| !is_thinking(b)).for_each(|b| self.block(role, b));
            }
            _ => {}
        }
    }

    fn block(&mut self, role: &str, block: &Value) {
        let text = without_markers(block).to_string();
        self.0.update(format!("{role} {}:{text}\n", text.len()));
    }

    fn so_far(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}
