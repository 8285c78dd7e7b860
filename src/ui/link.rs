//! The addresses of pages. All links are made here, so that each text of a peer in one is encoded, and the language
//! and the window are carried on.

use url::form_urlencoded::Serializer;

use super::{access::Next, asked::Asked};
use crate::domain::RunId;

/// Characters of a path that need no encoding: those that RFC 3986 calls unreserved.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// A part of a path, with everything encoded that could end it.
fn encoded(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match is_plain(byte) {
            true => encoded.push(byte.into()),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    // A browser would resolve these.
    match &*encoded {
        "." => "%2E".into(),
        ".." => "%2E%2E".into(),
        _ => encoded,
    }
}

impl Asked {
    /// The address of the page below /ui with these path segments and parameters, in this language and for this window.
    pub(super) fn link(&self, path: &[&str], parameters: &[(&str, &str)]) -> String {
        let own = parameters.iter().copied();
        let carried =
            self.carried().filter(|(name, _)| own.clone().all(|(known, _)| known != *name));
        address(path, own.clone().chain(carried))
    }

    /// The address of this page with a parameter set (or left out), and all others as they are.
    pub(super) fn here_with(&self, name: &str, value: Option<&str>) -> String {
        let others = self.parameters().iter().map(|(name, value)| (&**name, &**value));
        let others = others.filter(|(known, _)| *known != name);
        let all = others.chain(value.map(|value| (name, value)));
        format!("{}{}", self.path, query(all))
    }

    /// The address of this page as JSON.
    pub(super) fn as_json(&self) -> String {
        let all = self.parameters().iter().map(|(name, value)| (&**name, &**value));
        format!("{}.json{}", self.path, query(all))
    }

    /// The address of a run, and of a call of it.
    pub(super) fn run(&self, run: RunId, call: Option<u32>) -> String {
        self.run_named(&run.to_string(), call)
    }

    /// As [`Asked::run`], for the text of an id. Only the language is carried on: a run has no window.
    pub(super) fn run_named(&self, run: &str, call: Option<u32>) -> String {
        let anchor = call.map_or(String::new(), |call| format!("#call-{call}"));
        format!("{}{anchor}", address(&["runs", run], self.language()))
    }

    /// The address of the login that leads to `next`. `is_own`: a page of ours leads to the login, so that the browser
    /// sends its cookie.
    pub(super) fn login(&self, next: &Next, is_own: bool) -> String {
        let own = is_own.then_some(("own", "1"));
        address(&["login"], self.language().chain(own).chain([("next", next.as_str())]))
    }

    /// The parameter with the language, if the request has one.
    fn language(&self) -> impl Iterator<Item = (&str, &str)> {
        self.carried().filter(|(name, _)| *name == "lang")
    }
}

fn address<'p>(path: &[&str], parameters: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut address = "/ui".to_owned();
    for segment in path {
        address.push('/');
        address.push_str(&encoded(segment));
    }
    address + &query(parameters)
}

/// `?` and the parameters, encoded; empty if there are none.
fn query<'p>(parameters: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut serializer = Serializer::for_suffix(String::from("?"), 1);
    let query = serializer.extend_pairs(parameters).finish();
    if query == "?" { String::new() } else { query }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_after_one_question_mark() {
        let parameters = [("lang", "en"), ("next", "/ui?a=b&c")];
        let address = address(&["login"], parameters.into_iter());
        assert_eq!(address, "/ui/login?lang=en&next=%2Fui%3Fa%3Db%26c");
        assert_eq!(query([].into_iter()), "");
    }

    #[test]
    fn whatever_a_name_is_it_stays_one_segment() {
        for (name, expected) in
            [("todo", "todo"), ("a/b?c#d%", "a%2Fb%3Fc%23d%25"), ("..", "%2E%2E"), ("ä", "%C3%A4")]
        {
            assert_eq!(encoded(name), expected);
        }
    }
}
