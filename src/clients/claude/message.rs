//! What is said to the model, as the JSON it is sent as.

use std::{borrow::Cow, iter::Sum, ops::Add};

use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use super::{
    ToolUse,
    definitions::CacheControl,
    replayed::{is_blank, mend, trimmed},
};

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

/// One message of a conversation. Made once and never changed, but for [`Message::strip_thinking`] and
/// [`Message::replace_attachments`].
#[derive(Clone, Debug)]
pub struct Message {
    role: Role,
    json: Box<RawValue>,
    /// How many blocks its content has.
    blocks: usize,
    attached: Weight,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

/// How long a prompt or a part of one is. What images and PDFs are billed as has nothing to do with how
/// long they are as base64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// As JSON, base64 included.
    pub bytes: u64,
    /// Base64 characters.
    pub(super) attached_bytes: u64,
    /// Most tokens the images and PDFs are billed as.
    pub(super) attached_tokens: u64,
}

impl Weight {
    /// So many bytes of JSON without attachments.
    pub fn of_bytes(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The images and PDFs of these messages alone.
    pub(super) fn attached(messages: &[Message]) -> Self {
        messages.iter().map(|message| message.attached).sum()
    }

    fn of_block(block: &ResultBlock) -> Self {
        let (data, tokens) = match block {
            ResultBlock::Text(_) => return Self::default(),
            ResultBlock::Image { data, .. } => (data.len() as u64, IMAGE_TOKENS),
            ResultBlock::Pdf { data } => {
                let pages = (data.len() as u64).div_ceil(PAGE_BYTES).min(MAX_PAGES);
                (data.len() as u64, pages * PAGE_TOKENS)
            }
        };
        Self { bytes: 0, attached_bytes: data, attached_tokens: tokens }
    }
}

impl Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            attached_bytes: self.attached_bytes + other.attached_bytes,
            attached_tokens: self.attached_tokens + other.attached_tokens,
        }
    }
}

impl Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

#[derive(Serialize)]
struct Parts<'a, C: ?Sized> {
    role: Role,
    content: &'a C,
}

impl Message {
    /// The user says `text`, which must not be blank.
    pub fn user(text: &str) -> Self {
        Self::of(Role::User, 1, text)
    }

    /// The model said `content`, the bytes of a reply's content array, and `calls` are its calls as they are
    /// answered. `None` where it says something, and nothing that can be sent back.
    pub fn assistant(content: &RawValue, calls: &[ToolUse]) -> Option<Self> {
        if let Some(blocks) = mend(content, calls) {
            return Self::of_blocks(&blocks);
        }
        let blocks = serde_json::from_str::<Vec<IgnoredAny>>(content.get());
        Some(Self::of(Role::Assistant, blocks.map_or(1, |blocks| blocks.len()), content))
    }

    /// The model said `blocks`; `None` where that is nothing.
    fn of_blocks(blocks: &[Box<RawValue>]) -> Option<Self> {
        (!blocks.is_empty()).then(|| Self::of(Role::Assistant, blocks.len(), blocks))
    }

    /// Takes the white space from the end of the last message if the model has said that: as the end of a
    /// request it is refused.
    pub fn trim_end(messages: &mut [Self]) {
        let Some(last) = messages.last_mut().filter(|last| last.role == Role::Assistant) else {
            return;
        };
        let Some(mut blocks) = last.blocks_said() else { return };
        let Some(block) = blocks.last_mut() else { return };
        if let Some(trimmed) = trimmed(block) {
            *block = trimmed;
            *last = Self::of(Role::Assistant, blocks.len(), blocks.as_slice());
        }
    }

    /// The results of one turn's tool calls: all of them, nothing before them, and `text`, if any,
    /// behind them (section 4).
    pub fn tool_results(results: &[ToolResult], text: Option<&str>) -> Self {
        let text = text.filter(|text| !is_blank(text));
        let text = text.map(|text| encode(&WireBlock::Text { text }));
        let blocks: Vec<_> = results.iter().map(ToolResult::encode).chain(text).collect();
        let attached =
            results.iter().flat_map(|result| &result.content).map(Weight::of_block).sum();
        Self { attached, ..Self::of(Role::User, blocks.len(), blocks.as_slice()) }
    }

    /// Said by the operator in the middle of a conversation. Only right behind a user message, as the
    /// last one (section 5.3), and only for models that [`super::takes_system_messages`].
    pub fn system(text: &str) -> Self {
        Self::of(Role::System, 1, text)
    }

