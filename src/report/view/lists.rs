//! Sections 5 to 7: what personas missed, what was slow, and what was not tested.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CoverageRow, Section, Untested,
    writer::{LABEL, NAME, Writer, some, text},
};
use crate::{
    domain::Label,
    facts::coverage::{Coverage, DayCounts, DayStatus, PersonaDays, Subject, WhyNotTested},
};

/// How many rows the tables of section 5 and 6 have.
const ROWS: usize = 6;
/// How many modules and tools are named for each reason.
const MODULES: usize = 12;
const TOOLS: usize = 16;
/// How many days are shown, the newest ones.
const DAYS: usize = 28;

impl Writer<'_> {
    pub(super) fn missing(&self) -> Section<[String; 3]> {
        let words = self.words;
        let rows = self.report.missing.iter().map(|it| {
            let counts = [it.personas as u64, it.calls.into()].map(|n| words.number(n));
            let [personas, calls] = counts;
            [text(&it.name, NAME), personas, calls]
        });
        let heading = words.headings().missing;
        let empty = self.unless_calls_are_lost(words.notes().nothing_missing);
        let section = self.section(heading, rows.collect(), ROWS, &empty);
        Section { columns: words.columns().missing.map(str::to_owned).to_vec(), ..section }
    }

    pub(super) fn slow(&self) -> Section<[String; 4]> {
        let words = self.words;
        let rows = self.report.slow.iter().map(|it| {
            let [p50, p95] = [it.p50_ms, it.p95_ms].map(|ms| self.duration(ms));
            [text(&it.tool, NAME), p50, p95, words.number(it.n as u64)]
        });
        let heading = words.headings().slow;
        let empty = self.unless_calls_are_lost(words.notes().nothing_slow);
        let section = self.section(heading, rows.collect(), ROWS, &empty);
        Section { columns: words.columns().slow.map(str::to_owned).to_vec(), ..section }
    }

    /// What it means that no call showed anything: not much if single calls are gone.
    fn unless_calls_are_lost(&self, otherwise: &str) -> String {
        match self.report.runs_without_calls {
            0 => otherwise.to_owned(),
            runs => self.words.calls_lost(runs as u64),
        }
    }

    fn duration(&self, ms: u32) -> String {
        match ms {
            0..1_000 => format!("{ms} ms"),
            _ => format!("{} s", self.words.decimal(f64::from(ms) / 1_000.0, 1)),
        }
    }

    pub(super) fn not_tested(&self) -> Section<Untested> {
        let mut by_reason = BTreeMap::<WhyNotTested, (Vec<&str>, Vec<&str>)>::new();
        for it in &self.report.not_tested {
            let (modules, tools) = by_reason.entry(it.why).or_default();
            match &it.subject {
                Subject::Module(name) => modules.push(name),
                Subject::Tool(name) => tools.push(name),
            }
        }
        let items = by_reason.into_iter().map(|(why, (modules, tools))| {
            let counts = [&modules, &tools].map(|names| names.len() as u64);
            let (modules, more_modules) = some(modules.into_iter(), MODULES, NAME);
            let (tools, more_tools) = some(tools.into_iter(), TOOLS, NAME);
            let more = more_modules + more_tools;
            Untested {
                why: self.words.not_tested(self.words.untested(why), counts[0], counts[1]),
                modules,
                tools,
                rest: (more > 0).then(|| self.words.not_shown(more, "")),
            }
        });
        let notes = self.words.notes();
        let empty = match self.report.modules.is_empty() {
            true => notes.no_modules,
            false => notes.all_tested,
        };
        let items = items.collect();
        let mut section = self.section(self.words.headings().not_tested, items, usize::MAX, empty);
        if !self.report.is_catalog_known {
            section.note = Some(notes.no_tools.to_owned());
        }
        section
    }

    /// What each of the last days came to.
    pub(super) fn coverage(&self) -> Section<CoverageRow> {
        let columns = self.words.columns();
        let newest = |days: usize| days.saturating_sub(DAYS);
        let (items, columns, days): (Vec<_>, _, _) = match &self.report.coverage {
            Coverage::Personas(rows) => {
                let days = rows.first().map_or(&[][..], |row| &row.days);
                let shown = days.get(newest(days.len())..).unwrap_or_default();
                let ends = shown.first().zip(shown.last());
                let ends = ends.map_or(String::new(), |(first, last)| {
                    format!("{} – {}", self.date(first.day), self.date(last.day))
                });
                let row = |row: &PersonaDays| CoverageRow::Persona {
                    label: text(&row.persona, LABEL),
                    days: row.days.iter().skip(newest(days.len())).map(|day| day.status).collect(),
                };
                (rows.iter().map(row).collect(), [columns.persona.to_owned(), ends], days.len())
            }
            Coverage::Counts(rows) => {
                let row = |row: &DayCounts| {
                    let count = |status: &DayStatus| {
                        let count = row.counts.get(status.as_str()).copied().unwrap_or_default();
                        (count > 0).then_some((*status, count))
                    };
                    let counts = DayStatus::ALL.iter().filter_map(count).collect();
                    CoverageRow::Day { label: self.date(row.day), counts }
                };
                let shown = rows.iter().skip(newest(rows.len()));
                (shown.map(row).collect(), columns.by_day.map(str::to_owned), rows.len())
            }
        };
        let (heading, empty) = (self.words.headings().coverage, self.words.notes().no_days);
        let section = self.section(heading, items, usize::MAX, empty);
        let note = section.items.is_empty().then(|| empty.to_owned());
        let rest = (days > DAYS).then(|| self.words.last_days(DAYS as u64, days as u64));
        Section { columns: columns.to_vec(), note, rest, ..section }
    }

    /// The status words that these rows use.
    pub(super) fn legend(&self, rows: &[CoverageRow]) -> Vec<(DayStatus, String)> {
        let used: BTreeSet<_> = rows
            .iter()
            .flat_map(|row| match row {
                CoverageRow::Persona { days, .. } => days.clone(),
                CoverageRow::Day { counts, .. } => {
                    counts.iter().map(|(status, _)| *status).collect()
                }
            })
            .collect();
        used.into_iter().map(|status| (status, self.words.day(status).to_owned())).collect()
    }
}
