//! The messages of a conversation, as the JSON that is sent to the Messages API.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use super::block::{Block, ToolUse, blocks_of, encode, is_blank, sendable};

/// The number of bytes that a token is assumed to have. Tokens of the texts and JSON sent here are longer, so
/// no estimate of tokens is too low.
pub(super) const BYTES_PER_TOKEN: u64 = 2;
/// The most tokens that an image is billed as. The API scales a larger image down first; models with a high
/// resolution bill up to 4,784 tokens.
const IMAGE_TOKENS: u64 = 5_000;
/// The most tokens that a page of a PDF is billed as: an image of the page, and up to 3,000 tokens of text.
const PAGE_TOKENS: u64 = IMAGE_TOKENS + 3_000;
/// The number of base64 characters that a page of a PDF is assumed to take. A page with everything that is
/// drawn on it takes more: a full page has thousands of characters, however well they are compressed.
const PAGE_BYTES: u64 = 1_000;
/// The largest number of pages that the API accepts in one PDF.
const MAX_PAGES: u64 = 600;
/// The text that replaces a result if the run has no money left to send the result.
const CUT: &str = "[cut: this result is not shown, the run's money allows no more]";
/// The text that is sent for a failed call whose result is empty.
const SILENT: &str = "The tool failed without saying why.";

/// Length of a prompt or of a part of a prompt, in bytes of JSON. An image or a PDF counts as a text that is
/// billed like it, because its length in base64 says nothing about how many tokens it is billed as.
pub type Weight = u64;

/// One message of a conversation. Only [`Message::trim_end`], [`Message::strip_thinking`] and
/// [`Message::replace_attachments`] change a message after it was made.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    pub(super) role: Role,
    /// A string, or an array of blocks.
    pub(super) content: Box<RawValue>,
    /// Number of blocks in `content`; 1 for a string.
    #[serde(skip)]
    pub(super) blocks: usize,
    /// The message's weight minus its length in bytes, which is the correction for images and PDFs.
    #[serde(skip)]
    pub(super) extra_weight: i64,
}

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

impl Message {
    /// A message of the user. `text` must not be blank.
    pub fn user(text: &str) -> Self {
        Self::of(Role::User, text)
    }

    /// The model's message with `content`, the bytes of a reply's content array. `calls` are the reply's tool
    /// calls with the ids that the results carry. `None` if `content` has blocks and none of them can be sent
    /// back.
    pub fn assistant(content: &RawValue, calls: &[ToolUse]) -> Option<Self> {
        let blocks = blocks_of(content);
        let sent = sendable(&blocks, calls);
        if sent.iter().map(|block| block.get()).eq(blocks.iter().map(|block| block.get())) {
            return Some(Self::of(Role::Assistant, content));
        }
        (!sent.is_empty()).then(|| Self::of(Role::Assistant, &sent))
    }

    /// Removes the white space at the end of the last message if the model wrote that message. The API
    /// refuses a request that ends with such white space.
    pub fn trim_end(messages: &mut [Self]) {
        let Some(last) = messages.last_mut() else { return };
        let mut blocks: Vec<_> = last.model_blocks().into_iter().map(Cow::Borrowed).collect();
        if let Some(block) = blocks.last_mut()
            && let Block::Text(text) = Block::parse(block, None)
            && text.trim_end() != text
        {
            *block = Cow::Owned(encode(&text_block(text.trim_end())));
            *last = Self::of(Role::Assistant, &blocks);
        }
    }

    /// The results of one turn's tool calls. All results come first, then `text`, if there is one and it is
    /// not blank (section 4).
    pub fn tool_results(results: &[ToolResult], text: Option<&str>) -> Self {
        let text = text.filter(|text| !is_blank(text)).map(text_block);
        let blocks: Vec<_> = results.iter().map(ToolResult::to_json).chain(text).collect();
        let extra_weight = results.iter().map(ToolResult::extra_weight).sum();
        Self { extra_weight, ..Self::of(Role::User, &blocks) }
    }

    /// A message of the operator in the middle of a conversation. It is valid only directly after a user
    /// message, as the last message (section 5.3), and only for models that [accept system
    /// messages](super::ClaudeClient::takes_system_messages).
    pub fn system(text: &str) -> Self {
        Self::of(Role::System, text)
    }

