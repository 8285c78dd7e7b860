//! What is said to the model, as the JSON it is sent as.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use super::block::{Block, ToolUse, blocks_of, encode, is_blank, sendable};

/// Fewer than a token ever has in the texts and JSON sent here, so that no estimate is too low.
pub(super) const BYTES_PER_TOKEN: u64 = 2;
/// Most tokens an image is billed as. The API scales a larger one down first; models with a high
/// resolution bill up to 4,784 tokens.
const IMAGE_TOKENS: u64 = 5_000;
/// Most tokens a page of a PDF is billed as: an image of it, and up to 3,000 tokens of its text.
const PAGE_TOKENS: u64 = IMAGE_TOKENS + 3_000;
/// Fewer base64 characters than a page of a PDF takes, with what it is drawn of: a full one has
/// thousands of characters, however well packed.
const PAGE_BYTES: u64 = 1_000;
/// Most pages the API takes in one PDF.
const MAX_PAGES: u64 = 600;
/// What stands for a result that there is no money to send.
const CUT: &str = "[cut: this result is not shown, the run's money allows no more]";
/// What is shown of a failed call that says nothing.
const SILENT: &str = "The tool failed without saying why.";

/// How long a prompt or a part of one is, in bytes of JSON. An image or a PDF counts as many as text would have
/// that is billed like it: what it is billed as has nothing to do with how long it is as base64.
pub type Weight = u64;

/// One message of a conversation. Made once and never changed, but for [`Message::strip_thinking`] and
/// [`Message::replace_attachments`].
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    pub(super) role: Role,
    /// A text, or a list of blocks.
    pub(super) content: Box<RawValue>,
    /// How many blocks its content has.
    #[serde(skip)]
    pub(super) blocks: usize,
    /// By how much it weighs more than it is long.
    #[serde(skip)]
    pub(super) attached: i64,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

impl Message {
    /// The user says `text`, which must not be blank.
    pub fn user(text: &str) -> Self {
        Self::of(Role::User, text)
    }

    /// The model said `content`, the bytes of a reply's content array, and `calls` are its calls as they are
    /// answered. `None` where it says something, and nothing that can be sent back.
    pub fn assistant(content: &RawValue, calls: &[ToolUse]) -> Option<Self> {
        let said = blocks_of(content);
        let sent = sendable(&said, calls);
        if sent.iter().map(|block| block.get()).eq(said.iter().map(|block| block.get())) {
            return Some(Self::of(Role::Assistant, content));
        }
        (!sent.is_empty()).then(|| Self::of(Role::Assistant, &sent))
    }

    /// Takes the white space from the end of the last message if the model has said that: as the end of a
    /// request it is refused.
    pub fn trim_end(messages: &mut [Self]) {
        let Some(last) = messages.last_mut() else { return };
        let mut said: Vec<_> = last.said().into_iter().map(Cow::Borrowed).collect();
        if let Some(block) = said.last_mut()
            && let Block::Text(text) = Block::parse(block, None)
            && text.trim_end() != text
        {
            *block = Cow::Owned(encode(&text_block(text.trim_end())));
            *last = Self::of(Role::Assistant, &said);
        }
    }

    /// The results of one turn's tool calls: all of them, nothing before them, and `text`, if any,
    /// behind them (section 4).
    pub fn tool_results(results: &[ToolResult], text: Option<&str>) -> Self {
        let text = text.filter(|text| !is_blank(text)).map(text_block);
        let blocks: Vec<_> = results.iter().map(ToolResult::sent).chain(text).collect();
        let attached = results.iter().map(ToolResult::attached).sum();
        Self { attached, ..Self::of(Role::User, &blocks) }
    }

    /// Said by the operator in the middle of a conversation. Only right behind a user message, as the last one
    /// (section 5.3), and only for models that [take these](super::ClaudeClient::takes_system_messages).
    pub fn system(text: &str) -> Self {
        Self::of(Role::System, text)
    }

