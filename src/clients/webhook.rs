//! Posts the report of a week to the webhook of REPORT_WEBHOOK_URL. No text that this module makes has any part of the
//! URL, and none quotes what the webhook answers: it may repeat the URL.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    config::{BaseUrl, WebhookUrl},
    domain::Week,
    http::{HttpClient, HttpError, Operation, Peer, Retryable, retry_after},
};

const PEER: Peer = "webhook";
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer without an error, in bytes. Nothing of the answer is used.
const BODY_LIMIT: usize = 64 << 10;

/// Posts reports.
#[derive(Clone, Debug)]
pub struct WebhookClient {
    http: HttpClient,
    at: WebhookUrl,
    page: Option<BaseUrl>,
}

/// Why the webhook has not taken a report.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There was no complete answer. The text has no detail, because that may name the host.
    #[error("{0}")]
    Http(&'static str),
    /// The answer is no success. The second value is the wait that it asks for.
    #[error("the webhook answered {0}")]
    Refused(u16, Option<Duration>),
    /// The report is none, because somebody has edited the journal.
    #[error("the stored report is no report/v1")]
    NoReport,
}

impl WebhookError {
    /// Whether the webhook will never take the same report.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Self::Http(_) => false,
            Self::Refused(status, _) => matches!(status, 300..=399 | 400 | 410 | 413 | 422),
            Self::NoReport => true,
        }
    }
}

impl Retryable for WebhookError {
    fn again_after(&self) -> Option<Duration> {
        let asked = if let Self::Refused(_, asked) = self { *asked } else { None };
        (!self.is_for_good()).then_some(asked.unwrap_or_default())
    }
}

impl From<HttpError> for WebhookError {
    fn from(error: HttpError) -> Self {
        Self::Http(match error {
            HttpError::Unreachable(..) => "the webhook cannot be reached",
            HttpError::Timeout(..) => "the webhook did not answer within 20 s",
            HttpError::Interrupted(..) => "the connection to the webhook broke",
            HttpError::TooLarge(..) => "the webhook answered more than 64 KiB",
            HttpError::Unsendable(..) => "the request to the webhook could not be built",
        })
    }
}

/// What is posted.
#[derive(Serialize)]
struct Message<'r> {
    /// What a person must know, in one sentence.
    text: String,
    /// Where the report can be read. `None` if nobody has said where people reach the page.
    link: Option<String>,
    /// `report/v1`.
    report: &'r RawValue,
}

#[derive(Deserialize)]
struct Sentence {
    sentence: String,
}

impl WebhookClient {
    /// A client that posts to this URL. `page` is the URL under which people reach the page, without /ui.
    pub fn new(http: HttpClient, at: WebhookUrl, page: Option<BaseUrl>) -> Self {
        Self { http, at, page }
    }

    /// Posts the report of a week (`report/v1`) once, for at most 20 s.
    ///
    /// # Errors
    /// When the webhook has not taken the report.
    pub async fn post(&self, week: Week, report: &str) -> Result<(), WebhookError> {
        let operation =
            Operation { peer: PEER, name: "report", timeout: TIMEOUT, body_limit: BODY_LIMIT };
        let file = format!("{week}.html");
        let link = self.page.as_ref().map(|page| page.join(["ui", "reports", &file]).to_string());
        let body = message(report, link).ok_or(WebhookError::NoReport)?;
        let request = self.http.inner.post(self.at.expose());
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let answer = match self.http.send(operation, request).await {
            // The webhook has taken the report, whatever it has to say about that.
            Err(HttpError::TooLarge(..)) => return Ok(()),
            answer => answer?,
        };
        match answer.status.is_success() {
            true => Ok(()),
            false => {
                let asked = retry_after(&answer.headers);
                Err(WebhookError::Refused(answer.status.as_u16(), asked))
            }
        }
    }
}

/// The body of the request; `None` if `report` is not the JSON of a report.
fn message(report: &str, link: Option<String>) -> Option<String> {
    let Sentence { sentence } = serde_json::from_str(report).ok()?;
    let report = serde_json::from_str(report).ok()?;
    serde_json::to_string(&Message { text: chat_text(&sentence), link, report }).ok()
}

