//! Removes secrets from every text that leaves the process.

mod forms;

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use memchr::memmem;
use parking_lot::RwLock;
use serde_json::Value;

use forms::forms;

/// The text that replaces a secret.
const MARK: &str = "[redacted]";
/// Shortest secret that is replaced, in bytes. A shorter one would also match in ordinary words.
const SHORTEST_SECRET: usize = 6;

/// The secrets that must not appear in logs, errors, rows or prompts. A peer can echo what it was sent, so
/// every text that comes from a peer passes through [`Redactor::redact`].
///
/// Besides the secrets on its list, a redactor recognises JWTs and credentials in URLs by their form. Clones
/// share the list, and with it every secret that is added to one of them later; [`Redactor::with`] makes a
/// new list.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Arc<[Secret]>>>,
    /// Texts of the list that may be shown.
    shown: Arc<[String]>,
}

/// The searcher of a secret, which holds the text of the secret. Long texts are searched, and this is several
/// times as fast as `str::contains`. Making a searcher takes longer than searching a short text, so all lists
/// that contain a secret share its searcher.
type Secret = Arc<memmem::Finder<'static>>;

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.list().len())
    }
}

impl Redactor {
    /// A redactor with these secrets. Empty and very short ones are ignored.
    pub fn new<S: Into<String>>(secrets: impl IntoIterator<Item = S>) -> Self {
        Self::default().with(secrets)
    }

    /// A redactor with the secrets of this one and further ones.
    #[must_use]
    pub fn with<S: Into<String>>(&self, more: impl IntoIterator<Item = S>) -> Self {
        let more = more.into_iter().map(Into::into).filter(|s| s.len() >= SHORTEST_SECRET);
        let finder = |form: String| Arc::new(memmem::Finder::new(&form).into_owned());
        let known = self.list();
        let hidden = known.iter().filter(|secret| self.hides(secret)).cloned();
        Self::of(hidden.chain(more.flat_map(forms).map(finder)))
    }

    /// A redactor that shares the list of this one, for a place where `text` may be shown.
    #[must_use]
    pub fn without(&self, text: &str) -> Self {
        // A shorter text is on no list.
        let text = Some(text.to_owned()).filter(|text| text.len() >= SHORTEST_SECRET);
        let shown = self.shown.iter().cloned().chain(text.into_iter().flat_map(forms));
        Self { secrets: self.secrets.clone(), shown: shown.collect() }
    }

    /// Adds the secrets of `other` to this redactor and to all its clones, for a secret that becomes known in
    /// the middle of a run.
    pub(crate) fn learn(&self, other: &Redactor) {
        let both = Self::of(self.list().iter().chain(other.list().iter()).cloned());
        *self.secrets.write() = both.list();
    }

    fn of(secrets: impl Iterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> = secrets.collect();
        // Longest first, so that a secret that contains another one is replaced as a whole.
        secrets.sort_by(|a, b| (b.needle().len(), a.needle()).cmp(&(a.needle().len(), b.needle())));
        secrets.dedup_by(|a, b| a.needle() == b.needle());
        Self { secrets: Arc::new(RwLock::new(secrets.into())), shown: Arc::default() }
    }

    fn list(&self) -> Arc<[Secret]> {
        self.secrets.read().clone()
    }

    fn hides(&self, secret: &Secret) -> bool {
        !self.shown.iter().any(|shown| shown.as_bytes() == secret.needle())
    }

    /// `text` with every secret, everything that looks like a JWT, and all credentials in URLs replaced.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.list().iter() {
            if secret.find(text.as_bytes()).is_some() && self.hides(secret) {
                text = Cow::Owned(text.replace(text_of(secret), MARK));
            }
        }
        for pattern in PATTERNS {
            if let Some(without) = replace(&text, pattern) {
                text = Cow::Owned(without);
            }
        }
        text
    }

    /// Redacts every string in `value`; returns whether any was changed. Keys stay unchanged: they are
    /// structure, and a secret may be an ordinary word.
    pub(crate) fn redact_values(&self, value: &mut Value) -> bool {
        let one = |changed, value| self.redact_values(value) || changed;
        match value {
            Value::String(text) => {
                let Cow::Owned(without) = self.redact(text) else { return false };
                std::mem::replace(text, without) != *text
            }
            Value::Array(items) => items.iter_mut().fold(false, one),
            Value::Object(members) => members.values_mut().fold(false, one),
            _ => false,
        }
    }

    /// Whether `text` contains one of the known secrets.
    pub(crate) fn has_listed_in(&self, text: &str) -> bool {
        self.list().iter().any(|secret| secret.find(text.as_bytes()).is_some())
    }

    /// Whether `name` contains a secret. A name must be used unchanged or not at all. A secret of letters
    /// alone does not count, because it may be an ordinary word, such as `description`.
    pub(crate) fn finds_secret_in(&self, name: &str) -> bool {
        let is_word = |secret: &Secret| secret.needle().iter().all(u8::is_ascii_alphabetic);
        let is_found = |secret: &Secret| secret.find(name.as_bytes()).is_some() && !is_word(secret);
        self.list().iter().any(is_found)
            || PATTERNS.iter().any(|pattern| replace(name, *pattern).is_some())
    }
}

