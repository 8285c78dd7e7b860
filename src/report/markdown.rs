//! A report as Markdown of at most 150 lines, for a pull request or a chat.

mod escape;
mod spark;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use self::{
    escape::{code, escape},
    spark::spark,
};
use super::view::{Change, CoverageRow, Hurt, ModuleRow, QuoteView, Section, Untested, View};
use crate::facts::coverage::DayStatus;

/// How many modules, and how many rows of the grid are shown. A line below names the other modules, and says how many
/// rows are not shown.
const MODULES: usize = 20;
const ROWS: usize = 10;

pub(super) fn render(view: &View) -> String {
    let mut page = Page::default();
    page.line(&format!("# {}", escape(&view.sentence)));
    page.block(&escape(&view.title));
    page.list(view.summary.iter().map(|line| escape(line)));
    page.section(&view.hurts, |page, items| page.list(items.iter().map(hurt)));
    page.section(&view.changes, |page, items| page.list(items.iter().map(change)));
    page.section(&view.modules, |page, items| {
        let (shown, others) = items.split_at(items.len().min(MODULES));
        page.table(&view.modules.columns, shown.iter().map(module));
        let names: Vec<_> = others.iter().map(|row| code(&row.module)).collect();
        page.others(others.len(), &format!(": {}", names.join(", ")));
    });
    page.section(&view.missing, |page, items| {
        page.table(&view.missing.columns, items.iter().map(|row| named(row)));
    });
    page.section(&view.slow, |page, items| {
        page.table(&view.slow.columns, items.iter().map(|row| named(row)));
    });
    page.section(&view.not_tested, |page, items| page.list(items.iter().map(untested)));
    page.section(&view.coverage, |page, items| page.coverage(view, items));
    page.section(&view.reliability, |page, items| page.list(items.iter().map(|it| escape(it))));
    page.section(&view.cost, |page, items| page.list(items.iter().map(|it| escape(it))));
    page.block(&escape(&view.footer));
    page.text
}

/// Markdown on its way.
#[derive(Default)]
struct Page {
    text: String,
    /// Whether the last line is a heading. No blank line has to follow it.
    is_below_heading: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// The first line of a block.
    fn block(&mut self, line: &str) {
        if !std::mem::take(&mut self.is_below_heading) {
            self.line("");
        }
        self.line(line);
    }

    fn list(&mut self, items: impl Iterator<Item = String>) {
        for (position, item) in items.enumerate() {
            let line = format!("- {item}");
            if position == 0 { self.block(&line) } else { self.line(&line) }
        }
    }

    fn section<T>(&mut self, section: &Section<T>, items: impl FnOnce(&mut Self, &[T])) {
        self.block(&format!("## {}", escape(&section.heading)));
        self.is_below_heading = true;
        if let Some(note) = &section.note {
            self.block(&escape(note));
        }
        if !section.items.is_empty() {
            items(self, &section.items);
        }
        if let Some(rest) = &section.rest {
            self.block(&escape(rest));
        }
    }

    fn table(&mut self, columns: &[String], rows: impl Iterator<Item = Vec<String>>) {
        let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let names: Vec<_> = columns.iter().map(|name| escape(name)).collect();
        self.block(&row(&names));
        self.line(&format!("|{}", " --- |".repeat(columns.len())));
        rows.for_each(|cells| self.line(&row(&cells)));
    }

    /// How many rows a table does not have, and what they are about.
    fn others(&mut self, count: usize, names: &str) {
        if count > 0 {
            self.block(&format!("… +{count}{names}"));
        }
    }

    /// The grid: a mark for each day, and what the marks mean.
    fn coverage(&mut self, view: &View, rows: &[CoverageRow]) {
        let row = |row: &CoverageRow| match row {
            CoverageRow::Persona { label, days } => {
                let marks: String = days.iter().map(|status| mark(*status)).collect();
                vec![code(label), format!("`{marks}`")]
            }
            CoverageRow::Day { label, counts } => {
                let count = |count: u32| view.number(count.into());
                let counts = counts.iter().map(|(of, n)| format!("{} {}", mark(*of), count(*n)));
                vec![escape(label), counts.collect::<Vec<_>>().join(", ")]
            }
        };
        let others = rows.len().saturating_sub(ROWS);
        // The first personas by name, but the newest days.
        let hidden = if matches!(rows, [CoverageRow::Day { .. }, ..]) { others } else { 0 };
        self.table(&view.coverage.columns, rows.iter().skip(hidden).take(ROWS).map(row));
        self.others(others, "");
        let meanings =
            view.legend.iter().map(|(of, word)| format!("{} {}", mark(*of), escape(word)));
        self.block(&meanings.collect::<Vec<_>>().join(" · "));
    }
}

/// The mark of a day in the grid.
fn mark(status: DayStatus) -> char {
    match status {
        DayStatus::Ran => '●',
        DayStatus::FailedProduct => '✗',
        DayStatus::FailedRunner => '!',
        DayStatus::Idle => '○',
        DayStatus::Paused => '‖',
        DayStatus::Budget => '¤',
        DayStatus::HeldBack => '↷',
        DayStatus::RunnerDown => '▽',
        DayStatus::ModelStopped => '■',
        DayStatus::Other => '?',
        DayStatus::NotDue => '·',
    }
}

/// A friction as an item with items below it.
fn hurt(hurt: &Hurt) -> String {
    let title = format!("**{}** {}", escape(&hurt.title), code(&hurt.id));
    let mut lines = vec![format!("{title} ({})", escape(&hurt.state_word))];
    let known = [&hurt.counts, &hurt.impact, &hurt.next];
    lines.push(dotted(known.into_iter().map(|text| escape(text))));
    let seen = [escape(&hurt.kind), escape(&hurt.seen), spark(&hurt.trend)];
    lines.push(dotted(seen.into_iter()));
    lines.extend(hurt.quote.as_ref().map(quote));
    lines.join("\n  - ")
}

fn change(change: &Change) -> String {
    format!("**{}** {}", escape(&change.kind), escape(&change.text))
}

fn module(row: &ModuleRow) -> Vec<String> {
    let text = |text: &Option<String>| escape(text.as_deref().unwrap_or_default());
    let rating = row.absence.as_ref().or(row.delta.as_ref());
    let name = [code(&row.module), escape(&row.usage)];
    vec![
        dotted(name.into_iter()),
        escape(rating.map(String::as_str).unwrap_or_default()),
        text(&row.mean),
        text(&row.friction),
        spark(&row.trend),
        row.quote.as_ref().map(quote).unwrap_or_default(),
    ]
}

/// A row that begins with the name of a tool.
fn named(row: &[String]) -> Vec<String> {
    let cell = |(position, text): (usize, &String)| match position {
        0 => code(text),
        _ => escape(text),
    };
    row.iter().enumerate().map(cell).collect()
}

fn untested(it: &Untested) -> String {
    let names: Vec<_> = it.modules.iter().chain(&it.tools).map(|name| code(name)).collect();
    let rest = it.rest.as_ref().map(|rest| format!(" {}", escape(rest)));
    format!("{} – {}{}", escape(&it.why), names.join(", "), rest.unwrap_or_default())
}

fn quote(words: &QuoteView) -> String {
    format!("\"{}\" ({})", escape(&words.text), escape(&words.source))
}

/// What is not empty, with dots in between.
fn dotted(texts: impl Iterator<Item = String>) -> String {
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ")
}
