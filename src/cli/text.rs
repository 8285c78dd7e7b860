//! Makes text readable on a terminal: limits lengths, aligns columns.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};

pub(super) use crate::domain::{clipped_line as cell, printable};

/// Separator between two columns of a table.
const GAP: &str = "  ";

/// Collects the output of a command.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub out: String,
    /// Whether long texts are printed in full length.
    pub full: bool,
}

impl Page {
    /// Adds a line of our own text. Text from peers in it must have passed [`cell`] or [`printable`] before.
    pub(super) fn line(&mut self, line: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.out, "{line}");
    }

    /// Adds a blank line and a title.
    pub(super) fn section(&mut self, title: &str) {
        self.out.push('\n');
        self.line(title);
    }

    /// Adds a text from a peer or the model, indented by `indent` spaces and limited to `most` characters and
    /// lines.
    pub(super) fn text(&mut self, indent: usize, text: &str, most: (usize, usize)) {
        for line in self.clip(text, most).lines() {
            let indent = if line.is_empty() { 0 } else { indent };
            let _ = writeln!(self.out, "{:indent$}{line}", "");
        }
    }

    /// `text` made safe for a terminal. If it has more characters or lines than the limits, only its
    /// beginning is returned, with a note of how many characters are left out.
    fn clip(&self, text: &str, (most, lines): (usize, usize)) -> String {
        let text = printable(text.trim());
        let of_lines = text.split_inclusive('\n').take(lines).map(|l| l.chars().count()).sum();
        let end = most.min(of_lines);
        let all = text.chars().count();
        // If only a few characters would be left out, the note would be longer than they are.
        if self.full || all <= end + 40 && text.lines().count() <= lines + 1 {
            return text;
        }
        let shown: String = text.chars().take(end).collect();
        let shown = shown.trim_end();
        let left = grouped(all - shown.chars().count());
        format!("{shown}\n[… {left} more characters; --full shows them]")
    }
}

/// A number with commas between groups of three digits.
pub(super) fn grouped(number: impl ToString) -> String {
    let mut digits = number.to_string();
    for index in (1..digits.len()).rev().skip(2).step_by(3) {
        digits.insert(index, ',');
    }
    digits
}

/// A number with a noun, in the plural unless the number is 1: `1 call`, `2 calls`.
pub(super) fn counted(count: impl ToString, what: &str) -> String {
    let count = grouped(count);
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Formats a time in UTC, because slots are in UTC too.
pub(super) fn time(at: Timestamp, format: &str) -> String {
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// A table whose columns are as wide as their longest cell. A column whose name begins with `>` is
/// right-aligned.
pub(super) fn table<const N: usize>(columns: [&str; N], rows: &[[String; N]]) -> String {
    let names = columns.map(|column| column.trim_start_matches('>').to_owned());
    let widths: [usize; N] = std::array::from_fn(|n| {
        let texts = rows.iter().chain([&names]).map(|row| row[n].chars().count());
        texts.max().unwrap_or_default()
    });
    let line = |row: &[String; N]| {
        let cells = columns.iter().zip(row).zip(widths);
        let cells = cells.map(|((column, text), width)| match column.starts_with('>') {
            true => format!("{text:>width$}"),
            false => format!("{text:<width$}"),
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned() + "\n"
    };
    [&names].into_iter().chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_by_characters_and_by_lines_unless_all_of_it_is_asked_for() {
        let (short, full) = (Page::default(), Page { full: true, ..Page::default() });
        let long = "ä".repeat(1_500);
        let expected = format!("{}\n[… 1,490 more characters; --full shows them]", "ä".repeat(10));
        assert_eq!(short.clip(&long, (10, 3)), expected);
        assert_eq!(full.clip(&long, (10, 3)), long);
        let lines = "z\n".repeat(9);
        let expected = "z\nz\n[… 14 more characters; --full shows them]";
        assert_eq!(short.clip(&lines, (99, 2)), expected);
        assert_eq!(short.clip("kurz", (3, 1)), "kurz", "the note would be longer than the rest");
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [["ä".to_owned(), "1".to_owned()], ["bcd".to_owned(), "1234567".to_owned()]];
        let text = table(["A", ">NUMBER"], &rows);
        assert_eq!(text, "A     NUMBER\nä          1\nbcd  1234567\n");
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        assert_eq!(
            [0, 999, 1_000, 123_456, 1_234_567].map(grouped),
            ["0", "999", "1,000", "123,456", "1,234,567"]
        );
        assert_eq!((counted(1, "run"), counted(2, "run")), ("1 run".into(), "2 runs".into()));
    }
}