fn text_of(secret: &Secret) -> &str {
    // The text of a secret is UTF-8.
    str::from_utf8(secret.needle()).unwrap_or_default()
}

/// The ways in which an at sign can be written.
const AT: [&str; 4] = ["@", "%40", "\u{ff20}", "\\u0040"];

/// `text` with everything that looks like an e-mail address replaced. Only answers of /diag show e-mails, but
/// peers may quote them anywhere, in plain text or encoded as in a URL.
pub(crate) fn redact_emails(text: &str) -> Cow<'_, str> {
    replace(text, email).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn email(rest: &str) -> Option<(Range<usize>, bool)> {
    let in_address = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-');
    let mut begins = rest.match_indices(['@', '%', '\u{ff20}', '\\']);
    let (at, sign) = begins.find_map(|(at, _)| {
        let sign = AT.iter().find(|sign| rest[at..].starts_with(**sign))?;
        Some((at, sign.len()))
    })?;
    let (before, after) = (&rest[..at], &rest[at + sign..]);
    let name = match before.strip_suffix('"').and_then(|quoted| quoted.rfind('"')) {
        // A local part in quotes may contain any character.
        Some(quote) => quote,
        None => before.trim_end_matches(in_address).len(),
    };
    // If the text is JSON, the character after a backslash belongs to an escape and not to the address.
    let escaped = match before[..name].ends_with('\\') {
        true if before[name..].starts_with('u') => 5,
        is_escaped => usize::from(is_escaped),
    };
    let name = name + before[name..].chars().take(escaped).map(char::len_utf8).sum::<usize>();
    let domain = after.find(|c| !in_address(c)).unwrap_or(after.len());
    Some((name..at + sign + domain, name < at && domain > 0))
}

/// `text` with each secret that `next` finds replaced; `None` if nothing changes.
fn replace(text: &str, next: Pattern) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((found, is_secret)) = next(rest) {
        out.push_str(&rest[..found.start]);
        out.push_str(if is_secret { MARK } else { &rest[found.clone()] });
        rest = &rest[found.end..];
    }
    out.push_str(if out.is_empty() { "" } else { rest });
    (!out.is_empty() && out != text).then_some(out)
}

/// Finds the next part of a text that looks like a secret, and tells whether it is one.
type Pattern = fn(&str) -> Option<(Range<usize>, bool)>;

/// The patterns of secrets that are on no list.
const PATTERNS: [Pattern; 2] = [jwt, url_credentials];

