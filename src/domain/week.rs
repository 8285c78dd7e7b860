//! A week of the calendar, for which a report is written.

use std::{fmt, str::FromStr};

use jiff::{
    ToSpan,
    civil::{Date, ISOWeekDate, Weekday},
};
use serde::{Deserialize, Serialize};

/// A week of ISO 8601, from Monday to Sunday. Written as `2026-W46`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Week {
    monday: Date,
}

/// The text is no week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a week such as 2026-W46")]
pub struct NotAWeek;

impl Week {
    /// The week that contains this day.
    pub fn of(day: Date) -> Self {
        let days = i64::from(day.weekday().to_monday_zero_offset());
        Self { monday: day.saturating_sub(days.days()) }
    }

    /// The week before.
    #[must_use]
    pub fn before(self) -> Self {
        Self::of(self.monday.saturating_sub(1.day()))
    }

    /// The first day.
    pub fn monday(self) -> Date {
        self.monday
    }

    /// The last day.
    pub fn sunday(self) -> Date {
        self.monday.saturating_add(6.days())
    }

    /// The number of the week in its year, 1 to 53.
    pub fn number(self) -> i8 {
        self.monday.iso_week_date().week()
    }
}

impl fmt::Display for Week {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.monday.iso_week_date();
        write!(f, "{:04}-W{:02}", date.year(), date.week())
    }
}

impl FromStr for Week {
    type Err = NotAWeek;

    fn from_str(text: &str) -> Result<Self, NotAWeek> {
        let (year, week) = text.split_once("-W").ok_or(NotAWeek)?;
        let number = |digits: &str, count| -> Result<i16, NotAWeek> {
            let are_digits = digits.len() == count && digits.bytes().all(|b| b.is_ascii_digit());
            are_digits.then(|| digits.parse().ok()).flatten().ok_or(NotAWeek)
        };
        let week = i8::try_from(number(week, 2)?).map_err(|_| NotAWeek)?;
        let date = ISOWeekDate::new(number(year, 4)?, week, Weekday::Monday);
        let monday = date.map_err(|_| NotAWeek)?.date();
        (monday.year() > 0).then_some(Self { monday }).ok_or(NotAWeek)
    }
}

impl From<Week> for String {
    fn from(week: Week) -> Self {
        week.to_string()
    }
}

impl TryFrom<String> for Week {
    type Error = NotAWeek;

    fn try_from(text: String) -> Result<Self, NotAWeek> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_written_as_its_year_and_number_and_begins_on_monday() {
        for (text, monday, sunday) in [
            ("2026-W46", "2026-11-09", "2026-11-15"),
            ("2026-W53", "2026-12-28", "2027-01-03"),
            ("2025-W01", "2024-12-30", "2025-01-05"),
        ] {
            let week: Week = text.parse().unwrap();
            assert_eq!(week.to_string(), text);
            let days = [monday, sunday].map(|day| day.parse().unwrap());
            assert_eq!([week.monday(), week.sunday()], days);
            assert_eq!(days.map(Week::of), [week; 2]);
            assert_eq!(Week::of(week.before().sunday()), week.before());
        }
    }

    #[test]
    fn nothing_else_is_a_week() {
        for text in [
            "",
            "2026-W54",
            "2025-W53",
            "2026-W00",
            "2026-W1",
            "2026W46",
            "26-W46",
            "2026-W+4",
            "0000-W10",
            "2026-11-09",
        ] {
            assert_eq!(text.parse::<Week>(), Err(NotAWeek), "{text}");
        }
    }
}