/// An invisible space.
const BREAK: char = '\u{200b}';

/// The sentence as a text that calls nobody and links to nothing in a chat: the sentence may have names and error texts of
/// the product, and a chat acts on `<!channel>`, `@all`, `~channel`, `#tag`, `:emoji:`, `[a](b)` and `www.` as on a
/// URL. Angle brackets become others, and [`BREAK`] follows what such a mark begins with.
fn chat_text(sentence: &str) -> String {
    let mut text = String::with_capacity(sentence.len() + sentence.len() / 8);
    let mut rest = sentence.chars().peekable();
    while let Some(c) = rest.next() {
        text.push(match c {
            '<' => '‹',
            '>' => '›',
            c => c,
        });
        if rest.peek().is_some_and(|next| !next.is_whitespace() && ends_with_mark(&text, *next)) {
            text.push(BREAK);
        }
    }
    text
}

/// Whether what a chat acts on begins at the end of `text`, or ends its beginning there; `next` follows.
fn ends_with_mark(text: &str, next: char) -> bool {
    const HOST: &str = "www.";
    let is_host = || {
        let end = text.len().checked_sub(HOST.len()).and_then(|start| text.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(HOST))
    };
    match text.chars().next_back() {
        Some('@' | '~' | '#' | '&' | ':') => true,
        Some('.') => is_host(),
        // A link or its definition.
        Some(']') => matches!(next, '(' | '[' | ':'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{
        Router,
        http::{HeaderMap, StatusCode, Uri},
        routing::post as post_route,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;
    use crate::{domain::Redactor, metrics::Metrics};

    const REPORT: &str = "{\"schema\":\"report/v1\",\"sentence\":\"a \\\"b\\\"\"}\n";

    fn client(url: &str) -> WebhookClient {
        let http = HttpClient::new(Arc::new(Metrics::new("0").unwrap()), Redactor::default());
        WebhookClient::new(http.unwrap(), WebhookUrl::parse(url).unwrap(), None)
    }

    async fn post(client: &WebhookClient, report: &str) -> Result<(), WebhookError> {
        client.post("2026-W46".parse().unwrap(), report).await
    }

    /// The error of a post that is answered with this status. The answer repeats the URL.
    async fn refused(status: u16, headers: &[(&'static str, &str)]) -> WebhookError {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let answer = post_route(async move |uri: Uri| (status, map, uri.to_string()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/s3cret?s3cret", listener.local_addr().unwrap());
        let router = Router::new().route("/s3cret", answer);
        tokio::spawn(axum::serve(listener, router).into_future());
        post(&client(&url), REPORT).await.unwrap_err()
    }

    #[test]
    fn a_message_has_the_sentence_the_link_and_the_report_as_it_is() {
        for (link, written) in [(None, "null"), (Some("http://h/x".into()), "\"http://h/x\"")] {
            let report = r#"{"schema":"report/v1","sentence":"a \"b\""}"#;
            let expected = format!(r#"{{"text":"a \"b\"","link":{written},"report":{report}}}"#);
            assert_eq!(message(REPORT, link).unwrap(), expected);
        }
        for bad in ["", "{}", "[]", "{\"sentence\":1}"] {
            assert_eq!(message(bad, None), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn the_link_leads_to_the_page_of_the_week_if_people_reach_one() {
        let (seen, mut bodies) = mpsc::unbounded_channel();
        let answer = post_route(async move |body: String| seen.send(body).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", answer);
        tokio::spawn(axum::serve(listener, router).into_future());
        for (page, link) in [
            (None, Value::Null),
            (
                Some("https://runner.example"),
                json!("https://runner.example/ui/reports/2026-W46.html"),
            ),
            (Some("http://h:1/x/"), json!("http://h:1/x/ui/reports/2026-W46.html")),
        ] {
            let page = page.map(|page| BaseUrl::parse(page).unwrap());
            let client = WebhookClient { page, ..client(&url) };
            post(&client, REPORT).await.unwrap();
            let body: Value = serde_json::from_str(&bodies.recv().await.unwrap()).unwrap();
            assert_eq!(body["link"], link);
        }
    }

    #[test]
    fn a_text_calls_nobody_and_links_to_nothing() {
        for (sentence, expected) in [
            ("<!channel> <@U1> @all", "‹!channel› ‹@|U1› @|all"),
            ("~town-square #tag ~~a~~", "~|town-square #|tag ~|~|a~|~"),
            (":+1: &commat;all &#64;all", ":|+1: &|commat;all &|#|64;all"),
            ("[a](b) ![a](b) [a][b] [b]: c", "[a]|(b) ![a]|(b) [a]|[b] [b]|: c"),
            ("http://x <https://x/y>", "http:|//x ‹https:|//x/y›"),
            ("mailto:a@b.example tel:1", "mailto:|a@|b.example tel:|1"),
            ("WWW.x https://www.x todo.list", "WWW.|x https:|//www.|x todo.list"),
        ] {
            assert_eq!(chat_text(sentence).replace(BREAK, "|"), expected);
        }
    }

    #[test]
    fn an_ordinary_text_stays_as_it_is_and_programs_get_any_as_it_is() {
        for ordinary in
            ["F-K3QA hurts most: 3 of 5 runs, new since 1.5.0 (D-2).", "1.200 [44–77 %] a@ ] & #"]
        {
            assert_eq!(chat_text(ordinary), ordinary);
        }
        let report = json!({"sentence": "todo.list <@U1>"});
        let body: Value =
            serde_json::from_str(&message(&report.to_string(), None).unwrap()).unwrap();
        assert_eq!(body["text"], "todo.list ‹@\u{200b}U1›");
        assert_eq!(body["report"], report);
    }

    proptest! {
        #[test]
        fn nothing_that_a_chat_acts_on_is_left(sentence in r"[a1@~#&:.<>\[\]()/ wW]{0,40}") {
            let text = chat_text(&sentence);
            prop_assert!(!text.contains(['<', '>']), "{}", text);
            for mark in ["://", "](", "][", "]:", "www."] {
                for (at, _) in text.to_lowercase().match_indices(mark) {
                    let after = text[at + mark.len()..].chars().next();
                    prop_assert!(mark == "www." && after.is_none_or(|c| c == BREAK || c == ' '), "{}", text);
                }
            }
            for (a, b) in text.chars().zip(text.chars().skip(1)) {
                prop_assert!(!"@~#&:".contains(a) || b == BREAK || b == ' ', "{}", text);
            }
            let undone = text.replace(BREAK, "").replace('‹', "<").replace('›', ">");
            prop_assert_eq!(undone, sentence);
        }
    }

    #[tokio::test]
    async fn a_refusal_for_good_is_told_from_one_that_may_pass_and_neither_shows_the_url() {
        for (status, is_for_good) in [
            (302, true),
            (307, true),
            (400, true),
            (401, false),
            (404, false),
            (408, false),
            (410, true),
            (413, true),
            (422, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let headers = [("location", "/s3cret?s3cret"), ("retry-after", "7")];
            let error = refused(status, &headers).await;
            assert_eq!(error.is_for_good(), is_for_good, "{status}");
            let asked = (!is_for_good).then_some(Duration::from_secs(7));
            assert_eq!(error.again_after(), asked, "{status}");
            assert_eq!(error.to_string(), format!("the webhook answered {status}"));
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn a_webhook_that_cannot_be_reached_is_tried_again_and_its_url_is_not_shown() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/s3cret", listener.local_addr().unwrap());
        drop(listener);
        let client = client(&url);
        let error = post(&client, REPORT).await.unwrap_err();
        assert!(!error.is_for_good());
        assert_eq!(error.to_string(), "the webhook cannot be reached");
        assert!(!format!("{client:?} {error:?}").contains("s3cret"));
        assert!(post(&client, "{}").await.unwrap_err().is_for_good(), "it is no report");
    }
}
