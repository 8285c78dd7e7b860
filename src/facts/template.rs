//! The text of a failure without what is different each time: what failures of one kind have in common.

mod clean;
mod leaves;
mod patterns;
mod placeholder;
mod structure;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use clean::{clean, is_blank};
pub(super) use placeholder::canonical;
pub use structure::{code_of, rejected_fields};

use crate::domain::Cause;

/// The part of a text that a template is made from, in bytes.
const HEAD: usize = 4_096;

/// The template of a failure with this text, of a call with this input, which is a JSON text. At most 300
/// characters, in one line, without control characters. Equal failures may have templates whose placeholders differ
/// in length; their fingerprints are equal.
pub fn template(cause: Cause, text: &str, input: &str) -> String {
    let mut line = line(head(text)).into_owned();
    loop {
        if let Some(fixed) = fixed(cause, &line) {
            match fixed {
                Ok(template) => return template,
                // Shorter, because it was inside of JSON.
                Err(inner) => line = self::line(&inner).into_owned(),
            }
            continue;
        }
        let replaced = patterns::replace(&leaves::replace(&line, input));
        // What was replaced may have hidden a form.
        if fixed(cause, &replaced).is_none() {
            return replaced;
        }
        line = replaced;
    }
}

/// What `line` says by its form, see [`structure::read`].
fn fixed(cause: Cause, line: &str) -> Option<Result<String, String>> {
    let code = if cause == Cause::Coded { code_of(line) } else { None };
    code.map(|code| Ok(code.to_owned())).or_else(|| structure::read(line))
}

/// The beginning of `text` from its first visible character.
fn head(text: &str) -> &str {
    let text = text.trim_start_matches(is_blank);
    &text[..text.floor_char_boundary(HEAD)]
}

/// The first line of `text`, or all of a JSON text and of a list of rejected fields, which have many lines.
fn line(text: &str) -> Cow<'_, str> {
    let has_form = text.starts_with(['{', '[']) || !rejected_fields(text).is_empty();
    let end = if has_form { None } else { text.find(['\n', '\r']) };
    clean(&text[..end.unwrap_or(text.len())])
}
