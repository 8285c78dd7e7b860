//! Reads errors that have a form: JSON with a code, and lists of rejected fields.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Deserializer, Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{
    clean::is_blank,
    head, patterns,
    placeholder::{self, is_of_name},
};

/// What the text of rejected input is replaced by begins with this.
const REJECTED: &str = "rejected input: ";
/// Words in capitals that many messages begin with, and that are no codes.
const NO_CODES: [&str; 8] =
    ["ERROR", "WARNING", "FATAL", "FAILED", "FAILURE", "EXCEPTION", "PANIC", "DEBUG"];
const LONGEST_CODE: usize = 64;
/// Hex digits of the hash at the end of a list of rejected fields that was cut, so that two long lists differ.
const MARK: usize = 8;
/// Shortest code that a message begins with, if the code is one word. In JSON a code may be shorter.
const SHORTEST_WORD: usize = 5;

/// The code in capitals of an error: the value of `code` or `error` in JSON, or the beginning of the text, as in
/// `NOT_FOUND: no such task` or `[NOT_FOUND] no such task`. `None` if the text has no code.
pub fn code_of(text: &str) -> Option<&str> {
    let mut text = head(text).trim_start_matches(is_blank);
    while text.starts_with('{') {
        let members: Vec<_> = members(text).collect();
        let of = |name| members.iter().find(|(key, _)| key == name).map(|(_, value)| value.get());
        let codes = [of("code"), of("error")].into_iter().flatten();
        if let Some(code) = codes.filter_map(plain).find(|code| is_code(code)) {
            return Some(code);
        }
        text = of("error").filter(|error| error.starts_with('{'))?;
    }
    let text = text
        .strip_prefix("MCP error ")
        .and_then(|text| Some(text.split_once(": ")?.1))
        .unwrap_or(text);
    let text = text.strip_prefix("Error: ").unwrap_or(text);
    if let Some((code, _)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return Some(code).filter(|code| is_code(code));
    }
    let code = &text[..text.bytes().take_while(|&byte| is_of_code(byte)).count()];
    let after = text[code.len()..].trim_end();
    let is_distinct =
        code.contains('_') || code.len() >= SHORTEST_WORD && !NO_CODES.contains(&code);
    let is_prefix = after.is_empty() || after.starts_with(':') && !after[1..].starts_with('/');
    (is_code(code) && is_distinct && is_prefix).then_some(code)
}

/// The fields that a validation of the input rejected, as path and code: `items.*.title` and `too_small`. Empty if
/// the text is no list of such fields. mana-mcp writes the issues of zod: "Input validation error: Invalid arguments
/// for tool habits.create: [{"path":["title"],"code":"too_small"}]".
pub fn rejected_fields(text: &str) -> Vec<(String, String)> {
    let text = head(text).trim_start_matches(is_blank);
    if let Some(fields) = text.strip_prefix(REJECTED) {
        let fields = fields.split(", ").filter_map(|field| field.split_once(' '));
        return fields.map(|(path, code)| (safe(path, "."), safe(code, "invalid"))).collect();
    }
    let has_wording = || {
        let wordings = ["Input validation error", "Invalid arguments for tool"];
        wordings.iter().any(|words| text.contains(words))
    };
    let issues = match text.find('[') {
        Some(at) if at == 0 || has_wording() => &text[at + 1..],
        _ => return Vec::new(),
    };
    items(issues).filter_map(|issue: Issue| issue.fields()).flatten().collect()
}

/// What a text with a form says in one line, which is final; `Err` with what a JSON text contains, which may have a
/// form itself. `None` if the text has no form.
pub(super) fn read(line: &str) -> Option<Result<String, String>> {
    if is_code(line) {
        return Some(Ok(line.to_owned()));
    }
    let mut fields = rejected_fields(line);
    if !fields.is_empty() {
        fields.sort_unstable();
        fields.dedup();
        return Some(Ok(rejected(&fields, mark(line))));
    }
    line.starts_with('{').then(|| unwrapped(line)).flatten()
}

/// The line of these fields. `mark` says which others there are, if the text is a line that was cut.
fn rejected(fields: &[(String, String)], mark: Option<&str>) -> String {
    let fields = fields.iter().map(|(path, code)| format!("{path} {code}"));
    let items: Vec<_> = fields.chain(mark.map(str::to_owned)).collect();
    let line = |items: &[String]| format!("{REJECTED}{}", items.join(", "));
    let whole = line(&items);
    if whole.len() <= patterns::LONGEST {
        return whole;
    }
    let mut room = patterns::LONGEST - REJECTED.len() - ", …".len() - MARK;
    let fits = |item: &&String| {
        let fits = item.len() <= room;
        room = room.saturating_sub(item.len() + ", ".len());
        fits
    };
    let (shown, rest) = items.split_at(items.iter().take_while(fits).count());
    let hash = Sha256::digest(rest.join(", "));
    let hash: String = hash.iter().take(MARK / 2).map(|byte| format!("{byte:02x}")).collect();
    line(&[shown, &[format!("…{hash}")]].concat())
}

