//! A report as one HTML file: no script, no request, styles and pictures within the file.
//!
//! The file works from a disk, in a mail and behind a web server. A policy in its head forbids everything but its own
//! style sheet, whose hash the policy names, so that nothing else could act or load even if a text of a peer became
//! markup. Therefore no element has a `style` attribute: pictures are SVG with sizes in attributes, and colours are
//! classes.

pub(crate) mod findings;
pub(crate) mod grid;
pub(crate) mod links;
pub(crate) mod modules;
pub(crate) mod sections;
pub(crate) mod shapes;
#[cfg(test)]
pub(crate) mod tests;

use base64::{Engine, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use self::links::NoLinks;
use super::view::View;

/// `base.css` has the colours, states and pictures, which the page /ui shows too.
const STYLE: &str = concat!(include_str!("html/base.css"), include_str!("html/style.css"));

pub(super) fn render(view: &View) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(view.language) {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (view.title) }
                // Nothing in the style sheet may be escaped: the policy has the hash of these very bytes.
                style { (PreEscaped(STYLE)) }
            }
            body { (body(view)) }
        }
    };
    page.into_string() + "\n"
}

/// The policy of a report: nothing but its own style sheet.
pub(crate) fn policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// The sections, numbered as in docs/report.md: the sentence is the first.
fn body(view: &View) -> Markup {
    html! {
        header {
            h1 { (view.sentence) }
            p.issue { (view.title) }
            @if !view.summary.is_empty() {
                ul.summary { @for line in &view.summary { li { (line) } } }
            }
        }
        main {
            (sections::section(2, &view.hurts, |items| findings::hurts(items, &NoLinks)))
            (sections::section(3, &view.changes, |items| findings::changes(items, &NoLinks)))
            (sections::section(4, &view.modules, |items| modules::table(items, &view.modules.columns, &NoLinks)))
            (sections::section(5, &view.missing, |items| sections::table(items, &view.missing.columns)))
            (sections::section(6, &view.slow, |items| sections::table(items, &view.slow.columns)))
            (sections::not_tested(7, view))
            (sections::section(8, &view.reliability, sections::lines))
            (sections::section(9, &view.cost, sections::lines))
        }
        footer { p { (view.footer) } }
    }
}
