//! Replaces what is different in each failure of one kind: addresses, ids, times and numbers.

use super::placeholder::{self, CLOSE, COUNTED, OPEN};

/// Longest template, in characters.
pub(super) const LONGEST: usize = 300;
/// Ends a template that was cut. It counts as a letter, so that the rest of a word is not taken for a word.
const CUT: char = '…';
const SHORTEST_HEX: usize = 8;
/// An id of letters and digits, such as a ULID, has at least this length.
const SHORTEST_ID: usize = 16;
/// Longest unit that follows a number without a space, such as `ms`.
const LONGEST_UNIT: usize = 3;
const SEPARATORS: [char; 8] = [' ', ':', '=', '(', '/', '"', '\'', '#'];

/// `line` with placeholders, cut to [`LONGEST`] characters. What is left of a word of which a part was replaced may
/// be replaced in turn, so that a second replacement would change nothing.
pub(super) fn replace(line: &str) -> String {
    let mut before = line.to_owned();
    loop {
        let after = replaced(&before);
        if after == before {
            return after;
        }
        before = after;
    }
}

fn replaced(line: &str) -> String {
    let mut out = Out::default();
    let (mut at, mut is_in_word) = (0, false);
    while let Some(c) = line[at..].chars().next()
        && !out.is_full
    {
        let rest = &line[at..];
        let is_number = c.is_ascii_digit() || matches!(c, '-' | '+');
        let found = None
            .or_else(|| if is_in_word || !c.is_ascii_alphanumeric() { None } else { word(rest) })
            .or_else(|| if is_number { number(rest, &out.text) } else { None });
        let placeholder = (c == OPEN).then(|| placeholder::at_start(rest)).flatten();
        at += if let Some(length) = placeholder {
            out.push(&rest[..length], COUNTED);
            length
        } else if let Some((name, length)) = found {
            out.push(&format!("{OPEN}{name}{CLOSE}"), COUNTED);
            length
        } else {
            let kept = if is_number { kept(rest, &out.text) } else { None };
            // Nothing begins within a run of letters. A piece that ends where the template may be cut is a piece
            // of its own.
            let room = (LONGEST - 1).saturating_sub(out.length).max(1);
            let letters = || rest.bytes().take(room).take_while(u8::is_ascii_alphabetic).count();
            let length = kept.unwrap_or_else(|| letters().max(c.len_utf8()));
            let piece = &rest[..length];
            out.push(piece, if piece.is_ascii() { length } else { 1 });
            length
        };
        is_in_word = out.text.ends_with(is_word);
    }
    out.text
}

/// A template in the making.
#[derive(Default)]
struct Out {
    text: String,
    /// Length in characters, with [`COUNTED`] for each placeholder.
    length: usize,
    /// The length in bytes that leaves room for [`CUT`].
    fits: usize,
    is_full: bool,
}

impl Out {
    fn push(&mut self, piece: &str, length: usize) {
        if self.length + length > LONGEST {
            if !self.is_full {
                self.text.truncate(self.fits);
                self.text.push(CUT);
            }
            self.is_full = true;
            return;
        }
        self.text.push_str(piece);
        self.length += length;
        if self.length < LONGEST {
            self.fits = self.text.len();
        }
    }
}

/// The name and the length of what `rest` begins with, which is behind a word boundary.
fn word(rest: &str) -> Option<(&'static str, usize)> {
    let bytes = rest.as_bytes();
    None.or_else(|| Some(("url", url(rest)?)))
        .or_else(|| Some(("email", email(bytes)?)))
        .or_else(|| Some(("uuid", uuid(bytes)?)))
        .or_else(|| Some(("date", date(bytes)?)))
        .or_else(|| Some(("time", clock(bytes)?)))
        .filter(|(_, length)| !starts_with_word(&rest[*length..]))
        .or_else(|| id(rest))
}

