//! What a request asks for: its language, its window, and the further parameters of its page. All of it is in the URL.

use axum::http::{HeaderMap, Uri, header::ACCEPT};
use jiff::civil::Date;
use url::form_urlencoded;

use crate::{
    domain::{Language, Week},
    facts::window::Days,
};

/// The longest window that a page shows, in days.
const MOST_DAYS: u32 = 400;
/// The parameters that say which days are shown.
pub(super) const WINDOW: [&str; 4] = ["days", "week", "from", "to"];

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The language of the page.
    pub(super) language: Language,
    /// The window; `None` if the request names none.
    pub(super) days: Option<Days>,
    /// Whether the answer is JSON.
    pub(super) is_json: bool,
    /// Whether the answer is a stream of events.
    pub(super) wants_stream: bool,
    /// Whether the reader has logged in with a key.
    pub(super) can_log_out: bool,
    /// The id of the last event that an earlier stream has sent.
    pub(super) last_event: Option<String>,
    /// The path without `.json`, percent-encoded as in the request.
    pub(super) path: String,
    /// The parts of the path that name what is shown, decoded, without `.json`.
    segments: Vec<(String, String)>,
    /// The parameters in the order of the URL, decoded.
    parameters: Vec<(String, String)>,
}

impl Asked {
    /// Reads a request. The second value is the name of a parameter that cannot be read; it is then left out.
    pub(super) fn of(
        uri: &Uri,
        mut segments: Vec<(String, String)>,
        headers: &HeaderMap,
        default: Language,
    ) -> (Self, Option<&'static str>) {
        let path = uri.path();
        let is_json = path.ends_with(".json");
        let path = path.strip_suffix(".json").unwrap_or(path).to_owned();
        if let (true, Some((_, last))) = (is_json, segments.last_mut()) {
            // Of a route such as `/ui/runs/{id}/calls.json` the last part is not the last segment.
            if let Some(stem) = last.strip_suffix(".json") {
                *last = stem.to_owned();
            }
        }
        let query = uri.query().unwrap_or_default().as_bytes();
        let pairs = form_urlencoded::parse(query).filter(|(_, value)| !value.is_empty());
        let parameters: Vec<_> =
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let wants_stream =
            header(ACCEPT.as_str()).is_some_and(|accepted| accepted.contains("text/event-stream"));
        let mut asked = Self {
            language: default,
            days: None,
            is_json,
            wants_stream,
            can_log_out: false,
            last_event: header("last-event-id").map(str::to_owned),
            path,
            segments,
            parameters,
        };
        let wrong = asked.read();
        (asked, wrong)
    }

    fn read(&mut self) -> Option<&'static str> {
        if let Some(language) = self.parameter("lang") {
            match language {
                "de" => self.language = Language::German,
                "en" => self.language = Language::English,
                _ => return Some("lang"),
            }
        }
        match self.window() {
            Ok(days) => {
                self.days = days;
                None
            }
            Err(name) => Some(name),
        }
    }

    fn window(&self) -> Result<Option<Days>, &'static str> {
        let date = |name| self.parameter(name).map(|text| text.parse::<Date>().map_err(|_| name));
        if let Some(days) = self.parameter("days") {
            let days = days.parse().ok().filter(|days| (1..=MOST_DAYS).contains(days));
            return days.map(|days| Some(Days::Last(days))).ok_or("days");
        }
        if let Some(week) = self.parameter("week") {
            let week: Week = week.parse().map_err(|_| "week")?;
            return Ok(Some(Days::Between(week.monday(), week.sunday())));
        }
        match (date("from").transpose()?, date("to").transpose()?) {
            (None, None) => Ok(None),
            (Some(from), Some(to)) if from <= to => Ok(Some(Days::Between(from, to))),
            (Some(_), _) => Err("to"),
            (None, Some(_)) => Err("from"),
        }
    }

    /// The first parameter with this name; an empty one counts as not given.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// All parameters, decoded, in the order of the URL.
    pub(super) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The part of the path with this name in the route, decoded; empty if the route has none.
    pub(super) fn segment(&self, name: &str) -> &str {
        self.segments.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The parameters that each link carries on: the language and the window.
    pub(super) fn carried(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.parameters.iter().map(|(name, value)| (&**name, &**value));
        all.filter(|(name, _)| *name == "lang" || WINDOW.contains(name))
    }
}
