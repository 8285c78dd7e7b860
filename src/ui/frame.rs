//! The frame of all pages: head, navigation, and the one `h1`.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::{Live, Page, Place, asked::Asked, words};
use crate::{domain::Language, report::view::languages};

/// The entries of the navigation with their paths below /ui.
const NAVIGATION: [(Place, &[&str]); 8] = [
    (Place::Front, &[]),
    (Place::Frictions, &["frictions"]),
    (Place::Modules, &["modules"]),
    (Place::Personas, &["personas"]),
    (Place::Runs, &["runs"]),
    (Place::Compare, &["compare"]),
    (Place::Live, &["live"]),
    (Place::Reports, &["reports"]),
];

/// The answer that is this page.
pub(super) fn answer(asked: &Asked, shown: Page) -> Response {
    answer_and_load(asked, shown, None)
}

/// The answer that is this page. `next`: the browser loads this address at once.
pub(super) fn answer_and_load(asked: &Asked, shown: Page, next: Option<&str>) -> Response {
    Html(page(asked, shown, next).into_string()).into_response()
}

/// A whole page.
pub(super) fn page(
    asked: &Asked,
    Page { place, title, main, live }: Page,
    next: Option<&str>,
) -> Markup {
    let words = words::frame::words(asked.language);
    html! {
        (DOCTYPE)
        html lang=(languages::words(asked.language).tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(next) = next { meta http-equiv="refresh" content={ "0; url=" (next) }; }
                title { (title) " · " (words.product) }
                link rel="icon" href="/ui/icon.svg";
                link rel="stylesheet" href="/ui/style.css";
                script src="/ui/ui.js" defer {}
            }
            body {
                a.skip href="#main" { (words.skip) }
                header.top {
                    @if place != Place::Login { (navigation(asked, place)) }
                    (settings(asked, place))
                }
                (main_of(&title, main, live.as_ref()))
                footer { p { (words.footer) " " kbd { "?" } " " (words.shows_keys) } }
                (keys(words))
            }
        }
    }
}

fn navigation(asked: &Asked, place: Place) -> Markup {
    let words = words::frame::words(asked.language);
    html! {
        nav aria-label=(words.navigation) {
            ul {
                @for (entry, path) in NAVIGATION {
                    li {
                        a href=(asked.link(path, &[])) aria-current=[(entry == place).then_some("page")] {
                            (words.place(entry))
                        }
                    }
                }
            }
        }
    }
}

/// The other language, and this page as JSON.
fn settings(asked: &Asked, place: Place) -> Markup {
    let words = words::frame::words(asked.language);
    let (tag, name) = match asked.language {
        Language::German => ("en", "English"),
        Language::English => ("de", "Deutsch"),
    };
    html! {
        div.settings {
            a href=(asked.here_with("lang", Some(tag))) lang=(tag) hreflang=(tag) { (name) }
            @if !matches!(place, Place::Nowhere | Place::Login | Place::Live | Place::Reports) {
                a href=(asked.as_json()) { "JSON" }
            }
            @if asked.can_log_out { form method="post" action="/ui/logout" { button { (words.log_out) } } }
        }
    }
}

fn main_of(title: &str, content: Markup, live: Option<&Live>) -> Markup {
    let (after, run) = match live {
        Some(Live::Calls { after }) => (Some(after.as_deref().unwrap_or_default()), None),
        Some(Live::Run(run)) => (None, Some(&**run)),
        None => (None, None),
    };
    html! {
        main #main tabindex="-1" data-live=[after] data-live-run=[run] {
            h1 { (title) }
            (content)
        }
    }
}

/// What the keys do. The script opens it.
fn keys(words: &words::frame::Words) -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { (words.keys) }
            dl {
                @for (key, what) in words.key_list {
                    dt { @for key in key.split(' ') { kbd { (key) } " " } }
                    dd { (what) }
                }
            }
            form method="dialog" { button { (words.close) } }
        }
    }
}

/// A table that scrolls by itself and not the page. `label` tells those who cannot see it what the table is.
pub(super) fn wide(label: &str, table: Markup) -> Markup {
    html! { div.wide role="region" tabindex="0" aria-label=(label) { (table) } }
}

/// The head of a table. `numbers` are the positions of the columns whose cells are numbers.
pub(super) fn head(columns: &[&str], numbers: &[usize]) -> Markup {
    html! {
        thead {
            tr {
                @for (position, column) in columns.iter().enumerate() {
                    th.n[numbers.contains(&position)] scope="col" { (column) }
                }
            }
        }
    }
}