    fn of<C: Serialize + ?Sized>(role: Role, blocks: usize, content: &C) -> Self {
        let json = encode(&Parts { role, content });
        Self { role, json, blocks, attached: Weight::default() }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The same with a cache marker on its last block; `None` for a content that is no list of blocks.
    pub(super) fn marked(&self) -> Option<Box<RawValue>> {
        // As this module writes it: the ends of the block, the list and the message.
        let open = self.as_json().strip_suffix("}]}")?;
        let marker = encode(&CacheControl::EPHEMERAL);
        RawValue::from_string(format!(r#"{open},"cache_control":{marker}}}]}}"#)).ok()
    }

    /// The message as JSON text.
    pub fn as_json(&self) -> &str {
        self.json.get()
    }

    /// How long it is.
    pub fn weight(&self) -> Weight {
        Weight { bytes: self.as_json().len() as u64, ..self.attached }
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
            let Some(blocks) = message.blocks_beside_thinking() else { return true };
            found = true;
            let stripped = Self::of_blocks(&blocks);
            let stays = stripped.is_some();
            if let Some(stripped) = stripped {
                *message = stripped;
            }
            stays
        });
        if found {
            Self::trim_end(messages);
        }
        found
    }

    /// Puts notes in the place of all images and PDFs in results; everything else stays byte for byte. Whether
    /// there were any.
    pub fn replace_attachments(messages: &mut [Self]) -> bool {
        let mut found = false;
        for message in messages.iter_mut().filter(|m| m.attached != Weight::default()) {
            // As this module wrote it, and as it writes it again.
            let Ok(mut said) = serde_json::from_str::<Value>(message.as_json()) else { continue };
            let results = said["content"].as_array_mut().into_iter().flatten();
            // Indexing would put a null where there is no content.
            let contents = results.filter_map(|result| result.get_mut("content")?.as_array_mut());
            for block in contents.flatten() {
                let what = match block["type"].as_str() {
                    Some("image") => "image",
                    Some("document") => "PDF",
                    _ => continue,
                };
                let note = format!("[{what} taken out: a request with it was refused]");
                *block = json!({"type": "text", "text": note});
            }
            let blocks = message.blocks;
            *message = Self::of(Role::User, blocks, &said["content"]);
            found = true;
        }
        found
    }

    /// The blocks that are no thinking; `None` for a message without thinking, or not of the model's.
    fn blocks_beside_thinking(&self) -> Option<Vec<Box<RawValue>>> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
        }
        let mut blocks = self.blocks_said()?;
        let all = blocks.len();
        blocks.retain(|block| {
            let kind = serde_json::from_str::<Kind<'_>>(block.get());
            !kind.is_ok_and(|kind| matches!(&*kind.r#type, "thinking" | "redacted_thinking"))
        });
        (blocks.len() < all).then_some(blocks)
    }

    /// The blocks of a message of the model's.
    fn blocks_said(&self) -> Option<Vec<Box<RawValue>>> {
        #[derive(Deserialize)]
        struct Said {
            content: Vec<Box<RawValue>>,
        }
        if self.role != Role::Assistant {
            return None;
        }
        let said: Said = serde_json::from_str(self.as_json()).ok()?;
        Some(said.content)
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

/// What is shown of a failed call that says nothing.
const SILENT: &str = "The tool failed without saying why.";

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

#[derive(Serialize)]
struct WireToolResult<'a> {
    r#type: &'static str,
    tool_use_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<WireBlock<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireBlock<'a> {
    Text { text: &'a str },
    Image { source: Source<'a> },
    Document { source: Source<'a> },
}

#[derive(Serialize)]
struct Source<'a> {
    r#type: &'static str,
    media_type: &'a str,
    data: &'a str,
}

impl ToolResult {
    /// The answer to `call`.
    pub fn of(call: &ToolUse, content: Vec<ResultBlock>, is_error: bool) -> Self {
        Self { tool_use_id: call.id.clone(), content, is_error }
    }

    /// An error that says `text`.
    pub fn error(call: &ToolUse, text: &str) -> Self {
        Self::of(call, vec![ResultBlock::Text(text.to_owned())], true)
    }

    /// The same in a few words, for want of money.
    #[must_use]
    pub fn as_cut(&self) -> Self {
        let (tool_use_id, is_error) = (self.tool_use_id.clone(), self.is_error);
        Self { tool_use_id, content: vec![ResultBlock::Text(CUT.to_owned())], is_error }
    }

    /// How long it is.
    pub fn weight(&self) -> Weight {
        let attached: Weight = self.content.iter().map(Weight::of_block).sum();
        Weight { bytes: self.encode().get().len() as u64 + 1, ..attached }
    }

    fn encode(&self) -> Box<RawValue> {
        let base64 = |media_type, data| Source { r#type: "base64", media_type, data };
        let content = self.content.iter().filter_map(|block| match block {
            ResultBlock::Text(text) if is_blank(text) => None,
            ResultBlock::Text(text) => Some(WireBlock::Text { text }),
            ResultBlock::Image { media_type, data } => {
                Some(WireBlock::Image { source: base64(media_type, data) })
            }
            ResultBlock::Pdf { data } => {
                Some(WireBlock::Document { source: base64("application/pdf", data) })
            }
        });
        let mut content: Vec<_> = content.collect();
        if content.is_empty() && self.is_error {
            content.push(WireBlock::Text { text: SILENT });
        }
        encode(&WireToolResult {
            r#type: "tool_result",
            tool_use_id: &self.tool_use_id,
            content,
            is_error: self.is_error,
        })
    }
}

/// JSON of our own making from strings, booleans and JSON that was read before.
pub(super) fn encode(value: &impl Serialize) -> Box<RawValue> {
    #[allow(clippy::expect_used, reason = "nothing in these types can fail to encode")]
    serde_json::value::to_raw_value(value).expect("strings, booleans and JSON encode")
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
                serde_json::from_str(Message::tool_results(&[result], Some(" \n")).as_json())
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
        let json = |messages: &[Message]| -> Vec<_> {
            messages.iter().map(|message| message.as_json().to_owned()).collect()
        };
        assert_eq!(json(&messages), json(&expected));
        assert_eq!(messages[1].blocks(), 3);
        assert!(!Message::replace_attachments(&mut messages), "there are none left");
    }
}
