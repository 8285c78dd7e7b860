//! Valid images and PDFs to attach, as small as possible, with any size in pixels.

/// A PNG of one colour with all of its pixel data.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap_or_default();
        let named = [&kind[..], body].concat();
        [&length.to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
    };
    // One bit per pixel, grey; each row begins with a filter byte.
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    let pixels = vec![0; (width as usize).div_ceil(8).saturating_add(1) * height as usize];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &stored(&pixels)),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// Data in zlib format without compression.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let mut pieces = data.chunks(0xffff).peekable();
    while let Some(piece) = pieces.next() {
        let length = u16::try_from(piece.len()).unwrap_or_default();
        zlib.push(pieces.peek().is_none().into());
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(piece);
    }
    // Adler-32; all bytes are 0, so the first sum stays 1.
    let count = u32::try_from(data.len() % 65_521).unwrap_or_default();
    zlib.extend((count << 16 | 1).to_be_bytes());
    zlib
}

/// The CRC-32 checksum of PNG chunks.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// The header and frame of a JPEG, without meaningful pixel data.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let (width, height) = (side(width).to_be_bytes(), side(height).to_be_bytes());
    [
        &b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"[..],
        b"\xff\xff\xc0\x00\x0b\x08",
        &height,
        &width,
        b"\x01\x01\x11\x00",
        b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00",
        b"\xff\xd9",
    ]
    .concat()
}

/// A GIF with one image of one pixel.
pub fn gif(width: u32, height: u32) -> Vec<u8> {
    let (width, height) = (side(width).to_le_bytes(), side(height).to_le_bytes());
    [
        &b"GIF89a"[..],
        &width,
        &height,
        b"\x80\x00\x00\x00\x00\x00\xff\xff\xff",
        b"\x21\xf9\x04\x00\x00\x00\x00\x00",
        b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b",
    ]
    .concat()
}

/// A WebP in the lossy format (`VP8 `).
pub fn webp(width: u32, height: u32) -> Vec<u8> {
    let (width, height) = (side(width).to_le_bytes(), side(height).to_le_bytes());
    riff(&[(b"VP8 ", [&b"\x10\x00\x00\x9d\x01\x2a"[..], &width, &height, b"\x00\x00"].concat())])
}

/// A WebP in the lossless format (`VP8L`).
pub fn webp_lossless(width: u32, height: u32) -> Vec<u8> {
    let bits = (width.wrapping_sub(1) & 0x3fff) | (height.wrapping_sub(1) & 0x3fff) << 14;
    riff(&[(b"VP8L", [&b"\x2f"[..], &bits.to_le_bytes(), b"\x00"].concat())])
}

/// A WebP in the extended format (`VP8X`), with the size before the image data.
pub fn webp_extended(width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| side.wrapping_sub(1).to_le_bytes()[..3].to_vec();
    let header = [vec![0; 4], side(width), side(height)].concat();
    let picture = [&b"\x10\x00\x00\x9d\x01\x2a"[..], b"\x01\x00\x01\x00", b"\x00\x00"].concat();
    riff(&[(b"VP8X", header), (b"VP8 ", picture)])
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
    let mut body = b"WEBP".to_vec();
    for (kind, bytes) in chunks {
        body.extend(*kind);
        body.extend(length(bytes));
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [&b"RIFF"[..], &length(&body), &body].concat()
}

/// A PDF of one empty page, with `trailer` in its trailer.
pub fn pdf(trailer: &str) -> Vec<u8> {
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    ];
    let (mut text, mut places) = ("%PDF-1.4\n".to_owned(), String::new());
    for (number, object) in (1..).zip(objects) {
        places.push_str(&format!("{:010} 00000 n \n", text.len()));
        text.push_str(&format!("{number} 0 obj{object}endobj\n"));
    }
    let listed = text.len();
    format!(
        "{text}xref\n0 4\n0000000000 65535 f \n{places}trailer<</Size 4/Root 1 0 R {trailer}>>\n\
         startxref\n{listed}\n%%EOF\n"
    )
    .into_bytes()
}

/// The length of a side as most formats store it: 16 bits.
fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}