fn url(rest: &str) -> Option<usize> {
    let scheme = rest
        .bytes()
        .take(20)
        .take_while(|&b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        .count();
    let host = rest[scheme..].strip_prefix("://")?;
    let is_end = |c: char| {
        c.is_whitespace()
            || matches!(c, '<' | '>' | '"' | '\'' | '`' | ')' | ']' | '}' | OPEN | CLOSE | CUT)
    };
    let url = &rest[..rest.len() - host.len() + host.find(is_end).unwrap_or(host.len())];
    let url = url.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '/');
    // An address that a placeholder is a part of is one address.
    (!host.starts_with(is_end)).then_some(url.len()).filter(|&length| length > scheme + 3)
}

fn email(bytes: &[u8]) -> Option<usize> {
    let run = |bytes: &[u8], more: &[u8], most: usize| {
        bytes
            .iter()
            .take(most)
            .take_while(|b| b.is_ascii_alphanumeric() || more.contains(b))
            .count()
    };
    let local = run(bytes, b"._%+-", 64);
    let domain = bytes.get(local..)?.strip_prefix(b"@")?;
    let domain = domain.get(..run(domain, b".-", 253))?;
    let end = domain.iter().rposition(u8::is_ascii_alphanumeric)? + 1;
    domain.get(1..end)?.contains(&b'.').then_some(local + 1 + end)
}

fn uuid(bytes: &[u8]) -> Option<usize> {
    let uuid = bytes.get(..36)?;
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    uuid.iter().enumerate().all(fits).then_some(uuid.len())
}

/// A date such as `2026-11-18`, `18.11.2026` or `11/18/2026`, with a time of the day.
fn date(bytes: &[u8]) -> Option<usize> {
    bytes.first().filter(|byte| byte.is_ascii_digit())?;
    let day = pattern(bytes, "dddd-dd-dd")
        .or_else(|| pattern(bytes, "dd.dd.dddd"))
        .or_else(|| pattern(bytes, "d.dd.dddd"))
        .or_else(|| pattern(bytes, "dd.d.dddd"))
        .or_else(|| pattern(bytes, "d.d.dddd"))
        .or_else(|| pattern(bytes, "dddd/dd/dd"))
        .or_else(|| pattern(bytes, "dd/dd/dddd"))
        .or_else(|| pattern(bytes, "d/d/dddd"))?;
    let rest = &bytes[day..];
    let gap = rest.len()
        - rest
            .strip_prefix(b"T")
            .or(rest.strip_prefix(b", "))
            .or(rest.strip_prefix(b" "))
            .unwrap_or(rest)
            .len();
    Some(match clock(&rest[gap..]) {
        Some(time) if gap > 0 => day + gap + time,
        _ => day,
    })
}

/// A time of the day such as `14:30` or `14:30:05.123Z`.
fn clock(bytes: &[u8]) -> Option<usize> {
    bytes.first().filter(|byte| byte.is_ascii_digit())?;
    let minutes = pattern(bytes, "dd:dd").or_else(|| pattern(bytes, "d:dd"))?;
    let mut end = minutes + pattern(&bytes[minutes..], ":dd").unwrap_or_default();
    if let Some(fraction) = bytes[end..].strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        end += if digits > 0 { digits + 1 } else { 0 };
    }
    let zone = &bytes[end..];
    let zone = if zone.starts_with(b"Z") {
        Some(1)
    } else {
        pattern(zone, "+dd:dd").or_else(|| pattern(zone, "-dd:dd"))
    };
    Some(end + zone.unwrap_or_default())
}

/// Length of `pattern` if `bytes` begin with it, where `d` is a digit, and no further digit follows.
fn pattern(bytes: &[u8], pattern: &str) -> Option<usize> {
    let fits =
        |(byte, form): (&u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { *byte == form };
    let is_there = bytes.len() >= pattern.len() && bytes.iter().zip(pattern.bytes()).all(fits);
    let is_whole = !bytes.get(pattern.len()).is_some_and(u8::is_ascii_digit);
    (is_there && is_whole).then_some(pattern.len())
}

/// A hexadecimal number or an id of letters and digits.
fn id(rest: &str) -> Option<(&'static str, usize)> {
    let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let (run, after) = rest.split_at(length);
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let hex = run.strip_prefix("0x").unwrap_or(run);
    if digits == 0 || starts_with_word(after) {
        None
    } else if hex.len() >= SHORTEST_HEX && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // The name of other numbers too, because some hexadecimal ids have decimal digits only.
        (digits < length || !is_before_fraction(after)).then_some(("number", length))
    } else {
        (length >= SHORTEST_ID && (2..length).contains(&digits)).then_some(("id", length))
    }
}

