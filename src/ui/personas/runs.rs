//! The runs of a persona, with the ratings that they gave.

use maud::{Markup, html};
use serde_json::{Value, json};

use crate::{
    domain::{Label, RunState, clipped_line},
    journal::{Page, PersonaRun, RunRating},
    report::view::{languages, writer::NAME},
    ui::{asked::Asked, frame, pager, times::Times, words, words::terms::terms},
};

/// How many ratings of a run are told.
const RATINGS: usize = 8;

pub(super) fn section(asked: &Asked, times: &Times, page: &Page<PersonaRun>) -> Markup {
    let words = words::personas::words(asked.language);
    html! {
        @if page.items.is_empty() {
            p { (words.no_run) }
        } @else {
            (frame::wide(words.runs, html! {
                table {
                    (frame::head(&words.run_columns, &[2, 3, 4]))
                    tbody { @for run in &page.items { tr data-item { (row(asked, times, run)) } } }
                }
            }))
        }
        (pager::of_runs(asked, page, |it| it.run.id))
    }
}

fn row(asked: &Asked, times: &Times, PersonaRun { run, ratings }: &PersonaRun) -> Markup {
    let (words, terms) = (languages::words(asked.language), terms(asked.language));
    html! {
        th.whole scope="row" { a href=(asked.run(run.id, None)) { (times.minute(run.server_at)) } }
        td { (terms.came_to(run.state, run.outcome)) }
        @if run.state == RunState::Running {
            td.n { "–" } td.n { "–" }
        } @else {
            td.n { (words.number(run.calls as u64)) }
            td.n { (words.number(run.call_errors as u64)) }
        }
        td.n { (terms.usd(run.spent)) }
        td { (self::ratings(asked, ratings)) }
    }
}

fn ratings(asked: &Asked, ratings: &[RunRating]) -> Markup {
    let words = words::personas::words(asked.language);
    let rated = ratings.iter().filter_map(|it| Some((it, it.rating?)));
    let more = rated.clone().count().saturating_sub(RATINGS) as u64;
    html! {
        @for (position, (rating, number)) in rated.take(RATINGS).enumerate() {
            @if position > 0 { ", " }
            span.grey[!rating.grounded] {
                bdi { (clipped_line(&rating.module, NAME)) } " " (number)
                @if !rating.grounded { " " (words.ungrounded) }
            }
        }
        @if more > 0 { " " (languages::words(asked.language).not_shown(more, "")) }
    }
}

pub(super) fn as_json(page: Page<PersonaRun>) -> Value {
    let rating = |it: &RunRating| {
        json!({
            "module": it.module, "rating": it.rating, "grounded": it.grounded,
            "unratedWhy": it.unrated_why.map(Label::as_str),
        })
    };
    let run = |PersonaRun { run, ratings }: &PersonaRun| {
        json!({
            "id": run.id.to_string(), "at": run.server_at, "state": run.state.as_str(),
            "outcome": run.outcome.map(Label::as_str), "calls": run.calls, "callErrors": run.call_errors,
            "costUsd": run.spent.dollars(), "ratings": ratings.iter().map(rating).collect::<Vec<_>>(),
        })
    };
    let runs: Vec<_> = page.items.iter().map(run).collect();
    json!({"runs": runs, "hasNewer": page.has_newer, "hasOlder": page.has_older})
}
