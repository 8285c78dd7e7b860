//! A report in the words of a language, before it is laid out.
//!
//! Texts of peers in it have passed [`crate::domain::printable`] and are short and on one line; they still have to be
//! escaped for HTML and Markdown.

mod english;
mod frictions;
mod german;
pub(crate) mod languages;
mod lists;
pub(crate) mod modules;
#[cfg(test)]
mod tests;
mod top;
mod trust;
pub(crate) mod words;
pub(crate) mod writer;

use std::fmt;

use self::{languages::words, writer::Writer};
use crate::{
    domain::Language,
    facts::{
        coverage::DayStatus,
        report::{Report, Trend},
        state::State,
    },
};

/// The whole id or name of something, for addresses only: as peers wrote it, it is not fit to be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) String);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(…)")
    }
}

/// A report in the words of a language. Sections are in the order in which they are shown; each has a heading.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// The language tag of HTML: `de` or `en`.
    pub(crate) language: &'static str,
    /// What separates groups of three digits.
    pub(crate) thousands: char,
    /// What the report is about: the weeks and days.
    pub(crate) title: String,
    /// Section 1: what a person must know, in one sentence. It is the first line of the report.
    pub(crate) sentence: String,
    /// Below the sentence: who ran, which versions, when the product could not be reached. One line each.
    pub(crate) summary: Vec<String>,
    /// Section 2.
    pub(crate) hurts: Section<Hurt>,
    /// Section 3.
    pub(crate) changes: Section<Change>,
    /// Section 4. Its columns: module, rating as difference, mean, share of runs with friction, spark line, quote.
    pub(crate) modules: Section<ModuleRow>,
    /// Section 5: name, personas, calls.
    pub(crate) missing: Section<[String; 3]>,
    /// Section 6: tool, p50, p95, calls.
    pub(crate) slow: Section<[String; 4]>,
    /// Section 7: for each reason, what was not tested for it.
    pub(crate) not_tested: Section<Untested>,
    /// Below section 7: what each day came to.
    pub(crate) coverage: Section<CoverageRow>,
    /// The status words that the grid of section 7 uses, in the order of [`DayStatus`].
    pub(crate) legend: Vec<(DayStatus, String)>,
    /// Section 8: one line each.
    pub(crate) reliability: Section<String>,
    /// Section 9: one line each.
    pub(crate) cost: Section<String>,
    /// The last line: how to read intervals and where the rest is.
    pub(crate) footer: String,
}

impl View {
    /// A whole number as the language writes it.
    pub(crate) fn number(&self, number: u64) -> String {
        words::grouped(&number.to_string(), self.thousands)
    }
}

/// A part of the report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section<T> {
    pub(crate) heading: String,
    /// The names of the columns, if the items are rows of a table.
    pub(crate) columns: Vec<String>,
    pub(crate) items: Vec<T>,
    /// A line below the heading: what an empty section means, or how its items are to be read.
    pub(crate) note: Option<String>,
    /// A line below the items: how many are not shown.
    pub(crate) rest: Option<String>,
}

/// Something that hurts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hurt {
    pub(crate) id: String,
    pub(crate) friction: Key,
    /// What it is: the tool and the template, at most 160 characters.
    pub(crate) title: String,
    /// Why the detector raised it, in words.
    pub(crate) kind: String,
    pub(crate) state: State,
    /// The state's word.
    pub(crate) state_word: String,
    /// The impact by the largest impact of the report, 0 to 1.
    pub(crate) bar: f64,
    /// The impact in words.
    pub(crate) impact: String,
    /// "7 von 10 Personas, 19 von 31 Läufen [44–77 %]".
    pub(crate) counts: String,
    /// What they did next; empty if it is not known.
    pub(crate) next: String,
    pub(crate) quote: Option<QuoteView>,
    /// First and last seen, with time and build.
    pub(crate) seen: String,
    /// The call in which it was last seen, if that is still kept.
    pub(crate) last_call: Option<CallView>,
    /// Runs that had it, by day.
    pub(crate) trend: Trend,
    /// What the spark line shows, for those who cannot see it.
    pub(crate) trend_label: String,
}

/// A call, for where it is a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallView {
    pub(crate) run: Key,
    pub(crate) number: u32,
    /// The number in words.
    pub(crate) word: String,
}

/// Words of a persona.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuoteView {
    /// At most 240 characters, without quotation marks.
    pub(crate) text: String,
    /// Persona, time, and run · call.
    pub(crate) source: String,
    /// The same without the run, for where it is a link to the run.
    pub(crate) brief: String,
    pub(crate) run: Key,
    pub(crate) call: Option<u32>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Regressed, resolved, new; `None` for the list of tools.
    pub(crate) state: Option<State>,
    /// The word of the kind of change.
    pub(crate) kind: String,
    /// What changed.
    pub(crate) text: String,
    /// `None` for the list of tools.
    pub(crate) friction: Option<Key>,
}

/// A module. A word for absence takes the place of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModuleRow {
    pub(crate) module: String,
    pub(crate) name: Key,
    /// Personas and runs.
    pub(crate) usage: String,
    /// The word for absence; `None` if the module is rated.
    pub(crate) absence: Option<String>,
    /// The difference to each persona's own eight weeks, with its interval or points.
    pub(crate) delta: Option<String>,
    /// The picture of the difference.
    pub(crate) interval: Option<IntervalView>,
    /// The raw mean with n, to be shown in grey.
    pub(crate) mean: Option<String>,
    /// The share of runs with friction, with its interval.
    pub(crate) friction: Option<String>,
    pub(crate) trend: Trend,
    pub(crate) trend_label: String,
    pub(crate) quote: Option<QuoteView>,
}

/// A difference of ratings to be drawn on an axis from -2 to 2.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntervalView {
    pub(crate) value: f64,
    /// `None` with fewer than five personas.
    pub(crate) ends: Option<(f64, f64)>,
    /// The differences of the personas, if they are fewer than five.
    pub(crate) points: Vec<f64>,
}

/// What was not tested for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Untested {
    /// The reason in words, with the number of modules and tools.
    pub(crate) why: String,
    pub(crate) modules: Vec<String>,
    pub(crate) tools: Vec<String>,
    /// How many are not listed.
    pub(crate) rest: Option<String>,
}

/// A row of the grid: a persona with its days, or a day with the number of personas in each status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CoverageRow {
    /// A persona, and the status of each shown day.
    Persona { label: String, days: Vec<DayStatus> },
    /// A day, and how many personas have each status, by [`DayStatus`].
    Day { label: String, counts: Vec<(DayStatus, u32)> },
}

/// The report in the words of this language.
pub(crate) fn view(report: &Report, language: Language) -> View {
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
