//! Times and days as the pages write them: in the time zone of the journal and in the words of the report.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{domain::Language, report::view::languages::words};

/// Writes times in a zone and a language.
#[derive(Clone, Debug)]
pub(super) struct Times {
    zone: TimeZone,
    language: Language,
}

impl Times {
    pub(super) fn new(zone: TimeZone, language: Language) -> Self {
        Self { zone, language }
    }

    /// The day of a time.
    pub(super) fn day_of(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// A day of the week and a date.
    pub(super) fn day(&self, day: Date) -> String {
        words(self.language).date(day, true)
    }

    /// A day and a time of day, to the minute.
    pub(super) fn minute(&self, at: Timestamp) -> String {
        format!("{}, {}", self.day(self.day_of(at)), self.zone.to_datetime(at).strftime("%H:%M"))
    }

    /// A time of day, to the second.
    pub(super) fn second(&self, at: Timestamp) -> String {
        self.zone.to_datetime(at).strftime("%H:%M:%S").to_string()
    }

    /// The name of the zone.
    pub(super) fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}
