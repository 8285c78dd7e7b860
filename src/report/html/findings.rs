//! What hurts, and what changed.

use maud::{Markup, html};

use super::{sections::unbroken, shapes};
use crate::{
    facts::state::State,
    report::view::{Change, Hurt, QuoteView},
};

pub(crate) fn hurts(items: &[Hurt]) -> Markup {
    html! { ol.hurts { @for hurt in items { li { (self::hurt(hurt)) } } } }
}

fn hurt(hurt: &Hurt) -> Markup {
    html! {
        div.what {
            h3 { bdi { (hurt.title) } }
            p.kind { (state(hurt.state, &hurt.state_word)) " " span.id { (hurt.id) } " " (hurt.kind) }
            p.counts { (unbroken(&hurt.counts)) }
            @if !hurt.next.is_empty() { p.next { (hurt.next) } }
            p.seen { (hurt.seen) }
            @if let Some(quote) = &hurt.quote { (self::quote(quote)) }
        }
        div.impact {
            (shapes::bar(hurt.bar))
            p { (hurt.impact) }
        }
        figure.trend {
            (shapes::columns(&hurt.trend, &hurt.trend_label))
            figcaption { (hurt.trend_label) }
        }
    }
}

/// The word of a state as a badge. Its frame differs between states, so that colour is not needed to tell them apart.
fn state(state: State, word: &str) -> Markup {
    html! { span.state.(state.as_str()) { (word) } }
}

/// The quotation marks are written by the style sheet, in those of the page's language.
pub(crate) fn quote(quote: &QuoteView) -> Markup {
    html! {
        figure.quote {
            blockquote { q { bdi { (quote.text) } } }
            figcaption { (quote.source) }
        }
    }
}

pub(crate) fn changes(items: &[Change]) -> Markup {
    html! {
        ul.changes {
            @for change in items {
                li {
                    span.state.(change.state.map_or("tools", State::as_str)) { (change.kind) }
                    " "
                    bdi { (change.text) }
                }
            }
        }
    }
}
