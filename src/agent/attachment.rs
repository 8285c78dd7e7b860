//! Checks whether Claude accepts an image or a PDF (docs/contracts/anthropic-messages.md, section 11).
//!
//! Claude refuses a whole request, and so ends the run, if one attachment in it is unreadable or too large.
//! The checks read the header and the end of a file; nothing is decompressed.

use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memmem;

use crate::clients::claude::ResultBlock;

const TYPES: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];
/// Largest image or PDF, in base64 characters.
const MAX_DATA: usize = 3 << 20;
/// Largest width and height of an image, in pixels.
const MAX_SIDE: u32 = 8_000;
/// Largest width and height in a request with more than [`FEW`] images, in pixels.
const MAX_SIDE_AMONG_MANY: u32 = 2_000;
const FEW: usize = 20;
/// How many base64 characters of images and PDFs a history may have in total. The API allows 32 MB for a
/// request.
const MAX_ATTACHED: usize = 16 << 20;
/// How many bytes at the end of a PDF are searched for its end marker.
const PDF_END: usize = 2_048;

/// The reason why an attachment cannot be shown to the model.
pub(super) type Unshown = &'static str;

const CUT: Unshown = "it is cut off or broken";
const OTHER: Unshown = "it is not what it is said to be";

/// Checks the base64 `data` of an attachment. Returns the longer side of an image in pixels, and 0 for a PDF.
pub(super) fn check(media_type: &str, data: &str) -> Result<u32, Unshown> {
    if !TYPES.contains(&media_type) {
        return Err("images of this type are not shown");
    }
    if data.len() > MAX_DATA {
        return Err("it is too large");
    }
    let bytes = STANDARD.decode(data).map_err(|_| "it is no base64")?;
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let (is_of_type, sides) = match media_type {
        "image/png" => (begins(b"\x89PNG\r\n\x1a\n"), png(&bytes)),
        "image/jpeg" => (begins(b"\xff\xd8\xff"), jpeg(&bytes)),
        "image/gif" => (begins(b"GIF87a") || begins(b"GIF89a"), gif(&bytes)),
        "image/webp" => (begins(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"), webp(&bytes)),
        _ => return pdf(&bytes),
    };
    let (width, height) = if is_of_type { sides.ok_or(CUT)? } else { return Err(OTHER) };
    match width.max(height) {
        _ if width == 0 || height == 0 => Err(CUT),
        side if side > MAX_SIDE => Err("it is wider or higher than 8,000 pixels"),
        side => Ok(side),
    }
}

/// Width and height in pixels.
type Sides = (u32, u32);

/// The sides of a PNG. `None` if a chunk is missing or cut off, the last one (IEND) included.
fn png(bytes: &[u8]) -> Option<Sides> {
    let (mut rest, mut sides, mut has_data) = (bytes.get(8..)?, None, false);
    loop {
        let be32 = |offset| Some(u32::from_be_bytes(bytes_at(rest, offset)?));
        let length = usize::try_from(be32(0)?).ok()?;
        // Besides its data, a chunk has 12 bytes: length, type and checksum.
        let next = rest.get(length.checked_add(12)?..)?;
        match rest.get(4..8)? {
            b"IHDR" if sides.is_none() => sides = Some((be32(8)?, be32(12)?)),
            b"IDAT" => has_data = true,
            b"IEND" => return sides.filter(|_| has_data),
            _ => {}
        }
        rest = next;
    }
}

/// The sides of a JPEG. `None` if its image data is cut off.
fn jpeg(bytes: &[u8]) -> Option<Sides> {
    let (mut rest, mut sides) = (bytes.get(2..)?, None);
    loop {
        // A marker begins with one or more 0xff bytes.
        let fill = rest.iter().position(|byte| *byte != 0xff).filter(|fill| *fill > 0)?;
        let (kind, after) = rest[fill..].split_first()?;
        let length = usize::from(u16::from_be_bytes(bytes_at(after, 0)?));
        let segment = after.get(..length)?;
        let be16 = |offset| Some(u16::from_be_bytes(bytes_at(segment, offset)?).into());
        match kind {
            // A frame header. The three excluded markers are no frame headers.
            0xc0..=0xcf if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => {
                sides = Some((be16(5)?, be16(3)?));
            }
            // The image data begins here. The end marker must follow it.
            0xda => return memmem::find(after, b"\xff\xd9").and(sides),
            _ => {}
        }
        rest = after.get(length.max(2)..)?;
    }
}

/// The sides of a GIF. `None` if a block is missing or cut off, or if the GIF has no image.
fn gif(bytes: &[u8]) -> Option<Sides> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 6_usize << (flags & 7) };
    let le16 = |offset| Some(u16::from_le_bytes(bytes_at(bytes, offset)?).into());
    let sides = (le16(6)?, le16(8)?);
    let (mut rest, mut has_picture) = (bytes.get(13 + table(*bytes.get(10)?)..)?, false);
    loop {
        rest = match rest.first()? {
            0x3b => return has_picture.then_some(sides),
            0x21 => rest.get(2..)?,
            0x2c => {
                has_picture = true;
                rest.get(11 + table(*rest.get(9)?)..)?
            }
            _ => return None,
        };
        // Sub-blocks of up to 255 bytes follow. An empty sub-block ends them.
        let mut length = usize::MAX;
        while length > 0 {
            length = usize::from(*rest.first()?);
            rest = rest.get(1 + length..)?;
        }
    }
}