    fn of<C: Serialize + ?Sized>(role: Role, content: &C) -> Self {
        let content = encode(content);
        // The error for a string would quote the whole string, so a string is not parsed.
        let is_list = content.get().starts_with('[');
        let list = is_list.then(|| serde_json::from_str::<Vec<IgnoredAny>>(content.get()));
        let blocks = list.and_then(Result::ok).map_or(1, |blocks| blocks.len());
        Self { role, blocks, content, extra_weight: 0 }
    }

    /// This message with a cache marker on its last block. `None` if the content is not a list of blocks.
    pub(super) fn marked(&self) -> Option<Self> {
        // This module encodes without white space, so the last block and the list end with these two
        // characters.
        let open = self.content.get().strip_suffix("}]")?;
        let marker = encode(&CacheControl::Ephemeral);
        let content = RawValue::from_string(format!(r#"{open},"cache_control":{marker}}}]"#));
        Some(Self { content: content.ok()?, ..*self })
    }

    /// The message as JSON text.
    pub fn as_json(&self) -> String {
        encode(self).get().to_owned()
    }

    /// Removes all thinking from the model's messages. Everything else keeps its bytes. Returns whether there
    /// was any thinking.
    ///
    /// A message that consists of thinking alone is removed, because an empty last message would be a
    /// prefill. It may be removed, because its neighbours then have the same role and count as one turn
    /// (sections 0 and 2). No tool result follows such a message, because it has no call.
    pub fn strip_thinking(messages: &mut Vec<Self>) -> bool {
        let mut found = false;
        messages.retain_mut(|message| {
            let blocks = message.model_blocks();
            let is_kept = |raw: &&&RawValue| !matches!(Block::parse(raw, None), Block::Thinking);
            let kept: Vec<_> = blocks.iter().filter(is_kept).collect();
            if kept.len() == blocks.len() {
                return true;
            }
            found = true;
            let stays = !kept.is_empty();
            *message = Self::of(Role::Assistant, &kept);
            stays
        });
        if found {
            Self::trim_end(messages);
        }
        found
    }

    /// Replaces all images and PDFs in tool results by notes. Everything else keeps its bytes. Returns
    /// whether there were any.
    pub(crate) fn replace_attachments(messages: &mut [Self]) -> bool {
        let mut found = false;
        for message in messages.iter_mut().filter(|message| message.role == Role::User) {
            // This module has encoded the content and encodes it again in the same way.
            let mut results: Vec<Value> =
                serde_json::from_str(message.content.get()).unwrap_or_default();
            // Indexing with `[]` would insert null where there is no content.
            let contents = results.iter_mut().filter_map(|r| r.get_mut("content")?.as_array_mut());
            let mut is_changed = false;
            for block in contents.flatten() {
                let what = match block["type"].as_str() {
                    Some("image") => "image",
                    Some("document") => "PDF",
                    _ => continue,
                };
                *block = text_block(&format!("[{what} taken out: a request with it was refused]"));
                is_changed = true;
            }
            if is_changed {
                *message = Self::of(Role::User, &results);
                found = true;
            }
        }
        found
    }

    /// The blocks of a message that the model wrote; empty for any other message.
    fn model_blocks(&self) -> Vec<&RawValue> {
        if self.role == Role::Assistant { blocks_of(&self.content) } else { Vec::new() }
    }
}

/// The result of one tool call, as the answer to its `tool_use` block.
#[derive(Clone, Debug)]
pub struct ToolResult {
    /// Id of the `tool_use` block that this result answers.
    pub tool_use_id: String,
    /// The blocks that the model gets to see; may be empty.
    pub content: Vec<ResultBlock>,
    /// Whether the call failed.
    pub is_error: bool,
}

/// A block inside a tool result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultBlock {
    /// A text. It is not sent if it is blank.
    Text(String),
    /// An image of a type that the API accepts.
    Image {
        /// `image/jpeg`, `image/png`, `image/gif` or `image/webp`.
        media_type: String,
        /// The bytes of the image in standard base64.
        data: String,
    },
    /// A PDF, which is sent as a block of type `document`.
    Pdf {
        /// The bytes of the file in standard base64.
        data: String,
    },
}

impl ToolResult {
    /// A result that answers `call`.
    pub fn of(call: &ToolUse, content: Vec<ResultBlock>, is_error: bool) -> Self {
        Self { tool_use_id: call.id.clone(), content, is_error }
    }

