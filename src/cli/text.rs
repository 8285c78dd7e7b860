//! Text for a terminal: nothing in it but what is seen, in lengths and columns that can be read.

use std::{fmt::Write, iter};

use jiff::{Timestamp, tz::TimeZone};

/// Between columns.
const GAP: &str = "  ";

/// `text` without anything a terminal would act on. Line breaks stay; other control characters, and
/// those that turn the direction of what follows, are written as escapes.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => shown.push('\n'),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\t' => shown.push_str("    "),
            c if c.is_control() || turns_direction(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Marks that reorder what a terminal shows, and the line breaks of Unicode's own.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{2028}' | '\u{2029}' | '\u{61c}')
}

/// `text` on one line of at most `most` characters.
pub(super) fn cell(text: &str, most: usize) -> String {
    let line = printable(text.trim()).replace('\n', " ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// How much of a long text is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Whether everything is.
    pub full: bool,
}

impl Lengths {
    /// `text` for a terminal; of one with more characters or lines than these the beginning, and how
    /// much is left out.
    pub(super) fn clip(self, text: &str, most: usize, lines: usize) -> String {
        let text = printable(text.trim());
        if self.full {
            return text;
        }
        let of_lines = text.split_inclusive('\n').take(lines).map(|l| l.chars().count()).sum();
        let end = most.min(of_lines);
        let all = text.chars().count();
        // A note longer than what it stands for helps nobody.
        if all <= end + 40 && text.lines().count() <= lines + 1 {
            return text;
        }
        let shown: String = text.chars().take(end).collect();
        let shown = shown.trim_end();
        let left = grouped(u64::try_from(all - shown.chars().count()).unwrap_or_default());
        format!("{shown}\n[… {left} more characters; --full shows them]")
    }
}

/// Appends `text` with every line moved to the right.
pub(super) fn indent(out: &mut String, by: usize, text: &str) {
    for line in text.lines() {
        match line {
            "" => out.push('\n'),
            line => {
                out.extend(iter::repeat_n(' ', by));
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 call`, `2 calls`.
pub(super) fn counted(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `usize` as the counts above take it.
pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A time in UTC, like the slots.
pub(super) fn time(at: Timestamp, format: &str) -> String {
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// How a column is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    Left(&'static str),
    Right(&'static str),
}

/// Columns as wide as what is in them.
pub(super) fn table<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> String {
    let names = columns.map(|column| match column {
        Column::Left(name) | Column::Right(name) => name.to_owned(),
    });
    let width = |text: &String| text.chars().count();
    let widths: [usize; N] = std::array::from_fn(|n| {
        rows.iter().chain([&names]).map(|row| width(&row[n])).max().unwrap_or_default()
    });
    let mut out = String::new();
    for row in [&names].into_iter().chain(rows) {
        let mut line = String::new();
        for (n, text) in row.iter().enumerate() {
            let width = widths[n];
            // Writing into a string does not fail.
            let _ = match columns[n] {
                Column::Left(_) => write!(line, "{text:<width$}{GAP}"),
                Column::Right(_) => write!(line, "{text:>width$}{GAP}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_act_on_gets_through() {
        let nasty = "a\u{1b}[31mb\u{7}\u{9b}2Jc\r\nd\re\tf\0\u{7f}\u{202e}g\u{2028}h\u{61c}ü😀\n";
        let shown = printable(nasty);
        assert_eq!(
            shown,
            "a\\u{1b}[31mb\\u{7}\\u{9b}2Jc\nd\\u{d}e    f\\u{0}\\u{7f}\\u{202e}g\\u{2028}h\\u{61c}ü😀\n"
        );
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_cell_is_one_line_and_says_where_it_was_cut() {
        assert_eq!(cell(" a\nb ", 10), "a b");
        assert_eq!(cell("äöüäöü", 6), "äöüäöü");
        assert_eq!(cell("äöüäöüä", 6), "äöüäö…");
    }

    #[test]
    fn a_long_text_is_cut_by_characters_and_by_lines_unless_all_of_it_is_asked_for() {
        let (short, full) = (Lengths { full: false }, Lengths { full: true });
        let long = "ä".repeat(1_500);
        let expected = format!("{}\n[… 1,490 more characters; --full shows them]", "ä".repeat(10));
        assert_eq!(short.clip(&long, 10, 3), expected);
        assert_eq!(full.clip(&long, 10, 3), long);
        let lines = "z\n".repeat(9);
        let expected = "z\nz\n[… 14 more characters; --full shows them]";
        assert_eq!(short.clip(&lines, 99, 2), expected);
        assert_eq!(short.clip("kurz", 3, 1), "kurz", "the note would be longer than the rest");
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [["ä".to_owned(), "1".to_owned()], ["bcd".to_owned(), "1234567".to_owned()]];
        let text = table([Column::Left("A"), Column::Right("NUMBER")], &rows);
        assert_eq!(text, "A     NUMBER\nä          1\nbcd  1234567\n");
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1u32, "run"), counted(2u32, "run")), ("1 run".into(), "2 runs".into()));
    }
}