/// The sides of a WebP. `None` if the file is shorter than its header says.
fn webp(bytes: &[u8]) -> Option<Sides> {
    let le32 = |offset| Some(u32::from_le_bytes(bytes_at(bytes, offset)?));
    let le16 = |offset| Some(u32::from(u16::from_le_bytes(bytes_at(bytes, offset)?)));
    let length = usize::try_from(le32(4)?).ok()?;
    // The offset at which the first chunk ends.
    let end = usize::try_from(le32(16)?).ok()?.checked_add(20)?;
    let whole = bytes.get(..length.checked_add(8)?)?;
    match whole.get(12..16)? {
        b"VP8 " if end <= whole.len() && whole.get(23..26)? == b"\x9d\x01\x2a" => {
            Some((le16(26)? & 0x3fff, le16(28)? & 0x3fff))
        }
        b"VP8L" if end <= whole.len() && *whole.get(20)? == 0x2f => {
            let bits = le32(21)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        // An extended WebP has its image data in later chunks.
        b"VP8X" if end.checked_add(8)? < whole.len() => {
            Some(((le32(24)? & 0xff_ffff) + 1, (le32(26)? >> 8) + 1))
        }
        _ => None,
    }
}

/// Returns 0 if a PDF has a header, an end with the position of its object table (`startxref`), and no
/// encryption.
fn pdf(bytes: &[u8]) -> Result<u32, Unshown> {
    if !bytes.starts_with(b"%PDF-") {
        return Err(OTHER);
    }
    let end = &bytes[bytes.len().saturating_sub(PDF_END)..];
    let listed = memmem::rfind(end, b"startxref").map(|at| &end[at..]);
    if listed.is_none_or(|listed| memmem::find(listed, b"%%EOF").is_none()) {
        return Err(CUT);
    }
    const ENCRYPT: &[u8] = b"/Encrypt";
    let mut next = memmem::find_iter(bytes, ENCRYPT).filter_map(|at| bytes.get(at + ENCRYPT.len()));
    let is_encrypted = next.any(|byte| byte.is_ascii_whitespace() || b"</%".contains(byte));
    if is_encrypted { Err("it is encrypted") } else { Ok(0) }
}

fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// Number and size of the images and PDFs in a history. Each request sends all of them again. A new
/// attachment that would break a limit of the API is left out; the earlier ones stay.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attached {
    /// Size of all attachments, in base64 characters.
    bytes: usize,
    images: usize,
    /// Whether an image is wider or higher than [`MAX_SIDE_AMONG_MANY`].
    has_large: bool,
    /// Whether Claude refused a request with attachments.
    refused: bool,
}

impl Attached {
    /// Replaces attachments in `content` by a note, as far as the history cannot take them beside the ones it
    /// has.
    pub(super) fn ration(&mut self, content: &mut [ResultBlock]) {
        for block in content {
            let (data, side) = match &*block {
                ResultBlock::Text(_) => continue,
                ResultBlock::Image { media_type, data } => {
                    (data, Some(check(media_type, data).unwrap_or_default()))
                }
                ResultBlock::Pdf { data } => (data, None),
            };
            let is_large = side.is_some_and(|side| side > MAX_SIDE_AMONG_MANY);
            let is_one_of_many = side.is_some() && self.images >= FEW;
            let why = if self.refused {
                "a request with attachments was refused"
            } else if self.bytes + data.len() > MAX_ATTACHED {
                "there were too many"
            } else if is_one_of_many && (is_large || self.has_large) {
                "of more than 20 images, none may be wider or higher than 2,000 pixels"
            } else {
                self.bytes += data.len();
                self.images += usize::from(side.is_some());
                self.has_large |= is_large;
                continue;
            };
            *block = ResultBlock::Text(format!("[attachment not shown: {why}]"));
        }
    }

