//! Whom a friction hits, what they did next, and the calls that prove it.

use std::time::Duration;

use maud::{Markup, html};

use crate::{
    domain::{Label, Next, clipped_line},
    facts::{frictions::Friction, overview::Overview},
    journal::{PersonaHits, Sample},
    report::{html::shapes, view::languages},
    ui::{
        asked::Asked,
        frame,
        times::Times,
        words::{self, terms::terms},
    },
};

/// How many personas are named.
pub(super) const PERSONAS: usize = 50;
/// How many calls are shown.
pub(super) const SAMPLES: usize = 20;
/// Longest label or name, in characters.
const NAME: usize = 40;
/// Longest words of a persona, in characters.
const QUOTE: usize = 160;

/// How often each thing followed a failed call.
pub(super) fn next(asked: &Asked, friction: &Friction) -> Markup {
    let words = words::frictions::words(asked.language);
    let terms = languages::words(asked.language);
    let count = |next: &Next| friction.next.get(next.as_str()).copied().unwrap_or_default();
    let all: u32 = friction.next.values().sum();
    html! {
        h2 { (words.next) }
        @if all == 0 {
            p.note { (words.next_unknown) }
        } @else {
            (frame::wide(words.next, html! {
                table {
                    tbody {
                        @for next in Next::ALL.iter().filter(|next| count(next) > 0) {
                            tr {
                                th scope="row" { (terms.next(*next)) }
                                td.n { (terms.number(count(next).into())) }
                                td { (shapes::short_bar(f64::from(count(next)) / f64::from(all))) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// The personas that an issue has hit, those with the most runs first.
pub(super) fn personas(asked: &Asked, personas: &[PersonaHits]) -> Markup {
    let words = words::frictions::words(asked.language);
    let shown = personas.iter().take(PERSONAS);
    html! {
        (frame::wide(words.personas, html! {
            table {
                thead { tr { @for column in words.persona_columns { th scope="col" { (column) } } } }
                tbody {
                    @for persona in shown {
                        tr data-item {
                            th scope="row" { (name(asked, &persona.persona_id, persona.label.as_deref())) }
                            td.n { (persona.runs) }
                            td.n { (persona.recovered) }
                            td.n { (persona.calls) }
                            td { a href=(asked.run(persona.last_run, None)) { (words.last_run) } }
                        }
                    }
                }
            }
        }))
        @if personas.len() > PERSONAS { p.rest { (words.more_personas(personas.len() - PERSONAS)) } }
    }
}

/// The personas of a friction without an issue.
pub(super) fn labels(asked: &Asked, friction: &Friction, overview: &Overview) -> Markup {
    let words = words::frictions::words(asked.language);
    let id = |label: &str| {
        let mut called = overview.personas.iter().filter(|it| &*it.label == label);
        called.next().filter(|_| called.next().is_none()).map(|it| &*it.id)
    };
    html! {
        ul.lines {
            @for label in friction.personas.iter().take(PERSONAS) {
                li data-item {
                    @match id(label) {
                        Some(id) => (name(asked, id, Some(label))),
                        None => bdi { (clipped_line(label, NAME)) },
                    }
                }
            }
        }
        @let more = friction.personas.len().saturating_sub(PERSONAS);
        @if more > 0 { p.rest { (words.more_personas(more)) } }
    }
}

/// Calls with what followed them, each a link to its place in the conversation. `is_of_one`: all are of the same tool,
/// which need not be told.
pub(super) fn samples(asked: &Asked, samples: &[Sample], is_of_one: bool, times: &Times) -> Markup {
    let words = words::frictions::words(asked.language);
    let [call, persona, tool, rest @ ..] = words.sample_columns;
    let columns = [call, persona].into_iter().chain((!is_of_one).then_some(tool)).chain(rest);
    html! {
        @if samples.is_empty() {
            p.note { (words.no_samples) }
        } @else {
            (frame::wide(words.samples, html! {
                table {
                    thead { tr { @for column in columns { th scope="col" { (column) } } } }
                    tbody { @for sample in samples { (row(asked, sample, is_of_one, times)) } }
                }
            }))
        }
    }
}

fn row(asked: &Asked, sample: &Sample, is_of_one: bool, times: &Times) -> Markup {
    let Sample { call, persona_id, label } = sample;
    let (terms, of_report) = (terms(asked.language), languages::words(asked.language));
    html! {
        tr data-item {
            th.whole scope="row" {
                a href=(asked.run_named(&call.run, Some(call.number))) {
                    (times.minute(call.at)) " · " (of_report.call(call.number))
                }
            }
            td.whole { (name(asked, persona_id, label.as_deref())) }
            @if !is_of_one { td.whole { code { bdi { (clipped_line(&call.tool, NAME)) } } } }
            td { @if let Some(next) = call.next { (of_report.next(next)) } }
            td.n {
                @if let Some(took) = call.latency_ms { (terms.took(Duration::from_millis(took))) }
            }
            td { @if let Some(quote) = &call.quote { q { bdi { (clipped_line(quote, QUOTE)) } } } }
        }
    }
}

/// The name of a persona, as a link to it.
fn name(asked: &Asked, id: &str, label: Option<&str>) -> Markup {
    let label = clipped_line(label.unwrap_or(id), NAME);
    html! { a href=(asked.link(&["personas", id], &[])) { bdi { (label) } } }
}
