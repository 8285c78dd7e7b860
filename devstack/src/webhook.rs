//! A webhook that takes the report of a week. It is strict: what is no report is refused for good.

use std::io;

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use serde_json::Value;

use crate::wire::Served;

/// The part of the path that only the runner and the webhook know.
pub const SECRET: &str = "T0K3N-0f-the-w3bh00k";

/// A running webhook. It fails as its [`Served::faults`] say.
#[derive(Debug)]
pub struct Webhook {
    /// The socket of this peer: recorded requests and planned faults.
    pub served: Served,
}

impl Webhook {
    /// Serves the webhook on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let router = Router::new().route("/services/{secret}", post(answer));
        Ok(Self { served: Served::start(router).await? })
    }

    /// Where reports are posted.
    pub fn url(&self) -> String {
        format!("{}/services/{SECRET}", self.served.url)
    }

    /// The weeks of the reports that have arrived, in order, with those that were not taken: the first days of the weeks.
    pub fn weeks(&self) -> Vec<String> {
        let week = |body: Value| body["report"]["window"]["from"].as_str().map(str::to_owned);
        self.served.recorder.all().iter().filter_map(|request| week(request.json())).collect()
    }
}

async fn answer(Path(secret): Path<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|of| of == "application/json");
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    if secret != SECRET {
        return StatusCode::FORBIDDEN;
    }
    if is_json && is_report(&body) { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST }
}

/// Whether a text is the URL of a week's page.
fn is_link(text: &str) -> bool {
    let path = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let week = path.and_then(|path| path.split_once("/ui/reports/")?.1.strip_suffix(".html"));
    week.is_some_and(|week| week.len() == "2026-W46".len() && week.contains("-W"))
}

/// Whether a body has the three members and no other, and the text is the report's own sentence, in which nothing acts
/// in a chat.
fn is_report(body: &Value) -> bool {
    let (text, report) = (&body["text"], &body["report"]);
    body.as_object().is_some_and(|members| members.len() == 3 && members.contains_key("link"))
        && (body["link"].is_null() || body["link"].as_str().is_some_and(is_link))
        && report["schema"] == "report/v1"
        && text
            .as_str()
            .zip(report["sentence"].as_str())
            .is_some_and(|(text, sentence)| !is_active(text) && shown(text) == shown(sentence))
}

/// Whether a chat would call somebody or make a link.
fn is_active(text: &str) -> bool {
    let follows = |(c, next): (char, char)| match c {
        '@' | '~' | '#' | '&' | ':' => next != '\u{200b}' && !next.is_whitespace(),
        ']' => "([:".contains(next),
        _ => false,
    };
    let has_host = text.to_ascii_lowercase().match_indices("www.").any(|(at, host)| {
        text[at + host.len()..]
            .starts_with(|next: char| next != '\u{200b}' && !next.is_whitespace())
    });
    has_host || text.contains(['<', '>']) || text.chars().zip(text.chars().skip(1)).any(follows)
}

/// What people see of a text.
fn shown(text: &str) -> String {
    text.replace('\u{200b}', "").replace('<', "‹").replace('>', "›")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_chat_acts_on_is_active() {
        for active in ["@all", "~x", "#x", "&lt;", ":x:", "a://b", "WWW.x", "](", "<", ">"] {
            assert!(is_active(active), "{active}");
        }
        assert!(!is_active("a: 1.200 todo.list of 5.000. @ ~ # & [4] @\u{200b}a"));
    }

    #[test]
    fn only_a_report_with_its_sentence_and_the_link_to_its_page_is_taken() {
        let report = json!({"schema": "report/v1", "sentence": "a"});
        for link in [json!(null), json!("https://h/ui/reports/2026-W46.html")] {
            assert!(is_report(&json!({"text": "a", "link": link, "report": report})));
        }
        let of_tools = json!({"schema": "report/v1", "sentence": "<@a> ://"});
        let text = "‹@\u{200b}a› :\u{200b}//";
        assert!(is_report(&json!({"text": text, "link": null, "report": of_tools})));
        for bad in [
            json!(null),
            json!({"text": "<@a> ://", "link": null, "report": of_tools}),
            json!({"text": "‹@a› :\u{200b}//", "link": null, "report": of_tools}),
            json!({"text": "a", "report": report}),
            json!({"text": "b", "link": null, "report": report}),
            json!({"text": "a", "link": "http://x", "report": report}),
            json!({"text": "a", "link": "/ui/reports/2026-W46.html", "report": report}),
            json!({"text": "a", "link": null, "report": {"schema": "report/v2", "sentence": "a"}}),
            json!({"text": "a", "link": null, "report": report, "blocks": []}),
        ] {
            assert!(!is_report(&bad), "{bad}");
        }
    }
}
