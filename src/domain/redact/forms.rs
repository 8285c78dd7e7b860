//! The forms in which a peer may write a secret that it was sent.

use base64::{
    Engine,
    alphabet::{self, Alphabet},
    engine::{GeneralPurpose, general_purpose::PAD},
};

/// The characters besides letters and digits that an encoder leaves unchanged in a URL: in forms, in
/// JavaScript, and by RFC 3986.
const KEPT_IN_URLS: [&str; 3] = ["*-._", "-_.!~*'()", "-_.~"];

/// Every form of `secret`: unchanged, in a JSON string, in a URL, in base64 and in hex.
pub(super) fn forms(secret: String) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut forms = in_json(&secret);
    for kept in KEPT_IN_URLS {
        for escape in [|byte| format!("%{byte:02X}"), |byte| format!("%{byte:02x}")] {
            let encoded = in_url(bytes, kept, escape);
            forms.push(encoded.replace("%20", "+"));
            forms.push(encoded);
        }
    }
    for alphabet in [alphabet::STANDARD, alphabet::URL_SAFE] {
        forms.extend(in_base64(bytes, &alphabet));
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.extend([hex.to_uppercase(), hex, secret]);
    forms.sort();
    forms.dedup();
    forms
}

/// The forms of a secret in a JSON string: with as few escapes as possible, with the escapes that other
/// encoders add, and in ASCII alone.
fn in_json(secret: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(secret).to_string();
    let plain = quoted[1..quoted.len() - 1].to_owned();
    let escape = |c: char| -> String {
        c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    let escaped = |is_escaped: fn(char) -> bool| -> String {
        plain.chars().map(|c| if is_escaped(c) { escape(c) } else { c.into() }).collect()
    };
    let html_safe = escaped(|c| matches!(c, '<' | '>' | '&'));
    let ascii = escaped(|c| !c.is_ascii());
    vec![plain.replace('/', "\\/"), html_safe, ascii, plain]
}

/// The form of a secret in a URL: every byte is escaped, except letters, digits and those in `kept`.
fn in_url(bytes: &[u8], kept: &str, escape: fn(u8) -> String) -> String {
    let is_kept = |byte: &u8| byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte);
    let escaped = |&byte| if is_kept(&byte) { char::from(byte).into() } else { escape(byte) };
    bytes.iter().map(escaped).collect()
}

/// The forms of a secret in base64: encoded alone, and the characters that depend on nothing else in the
/// encoding of a longer text, such as user and password together. These characters depend on how many bytes
/// precede the secret.
fn in_base64(bytes: &[u8], alphabet: &Alphabet) -> Vec<String> {
    let engine = GeneralPurpose::new(alphabet, PAD);
    let within = (0..3).map(|before| {
        let text = engine.encode([&[0; 2][..before], bytes].concat());
        text[(before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6].to_owned()
    });
    within.chain([engine.encode(bytes)]).collect()
}
