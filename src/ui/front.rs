//! /ui: what hurts now, what changed, and the fleet at this moment. Its JSON is `report/v1`.

mod glance;
mod now;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use maud::{Markup, html};

use self::now::Now;
use super::{
    Answer, Page, Place, Ui,
    asked::Asked,
    days, frame,
    overviews::Found,
    times::Times,
    trouble::{self, Trouble},
    words,
};
use crate::{
    facts::{overview::Overview, window::Days},
    report::{
        Document, Form,
        html::{findings, sections},
        view::{Section, View},
    },
};

/// The days that are shown if the request names none: the report is one of a week.
const DAYS: Days = Days::Last(7);

pub(super) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let found = ui.overviews.overview(asked.days.unwrap_or(DAYS)).await;
    if asked.is_json {
        let report = Document::of(&found?.report, asked.language).text(Form::Json);
        return Ok(Answer::JsonText(report));
    }
    let times = ui.times(&asked).await?;
    let now = Now::of(&ui, &asked, &times).await;
    Ok(page(&asked, &found, &now, &times))
}

/// The page. Without a report, it shows the fleet at this moment all the same.
fn page(
    asked: &Asked,
    found: &Result<Found<Overview>, Trouble>,
    now: &Now,
    times: &Times,
) -> Answer {
    let report = found.as_ref().ok().map(|it| Document::of(&it.report, asked.language));
    let title = match &report {
        Some(report) => report.sentence(),
        None => words::front::words(asked.language).title,
    };
    let main = html! {
        (trouble::part(asked, found, |found| html! {
            (days::told(asked, found.report.window.from.zip(found.report.window.to), DAYS))
            (found.notice(asked.language, times))
        }))
        @if let Some(report) = &report { (summary(report.view())) }
        (now.draw(asked))
        @if let Some(report) = &report { (sections_of(asked, report.view())) }
    };
    Answer::Page(Page { place: Place::Front, title: title.to_owned(), main, live: None })
}

/// Who ran, which versions, when the product could not be reached.
fn summary(view: &View) -> Markup {
    sections::lines(&view.summary)
}

/// The sections of the report, each with a link to the page that has more of it.
fn sections_of(asked: &Asked, view: &View) -> Markup {
    let words = words::front::words(asked.language);
    let link = |page: &str| asked.link(&[page], &[]);
    html! {
        (section(&view.hurts, |items| findings::hurts(items, asked)))
        p { a href=(link("frictions")) { (words.all_frictions) } }
        (section(&view.changes, |items| findings::changes(items, asked)))
        (section(&view.modules, |rows| glance::modules(asked, rows, &view.modules.heading)))
        p { a href=(link("modules")) { (words.all_modules) } }
        (section(&view.missing, |items| numbers(&view.missing, items)))
        (section(&view.slow, |items| numbers(&view.slow, items)))
        (section(&view.not_tested, sections::reasons))
        p { a href=(link("personas")) { (words.all_personas) } }
        (section(&view.reliability, sections::lines))
        (section(&view.cost, sections::lines))
        p.note { (view.footer) }
    }
}

fn numbers<const N: usize>(section: &Section<[String; N]>, items: &[[String; N]]) -> Markup {
    frame::wide(&section.heading, sections::numbers(items, &section.columns))
}

fn section<T>(section: &Section<T>, draw: impl FnOnce(&[T]) -> Markup) -> Markup {
    html! {
        section {
            h2 { (section.heading) }
            (sections::content(section, draw))
        }
    }
}
