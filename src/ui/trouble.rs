//! Why a page cannot be shown, as a page or as JSON.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::json;

use super::{Page, Place, asked::Asked, frame, words};
use crate::{domain::Language, journal::JournalError};

/// Why a page cannot be shown.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no such run, friction, module, persona or week.
    NotFound,
    /// The parameter with this name cannot be read.
    Parameter(&'static str),
    /// What the page shows is being computed for the first time.
    NotYet,
    /// The journal cannot be read, or not in time.
    Journal(JournalError),
    /// A text for operators: another reason.
    Other(String),
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Trouble {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::NotYet | Self::Journal(JournalError::Slow(..)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Journal(_) | Self::Other(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The answer in the place of a page.
pub(super) fn answer(asked: &Asked, trouble: &Trouble) -> Response {
    let status = trouble.status();
    if asked.is_json {
        // Errors of programs are in English, as those of the other routes.
        let (_, text) = words::frame::words(Language::English).trouble(trouble);
        return (status, Json(json!({"ok": false, "error": text}))).into_response();
    }
    let words = words::frame::words(asked.language);
    let (title, text) = words.trouble(trouble);
    let main = html! {
        p { (text) }
        p { a href=(asked.here_with("", None)) { (words.reload) } }
    };
    let page = Page { place: Place::Nowhere, title, main, live: None };
    (status, frame::answer(asked, page)).into_response()
}

/// A part of a page, or in its place why it could not be computed.
pub(super) fn part<T>(
    asked: &Asked,
    computed: &Result<T, Trouble>,
    draw: impl FnOnce(&T) -> Markup,
) -> Markup {
    match computed {
        Ok(computed) => draw(computed),
        Err(trouble) => {
            let (_, text) = words::frame::words(asked.language).trouble(trouble);
            html! { p.trouble role="status" { (text) } }
        }
    }
}
