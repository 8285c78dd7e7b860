//! Converts the result of a tool into what the model gets (docs/contracts/mcp-client.md, section 2).

use crate::{
    clients::{
        claude::ResultBlock,
        mcp::{Content, ToolOutput},
    },
    domain::Redactor,
};

use super::attachment::check;

/// How many characters of text one result may have, the marker of a cut included.
const MAX_TEXT: usize = 30_000;
/// The marker at the end of a text that was cut: its number of characters stands in between.
const CUT: (&str, &str) = ("\n[cut: the result has ", " characters, this is its beginning]");
/// The text for the type of a resource that has no type.
const UNKNOWN: &str = "unknown type";
/// How many images and PDFs of one result are shown.
const MAX_ATTACHMENTS: usize = 4;

/// Maps an MCP result to content blocks. They have at most 30,000 characters of text, with a marker if the
/// text was cut, and no secret and no blank block. The number is that of the text's characters before the
/// cut. `report` is called with the reason for each attachment that is not shown.
pub(crate) fn to_blocks(
    output: &ToolOutput,
    redactor: &Redactor,
    report: impl Fn(&'static str),
) -> (Vec<ResultBlock>, u64) {
    let mut blocks: Vec<_> = output.content.iter().filter_map(|it| to_block(it, &report)).collect();
    if let (true, Some(structured)) = (blocks.is_empty(), &output.structured) {
        blocks.push(ResultBlock::Text(structured.clone()));
    }
    let mut attachments = 0;
    for block in &mut blocks {
        match block {
            ResultBlock::Text(text) => *text = redactor.redact(text).into_owned(),
            _ if attachments < MAX_ATTACHMENTS => attachments += 1,
            more => *more = ResultBlock::Text("[a further attachment is not shown]".into()),
        }
    }
    let chars = cap(&mut blocks);
    (blocks, chars as u64)
}

/// Whether a text with this number of characters is cut.
pub(super) fn is_cut(chars: u64) -> bool {
    chars > MAX_TEXT as u64
}

/// The number of the text's characters before the cut, and whether it was cut, for a result that an earlier
/// version stored without these.
pub(super) fn size_of(blocks: &[ResultBlock]) -> (u64, bool) {
    let last = texts(blocks).last().and_then(|text| text.rsplit_once(CUT.0)).map(|(_, end)| end);
    let total = last.and_then(|end| end.strip_suffix(CUT.1)?.parse().ok());
    let shown = || texts(blocks).map(|text| text.chars().count() as u64).sum();
    (total.unwrap_or_else(shown), total.is_some())
}

/// The text of a result, for rows and for the recap of the rating prompt.
pub fn text_of(blocks: &[ResultBlock]) -> String {
    texts(blocks).collect::<Vec<_>>().join("\n")
}

fn texts(blocks: &[ResultBlock]) -> impl Iterator<Item = &str> {
    blocks.iter().filter_map(|block| match block {
        ResultBlock::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn to_block(content: &Content, report: &impl Fn(&'static str)) -> Option<ResultBlock> {
    let note = |text: String| Some(ResultBlock::Text(text));
    let attach = |media_type: &str, data: &str, what: &str| match check(media_type, data) {
        Ok(_) if media_type == "application/pdf" => Some(ResultBlock::Pdf { data: data.into() }),
        Ok(_) => Some(ResultBlock::Image { media_type: media_type.into(), data: data.into() }),
        Err(why) => {
            report(why);
            let bytes = data.len() / 4 * 3;
            note(format!("[{what}, {media_type}, {bytes} bytes, not shown: {why}]"))
        }
    };
    match content {
        Content::Text(text) if text.trim().is_empty() => None,
        Content::Image { mime_type, data } => attach(mime_type, data, "image"),
        Content::Audio { mime_type, bytes } => note(format!("[audio, {mime_type}, {bytes} bytes]")),
        Content::ResourceLink { uri, name, mime_type } => {
            let kind = mime_type.as_deref().unwrap_or(UNKNOWN);
            note(format!("[resource: {name}, {uri}, {kind}]"))
        }
        Content::TextResource { uri, text } if text.trim().is_empty() => {
            note(format!("[resource {uri} is empty]"))
        }
        Content::Text(text) | Content::TextResource { text, .. } => note(text.clone()),
        Content::BlobResource { uri, mime_type, data } => {
            match mime_type.as_deref().unwrap_or(UNKNOWN) {
                kind if kind == "application/pdf" || kind.starts_with("image/") => {
                    attach(kind, data, &format!("resource {uri}"))
                }
                kind => note(format!("[resource {uri}, {kind}, {} bytes]", data.len() / 4 * 3)),
            }
        }
        Content::More(blocks) => note(format!("[{blocks} further blocks are not shown]")),
        Content::Other(kind) => note(format!("[content of type {kind} is not shown]")),
    }
}

/// Cuts the text so that all blocks together have at most [`MAX_TEXT`] characters. Returns how many they had.
fn cap(blocks: &mut Vec<ResultBlock>) -> usize {
    let total: usize = texts(blocks).map(|text| text.chars().count()).sum();
    if total <= MAX_TEXT {
        return total;
    }
    let marker = format!("{}{total}{}", CUT.0, CUT.1);
    let mut left = MAX_TEXT - marker.chars().count();
    blocks.retain_mut(|block| {
        let ResultBlock::Text(text) = block else { return true };
        *text = text.chars().take(left).collect();
        left -= text.chars().count();
        !text.is_empty()
    });
    let is_text = |block: &&mut ResultBlock| matches!(block, ResultBlock::Text(_));
    if let Some(ResultBlock::Text(last)) = blocks.iter_mut().rfind(is_text) {
        last.push_str(&marker);
    }
    total
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use devstack::picture;
    use proptest::prelude::*;

    use super::*;

    fn png_data() -> String {
        STANDARD.encode(picture::png(1, 1))
    }

    fn blocks(content: Vec<Content>) -> Vec<ResultBlock> {
        to_blocks(&ToolOutput { content, ..Default::default() }, &Redactor::default(), |_| {}).0
    }

    fn text(text: &str) -> ResultBlock {
        ResultBlock::Text(text.into())
    }

    #[test]
    fn each_kind_of_content_has_its_form() {
        let png = || Content::Image { mime_type: "image/png".into(), data: png_data() };
        let pdf = STANDARD.encode(picture::pdf(""));
        let blob = |mime_type: &str, data: &str| Content::BlobResource {
            uri: "mana://x".into(),
            mime_type: Some(mime_type.into()),
            data: data.into(),
        };
        assert_eq!(blocks(vec![Content::Text("a".into()), Content::Text("".into())]), [text("a")]);
        assert_eq!(
            blocks(vec![png()]),
            [ResultBlock::Image { media_type: "image/png".into(), data: png_data() }]
        );
        assert_eq!(
            blocks(vec![Content::Image { mime_type: "image/tiff".into(), data: "AAAA".into() }]),
            [text("[image, image/tiff, 3 bytes, not shown: images of this type are not shown]")]
        );
        assert_eq!(
            blocks(vec![Content::Image {
                mime_type: "image/png".into(),
                data: "no base64!".into()
            }]),
            [text("[image, image/png, 6 bytes, not shown: it is no base64]")]
        );
        assert_eq!(
            blocks(vec![Content::Image { mime_type: "image/jpeg".into(), data: png_data() }]),
            [text("[image, image/jpeg, 72 bytes, not shown: it is not what it is said to be]")]
        );
        assert_eq!(
            blocks(vec![Content::Audio { mime_type: "audio/wav".into(), bytes: 9 }]),
            [text("[audio, audio/wav, 9 bytes]")]
        );
        assert_eq!(
            blocks(vec![Content::ResourceLink {
                uri: "mana://n/1".into(),
                name: "Notiz".into(),
                mime_type: None
            }]),
            [text("[resource: Notiz, mana://n/1, unknown type]")]
        );
        assert_eq!(
            blocks(vec![blob("application/pdf", &pdf)]),
            [ResultBlock::Pdf { data: pdf.clone() }]
        );
        assert_eq!(
            blocks(vec![blob("application/zip", "AAAA")]),
            [text("[resource mana://x, application/zip, 3 bytes]")]
        );
        assert_eq!(
            blocks(vec![Content::Other("hologram".into())]),
            [text("[content of type hologram is not shown]")]
        );
    }

    #[test]
    fn structured_content_stands_in_for_missing_content_only() {
        let structured = Some(r#"{"n":1}"#.to_owned());
        let output = ToolOutput { structured: structured.clone(), ..Default::default() };
        assert_eq!(to_blocks(&output, &Redactor::default(), |_| {}).0, [text("{\"n\":1}")]);
        let content = vec![Content::Text("a".into())];
        let output = ToolOutput { content, structured, is_error: false };
        assert_eq!(to_blocks(&output, &Redactor::default(), |_| {}).0, [text("a")]);
        assert!(blocks(vec![]).is_empty());
    }

    #[test]
    fn attachments_are_limited_in_number() {
        let png = Content::Image { mime_type: "image/png".into(), data: png_data() };
        let shown = blocks(vec![png; 9]);
        let images = shown.iter().filter(|b| matches!(b, ResultBlock::Image { .. })).count();
        assert_eq!((images, shown.len()), (4, 9));
    }

    #[test]
    fn secrets_in_a_result_do_not_reach_the_model() {
        let output = ToolOutput {
            content: vec![Content::Text("jwt=eyJh.eyJz.c2ln pw=hunter2hunter2".into())],
            ..Default::default()
        };
        let redactor = Redactor::new(["hunter2hunter2"]);
        let (blocks, _) = to_blocks(&output, &redactor, |_| {});
        assert_eq!(blocks, [text("jwt=[redacted] pw=[redacted]")]);
    }

    proptest! {
        #[test]
        fn text_never_exceeds_the_cap_and_a_cut_shows(
            lengths in prop::collection::vec(0usize..25_000, 0..5)
        ) {
            let content = lengths.iter().map(|n| Content::Text("ü".repeat(*n))).collect();
            let output = ToolOutput { content, ..Default::default() };
            let (blocks, chars) = to_blocks(&output, &Redactor::default(), |_| {});
            let shown = text_of(&blocks);
            let newlines = lengths.len();
            prop_assert!(shown.chars().count() <= MAX_TEXT + newlines);
            let cut = lengths.iter().sum::<usize>() > MAX_TEXT;
            prop_assert_eq!(shown.contains("[cut: "), cut);
            prop_assert_eq!(size_of(&blocks), (chars, cut));
            prop_assert_eq!(is_cut(chars), cut);
        }
    }
}