/// Finds the credentials of a URL, between `://` and the last `@` before the path.
fn url_credentials(rest: &str) -> Option<(Range<usize>, bool)> {
    let ends_url = |c: char| c.is_whitespace() || "\\\"'<>`".contains(c);
    let ends_authority = |c: char| ends_url(c) || "/?#".contains(c);
    // A password that was not encoded may contain a character that ends an authority. Then the text between
    // the colon and that character is not a port number.
    let has_no_port = |authority: &str| {
        let port = authority.split_once(':').map_or("", |(_, port)| port);
        !authority.starts_with('[') && !port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let start = rest.find("://")? + "://".len();
    let after = &rest[start..];
    let end = after.find(ends_authority).unwrap_or(after.len());
    let at = after[..end].rfind('@').or_else(|| {
        // The search stops at the next URL, so that each part of a long text is searched once.
        let until_next = &after[..after.find("://").unwrap_or(after.len())];
        let until_next = until_next.split(ends_url).next().unwrap_or_default();
        until_next.rfind('@').filter(|_| has_no_port(&after[..end]))
    });
    Some((start..start + at.unwrap_or_default(), at.is_some()))
}

/// Finds a JWT: `eyJ…`, followed by two more base64url parts.
fn jwt(rest: &str) -> Option<(Range<usize>, bool)> {
    let in_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let start = rest.find("eyJ")?;
    let token = rest[start..].split(|c| !in_token(c)).next()?;
    Some((start..start + token.len(), token.matches('.').count() >= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_secrets_and_jwts_are_replaced_and_the_rest_stays() {
        let redactor = Redactor::new(["sk-ant-abc", "sk-ant-abc-long"]).with(["pass123word", ""]);
        assert_eq!(redactor.redact("nothing here"), "nothing here");
        assert_eq!(
            redactor.redact("key sk-ant-abc-long, pw=pass123word; sk-ant-abc"),
            "key [redacted], pw=[redacted]; [redacted]"
        );
        assert_eq!(redactor.redact("Bearer eyJhbGci.eyJzdWI.c2ln!"), "Bearer [redacted]!");
        assert_eq!(redactor.redact("eyJ is no token"), "eyJ is no token");
    }

    #[test]
    fn credentials_in_urls_are_replaced_and_other_urls_stay() {
        let redactor = Redactor::default();
        for (text, without) in [
            ("postgres://mana:p!w:x@db:5432/mana, ok", "postgres://[redacted]@db:5432/mana, ok"),
            (
                "a http://u@h, b https://u:a@b@h?c",
                "a http://[redacted]@h, b https://[redacted]@h?c",
            ),
            (r#"{"url":"http://u:p@h\n"}"#, r#"{"url":"http://[redacted]@h\n"}"#),
            ("http://h:1/path@2 and http://h/?q=a@b", "http://h:1/path@2 and http://h/?q=a@b"),
            ("http://[::1]/a@b", "http://[::1]/a@b"),
            ("db postgres://mana:p/s#s:?@h@db/x down", "db postgres://[redacted]@db/x down"),
            ("://", "://"),
        ] {
            assert_eq!(redactor.redact(text), without);
        }
    }

    #[test]
    fn clones_share_what_one_of_them_learns_and_other_redactors_do_not() {
        let process = Redactor::new(["of-the-process"]);
        let run = process.with(["of-the-run"]);
        let clone = run.clone();
        run.learn(&Redactor::new(["learnt-later"]));
        let text = "of-the-process of-the-run learnt-later";
        assert_eq!(clone.redact(text), "[redacted] [redacted] [redacted]");
        assert_eq!(process.redact(text), "[redacted] of-the-run learnt-later");
    }

    #[test]
    fn a_secret_in_json_is_found_too() {
        let redactor = Redactor::new(["a\"b\\c-secret"]);
        let echoed = serde_json::json!({"key": "a\"b\\c-secret"}).to_string();
        assert_eq!(redactor.redact(&echoed), "{\"key\":\"[redacted]\"}");
    }

    #[test]
    fn a_secret_in_a_url_is_found_too() {
        let redactor = Redactor::new(["p/ss wörd+"]);
        assert_eq!(redactor.redact("?key=p%2Fss+w%C3%B6rd%2B&x"), "?key=[redacted]&x");
        assert_eq!(redactor.redact(r#"{"key":"p\/ss wörd+"}"#), r#"{"key":"[redacted]"}"#);
        assert_eq!(
            redactor.without("p/ss wörd+").redact("?key=p%2Fss+w%C3%B6rd%2B"),
            "?key=p%2Fss+w%C3%B6rd%2B"
        );
    }

    #[test]
    fn a_secret_is_found_in_every_encoding_and_the_text_around_it_stays() {
        use base64::{
            Engine,
            engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
        };
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        for secret in ["hunter2/+?>~ä&é", "s3cret", "eyJhbGciOi.eyJzdWIi.c2ln-_", "a@b.test"] {
            let redactor = Redactor::new([secret]);
            let javascript = secret.replace('/', "%2F").replace('+', "%2B").replace('?', "%3F");
            let javascript = javascript.replace('>', "%3E").replace('ä', "%C3%A4");
            let javascript = javascript.replace('&', "%26").replace('é', "%C3%A9");
            let javascript = javascript.replace('@', "%40");
            let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            // Of the two encodings, only `form` encodes the tilde.
            let lower = form.split('%').enumerate().map(|(n, part)| match n {
                0 => part.to_owned(),
                _ => format!("%{}{}", part[..2].to_lowercase(), &part[2..]),
            });
            let python = secret.replace('ä', "\\u00e4").replace('é', "\\u00e9");
            for encoded in [
                STANDARD.encode(secret),
                hex(secret),
                hex(secret).to_uppercase(),
                lower.collect(),
                form,
                javascript,
                python,
                secret.replace('>', "\\u003e").replace('&', "\\u0026"),
            ] {
                let text = format!("a={encoded}&b");
                assert_eq!(redactor.redact(&text), "a=[redacted]&b", "{secret}: {encoded}");
                let other = redactor.without(secret).redact(&text).into_owned();
                assert!(other == text || secret.starts_with("eyJ"), "{other}");
            }
            // Inside a longer text, as in a header with user and password, some bits of the last byte may
            // remain.
            for user in ["u:", "us:", "use:"] {
                for text in [user.to_owned() + secret, format!("{user}{secret}, and more")] {
                    for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                        let redacted = redactor.redact(&encoded).into_owned();
                        assert!(redacted.contains(MARK), "{secret} in {encoded}: {redacted}");
                        let most = encoded.len() - secret.len() * 8 / 6 + MARK.len() + 2;
                        assert!(redacted.len() <= most, "{secret} in {encoded}: {redacted}");
                    }
                }
            }
        }
    }

    #[test]
    fn values_are_redacted_and_keys_stay() {
        let redactor = Redactor::new(["description", "s3cret\"pw"]);
        let mut value =
            serde_json::json!({"description": ["a s3cret\"pw", {"type": "description"}, 7]});
        assert!(redactor.redact_values(&mut value));
        assert!(!redactor.redact_values(&mut value.clone()["none"]));
        let redacted =
            serde_json::json!({"description": ["a [redacted]", {"type": "[redacted]"}, 7]});
        assert_eq!(value, redacted);
    }

    #[test]
    fn a_name_contains_a_secret_unless_the_secret_is_a_word() {
        let redactor = Redactor::new(["description", "s3cret-pw"]);
        for name in ["x.s3cret-pw", "eyJhbGci.eyJzdWI.c2ln", "t.eyJhbGci.eyJzdWI.c2ln", "x://a:b@c"]
        {
            assert!(redactor.finds_secret_in(name), "{name}");
        }
        for name in ["description", "todo.description", "eyJ.a", "x://a", ""] {
            assert!(!redactor.finds_secret_in(name), "{name}");
        }
    }

    #[test]
    fn addresses_are_found_however_they_are_written() {
        for text in
            ["a%2Bb%40mana.test", "anna＠mana.test", r"anna\u0040mana.test", "\"a b\"@mana.test"]
        {
            assert_eq!(redact_emails(&format!("no {text}, sorry")), "no [redacted], sorry");
        }
        assert_eq!(redact_emails("100%40 times"), "100%40 times");
    }

    #[test]
    fn addresses_are_replaced_and_a_lone_at_stays() {
        assert_eq!(
            redact_emails("for persona.jörg+1@mana.test: no <a@b> @ home, x@"),
            "for [redacted]: no <[redacted]> @ home, x@"
        );
        assert_eq!(redact_emails("nothing here"), "nothing here");
        assert_eq!(redact_emails(r#"{"a":"x\nfoo@b.de"}"#), r#"{"a":"x\n[redacted]"}"#);
        assert_eq!(redact_emails(r#"{"a":"x\u0041foo@b.de"}"#), r#"{"a":"x\u0041[redacted]"}"#);
    }

    /// If a part of the text were searched again and again, this test would not end.
    #[test]
    fn long_texts_of_what_looks_like_urls_and_addresses_take_no_time() {
        let redactor = Redactor::new(["very-secret"]);
        for text in ["://", "://a:x/", "://a@", "eyJ", "%", "a%40", "@", "\"@", "\\"] {
            let long = text.repeat(1_000_000 / text.len());
            assert!(!redactor.redact(&long).is_empty(), "{text}");
            assert!(!redact_emails(&long).is_empty(), "{text}");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        assert!(!format!("{:?}", Redactor::new(["very-secret"])).contains("very"));
    }
}
