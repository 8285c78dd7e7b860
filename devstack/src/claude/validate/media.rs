//! Images and PDFs: whether they can be decoded, and their size (contract, section 11).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Checked, Refusal, shape::under};
use crate::picture::crc32;

/// Media types of images that the API accepts.
pub(super) const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const MAX_SIDE: u64 = 8_000;
/// `MAX_SIDE_OF_MANY` applies to a request with more images than this.
const MANY: usize = 20;
const MAX_SIDE_OF_MANY: u64 = 2_000;

/// Checks one image by itself; `block` is its path.
pub(super) fn check_image(bytes: &[u8], media_type: &str, block: &str) -> Checked {
    let Some(decoded) = decode(bytes) else {
        return Err(Refusal::invalid(block, "Could not process image"));
    };
    if decoded.media_type != media_type {
        let message = format!("Image does not match the provided media type {media_type}");
        return Err(Refusal::invalid(&under(block, "source.data"), &message));
    }
    if decoded.side > MAX_SIDE {
        return Err(too_large(block, "max allowed size: 8000 pixels"));
    }
    Ok(())
}

/// Checks the limits that apply to all images of a request together.
pub(super) fn check_sizes(messages: &[Value]) -> Checked {
    let mut found = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        images(&message["content"], &format!("messages.{index}.content"), &mut found);
    }
    if found.len() <= MANY {
        return Ok(());
    }
    for (path, data) in found {
        let side = STANDARD.decode(data).ok().and_then(|bytes| decode(&bytes));
        if side.is_some_and(|image| image.side > MAX_SIDE_OF_MANY) {
            let most = "max allowed size for many-image requests: 2000 pixels";
            return Err(too_large(&path, most));
        }
    }
    Ok(())
}

fn too_large(block: &str, most: &str) -> Refusal {
    let message = format!("At least one of the image dimensions exceed {most}");
    Refusal::invalid(&under(block, "image.source.base64.data"), &message)
}

/// Collects the images in a message or a tool result, with their paths.
fn images<'a>(content: &'a Value, path: &str, found: &mut Vec<(String, &'a str)>) {
    for (index, block) in content.as_array().into_iter().flatten().enumerate() {
        let path = under(path, index);
        match block["type"].as_str() {
            Some("image") => {
                let data = block["source"]["data"].as_str().unwrap_or_default();
                found.push((path, data));
            }
            Some("tool_result") => images(&block["content"], &under(&path, "content"), found),
            _ => {}
        }
    }
}

struct Decoded {
    media_type: &'static str,
    /// Length of the longer side, in pixels.
    side: u64,
}

/// The type and size of an image; `None` if it is incomplete or not an image.
fn decode(bytes: &[u8]) -> Option<Decoded> {
    let (media_type, (width, height)) = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ("image/png", png(bytes)?),
        [0xff, 0xd8, ..] => ("image/jpeg", jpeg(bytes)?),
        [b'G', b'I', b'F', ..] => ("image/gif", gif(bytes)?),
        [b'R', b'I', b'F', b'F', ..] => ("image/webp", webp(bytes)?),
        _ => return None,
    };
    (width > 0 && height > 0).then_some(Decoded { media_type, side: width.max(height) })
}

/// The `count` bytes at `at` as a big-endian number.
fn big(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + count)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The `count` bytes at `at` as a little-endian number.
fn little(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + count)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn png(bytes: &[u8]) -> Option<(u64, u64)> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR") {
        return None;
    }
    let (mut at, mut pixels) = (8, 0);
    loop {
        let length = usize::try_from(big(bytes, at, 4)?).ok()?;
        let chunk = bytes.get(at + 4..at + 8 + length)?;
        if big(bytes, at + 8 + length, 4)? != u64::from(crc32(chunk)) {
            return None;
        }
        match &chunk[..4] {
            b"IDAT" => pixels += length,
            b"IEND" => break,
            _ => {}
        }
        at += length + 12;
    }
    (pixels > 0).then_some((big(bytes, 16, 4)?, big(bytes, 20, 4)?))
}

fn jpeg(bytes: &[u8]) -> Option<(u64, u64)> {
    let (mut at, mut sides) = (2, None);
    while big(bytes, at, 1)? == 0xff {
        let marker = big(bytes, at + 1, 1)?;
        if marker == 0xff {
            at += 1;
            continue;
        }
        if marker == 0xda {
            return bytes[at..].windows(2).any(|end| end == [0xff, 0xd9]).then_some(sides?);
        }
        if (0xc0..0xd0).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            sides = Some((big(bytes, at + 7, 2)?, big(bytes, at + 5, 2)?));
        }
        at += 2 + usize::try_from(big(bytes, at + 2, 2)?).ok()?;
    }
    None
}

fn gif(bytes: &[u8]) -> Option<(u64, u64)> {
    let table = |flags: u64| if flags > 127 { 3 << (flags % 8 + 1) } else { 0 };
    let mut at = 13 + table(big(bytes, 10, 1)?);
    loop {
        at += match big(bytes, at, 1)? {
            0x3b => return Some((little(bytes, 6, 2)?, little(bytes, 8, 2)?)),
            0x21 => 2,
            0x2c => 11 + table(big(bytes, at + 9, 1)?),
            _ => return None,
        };
        loop {
            let length = usize::try_from(big(bytes, at, 1)?).ok()?;
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

fn webp(bytes: &[u8]) -> Option<(u64, u64)> {
    let length = usize::try_from(little(bytes, 4, 4)?).ok()?;
    if bytes.get(8..12)? != b"WEBP" || bytes.len() < length + 8 {
        return None;
    }
    match bytes.get(12..16)? {
        b"VP8 " => Some((little(bytes, 26, 2)? & 0x3fff, little(bytes, 28, 2)? & 0x3fff)),
        b"VP8L" => {
            let bits = little(bytes, 21, 4)?;
            Some((bits % 0x4000 + 1, bits / 0x4000 % 0x4000 + 1))
        }
        b"VP8X" => Some((little(bytes, 24, 3)? + 1, little(bytes, 27, 3)? + 1)),
        _ => None,
    }
}

/// Checks a PDF; `block` is its path.
pub(super) fn check_pdf(bytes: &[u8], block: &str) -> Checked {
    let text = String::from_utf8_lossy(bytes);
    let refuse = |message| Err(Refusal::invalid(&under(block, "pdf.source.base64.data"), message));
    let is_whole = text.trim_end().ends_with("%%EOF") && text.contains("startxref");
    if !text.starts_with("%PDF-") || !is_whole {
        return refuse("The PDF specified was not valid.");
    }
    let trailer = text.rfind("trailer").map_or("", |at| &text[at..]);
    if trailer.replace("/EncryptMetadata", "").contains("/Encrypt") {
        return refuse("The PDF specified is password protected.");
    }
    Ok(())
}
