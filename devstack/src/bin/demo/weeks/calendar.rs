//! Which weeks the personas live: whole ones, up to the week that has just begun.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time, time},
    tz::TimeZone,
};
use mana_persona_runner::domain::Week;

/// When a day begins.
const NOON: Time = time(12, 0, 0, 0);
/// A moment after the time at which the daemon writes the report of the week before.
const REPORTED: Time = time(6, 0, 1, 0);

/// Some whole weeks.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    zone: TimeZone,
    /// The Monday after the last week.
    end: Date,
    /// How many days.
    days: i32,
}

impl Calendar {
    /// The `weeks` weeks before the one that contains `now`.
    pub(super) fn up_to(now: Timestamp, weeks: u8, zone: TimeZone) -> Self {
        let end = Week::of(now.to_zoned(zone.clone()).date()).monday();
        Self { zone, end, days: 7 * i32::from(weeks) }
    }

    /// All days, from a Monday to a Sunday.
    pub(super) fn days(&self) -> impl Iterator<Item = Date> {
        (0..self.days).map(|number| self.day(number))
    }

    /// The last week.
    pub(super) fn last_week(&self) -> Week {
        Week::of(self.end).before()
    }

    /// A day before the first day begins.
    pub(super) fn start(&self) -> Result<Timestamp, jiff::Error> {
        self.at(self.day(-1), NOON)
    }

    /// When the daemon is to have written the report of the last week.
    pub(super) fn end(&self) -> Result<Timestamp, jiff::Error> {
        self.at(self.end, REPORTED)
    }

    /// The day with this number, from 0.
    fn day(&self, number: i32) -> Date {
        self.end.saturating_add((number - self.days).days())
    }

    fn at(&self, day: Date, time: Time) -> Result<Timestamp, jiff::Error> {
        Ok(day.to_datetime(time).to_zoned(self.zone.clone())?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_day_it_is_the_weeks_are_whole_and_end_with_the_last_sunday() {
        for now in ["2026-11-29T23:00:00Z", "2026-12-03T10:00:00Z", "2026-12-06T22:59:59Z"] {
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            let calendar = Calendar::up_to(now.parse().unwrap(), 2, zone);
            let days: Vec<String> = calendar.days().map(|day| day.to_string()).collect();
            assert_eq!(
                (days.len(), &*days[0], &*days[13]),
                (14, "2026-11-16", "2026-11-29"),
                "{now}"
            );
            assert_eq!(calendar.last_week().to_string(), "2026-W48");
            assert_eq!(calendar.start().unwrap().to_string(), "2026-11-15T11:00:00Z");
            assert_eq!(calendar.end().unwrap().to_string(), "2026-11-30T05:00:01Z");
        }
    }
}
