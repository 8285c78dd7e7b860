//! What hurts, and what changed.

use maud::{Markup, html};

use super::{
    links::{Links, linked},
    sections::unbroken,
    shapes,
};
use crate::{
    domain::clipped_line,
    facts::state::State,
    report::view::{Change, Hurt, QuoteView},
};

pub(crate) fn hurts(items: &[Hurt], links: &dyn Links) -> Markup {
    html! {
        ol.hurts {
            @for hurt in items {
                // The keys of the page go from item to item.
                li data-item[links.friction(&hurt.friction.0).is_some()] { (self::hurt(hurt, links)) }
            }
        }
    }
}

fn hurt(hurt: &Hurt, links: &dyn Links) -> Markup {
    html! {
        div.what {
            h3 { (linked(links.friction(&hurt.friction.0), html! { bdi { (hurt.title) } })) }
            p.kind { (state(hurt.state, &hurt.state_word)) " " span.id { (hurt.id) } " " (hurt.kind) }
            p.counts { (unbroken(&hurt.counts)) }
            @if !hurt.next.is_empty() { p.next { (hurt.next) } }
            (seen(hurt, links))
            @if let Some(quote) = &hurt.quote { (self::quote(quote, links)) }
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

/// When it was seen first and last. Where there are links, the last call is one.
pub(crate) fn seen(hurt: &Hurt, links: &dyn Links) -> Markup {
    let last = hurt.last_call.as_ref();
    let address = last.and_then(|call| links.call(&call.run.0, Some(call.number)));
    html! {
        p.seen {
            (hurt.seen)
            @if let Some((call, address)) = last.zip(address) { " · " a href=(address) { (call.word) } }
        }
    }
}

/// Longest title in a long list, in characters.
const BRIEF: usize = 110;

/// A friction in a long list: without what they did next, when it was seen, and without a quote.
pub(crate) fn brief(hurt: &Hurt, links: &dyn Links) -> Markup {
    // Of "name: explanation", the name.
    let names = hurt.kind.split("; ").map(|kind| kind.split(": ").next().unwrap_or_default());
    let kind = names.collect::<Vec<_>>().join("; ");
    let title = clipped_line(&hurt.title, BRIEF);
    html! {
        div.what {
            h3 { (linked(links.friction(&hurt.friction.0), html! { bdi { (title) } })) }
            p.kind { (state(hurt.state, &hurt.state_word)) " " span.id { (hurt.id) } " " (kind) }
            p.counts { (unbroken(&hurt.counts)) }
        }
        div.impact {
            (shapes::brief_bar(hurt.bar))
            p { (hurt.impact) }
        }
        figure.trend { (shapes::brief_columns(&hurt.trend, &hurt.trend_label)) }
    }
}

/// The word of a state as a badge. Its frame differs between states, so that colour is not needed to tell them apart.
pub(crate) fn state(state: State, word: &str) -> Markup {
    html! { span.state.(state.as_str()) { (word) } }
}

/// The quotation marks are written by the style sheet, in those of the page's language.
pub(crate) fn quote(quote: &QuoteView, links: &dyn Links) -> Markup {
    let address = links.call(&quote.run.0, quote.call);
    html! {
        figure.quote {
            blockquote { q { bdi { (quote.text) } } }
            figcaption {
                @match address {
                    Some(address) => a href=(address) { (quote.brief) },
                    None => (quote.source),
                }
            }
        }
    }
}

pub(crate) fn changes(items: &[Change], links: &dyn Links) -> Markup {
    html! {
        ul.changes {
            @for change in items {
                @let address = change.friction.as_ref().and_then(|id| links.friction(&id.0));
                li {
                    span.state.(change.state.map_or("tools", State::as_str)) { (change.kind) }
                    " "
                    (linked(address, html! { bdi { (change.text) } }))
                }
            }
        }
    }
}
