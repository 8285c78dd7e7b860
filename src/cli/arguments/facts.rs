//! The arguments of the commands about facts.

use std::path::PathBuf;

use clap::{
    Args, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::civil::Date;

use crate::{
    domain::{Label, Language, ProductVersion, Week, is_printable},
    facts::window::Days,
    report::Form,
};

/// Longest `--reason` and `--note`, in characters.
const REMARK: usize = 500;

/// The arguments of `frictions`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Frictions {
    /// How many days, up to the newest fact
    #[arg(long, default_value_t = 28, conflicts_with_all = ["from", "to"],
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub days: u32,
    #[command(flatten)]
    pub range: Range,
    /// The form of the output
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// Read the facts from this export instead of a journal; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
}

impl Frictions {
    /// The days of the window.
    ///
    /// # Errors
    /// If the last day is before the first one.
    pub(in crate::cli) fn days(&self) -> Result<Days, ImpossibleRange> {
        let range = self.range.days()?;
        Ok(range.map_or(Days::Last(self.days), |(from, to)| Days::Between(from, to)))
    }
}

/// The commands below `frictions`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum FrictionsCommand {
    /// Say that an issue is known, so that it is not listed among the others for a while
    Mute(Mute),
    /// List an issue again that was muted
    Unmute {
        /// The id of the issue
        id: String,
    },
}

/// The arguments of `frictions mute`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Mute {
    /// The id of the issue: F- and 4 or 6 letters and digits
    pub id: String,
    /// The day on which the issue is listed again, at most 90 days after the newest fact
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub until: Date,
    /// Why: one line
    #[arg(long, value_name = "TEXT", value_parser = remark)]
    pub reason: String,
}

/// The arguments of `export`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Export {
    #[command(flatten)]
    pub range: Range,
}

/// The arguments of `release`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Release {
    /// The new version: 1 to 128 printable characters
    #[arg(value_parser = ProductVersion::parse)]
    pub version: ProductVersion,
    /// What is new: one line
    #[arg(long, value_name = "TEXT", value_parser = remark)]
    pub note: Option<String>,
    /// The form of the output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// The arguments of `compare`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Compare {
    /// One side: id or version of a deployment, a day, or FROM..TO; by default the 28 days before B
    pub a: Option<String>,
    /// The other side; by default the current deployment
    pub b: Option<String>,
    /// Exit with 4 if the sides cannot be compared or nothing can be tested
    #[arg(long)]
    pub strict: bool,
    /// The form of the output
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// Read the facts from this export instead of a journal; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
}

/// The arguments of `report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Report {
    /// The week, such as 2026-W46; by default the last one that is over
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub week: Option<Week>,
    #[command(flatten)]
    pub range: Range,
    /// The language; by default that of REPORT_LANG, or else German
    #[arg(long, value_parser = words::<Language>())]
    pub lang: Option<Language>,
    /// The form; by default that of the ending of FILE, or else html; md on a terminal
    #[arg(long, value_parser = words::<Form>())]
    pub format: Option<Form>,
    /// Write the report to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Read the facts from this export instead of a journal; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
}

impl Report {
    /// The days of the window.
    ///
    /// # Errors
    /// If the last day is before the first one.
    pub(in crate::cli) fn days(&self) -> Result<Days, ImpossibleRange> {
        let range = self.week.map(|week| (week.monday(), week.sunday())).or(self.range.days()?);
        Ok(range.map_or(Days::LastWeek, |(from, to)| Days::Between(from, to)))
    }

    /// The form that is asked for, by itself or by the ending of the file.
    pub(in crate::cli) fn form(&self, is_terminal: bool) -> Form {
        let ending = self.out.as_ref().and_then(|file| file.extension()?.to_str());
        let by_ending = ending.and_then(|ending| Form::parse(&ending.to_ascii_lowercase()));
        let by_place = match self.out {
            None if is_terminal => Form::Markdown,
            _ => Form::Html,
        };
        self.format.or(by_ending).unwrap_or(by_place)
    }
}

/// Reads the word of a label.
fn words<L: Label + Send + Sync>() -> impl TypedValueParser<Value = L> {
    let words = PossibleValuesParser::new(L::ALL.iter().map(|label| label.as_str()));
    words.try_map(|word| L::parse(&word).ok_or("unknown word"))
}

