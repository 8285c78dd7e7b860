//! /ui/runs: the runs, newest first, with a filter that is all in the address.

mod filter;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use maud::{Markup, html};
use serde_json::{Value, json};

use super::{
    Answer, Page, Place, Ui,
    asked::Asked,
    frame, pager,
    times::Times,
    trouble::Trouble,
    words::{runs::words, terms::terms},
};
use crate::{
    domain::{Label, RunId, RunState, clipped_line},
    journal::{self, FoundRun},
};
use filter::Filter;

/// Longest label, in characters.
const NAME: usize = 32;
/// Longest reason, in characters.
const REASON: usize = 48;

/// The list.
pub(super) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let filter = Filter::read(&ui.journal, &asked).await?;
    let found = ui.journal.find_runs(&filter.runs, asked.part()?, pager::ROWS as u32).await?;
    if asked.is_json {
        let [newer, older] = around(&found);
        let runs: Vec<_> = found.items.iter().map(as_json).collect();
        let [after, before] = [newer, older].map(|run| run.map(|run| run.to_string()));
        return Ok(Answer::Json(json!({"runs": runs, "after": after, "before": before})));
    }
    let times = ui.times(&asked).await?;
    Ok(Answer::Page(page(&asked, &times, &filter, &found)))
}

fn page(asked: &Asked, times: &Times, filter: &Filter, found: &journal::Page<FoundRun>) -> Page {
    let words = words(asked.language);
    let main = html! {
        (filter.form(asked))
        @if found.items.is_empty() {
            p { (words.none) }
        } @else {
            (frame::wide(words.title, table(asked, times, &found.items, &filter.versions())))
        }
        (pager::of_runs(asked, found, |run| run.id))
    };
    Page { place: Place::Runs, title: words.title.to_owned(), main, live: None }
}

/// The runs before and after which the list goes on: with newer and with older ones.
fn around(found: &journal::Page<FoundRun>) -> [Option<RunId>; 2] {
    let first = found.items.first().filter(|_| found.has_newer);
    let last = found.items.last().filter(|_| found.has_older);
    [first, last].map(|run| run.map(|run| run.id))
}

fn table(
    asked: &Asked,
    times: &Times,
    runs: &[FoundRun],
    versions: &HashMap<i64, String>,
) -> Markup {
    let words = words(asked.language);
    html! {
        table {
            thead {
                tr {
                    th scope="col" { (words.begun) }
                    th scope="col" { (words.persona) }
                    th scope="col" { (words.came_to) }
                    th.n scope="col" { (words.turns) }
                    th.n scope="col" { (words.calls) }
                    th.n scope="col" { (words.failed) }
                    th.n scope="col" { (words.ratings) }
                    th.n scope="col" { (words.took) }
                    th.n scope="col" { (words.cost) }
                    th scope="col" { (words.product) }
                }
            }
            tbody { @for run in runs { (row(asked, times, run, versions)) } }
        }
    }
}

fn row(asked: &Asked, times: &Times, run: &FoundRun, versions: &HashMap<i64, String>) -> Markup {
    let (words, terms) = (words(asked.language), terms(asked.language));
    // The row of a run in flight has no counts yet.
    let count = |count: usize| match run.state {
        RunState::Running => "–".to_owned(),
        _ => words.number(count),
    };
    let label = run.label.as_deref().unwrap_or(&run.persona_id);
    let took = run.took.and_then(|took| took.try_into().ok()).map(|took| terms.took(took));
    let version = run.deployment.and_then(|number| versions.get(&number));
    html! {
        tr data-item {
            th.whole scope="row" { a href=(asked.run(run.id, None)) { (times.minute(run.server_at)) } }
            td {
                a href=(asked.link(&["personas", &run.persona_id], &[])) { bdi { (clipped_line(label, NAME)) } }
            }
            td {
                (terms.came_to(run.state, run.outcome))
                @if journal::has_lost_rows(run.state, &run.stage) { "; " (terms.refused()) }
                @if let Some(reason) = reason(run) { " " span.grey { bdi { (reason) } } }
            }
            td.n { (count(run.replies as usize)) }
            td.n { (count(run.calls)) }
            td.n { (count(run.call_errors)) }
            td.n { (count(run.ratings)) }
            td.n { (took.unwrap_or_default()) }
            td.n { (terms.usd(run.spent)) }
            td { @if let Some(version) = version { bdi { (version) } } }
        }
    }
}

/// Why a run ended, unless its outcome says it all.
fn reason(run: &FoundRun) -> Option<String> {
    let reason = run.end_reason.as_deref().filter(|reason| *reason != "done")?;
    Some(clipped_line(reason, REASON))
}

fn as_json(run: &FoundRun) -> Value {
    json!({
        "id": run.id.to_string(),
        "persona": run.persona_id,
        "label": run.label,
        "at": run.server_at.to_string(),
        "tookMs": run.took.map(|took| took.as_millis() as i64),
        "state": run.state.as_str(),
        "stage": run.stage,
        "outcome": run.outcome.map(Label::as_str),
        "reason": run.end_reason,
        "turns": run.replies,
        "calls": run.calls,
        "failed": run.call_errors,
        "ratings": run.ratings,
        "costUsd": run.spent.dollars(),
        "deployment": run.deployment.map(|number| format!("D-{number}")),
        "model": run.model,
    })
}
