//! /ui/reports: the reports that are stored, and each of them as it was written.

mod policy;

use std::sync::Arc;

use axum::{
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};

use super::{
    Answer, Page, Place, Ui,
    asked::Asked,
    frame, pager,
    times::Times,
    trouble::{self, Trouble},
    words,
};
use crate::{
    domain::{Label, Week},
    journal::{ListedReport, StoredReport},
    report::{Form, view::languages},
};

/// How many weeks are listed, which are almost twenty years.
const MOST_WEEKS: u32 = 1_000;

/// The list of all reports.
pub(super) async fn list(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let words = words::reports::words(asked.language);
    let page = asked.page()?;
    let times = ui.times(&asked).await?;
    let reports = ui.journal.list_reports(MOST_WEEKS).await.map_err(Trouble::from);
    let main = html! {
        p.note { (words.note) }
        (trouble::part(&asked, &reports, |reports| html! {
            @if reports.is_empty() {
                p { (words.none) }
            } @else {
                (frame::wide(words.title, table(&asked, &times, pager::rows(reports, page))))
                (pager::of_rows(&asked, page, reports.len()))
            }
        }))
    };
    let title = words.title.to_owned();
    Ok(Answer::Page(Page { place: Place::Reports, title, main, live: None }))
}

fn table(asked: &Asked, times: &Times, reports: &[ListedReport]) -> Markup {
    let words = words::reports::words(asked.language);
    html! {
        table {
            (frame::head(&words.columns, &[]))
            tbody { @for report in reports { (row(asked, times, report)) } }
        }
    }
}

fn row(asked: &Asked, times: &Times, report: &ListedReport) -> Markup {
    let words = words::reports::words(asked.language);
    let week = report.week.to_string();
    let file = |form| Asked::report(report.week, form);
    let days = languages::words(asked.language).days(report.week.monday(), report.week.sunday());
    html! {
        tr data-item {
            th scope="row" { a href=(file(Form::Html)) { (week) } br; span.grey { (days) } }
            td { (words.language(report.language)) }
            td { (times.minute(report.written_at)) }
            td { (words.post(report.post)) }
            td {
                a href=(file(Form::Markdown)) { "Markdown" } " "
                a href=(file(Form::Json)) { "JSON" }
            }
            td { a href=(asked.week(report.week)) { (words.today) } }
        }
    }
}

/// A stored report: `2026-W46.html`, `.md` or `.json`.
pub(super) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let file = asked.segment("file");
    let (name, form) = match file.rsplit_once('.') {
        // That of JSON is removed already.
        None if asked.is_json => (file, Some(Form::Json)),
        Some((name, form)) if !asked.is_json => {
            (name, Form::parse(form).filter(|form| *form != Form::Json))
        }
        _ => (file, None),
    };
    let wanted = name.parse::<Week>().ok().zip(form);
    let (week, form) = wanted.ok_or(Trouble::NotFound)?;
    let report = ui.journal.report(week).await?.ok_or(Trouble::NotFound)?;
    Ok(Answer::Other(answer(report, form)))
}

fn answer(report: StoredReport, form: Form) -> Response {
    match form {
        Form::Html => {
            let policy = policy::of_report(&report.html);
            let headers =
                [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, &policy)];
            (headers, report.html).into_response()
        }
        Form::Markdown => {
            ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], report.markdown).into_response()
        }
        Form::Json => ([(CONTENT_TYPE, "application/json")], report.json).into_response(),
    }
}
