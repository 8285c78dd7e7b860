//! /ui/modules/{module}: a module by week, its tools, and its ratings with what they rest on.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::json;

use super::{difference, failures, ratings::Ratings, tools};
use crate::{
    domain::clipped_line,
    facts::{overview::Overview, report::ModuleReport},
    report::{
        html::{
            sections::unbroken,
            shapes::{self, RATINGS},
        },
        view::{languages, modules, writer::NAME},
    },
    ui::{
        Answer, Page, Place, USUAL_DAYS, Ui,
        asked::Asked,
        days, frame,
        overviews::Found,
        times::Times,
        trouble::{self, Trouble},
        words,
    },
};

/// The name of a module as it is shown.
pub(super) fn shown(name: &str) -> String {
    clipped_line(name, NAME)
}

pub(in crate::ui) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let name = asked.segment("module");
    let days = asked.days.unwrap_or(USUAL_DAYS);
    let ratings = Ratings::of(&ui, &asked, name, days).await?;
    let found = ui.overviews.overview(days).await;
    let module = found.as_ref().ok().map(|found| found.module(name));
    if module == Some(None) && ratings.are_none() {
        return Err(Trouble::NotFound);
    }
    if asked.is_json {
        return Ok(Answer::Json(as_json(&found?.value, name, ratings)?));
    }
    let times = ui.times(&asked).await?;
    let main = html! {
        (days::told(&asked, ratings.days, USUAL_DAYS))
        (trouble::part(&asked, &found, |found| overview(&asked, &times, found, name)))
        (ratings.section(&asked, &times))
    };
    let title = words::modules::words(asked.language).module(&shown(name));
    Ok(Answer::Page(Page { place: Place::Modules, title, main, live: None }))
}

fn as_json(
    found: &Overview,
    name: &str,
    ratings: Ratings<'_>,
) -> Result<serde_json::Value, Trouble> {
    let module = found.module(name);
    let tools: Vec<_> = found.tools_of(name).collect();
    let mut all = json!({
        "window": found.report.window,
        "module": module.map(|(module, _)| module),
        "weeks": found.weeks.weeks,
        "byWeek": module.map(|(_, by_week)| &by_week.weeks),
        "tools": tools,
    });
    if let (Some(all), serde_json::Value::Object(of_ratings)) =
        (all.as_object_mut(), ratings.into_json()?)
    {
        all.extend(of_ratings);
    }
    Ok(all)
}

/// Everything but the single ratings.
fn overview(asked: &Asked, times: &Times, found: &Found<Overview>, name: &str) -> Markup {
    let words = words::modules::words(asked.language);
    let Some((module, _)) = found.module(name) else {
        return html! { p { (words.not_in_days) } };
    };
    html! {
        (found.notice(asked.language, times))
        (facts(asked, found, module))
        section {
            h2 { (words.weeks) }
            (frame::wide(words.weeks, weeks(asked, found, name)))
        }
        section {
            h2 { (words.tools) }
            (tools::section(asked, found, name))
        }
    }
}

fn facts(asked: &Asked, found: &Overview, module: &ModuleReport) -> Markup {
    let words = words::modules::words(asked.language);
    let [_, delta, mean, friction, days, _] = languages::words(asked.language).columns().modules;
    let row = modules::row(&found.report, module, asked.language);
    let runs = asked.link(&["runs"], &[("module", &module.module)]);
    let frictions = asked.link(&["frictions"], &[("module", &module.module)]);
    html! {
        dl.facts {
            @if !row.usage.is_empty() { dt { (words.used) } dd { (row.usage) } }
            @match &row.absence {
                Some(absence) => { dt { (words.status) } dd { (absence) } }
                None => {
                    dt { (delta) } dd { (difference(&row)) }
                    dt { (mean) } dd { (row.mean.as_deref().unwrap_or_default()) }
                }
            }
            @if let Some(share) = &row.friction { dt { (friction) } dd { (unbroken(share)) } }
            @if row.trend.iter().any(Option::is_some) {
                dt { (days) } dd { (shapes::line(&row.trend, RATINGS, &row.trend_label)) }
            }
        }
        p { a href=(runs) { (words.all_runs) } " · " a href=(frictions) { (words.frictions) } }
    }
}

/// The weeks, newest first.
fn weeks(asked: &Asked, found: &Overview, name: &str) -> Markup {
    let (words, terms) = (words::modules::words(asked.language), languages::words(asked.language));
    let by_week = found.module(name).map(|(_, of)| &of.weeks[..]).unwrap_or_default();
    html! {
        table {
            (frame::head(&words.week_columns, &[]))
            tbody {
                @for (week, of) in found.weeks.weeks.iter().zip(by_week).rev() {
                    tr {
                        th.whole scope="row" {
                            (words.week(*week)) " " span.grey { (terms.date(week.monday(), false)) }
                        }
                        @match of {
                            None => td.grey colspan="3" { (words.unused_week) },
                            Some(of) => {
                                td { (terms.usage(of.personas.into(), of.runs.into())) }
                                td {
                                    @match of.ratings.mean() {
                                        Some(mean) => (terms.mean(&terms.decimal(mean, 1), of.ratings.n.into(), 0)),
                                        None => span.grey { (words.unrated_week) },
                                    }
                                }
                                td { (failures(asked, of.failed, of.runs)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
