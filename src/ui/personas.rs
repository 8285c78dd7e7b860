//! /ui/personas: who ran on which day, and what each persona came to.

mod absent;
mod days;
mod one;
mod runs;

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::json;

pub(super) use self::one::show;
use super::{
    Answer, Page, Place, USUAL_DAYS, Ui, asked::Asked, days as window, frame, pager,
    trouble::Trouble, words, words::terms::terms,
};
use crate::{
    domain::{Usd, clipped_line},
    facts::overview::{Overview, PersonaSummary, Ratings},
    report::view::{languages, words::percent, writer::LABEL},
};

/// How many days the grid of all personas shows. That of one persona shows all that are known.
const DAYS: usize = 28;
/// Longest archetype, in characters.
const ARCHETYPE: usize = 32;

/// The list of all personas.
pub(super) async fn list(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let page = asked.page()?;
    let found = ui.overviews.overview(asked.days.unwrap_or(USUAL_DAYS)).await?;
    let all = matching(&found, asked.parameter("q").unwrap_or_default());
    let shown = pager::rows(&all, page);
    if asked.is_json {
        let (window, days) = (found.report.window, &found.days);
        let answer = json!({"window": window, "days": days, "personas": shown, "page": page, "count": all.len()});
        return Ok(Answer::Json(answer));
    }
    let (words, times) = (words::personas::words(asked.language), ui.times(&asked).await?);
    let main = html! {
        (found.notice(asked.language, &times))
        (window::told(&asked, found.report.window.from.zip(found.report.window.to), USUAL_DAYS))
        (filter(&asked))
        @if shown.is_empty() {
            p { @if found.personas.is_empty() { (words.none) } @else { (words.no_such) } }
        } @else {
            p.note { (words.count(all.len())) " " (days::told(&asked, &times, newest(&found.days))) }
            (days::key(&asked, shown.iter().flat_map(|it| newest(&it.days))))
            (frame::wide(words.title, table(&asked, shown)))
        }
        (pager::of_rows(&asked, page, all.len()))
    };
    let title = words.title.to_owned();
    Ok(Answer::Page(Page { place: Place::Personas, title, main, live: None }))
}

/// The personas whose label contains a text, whatever the case of its letters.
fn matching<'o>(found: &'o Overview, text: &str) -> Vec<&'o PersonaSummary> {
    let text = text.trim().to_lowercase();
    found.personas.iter().filter(|it| it.label.to_lowercase().contains(&text)).collect()
}

/// The newest days, which the grid shows.
fn newest<T>(days: &[T]) -> &[T] {
    &days[days.len().saturating_sub(DAYS)..]
}

fn filter(asked: &Asked) -> Markup {
    let words = words::personas::words(asked.language);
    let text = asked.parameter("q").map(|text| clipped_line(text, LABEL));
    html! {
        form.filter method="get" action=(asked.path) role="search" aria-label=(words.filter) {
            @for (name, value) in asked.carried() { input type="hidden" name=(name) value=(value); }
            label { (words.label) input name="q" type="search" value=[&text] data-filter; }
            button { (words.apply) }
            @if text.is_some() { a href=(asked.link(&["personas"], &[])) { (words.clear) } }
        }
    }
}

fn table(asked: &Asked, personas: &[&PersonaSummary]) -> Markup {
    let columns = words::personas::words(asked.language).columns;
    html! {
        table.coverage {
            (frame::head(&columns, &[3, 4, 5, 6]))
            tbody { @for persona in personas { tr data-item { (row(asked, persona)) } } }
        }
    }
}

fn row(asked: &Asked, persona: &PersonaSummary) -> Markup {
    let days = newest(&persona.days);
    let address = asked.link(&["personas", &persona.id], &[]);
    html! {
        th scope="row" { a href=(address) { bdi { (clipped_line(&persona.label, LABEL)) } } }
        td { (days::row(asked, days)) }
        td { bdi { (archetype(asked, persona.archetype.as_deref())) } }
        (numbers(asked, persona))
    }
}

/// The runs of a persona, those with failures, its mean rating, and what its runs cost. Without a run there are no numbers.
fn numbers(asked: &Asked, persona: &PersonaSummary) -> Markup {
    let (words, terms) = (words::personas::words(asked.language), languages::words(asked.language));
    html! {
        @if persona.runs == 0 {
            td.grey colspan="4" { (words.no_run) }
        } @else {
            td.n { (terms.number(persona.runs.into())) }
            td.n { (failed(asked, persona.failed, persona.runs)) }
            td.n { (mean(asked, persona.ratings)) }
            td.n { (usd(asked, persona.cost_usd)) }
        }
    }
}

fn archetype(asked: &Asked, archetype: Option<&str>) -> String {
    let unknown = words::personas::words(asked.language).unknown;
    archetype.map_or(unknown.to_owned(), |text| clipped_line(text, ARCHETYPE))
}

/// How many of these runs had failures, and their share.
fn failed(asked: &Asked, failed: u32, runs: u32) -> String {
    let share = f64::from(failed) / f64::from(runs.max(1));
    format!("{} ({})", languages::words(asked.language).number(failed.into()), percent(share))
}

/// The mean of ratings, and how many they are; or words, if there are none.
fn mean(asked: &Asked, ratings: Ratings) -> String {
    let (words, terms) = (words::personas::words(asked.language), languages::words(asked.language));
    match ratings.mean() {
        Some(mean) => terms.mean(&terms.decimal(mean, 1), ratings.n.into(), 0),
        None => words.no_rating.to_owned(),
    }
}

fn usd(asked: &Asked, usd: f64) -> String {
    terms(asked.language).usd(Usd::from_dollars(usd).unwrap_or(Usd::ZERO))
}