    /// Records that Claude refused a request with attachments and that all attachments were removed from the
    /// history. No further attachment is shown.
    pub(super) fn refuse(&mut self) {
        *self = Self { refused: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use devstack::picture;
    use proptest::prelude::*;

    use super::*;

    type Make = fn(u32, u32) -> Vec<u8>;
    const KINDS: [(&str, Make); 6] = [
        ("image/png", picture::png),
        ("image/jpeg", picture::jpeg),
        ("image/gif", picture::gif),
        ("image/webp", picture::webp),
        ("image/webp", picture::webp_lossless),
        ("image/webp", picture::webp_extended),
    ];

    fn seen(media_type: &str, bytes: &[u8]) -> Result<u32, Unshown> {
        check(media_type, &STANDARD.encode(bytes))
    }

    #[test]
    fn the_longer_side_of_each_kind_of_image_is_read() {
        for (media_type, make) in KINDS {
            for (width, height) in [(1, 1), (640, 480), (300, 8_000), (8_000, 2)] {
                let side = seen(media_type, &make(width, height));
                assert_eq!(side, Ok(width.max(height)), "{media_type} {width}x{height}");
            }
            for (width, height) in [(8_001, 1), (1_200, 9_000)] {
                let side = seen(media_type, &make(width, height));
                assert_eq!(side, Err("it is wider or higher than 8,000 pixels"), "{media_type}");
            }
        }
    }

    #[test]
    fn an_image_that_is_cut_anywhere_or_another_is_not_shown() {
        for (media_type, make) in KINDS {
            let whole = make(20, 10);
            for length in 0..whole.len() {
                assert!(seen(media_type, &whole[..length]).is_err(), "{media_type} of {length}");
            }
            for (other, _) in KINDS.iter().filter(|(other, _)| *other != media_type) {
                assert_eq!(seen(other, &whole), Err(OTHER), "{other} for {media_type}");
            }
            let more = [&whole[..], b"\n and what some camera writes behind it"].concat();
            assert_eq!(seen(media_type, &more), Ok(20), "{media_type}");
        }
        for empty in [picture::png(0, 7), picture::png(7, 0)] {
            assert_eq!(seen("image/png", &empty), Err(CUT));
        }
        assert!(check("image/png", "no base64!").is_err());
        assert!(check("image/tiff", "AAAA").is_err());
        assert!(check("image/png", &"A".repeat(MAX_DATA + 4)).is_err());
    }

    #[test]
    fn a_pdf_has_a_header_an_end_and_no_password() {
        const PDF: &str = "application/pdf";
        let whole = picture::pdf("");
        assert_eq!(seen(PDF, &whole), Ok(0));
        assert_eq!(seen(PDF, b"%PDF-1.4 not really a pdf"), Err(CUT));
        assert_eq!(seen(PDF, b"<html>"), Err(OTHER));
        assert_eq!(seen(PDF, &whole[..whole.len() - 8]), Err(CUT));
        for encrypted in ["/Encrypt 9 0 R ", "/Encrypt<</Filter/Standard>>", "/Encrypt\n9 0 R"] {
            assert_eq!(seen(PDF, &picture::pdf(encrypted)), Err("it is encrypted"));
        }
        assert_eq!(seen(PDF, &picture::pdf("/EncryptMetadata true ")), Ok(0));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..100) {
            for (media_type, make) in KINDS {
                let mut bytes = make(20, 10);
                let at = at.min(bytes.len());
                let end = (at + noise.len()).min(bytes.len());
                bytes.splice(at..end, noise.clone());
                let _ = seen(media_type, &bytes);
                let _ = seen("application/pdf", &[b"%PDF-", &noise[..]].concat());
            }
        }
    }

    fn image(side: u32) -> ResultBlock {
        let data = STANDARD.encode(picture::png(side, 1));
        ResultBlock::Image { media_type: "image/png".into(), data }
    }

    /// For each of these images, added one after the other, whether it is shown.
    fn shown(sides: impl IntoIterator<Item = u32>) -> Vec<bool> {
        let mut attached = Attached::default();
        let mut content: Vec<_> = sides.into_iter().map(image).collect();
        content.chunks_mut(4).for_each(|result| attached.ration(result));
        content.iter().map(|block| !matches!(block, ResultBlock::Text(_))).collect()
    }

    #[test]
    fn of_more_than_twenty_images_the_new_one_gives_way_and_the_earlier_ones_stay() {
        let few = |first: u32| std::iter::once(first).chain([9; 19]);
        assert!(shown(few(8_000)).iter().all(|shown| *shown));
        // The 21st image is too large for more than 20 images. The next image is small enough and is shown.
        assert_eq!(shown(few(2_000).chain([2_001, 2_000]))[20..], [false, true]);
        // An earlier image is too large for more than 20 images, so no image after the 20th is shown.
        assert_eq!(shown(few(2_001).chain([1, 2_000, 8_000]))[20..], [false; 3]);
    }

    #[test]
    fn after_a_refusal_no_attachment_is_shown_any_more() {
        let mut attached = Attached::default();
        attached.refuse();
        let mut content = vec![image(1), ResultBlock::Text("a".into())];
        attached.ration(&mut content);
        assert!(matches!(&content[0], ResultBlock::Text(note) if note.contains("not shown")));
        assert_eq!(content[1], ResultBlock::Text("a".into()));
    }
}
