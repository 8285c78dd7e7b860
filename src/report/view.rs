//! A report in the words of a language, before it is laid out.
//!
//! Texts of peers in it have passed [`crate::domain::printable`] and are short and on one line; they still have to be
//! escaped for HTML and Markdown.

mod english;
mod frictions;
mod german;
mod languages;
mod lists;
mod modules;
#[cfg(test)]
mod tests;
mod top;
mod trust;
mod words;
mod writer;

use self::{languages::words, writer::Writer};
use crate::{
    domain::Language,
    facts::{
        coverage::DayStatus,
        report::{Report, Trend},
        state::State,
    },
};

/// A report in the words of a language. Sections are in the order in which they are shown; each has a heading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// The language tag of HTML: `de` or `en`.
    pub(super) language: &'static str,
    /// What separates groups of three digits.
    pub(super) thousands: char,
    /// What the report is about: the weeks and days.
    pub(super) title: String,
    /// Section 1: what a person must know, in one sentence. It is the first line of the report.
    pub(super) sentence: String,
    /// Below the sentence: who ran, which versions, when the product could not be reached. One line each.
    pub(super) summary: Vec<String>,
    /// Section 2.
    pub(super) hurts: Section<Hurt>,
    /// Section 3.
    pub(super) changes: Section<Change>,
    /// Section 4. Its columns: module, rating as difference, mean, share of runs with friction, spark line, quote.
    pub(super) modules: Section<ModuleRow>,
    /// Section 5: name, personas, calls.
    pub(super) missing: Section<[String; 3]>,
    /// Section 6: tool, p50, p95, calls.
    pub(super) slow: Section<[String; 4]>,
    /// Section 7: for each reason, what was not tested for it.
    pub(super) not_tested: Section<Untested>,
    /// Below section 7: what each day came to.
    pub(super) coverage: Section<CoverageRow>,
    /// The status words that the grid of section 7 uses, in the order of [`DayStatus`].
    pub(super) legend: Vec<(DayStatus, String)>,
    /// Section 8: one line each.
    pub(super) reliability: Section<String>,
    /// Section 9: one line each.
    pub(super) cost: Section<String>,
    /// The last line: how to read intervals and where the rest is.
    pub(super) footer: String,
}

impl View {
    /// A whole number as the language writes it.
    pub(super) fn number(&self, number: u64) -> String {
        words::grouped(&number.to_string(), self.thousands)
    }
}

/// A part of the report.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section<T> {
    pub(super) heading: String,
    /// The names of the columns, if the items are rows of a table.
    pub(super) columns: Vec<String>,
    pub(super) items: Vec<T>,
    /// A line below the heading: what an empty section means, or how its items are to be read.
    pub(super) note: Option<String>,
    /// A line below the items: how many are not shown.
    pub(super) rest: Option<String>,
}

/// Something that hurts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hurt {
    pub(super) id: String,
    /// What it is: the tool and the template, at most 160 characters.
    pub(super) title: String,
    /// Why the detector raised it, in words.
    pub(super) kind: String,
    pub(super) state: State,
    /// The state's word.
    pub(super) state_word: String,
    /// The impact by the largest impact of the report, 0 to 1.
    pub(super) bar: f64,
    /// The impact in words.
    pub(super) impact: String,
    /// "7 von 10 Personas, 19 von 31 Läufen [44–77 %]".
    pub(super) counts: String,
    /// What they did next; empty if it is not known.
    pub(super) next: String,
    pub(super) quote: Option<QuoteView>,
    /// First and last seen, with time and build.
    pub(super) seen: String,
    /// Runs that had it, by day.
    pub(super) trend: Trend,
    /// What the spark line shows, for those who cannot see it.
    pub(super) trend_label: String,
}

/// Words of a persona.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QuoteView {
    /// At most 240 characters, without quotation marks.
    pub(super) text: String,
    /// Persona, time, and run · call.
    pub(super) source: String,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Regressed, resolved, new; `None` for the list of tools.
    pub(super) state: Option<State>,
    /// The word of the kind of change.
    pub(super) kind: String,
    /// What changed.
    pub(super) text: String,
}

/// A module. A word for absence takes the place of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModuleRow {
    pub(super) module: String,
    /// Personas and runs.
    pub(super) usage: String,
    /// The word for absence; `None` if the module is rated.
    pub(super) absence: Option<String>,
    /// The difference to each persona's own eight weeks, with its interval or points.
    pub(super) delta: Option<String>,
    /// The picture of the difference.
    pub(super) interval: Option<IntervalView>,
    /// The raw mean with n, to be shown in grey.
    pub(super) mean: Option<String>,
    /// The share of runs with friction, with its interval.
    pub(super) friction: Option<String>,
    pub(super) trend: Trend,
    pub(super) trend_label: String,
    pub(super) quote: Option<QuoteView>,
}

/// A difference of ratings to be drawn on an axis from -2 to 2.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IntervalView {
    pub(super) value: f64,
    /// `None` with fewer than five personas.
    pub(super) ends: Option<(f64, f64)>,
    /// The differences of the personas, if they are fewer than five.
    pub(super) points: Vec<f64>,
}

/// What was not tested for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Untested {
    /// The reason in words, with the number of modules and tools.
    pub(super) why: String,
    pub(super) modules: Vec<String>,
    pub(super) tools: Vec<String>,
    /// How many are not listed.
    pub(super) rest: Option<String>,
}

/// A row of the grid: a persona with its days, or a day with the number of personas in each status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CoverageRow {
    /// A persona, and the status of each shown day.
    Persona { label: String, days: Vec<DayStatus> },
    /// A day, and how many personas have each status, by [`DayStatus`].
    Day { label: String, counts: Vec<(DayStatus, u32)> },
}

/// The report in the words of this language.
pub(super) fn view(report: &Report, language: Language) -> View {
    let writer = Writer { report, words: words(language) };
    let coverage = writer.coverage();
    let zone = report.zone.iana_name().unwrap_or("UTC");
    View {
        language: writer.words.tag(),
        thousands: writer.words.marks()[1],
        title: writer.title(),
        sentence: writer.sentence(),
        summary: writer.summary(),
        hurts: writer.hurts(),
        changes: writer.changes(),
        modules: writer.modules(),
        missing: writer.missing(),
        slow: writer.slow(),
        not_tested: writer.not_tested(),
        legend: writer.legend(&coverage.items),
        coverage,
        reliability: writer.reliability(),
        cost: writer.cost(),
        footer: writer.words.footer(zone),
    }
}