/// The mark at the end of a line of rejected fields that was cut: `…` and a hash of the rest.
fn mark(line: &str) -> Option<&str> {
    let (_, last) = line.strip_prefix(REJECTED)?.rsplit_once(", ")?;
    let hash = last.strip_prefix('…')?;
    (hash.len() == MARK && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(last)
}

fn unwrapped(line: &str) -> Option<Result<String, String>> {
    let members: Vec<_> = members(line).collect();
    let of = |name| {
        members
            .iter()
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| serde_json::from_str(value.get()).ok())
    };
    let error = match of("error") {
        Some(Value::String(error)) => Some(error),
        Some(Value::Object(error)) => Some(Value::Object(error).to_string()),
        _ => match of("message") {
            Some(Value::String(message)) => Some(message),
            _ => None,
        },
    };
    let code = match of("code") {
        Some(Value::String(code)) if is_code(&code) => return Some(Ok(code)),
        Some(Value::String(code)) => Some(code),
        Some(Value::Number(code)) => Some(format!("code={code}")),
        _ => None,
    };
    match (code, error) {
        (Some(code), Some(error)) => Some(Err(format!("{code}: {error}"))),
        (one, other) => one.or(other).map(Err),
    }
}

/// One issue of zod. A service with a validation of its own gives the path as a text, and no code.
#[derive(Deserialize)]
struct Issue {
    path: Path,
    code: Option<String>,
    message: Option<String>,
    /// Keys that the schema does not know.
    #[serde(default)]
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Path {
    Text(String),
    Steps(Vec<Value>),
}

impl Issue {
    fn fields(self) -> Option<Vec<(String, String)>> {
        // A message that quotes something may quote the input, and would be another code for each input.
        let fixed = |message: String| {
            let quotes = message.contains(['"', '\'', '`', '«', '„', '“']);
            if quotes { "invalid".to_owned() } else { patterns::replace(&message) }
        };
        let code = safe(&self.code.or(self.message.map(fixed))?, "invalid");
        let mut steps: Vec<String> = match self.path {
            Path::Text(path) => path.split('.').map(step).collect(),
            Path::Steps(steps) => {
                steps.iter().map(|value| value.as_str().map_or("*".to_owned(), step)).collect()
            }
        };
        let mut path = |key: Option<&String>| {
            let depth = steps.len();
            steps.extend(key.map(|key| step(key)));
            let path = safe(&steps.join("."), ".");
            steps.truncate(depth);
            (path, code.clone())
        };
        Some(if self.keys.is_empty() {
            vec![path(None)]
        } else {
            self.keys.iter().map(|key| path(Some(key))).collect()
        })
    }
}

/// A key of a path; `*` for an index or a key that is an id.
fn step(key: &str) -> String {
    let replaced = patterns::replace(key);
    let is_id = placeholder::at_start(&replaced) == Some(replaced.len());
    if is_id { "*".to_owned() } else { key.to_owned() }
}

/// `text` in the characters of a name, at most [`LONGEST_CODE`]; `otherwise` if it is empty.
fn safe(text: &str, otherwise: &str) -> String {
    let safe =
        |c: char| u8::try_from(c).ok().filter(|&byte| is_of_name(byte)).map_or('_', char::from);
    let safe: String = text.chars().take(LONGEST_CODE).map(safe).collect();
    if safe.is_empty() { otherwise.to_owned() } else { safe }
}

/// The items of a JSON array whose `[` was read, as far as they can be read: the text may have been cut.
fn items<'t, T: Deserialize<'t>>(mut rest: &'t str) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        value(&mut rest)
    })
}

/// The members of a JSON object, as far as they can be read: the text may have been cut.
fn members(object: &str) -> impl Iterator<Item = (Cow<'_, str>, &RawValue)> {
    let mut rest = object.strip_prefix('{').unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let key: Key<'_> = value(&mut rest)?;
        rest = rest.trim_start().strip_prefix(':')?;
        Some((key.0, value(&mut rest)?))
    })
}

#[derive(Deserialize)]
struct Key<'k>(#[serde(borrow)] Cow<'k, str>);

/// The JSON value at the beginning of `rest`, which is left behind it.
fn value<'t, T: Deserialize<'t>>(rest: &mut &'t str) -> Option<T> {
    let mut values = Deserializer::from_str(rest).into_iter();
    let value = values.next()?.ok();
    *rest = &rest[values.byte_offset()..];
    value
}

/// The text of a JSON string without escapes.
fn plain(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

fn is_code(text: &str) -> bool {
    (3..=LONGEST_CODE).contains(&text.len())
        && text.as_bytes()[0].is_ascii_uppercase()
        && text.bytes().all(is_of_code)
}

fn is_of_code(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}