    fn of<C: Serialize + ?Sized>(role: Role, content: &C) -> Self {
        let content = encode(content);
        let blocks = serde_json::from_str::<Vec<IgnoredAny>>(content.get());
        Self { role, blocks: blocks.map_or(1, |all| all.len()), content, attached: 0 }
    }

    /// The same with a cache marker on its last block; `None` for a content that is no list of blocks.
    pub(super) fn marked(&self) -> Option<Self> {
        // As this module writes it: the ends of the block and the list.
        let open = self.content.get().strip_suffix("}]")?;
        let marker = encode(&CacheControl::Ephemeral);
        let content = RawValue::from_string(format!(r#"{open},"cache_control":{marker}}}]"#));
        Some(Self { content: content.ok()?, ..*self })
    }

    /// The message as JSON text.
    pub fn as_json(&self) -> String {
        encode(self).get().to_owned()
    }

    /// Takes all thinking out of the model's messages; everything else stays byte for byte. Whether there
    /// was any.
    ///
    /// A message of nothing but thinking is left out: as the last one, empty, it would be a prefill, and
    /// neighbours of the same role count as one turn (sections 0 and 2). No tool result is behind such a
    /// message, for it has no call.
    pub fn strip_thinking(messages: &mut Vec<Self>) -> bool {
        let mut found = false;
        messages.retain_mut(|message| {
            let said = message.said();
            let is_kept = |raw: &&&RawValue| !matches!(Block::parse(raw, None), Block::Thinking);
            let kept: Vec<_> = said.iter().filter(is_kept).collect();
            if kept.len() == said.len() {
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

    /// Puts notes in the place of all images and PDFs in results; everything else stays byte for byte. Whether
    /// there were any.
    pub(crate) fn replace_attachments(messages: &mut [Self]) -> bool {
        let mut found = false;
        for message in messages.iter_mut().filter(|message| message.role == Role::User) {
            // As this module wrote it, and as it writes it again.
            let mut results: Vec<Value> =
                serde_json::from_str(message.content.get()).unwrap_or_default();
            // Indexing would put a null where there is no content.
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

    /// The blocks of a message of the model's.
    fn said(&self) -> Vec<&RawValue> {
        if self.role == Role::Assistant { blocks_of(&self.content) } else { Vec::new() }
    }
}

/// The answer to one `tool_use` block.
#[derive(Clone, Debug)]
pub struct ToolResult {
    /// Id of the block it answers.
    pub tool_use_id: String,
    /// What the model gets to see; may be empty.
    pub content: Vec<ResultBlock>,
    /// Whether the call failed.
    pub is_error: bool,
}

/// A block inside a tool result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultBlock {
    /// Text; left out where it is blank.
    Text(String),
    /// A base64 image of a type the API takes.
    Image {
        /// `image/jpeg`, `image/png`, `image/gif` or `image/webp`.
        media_type: String,
        /// Standard base64.
        data: String,
    },
    /// A base64 PDF.
    Pdf {
        /// Standard base64.
        data: String,
    },
}

impl ToolResult {
    /// The answer to `call`.
    pub fn of(call: &ToolUse, content: Vec<ResultBlock>, is_error: bool) -> Self {
        Self { tool_use_id: call.id.clone(), content, is_error }
    }

    /// The same in a few words, for want of money.
    #[must_use]
    pub(crate) fn as_cut(&self) -> Self {
        let (tool_use_id, is_error) = (self.tool_use_id.clone(), self.is_error);
        Self { tool_use_id, content: vec![ResultBlock::Text(CUT.to_owned())], is_error }
    }

    /// How long it is.
    pub fn weight(&self) -> Weight {
        let length = encode(&self.sent()).get().len() as u64 + 1;
        length.saturating_add_signed(self.attached())
    }

    fn attached(&self) -> i64 {
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

    fn sent(&self) -> Value {
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

/// A block of text.
pub(super) fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn media(kind: &str, media_type: &str, data: &str) -> Value {
    json!({"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}})
}

/// Marks the end of a prefix that is to be cached for 5 minutes.
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
    fn a_history_that_the_model_ends_ends_without_white_space_stripped_or_not() {
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
