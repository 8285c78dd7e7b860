//! Section 4: the modules.

use std::cmp::Reverse;

use super::{
    IntervalView, Key, ModuleRow, Section,
    languages::words,
    words::{between, percent},
    writer::{NAME, Writer, text},
};
use crate::{
    domain::{Label, Language, UnratedWhy},
    facts::{
        coverage::ModuleStatus,
        report::{Delta, ModuleReport, Report, Trend},
    },
};

/// How many modules have a row; used ones come first. The others are named.
const ROWS: usize = 30;
const NAMED: usize = 30;
/// Longest quote, in characters. There are more of them than frictions.
const QUOTE: usize = 160;

/// In which order modules are shown: used ones first, then those of which less is known. Equal ones stay in the order of
/// their names.
pub(crate) fn place(module: &ModuleReport) -> u8 {
    match module.status {
        ModuleStatus::Rated | ModuleStatus::Used => 0,
        ModuleStatus::TooFew => 1,
        ModuleStatus::Unused => 2,
        ModuleStatus::NotOffered => 3,
    }
}

/// A module of a report in the words of a language.
pub(crate) fn row(report: &Report, module: &ModuleReport, language: Language) -> ModuleRow {
    Writer { report, words: words(language) }.module(module)
}

impl Writer<'_> {
    pub(super) fn modules(&self) -> Section<ModuleRow> {
        let words = self.words;
        let mut modules: Vec<_> = self.report.modules.iter().collect();
        modules.sort_by_key(|module| place(module));
        let others: Vec<_> = modules.iter().skip(ROWS).map(|it| &*it.module).collect();
        let rows = modules.iter().take(ROWS).map(|module| self.module(module)).collect();
        let heading = words.headings().modules;
        let mut section = self.section(heading, rows, ROWS, words.notes().no_modules);
        section.columns = words.columns().modules.map(str::to_owned).to_vec();
        section.note.get_or_insert_with(|| words.notes().modules.to_owned());
        section.rest = (!others.is_empty()).then(|| {
            words.not_shown(others.len() as u64, &self.names(others.iter().copied(), NAMED))
        });
        section
    }

    /// A word for absence takes the place of the numbers that the status does not allow.
    fn module(&self, module: &ModuleReport) -> ModuleRow {
        let words = self.words;
        let (is_rated, is_used) = match module.status {
            ModuleStatus::Rated => (true, true),
            ModuleStatus::Used => (false, true),
            _ => (false, false),
        };
        let rating = module.rating.as_ref().filter(|_| is_rated);
        let delta = rating.and_then(|rating| rating.delta.as_ref());
        let runs = || words.usage(module.personas as u64, module.runs.into());
        let friction = module.friction.filter(|_| is_used);
        ModuleRow {
            module: text(&module.module, NAME),
            name: Key(module.module.clone()),
            usage: if is_used { runs() } else { String::new() },
            absence: (!is_rated).then(|| self.absence(module)),
            delta: rating.map(|_| {
                delta.map_or_else(|| words.notes().no_past.to_owned(), |it| self.delta(it))
            }),
            interval: delta.map(|delta| IntervalView {
                value: delta.value,
                ends: delta.low.zip(delta.high),
                points: delta.points.clone(),
            }),
            mean: rating.map(|rating| {
                let mean = words.decimal(rating.mean, 1);
                words.mean(&mean, rating.n.into(), module.ungrounded.into())
            }),
            friction: friction.map(|share| {
                let of = words.of_runs(share.n);
                format!("{} {of} {}", percent(share.value), between(share.low, share.high))
            }),
            trend: if is_rated { module.trend.clone() } else { Trend::new() },
            trend_label: if is_rated { self.ratings_by_day(&module.trend) } else { String::new() },
            quote: module.quote.as_ref().map(|quote| self.quote(quote, QUOTE)),
        }
    }

    /// The word for absence; of a module without ratings, with the reasons, the most frequent one first.
    fn absence(&self, module: &ModuleReport) -> String {
        let word = self.words.absence(module.status);
        if module.status != ModuleStatus::Used {
            return word.to_owned();
        }
        let ungrounded = (module.ungrounded > 0).then(|| self.words.notes().only_ungrounded);
        let mut why: Vec<_> = module.unrated.iter().collect();
        why.sort_by_key(|(_, count)| Reverse(**count));
        let why = why.into_iter().filter_map(|(why, _)| UnratedWhy::parse(why));
        let why: Vec<_> =
            ungrounded.into_iter().chain(why.map(|why| self.words.unrated(why))).collect();
        match why.is_empty() {
            true => word.to_owned(),
            false => format!("{word} ({})", why.join(", ")),
        }
    }

    /// The difference, with its interval or the points it is made of.
    fn delta(&self, delta: &Delta) -> String {
        let words = self.words;
        let signed = |value: &f64| words.signed(*value);
        let spread = match delta.low.zip(delta.high) {
            Some((low, high)) => format!("[{}; {}]", signed(&low), signed(&high)),
            None => {
                let points: Vec<_> = delta.points.iter().map(signed).collect();
                format!("({})", words.singly(&points.join("; ")))
            }
        };
        format!("{} {spread}, {}", signed(&delta.value), words.of_personas(delta.personas as u64))
    }

    fn ratings_by_day(&self, trend: &Trend) -> String {
        let ends = trend.iter().flatten().fold(None, |ends: Option<(f64, f64)>, mean| {
            Some(ends.map_or((*mean, *mean), |(low, high)| (low.min(*mean), high.max(*mean))))
        });
        ends.map_or(String::new(), |(low, high)| {
            self.words.ratings_by_day(&self.words.decimal(low, 1), &self.words.decimal(high, 1))
        })
    }
}
