//! The addresses of pages. All links are made here, so that each text of a peer in one is encoded, and the language
//! and the window are carried on.

use url::form_urlencoded::Serializer;

use super::{
    access::Next,
    asked::{Asked, WINDOW},
};
use crate::{
    domain::{RunId, Week},
    report::{Form, html::links::Links},
};

/// The parameters that say which part of a list is shown.
pub(super) const PARTS: [&str; 3] = ["page", "before", "after"];

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
        // At the end of a path this asks for JSON.
        _ => match encoded.strip_suffix(".json") {
            Some(stem) => format!("{stem}%2Ejson"),
            None => encoded,
        },
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
        self.here_without(&[name], value.map(|value| (name, value)).as_slice())
    }

    /// The address of this page without some parameters, with others added, and all others as they are.
    pub(super) fn here_without(&self, without: &[&str], added: &[(&str, &str)]) -> String {
        let others = self.parameters().iter().map(|(name, value)| (&**name, &**value));
        let others = others.filter(|(known, _)| !without.contains(known));
        format!("{}{}", self.path, query(others.chain(added.iter().copied())))
    }

    /// The address of the page below /ui with these path segments, in this language, for no window.
    pub(super) fn plain(&self, path: &[&str]) -> String {
        address(path, self.language())
    }

    /// The address of a stored report. A report has its own language, and its week is its window.
    pub(super) fn report(week: Week, form: Form) -> String {
        format!("/ui/reports/{week}.{}", form.as_str())
    }

    /// The address of the first page for this week.
    pub(super) fn week(&self, week: Week) -> String {
        let week = week.to_string();
        address(&[], self.language().chain([("week", &*week)]))
    }

    /// The address of the first part of this page for the last so many days.
    pub(super) fn for_days(&self, count: u32) -> String {
        let others = self.parameters().iter().map(|(name, value)| (&**name, &**value));
        let others = others.filter(|(name, _)| !WINDOW.contains(name) && !PARTS.contains(name));
        let count = count.to_string();
        format!("{}{}", self.path, query(others.chain([("days", &*count)])))
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
        format!("{}{anchor}", self.plain(&["runs", run]))
    }

    /// The address of a place in a part of the run that the request shows.
    pub(super) fn part_of_run(&self, part: usize, anchor: &str) -> String {
        let part = part.to_string();
        let parameters = [("part", &*part)].into_iter().chain(self.language());
        format!("{}#{anchor}", query(parameters))
    }

    /// The path of a run's page, without parameters.
    pub(super) fn run_path(&self, run: RunId) -> String {
        address(&["runs", &run.to_string()], std::iter::empty())
    }

    /// The address of all that is kept of a call.
    pub(super) fn call(&self, run: RunId, call: u32) -> String {
        let (run, call) = (run.to_string(), call.to_string());
        self.plain(&["runs", &run, "calls", &call])
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

/// What a report names is shown by other pages.
impl Links for Asked {
    fn friction(&self, id: &str) -> Option<String> {
        Some(self.link(&["frictions", id], &[]))
    }

    fn module(&self, name: &str) -> Option<String> {
        Some(self.link(&["modules", name], &[]))
    }

    fn call(&self, run: &str, call: Option<u32>) -> Option<String> {
        Some(self.run_named(run, call))
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
    use axum::http::HeaderMap;

    use super::*;
    use crate::domain::Language;

    #[test]
    fn parameters_are_encoded_after_one_question_mark() {
        let parameters = [("lang", "en"), ("next", "/ui?a=b&c")];
        let address = address(&["login"], parameters.into_iter());
        assert_eq!(address, "/ui/login?lang=en&next=%2Fui%3Fa%3Db%26c");
        assert_eq!(query([].into_iter()), "");
    }

    #[test]
    fn whatever_a_name_is_it_stays_one_segment() {
        for (name, expected) in [
            ("todo", "todo"),
            ("a/b?c#d%", "a%2Fb%3Fc%23d%25"),
            ("..", "%2E%2E"),
            ("ä", "%C3%A4"),
            ("a.json", "a%2Ejson"),
        ] {
            assert_eq!(encoded(name), expected);
        }
    }

    #[test]
    fn other_days_take_the_place_of_those_that_were_asked_for_and_begin_a_list_anew() {
        let uri = "/ui/frictions?state=new&from=2026-03-01&to=2026-03-08&page=3&lang=en".parse();
        let asked = Asked::of(&uri.unwrap(), vec![], &HeaderMap::new(), Language::German).0;
        assert_eq!(asked.for_days(28), "/ui/frictions?state=new&lang=en&days=28");
    }
}