/// The arguments of `plan`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Plan {
    /// The form of the output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// The first and the last day of a window, both included, by the journal's time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Range {
    /// The first day, such as 2026-11-18
    #[arg(long, value_name = "DATE", requires = "to", value_parser = day)]
    from: Option<Date>,
    /// The last day
    #[arg(long, value_name = "DATE", requires = "from", value_parser = day)]
    to: Option<Date>,
}

impl Range {
    /// The first and the last day; `None` if none were given.
    ///
    /// # Errors
    /// If the last day is before the first one.
    pub(in crate::cli) fn days(self) -> Result<Option<(Date, Date)>, ImpossibleRange> {
        match self.from.zip(self.to) {
            Some((from, to)) if to < from => Err(ImpossibleRange { from, to }),
            range => Ok(range),
        }
    }
}

/// The last day of a window is before the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no day is in the window: --to {to} is before --from {from}")]
pub struct ImpossibleRange {
    from: Date,
    to: Date,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Reads a date and nothing else: jiff would also read the date of a date with a time.
fn day(text: &str) -> Result<Date, &'static str> {
    const EXPECTED: &str = "expected a date such as 2026-11-18";
    let is_date = text.len() == "2026-11-18".len();
    is_date.then(|| text.parse().ok()).flatten().filter(|day: &Date| day.year() > 0).ok_or(EXPECTED)
}

fn remark(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().nth(REMARK).is_none();
    let fits = fits && text.chars().all(is_printable);
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("expected 1 to {REMARK} printable characters on one line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_date_and_nothing_else() {
        assert_eq!(day("2026-11-18"), Ok(Date::constant(2026, 11, 18)));
        for text in ["", "2026-11-31", "2026-1-180", "2026-11-18T10", "18.11.2026", "0000-01-01"] {
            assert!(day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_remark_is_one_line_of_printable_text() {
        assert_eq!(remark(" known: <b>`|`</b> ü\n").as_deref(), Ok("known: <b>`|`</b> ü"));
        assert!(remark(&"ü".repeat(REMARK)).is_ok());
        for text in ["", " \n", "a\nb", "a\0", "\u{1b}[31m", "a\u{202e}b", &"ü".repeat(REMARK + 1)]
        {
            assert!(remark(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_report_is_about_a_week_or_a_range_or_the_last_week() {
        let days = ["2026-11-09", "2026-11-15"].map(|text| day(text).unwrap());
        let (week, between) = ("2026-W46".parse().ok(), Days::Between(days[0], days[1]));
        let range = Range { from: Some(days[0]), to: Some(days[1]) };
        assert_eq!(Report { week, ..Report::default() }.days(), Ok(between));
        assert_eq!(Report { range, ..Report::default() }.days(), Ok(between));
        assert_eq!(Report::default().days(), Ok(Days::LastWeek));
        let range = Range { from: Some(days[1]), to: Some(days[0]) };
        assert!(Report { range, ..Report::default() }.days().is_err());
    }

    #[test]
    fn the_form_of_a_report_is_the_one_that_is_asked_for_or_that_of_the_file_or_fits_the_place() {
        let form = |format, out: Option<&str>, is_terminal| {
            Report { format, out: out.map(PathBuf::from), ..Report::default() }.form(is_terminal)
        };
        assert_eq!(form(Some(Form::Json), Some("a.md"), true), Form::Json);
        for (file, expected) in [
            ("a.md", Form::Markdown),
            ("b.a/c.JSON", Form::Json),
            ("a.html", Form::Html),
            ("a.txt", Form::Html),
            ("md", Form::Html),
        ] {
            assert_eq!(form(None, Some(file), true), expected, "{file}");
        }
        assert_eq!([false, true].map(|it| form(None, None, it)), [Form::Html, Form::Markdown]);
    }

    #[test]
    fn a_range_has_at_least_one_day() {
        let days = ["2026-11-18", "2026-11-19"].map(|text| day(text).ok());
        let range = |from: usize, to: usize| Range { from: days[from], to: days[to] }.days();
        assert_eq!(range(0, 0), Ok(days[0].zip(days[0])));
        assert_eq!(range(0, 1), Ok(days[0].zip(days[1])));
        let error = range(1, 0).unwrap_err().to_string();
        assert!(error.contains("--to 2026-11-18 is before --from 2026-11-19"), "{error}");
        assert_eq!(Range::default().days(), Ok(None));
    }
}
