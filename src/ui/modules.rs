//! /ui/modules: what each week says of each module, and how the days that are shown differ from the weeks before.

mod heat;
mod one;
mod ratings;
mod tools;

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::json;

pub(super) use self::one::show;
use super::{
    Answer, Page, Place, USUAL_DAYS, Ui, asked::Asked, days, frame, pager, trouble::Trouble, words,
};
use crate::{
    facts::report::{ModuleReport, Report},
    report::{
        html::{sections::unbroken, shapes},
        view::{ModuleRow, languages, modules, words::percent},
    },
};

/// The list of all modules.
pub(super) async fn list(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let page = asked.page()?;
    let found = ui.overviews.overview(asked.days.unwrap_or(USUAL_DAYS)).await?;
    let report = &found.report;
    if asked.is_json {
        let (window, modules) = (report.window, &report.modules);
        let all = json!({"window": window, "weeks": found.weeks, "modules": modules});
        return Ok(Answer::Json(all));
    }
    let (words, times) = (words::modules::words(asked.language), ui.times(&asked).await?);
    let all = in_order(report);
    let shown = pager::rows(&all, page);
    let main = html! {
        (found.notice(asked.language, &times))
        (days::told(&asked, report.window.from.zip(report.window.to), USUAL_DAYS))
        @if all.is_empty() {
            p { (languages::words(asked.language).notes().no_modules) }
        } @else {
            section {
                h2 { (words.weeks) }
                (heat::key(&asked))
                (frame::wide(words.weeks, heat::table(&asked, &found.weeks, shown)))
            }
            section {
                h2 { (words.compared) }
                p.note { (languages::words(asked.language).notes().modules) }
                (frame::wide(words.compared, table(&asked, report, shown)))
            }
            (pager::of_rows(&asked, page, all.len()))
        }
    };
    let title = words.title.to_owned();
    Ok(Answer::Page(Page { place: Place::Modules, title, main, live: None }))
}

/// All modules, in the order of the report.
fn in_order(report: &Report) -> Vec<&ModuleReport> {
    let mut modules: Vec<_> = report.modules.iter().collect();
    modules.sort_by_key(|module| modules::place(module));
    modules
}

fn table(asked: &Asked, report: &Report, modules: &[&ModuleReport]) -> Markup {
    let [module, delta, mean, friction, ..] = languages::words(asked.language).columns().modules;
    let words = words::modules::words(asked.language);
    html! {
        table {
            (frame::head(&[module, words.used, delta, mean, friction], &[]))
            tbody {
                @for module in modules {
                    @let row = modules::row(report, module, asked.language);
                    tr data-item {
                        th scope="row" { (link(asked, &row)) }
                        td { (row.usage) }
                        (rating(&row))
                        td { (unbroken(row.friction.as_deref().unwrap_or_default())) }
                    }
                }
            }
        }
    }
}

fn link(asked: &Asked, row: &ModuleRow) -> Markup {
    html! { a href=(asked.link(&["modules", &row.name.0], &[])) { bdi { (row.module) } } }
}

/// The difference and the mean, or the word for their absence in the place of both.
fn rating(row: &ModuleRow) -> Markup {
    html! {
        @match &row.absence {
            Some(absence) => td.grey colspan="2" { (absence) },
            None => {
                td { (difference(row)) }
                td.grey { (row.mean.as_deref().unwrap_or_default()) }
            }
        }
    }
}

/// The difference, drawn and in words.
fn difference(row: &ModuleRow) -> Markup {
    html! {
        @if let Some(interval) = &row.interval { (shapes::interval(interval)) }
        @if let Some(delta) = &row.delta { (unbroken(delta)) }
    }
}

/// A share of runs, drawn and in words.
fn failures(asked: &Asked, failed: u32, runs: u32) -> Markup {
    let terms = languages::words(asked.language);
    let share = f64::from(failed) / f64::from(runs.max(1));
    html! {
        @if runs > 0 {
            (shapes::short_bar(share))
            (terms.number(failed.into())) " " (terms.of_runs(runs.into())) " (" (unbroken(&percent(share))) ")"
        }
    }
}