fn is_before_fraction(after: &str) -> bool {
    let mut chars = after.chars();
    matches!(chars.next(), Some('.' | ',')) && chars.next().is_some_and(|c| c.is_ascii_digit())
}

/// A number. Digits behind a capital are part of a code, such as `E11000`.
fn number(rest: &str, before: &str) -> Option<(&'static str, usize)> {
    let last = before.chars().next_back();
    let is_signed =
        rest.starts_with(['-', '+']) && !last.is_some_and(|c| is_word(c) || "-+.,".contains(c));
    let digits = &rest[usize::from(is_signed)..];
    let mut length = leading_digits(digits);
    let joins_word = last.is_some_and(is_word);
    let is_part_of_code = match last {
        Some('_') => before.chars().rev().nth(1).is_some_and(|c| is_word(c) && !c.is_lowercase()),
        Some(c) => is_word(c) && !c.is_lowercase(),
        None => false,
    };
    if length == 0 || is_part_of_code {
        return None;
    }
    while digits[length..].starts_with(['.', ',']) && leading_digits(&digits[length + 1..]) > 0 {
        length += 1 + leading_digits(&digits[length + 1..]);
    }
    let after = &digits[length..];
    let unit = after.chars().take_while(|c| c.is_alphabetic()).count();
    // A placeholder right behind the letters is a further part of the word.
    let has_end = !after.chars().nth(unit).is_some_and(|c| is_word(c) || unit > 0 && c == OPEN);
    let stands_alone =
        after.starts_with('_') || has_end && (unit == 0 || unit <= LONGEST_UNIT && !joins_word);
    (stands_alone && kept(rest, before).is_none())
        .then_some(("number", usize::from(is_signed) + length))
}

/// Length of a code that stays: three digits after `HTTP`, `status` or `code`, a JSON-RPC error code, the code of
/// an error in JSON, and the version of HTTP.
fn kept(rest: &str, before: &str) -> Option<usize> {
    let is_negative = rest.starts_with('-');
    let digits = leading_digits(&rest[usize::from(is_negative)..]);
    let length = usize::from(is_negative) + digits;
    let after = rest.get(length..)?;
    if digits == 0 || starts_with_word(after) {
        return None;
    }
    if !is_negative && ends_with(before, "http/") {
        let minor = after.strip_prefix('.').map(leading_digits).filter(|&digits| digits > 0);
        return (digits == 1).then_some(length + minor.map_or(0, |digits| digits + 1));
    }
    if is_before_fraction(after) {
        return None;
    }
    if ends_with(before, "code=") && digits <= 5 {
        return Some(length);
    }
    let word = before.trim_end_matches(SEPARATORS);
    let is_near = before.len() - word.len() <= 3;
    let version = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let is_status = ["http", "status", "code"].iter().any(|name| ends_with(word, name))
        || ends_with(version, "http/");
    let is_rpc = is_negative
        && digits == 5
        && rest.starts_with("-32")
        && (ends_with(word, "error") || ends_with(word, "code"));
    (is_near && (is_rpc || !is_negative && digits == 3 && is_status)).then_some(length)
}

fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.and_then(|start| text.get(start..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn starts_with_word(text: &str) -> bool {
    text.starts_with(is_word)
}

fn is_word(c: char) -> bool {
    // The first arms only save the time of the tables of Unicode.
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric() || c == '_',
        CUT => true,
        OPEN | CLOSE => false,
        _ => c.is_alphanumeric(),
    }
}
