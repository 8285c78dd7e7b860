//! The report in the forms that people and programs read: HTML, Markdown and JSON, in German or English.
//!
//! [`view`] puts a report into words. [`html`] and [`markdown`] only lay these words out. The same report has the same
//! bytes on each machine and at each time.

pub(crate) mod html;
mod markdown;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::{borrow::Cow, collections::BTreeSet};

use serde::Serialize;

use crate::{
    domain::{Language, labels},
    facts::{
        report::{Report, report},
        window::Window,
    },
};

/// How many runs a report names to be kept.
const QUOTED_RUNS: usize = 200;

labels! {
    /// The form of a report.
    pub Form {
        /// One file for a browser.
        Html = "html",
        /// At most 150 lines, for a pull request or a chat.
        Markdown = "md",
        /// `report/v1`.
        Json = "json",
    }
}

/// A report in a language.
#[derive(Debug)]
pub struct Document<'r> {
    report: Cow<'r, Report>,
    view: view::View,
}

/// The properties of `report/v1`.
#[derive(Serialize)]
struct Json<'d> {
    #[serde(flatten)]
    report: &'d Report,
    sentence: &'d str,
}

impl<'r> Document<'r> {
    /// The report of this window.
    pub fn new(window: &Window, language: Language) -> Self {
        Self::from(Cow::Owned(report(window)), language)
    }

    /// This report.
    pub fn of(report: &'r Report, language: Language) -> Self {
        Self::from(Cow::Borrowed(report), language)
    }

    fn from(report: Cow<'r, Report>, language: Language) -> Self {
        let view = view::view(&report, language);
        Self { report, view }
    }

    /// The words of the report.
    pub(crate) fn view(&self) -> &view::View {
        &self.view
    }

    /// The report as a text, which ends with a line break.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Html => html::render(&self.view),
            Form::Markdown => markdown::render(&self.view),
            Form::Json => format!("{}\n", serde_json::json!(self.json())),
        }
    }

    fn json(&self) -> Json<'_> {
        Json { report: &self.report, sentence: &self.view.sentence }
    }

    /// What a person must know, in one sentence.
    pub fn sentence(&self) -> &str {
        &self.view.sentence
    }

    /// The runs that the report quotes, those of the heaviest frictions first, each once, at most 200: no more are
    /// pinned. A friction without a quote counts with the run in which it was last seen.
    pub fn quoted_runs(&self) -> Vec<&str> {
        let of_frictions = self.report.frictions.iter().filter_map(|friction| {
            let quoted = friction.quote.as_ref().map(|quote| &*quote.run);
            quoted.or(friction.last_seen.run.as_deref())
        });
        let of_modules = self.report.modules.iter().filter_map(|module| module.quote.as_ref());
        let mut named = BTreeSet::new();
        let runs = of_frictions.chain(of_modules.map(|quote| &*quote.run));
        runs.filter(|run| named.insert(*run)).take(QUOTED_RUNS).collect()
    }
}