    /// This result with a short note as its content, for a run that has no money left for the content.
    #[must_use]
    pub(crate) fn as_cut(&self) -> Self {
        let (tool_use_id, is_error) = (self.tool_use_id.clone(), self.is_error);
        Self { tool_use_id, content: vec![ResultBlock::Text(CUT.to_owned())], is_error }
    }

    /// What the result adds to the weight of a prompt.
    pub fn weight(&self) -> Weight {
        let length = encode(&self.to_json()).get().len() as u64 + 1;
        length.saturating_add_signed(self.extra_weight())
    }

    fn extra_weight(&self) -> i64 {
        let beyond = |block: &ResultBlock| {
            let (data, tokens) = match block {
                ResultBlock::Text(_) => return 0,
                ResultBlock::Image { data, .. } => (data, IMAGE_TOKENS),
                ResultBlock::Pdf { data } => {
                    let pages = (data.len() as u64).div_ceil(PAGE_BYTES).min(MAX_PAGES);
                    (data, pages * PAGE_TOKENS)
                }
            };
            (tokens * BYTES_PER_TOKEN) as i64 - data.len() as i64
        };
        self.content.iter().map(beyond).sum()
    }

    fn to_json(&self) -> Value {
        let content = self.content.iter().filter_map(|block| match block {
            ResultBlock::Text(text) => (!is_blank(text)).then(|| text_block(text)),
            ResultBlock::Image { media_type, data } => Some(media("image", media_type, data)),
            ResultBlock::Pdf { data } => Some(media("document", "application/pdf", data)),
        });
        let mut content: Vec<_> = content.collect();
        if content.is_empty() && self.is_error {
            content.push(text_block(SILENT));
        }
        let mut sent = json!({"type": "tool_result", "tool_use_id": self.tool_use_id});
        if !content.is_empty() {
            sent["content"] = content.into();
        }
        if self.is_error {
            sent["is_error"] = true.into();
        }
        sent
    }
}

/// A content block of type `text`.
pub(super) fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn media(kind: &str, media_type: &str, data: &str) -> Value {
    json!({"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}})
}

/// Marks the end of a prefix that the API keeps in the prompt cache for 5 minutes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum CacheControl {
    Ephemeral,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_encoded_as_the_api_wants_them() {
        let result =
            |content, is_error| ToolResult { tool_use_id: "toolu_1".into(), content, is_error };
        let message = Message::tool_results(
            &[
                result(vec![], false),
                result(vec![ResultBlock::Text("nein".into())], true),
                result(
                    vec![
                        ResultBlock::Image { media_type: "image/png".into(), data: "AAAA".into() },
                        ResultBlock::Pdf { data: "BBBB".into() },
                    ],
                    false,
                ),
            ],
            None,
        );
        insta::assert_snapshot!(message.as_json());
    }

    #[test]
    fn a_result_is_never_blank_and_a_failed_one_never_silent() {
        let result = |texts: &[&str], is_error| {
            let content = texts.iter().map(|text| ResultBlock::Text((*text).into())).collect();
            let result = ToolResult { tool_use_id: "t".into(), content, is_error };
            let message: Value =
                serde_json::from_str(&Message::tool_results(&[result], Some(" \n")).as_json())
                    .unwrap();
            assert_eq!(message["content"].as_array().unwrap().len(), 1, "no blank reminder");
            message["content"][0]["content"].clone()
        };
        let text = |text: &str| serde_json::json!([{"type": "text", "text": text}]);
        for blank in [&[][..], &[""], &["\n"], &["\u{2003}", " "]] {
            assert_eq!(result(blank, false), Value::Null, "{blank:?}");
            assert_eq!(result(blank, true), text(SILENT), "{blank:?}");
        }
        assert_eq!(result(&["\n", " a\n"], true), text(" a\n"));
    }

    #[test]
    fn a_history_that_ends_with_a_message_of_the_model_has_no_white_space_at_its_end() {
        let said = |content: &str| {
            Message::assistant(&RawValue::from_string(content.into()).unwrap(), &[])
        };
        let text = r#"{"type":"text","text":"Moment …\u00a0\n"}"#;
        let trimmed = r#"{"role":"assistant","content":[{"type":"text","text":"Moment …"}]}"#;
        let mut messages = vec![said(&format!("[{text}]")).unwrap()];
        Message::trim_end(&mut messages);
        assert_eq!(messages[0].as_json(), trimmed);
        let thinking = r#"{"type":"thinking","thinking":"","signature":"s"}"#;
        let mut messages = vec![said(&format!("[{text},{thinking}]")).unwrap()];
        Message::trim_end(&mut messages);
        assert!(messages[0].as_json().contains(text), "it does not end the message");
        assert!(Message::strip_thinking(&mut messages));
        assert_eq!(messages[0].as_json(), trimmed);
        assert!(said(r#"[{"type":"text","text":" "}]"#).is_none());
    }

    #[test]
    fn the_models_own_words_are_replayed_byte_for_byte() {
        let content =
            r#"[ {"type":"thinking","thinking":"","signature":"Eq=="}, {"type":"new","new":1.0} ]"#;
        let raw: Box<RawValue> = serde_json::from_str(content).unwrap();
        let message = Message::assistant(&raw, &[]).unwrap();
        assert_eq!(message.as_json(), format!(r#"{{"role":"assistant","content":{content}}}"#));
    }
    #[test]
    fn thinking_is_taken_out_of_the_models_messages_and_the_rest_stays_byte_for_byte() {
        let said = |content: &str| {
            Message::assistant(&RawValue::from_string(content.into()).unwrap(), &[]).unwrap()
        };
        let mut messages = vec![
            Message::user("{\"type\":\"thinking\"}"),
            said(
                r#"[ {"thinking":"","type":"thinking","signature":"Eq=="} ,{"type":"text", "text":"a\u00fc"},
                {"type":"redacted_thinking","data":"x"},{ "type":"tool_use","id":"t","name":"n","input":{"n":1.0} } ]"#,
            ),
            Message::tool_results(&[], None),
            said(r#"[ {"type":"thinking","thinking":"nur das"}]"#),
            said(r#"[ {"type":"text","text":"ohne"} , {"type":"new","new":"thinking"}]"#),
        ];
        assert!(Message::strip_thinking(&mut messages));
        let json: Vec<_> = messages.iter().map(Message::as_json).collect();
        assert_eq!(
            json,
            [
                r#"{"role":"user","content":"{\"type\":\"thinking\"}"}"#,
                r#"{"role":"assistant","content":[{"type":"text", "text":"a\u00fc"},{ "type":"tool_use","id":"t","name":"n","input":{"n":1.0} }]}"#,
                r#"{"role":"user","content":[]}"#,
                r#"{"role":"assistant","content":[ {"type":"text","text":"ohne"} , {"type":"new","new":"thinking"}]}"#,
            ]
        );
        assert!(!Message::strip_thinking(&mut messages), "there is none left");
    }

    #[test]
    fn attachments_are_replaced_by_notes_and_the_rest_stays_byte_for_byte() {
        let result = |content| ToolResult { tool_use_id: "t".into(), content, is_error: false };
        let text = || ResultBlock::Text("\u{1f600} \"ä\" 1.0".into());
        let image = ResultBlock::Image { media_type: "image/png".into(), data: "AAAA".into() };
        let pdf = ResultBlock::Pdf { data: "BBBB".into() };
        let note =
            |what| ResultBlock::Text(format!("[{what} taken out: a request with it was refused]"));
        let say = |content, beside| {
            let results = [result(vec![]), result(content)];
            Message::tool_results(&results, beside)
        };
        let mut messages = vec![
            Message::user("{\"type\":\"image\"}"),
            say(vec![text(), image, text(), pdf], Some("Denk daran.")),
            say(vec![text()], None),
        ];
        let expected = [
            messages[0].clone(),
            say(vec![text(), note("image"), text(), note("PDF")], Some("Denk daran.")),
            messages[2].clone(),
        ];
        assert!(Message::replace_attachments(&mut messages));
        let json =
            |messages: &[Message]| -> Vec<_> { messages.iter().map(Message::as_json).collect() };
        assert_eq!(json(&messages), json(&expected));
        assert_eq!(messages[1].blocks, 3);
        assert!(!Message::replace_attachments(&mut messages), "there are none left");
    }
}
