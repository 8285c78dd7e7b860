mod frictions;
mod sections;
mod sentence;
mod summary;
mod texts;

use super::*;
use crate::facts::report::Headline;

const BOTH: [Language; 2] = [Language::German, Language::English];

/// The first sentences of a report in German and English.
fn sentences(report: &Report) -> [String; 2] {
    BOTH.map(|language| view(report, language).sentence)
}

fn german(report: &Report) -> View {
    view(report, Language::German)
}

/// All texts of a view, as they are printed for debugging.
fn printed(view: &View) -> String {
    format!("{view:?}")
}

/// `report` with this headline.
fn with(headline: Headline, mut report: Report) -> Report {
    report.headline = headline;
    report
}
