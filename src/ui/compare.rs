//! /ui/compare: whether the product has become worse between two sides. Its JSON is `compare/v1`.

mod findings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::json;

use self::findings::Listed;
use super::{
    Answer, Page, Place, Ui, asked::Asked, frame, overviews::Compared, times::Times,
    trouble::Trouble, words,
};
use crate::{
    domain::clipped_line,
    facts::compare::{Build, Comparison, NoSide, Overall, SideSummary},
    report::view::languages,
};

/// Longest id or version of a deployment, in characters.
const NAME: usize = 40;
/// Longest text of a side, in characters. That of a version is the longest.
const SIDE: usize = 128;
/// How many deployments can be chosen from.
const BUILDS: usize = 50;
/// How many deployments of a side are named.
const NAMED: usize = 3;

pub(super) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let side = |name| asked.parameter(name).map(str::trim).filter(|text| !text.is_empty());
    let (page, listed) = (asked.page()?, Listed::of(&asked)?);
    let found = ui.overviews.comparison(side("a"), side("b")).await?;
    let comparison = match &found.outcome {
        Err(no_side) => return Ok(Answer::Other(refused(&asked, &found, no_side))),
        Ok(comparison) => comparison,
    };
    if asked.is_json {
        return Ok(Answer::JsonText(format!("{}\n", json!(comparison))));
    }
    let times = Times::new(found.zone.clone(), asked.language);
    let words = words::compare::words(asked.language);
    let main = html! {
        (found.notice(asked.language, &times))
        (form(&asked, &found.builds))
        (frame::wide(words.sides, sides(&asked, &times, comparison)))
        (confounders(&asked, &times, comparison))
        (findings::section(&asked, comparison, listed, page))
        (limits(&asked, comparison))
    };
    let title = words.sentence(comparison, comparison.since().map(name).as_deref());
    Ok(Answer::Page(Page { place: Place::Compare, title, main, live: None }))
}

/// The answer if there is no such side.
fn refused(asked: &Asked, found: &Compared, no_side: &NoSide) -> Response {
    let words = words::compare::words(asked.language);
    let why = words.no_side(no_side);
    if asked.is_json {
        let error = json!({"ok": false, "error": why});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let main = html! {
        p.trouble role="alert" { (why) }
        (form(asked, &found.builds))
    };
    let title = words.title.to_owned();
    let page = Page { place: Place::Compare, title, main, live: None };
    (StatusCode::BAD_REQUEST, frame::answer(asked, page)).into_response()
}

fn form(asked: &Asked, builds: &[Build]) -> Markup {
    let words = words::compare::words(asked.language);
    let field = |name: &str, word: &str, is_first: bool| {
        let value = asked.parameter(name).map(|text| clipped_line(text, SIDE));
        html! {
            label {
                (word)
                input name=(name) value=[value] list="builds" autocomplete="off" data-filter[is_first];
            }
        }
    };
    html! {
        form.filter method="get" action=(asked.path) aria-label=(words.form) {
            @for (name, value) in asked.carried() { input type="hidden" name=(name) value=(value); }
            (field("a", words.a, true))
            (field("b", words.b, false))
            button { (words.apply) }
            @if asked.parameter("a").or(asked.parameter("b")).is_some() {
                a href=(asked.link(&["compare"], &[])) { (words.current) }
            }
            datalist #builds {
                @for build in builds.iter().rev().take(BUILDS) {
                    option value=(clipped_line(&build.id, NAME)) { (clipped_line(&build.version, NAME)) }
                }
            }
        }
        p.note { (words.form_note) }
    }
}

/// The version and the id of a build.
fn name(build: &Build) -> String {
    format!("{} ({})", clipped_line(&build.version, NAME), clipped_line(&build.id, NAME))
}

fn sides(asked: &Asked, times: &Times, Comparison { a, b, .. }: &Comparison) -> Markup {
    let (words, terms) = (words::compare::words(asked.language), languages::words(asked.language));
    let row = |side: &str, of: &SideSummary| {
        html! {
            tr {
                th scope="row" { (side) }
                td { bdi { (latest(asked, &of.deployments)) } }
                td {
                    @match of.from.zip(of.to) {
                        None => "–",
                        Some((from, to)) if from == to => (times.day(from)),
                        Some((from, to)) => { (times.day(from)) " – " (times.day(to)) }
                    }
                }
                td.n { (terms.number(of.runs as u64)) }
                td.n { (terms.number(of.personas as u64)) }
            }
        }
    };
    html! {
        table {
            (frame::head(&words.side_columns, &[3, 4]))
            tbody { (row("A", a)) (row("B", b)) }
        }
    }
}

/// The latest deployments, and how many there are before them.
fn latest(asked: &Asked, deployments: &[Build]) -> String {
    let words = words::compare::words(asked.language);
    let before = deployments.len().saturating_sub(NAMED);
    let names = deployments[before..].iter().map(name);
    let names = (before > 0).then(|| words.earlier(before)).into_iter().chain(names);
    match deployments {
        [] => words.unknown.to_owned(),
        _ => names.collect::<Vec<_>>().join(", "),
    }
}

/// What else differs, and may be the reason.
fn confounders(asked: &Asked, times: &Times, comparison: &Comparison) -> Markup {
    let (words, terms) = (words::compare::words(asked.language), languages::words(asked.language));
    let changed = comparison
        .confounded
        .iter()
        .map(|it| words.since(terms.setting(it.what), &times.day(times.day_of(it.since))));
    let changed: Vec<_> = changed.collect();
    html! {
        @if !changed.is_empty() { p.trouble role="note" { (words.confounded(&changed.join(", "))) } }
    }
}

/// What the comparison could not see.
fn limits(asked: &Asked, comparison: &Comparison) -> Markup {
    let (words, terms) = (words::compare::words(asked.language), languages::words(asked.language));
    let Comparison { lambda, detectable, .. } = comparison;
    let floor = |of: Option<f64>| of.map(|floor| terms.decimal(floor, 2));
    let share = detectable.share.map(|share| words.points(&terms.decimal(share * 100.0, 0)));
    let rating = detectable.rating.map(|rating| terms.decimal(rating, 1));
    html! {
        @if comparison.verdict != Overall::NotComparable {
            section {
                h2 { (words.limits) }
                ul.lines {
                    li { (terms.noise(floor(lambda.share).as_deref(), floor(lambda.rating).as_deref())) }
                    li { (words.detectable(share.as_deref(), rating.as_deref())) }
                }
            }
        }
    }
}
