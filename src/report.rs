//! The report in the forms that people and programs read: HTML, Markdown and JSON, in German or English.
//!
//! [`view`] puts a report into words. [`html`] and [`markdown`] only lay these words out. The same report has the same
//! bytes on each machine and at each time.

mod html;
mod markdown;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod view;

use crate::{
    domain::{Language, labels},
    facts::{
        report::{Report, report},
        window::Window,
    },
};

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
pub struct Document {
    report: Report,
    view: view::View,
}

impl Document {
    /// The report of this window.
    pub fn new(window: &Window, language: Language) -> Self {
        let mut report = report(window);
        let view = view::view(&report, language);
        report.sentence.clone_from(&view.sentence);
        Self { report, view }
    }

    /// The report as a text, which ends with a line break.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Html => html::render(&self.view),
            Form::Markdown => markdown::render(&self.view),
            Form::Json => format!("{}\n", serde_json::json!(self.report)),
        }
    }

    /// What a person must know, in one sentence.
    pub fn sentence(&self) -> &str {
        &self.report.sentence
    }

    /// The runs that the report quotes, those of the heaviest frictions first, each once. A friction without a quote
    /// counts with the run in which it was last seen.
    pub fn quoted_runs(&self) -> Vec<&str> {
        let of_frictions = self.report.frictions.iter().filter_map(|friction| {
            let quoted = friction.quote.as_ref().map(|quote| &*quote.run);
            quoted.or(friction.last_seen.run.as_deref())
        });
        let of_modules = self.report.modules.iter().filter_map(|module| module.quote.as_ref());
        let mut runs = Vec::new();
        for run in of_frictions.chain(of_modules.map(|quote| &*quote.run)) {
            if !runs.contains(&run) {
                runs.push(run);
            }
        }
        runs
    }
}
