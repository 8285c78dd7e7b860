//! Which week's report is due.

use std::time::Duration;

use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::{config::ReportAt, domain::Week};

/// A report that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The week that the report is about: the one before the week of `since`.
    pub week: Week,
    /// Since when it is due.
    pub since: Timestamp,
}

/// The report that was the last to become due by mana-auth's time `now`, at the minute `at` of a week in `zone`. `None` at
/// the ends of the calendar.
///
/// A minute that the clock leaves out counts as the one as long after it as before the change, and one that the clock shows
/// twice counts the first time.
pub(super) fn due_week(now: Timestamp, at: ReportAt, zone: &TimeZone) -> Option<Due> {
    let today = zone.to_datetime(now).date();
    let days_back = at.weekday.until(today.weekday());
    let latest = today.checked_sub(i64::from(days_back).days()).ok()?;
    [latest, latest.checked_sub(7.days()).ok()?].into_iter().find_map(|day| {
        let since = zone.to_timestamp(day.to_datetime(at.time)).ok()?;
        (since <= now).then(|| Due { week: Week::of(day).before(), since })
    })
}

/// The age, in whole days, that the first facts of a week have when its report becomes due at the minute `at`.
pub(super) fn age_of_facts(at: ReportAt) -> Duration {
    let since_monday = at.weekday.to_monday_zero_offset().unsigned_abs();
    Duration::from_hours(24 * (8 + u64::from(since_monday)))
}

#[cfg(test)]
mod tests {
    use jiff::{
        SignedDuration,
        civil::{DateTime, Time},
    };
    use proptest::prelude::*;

    use super::*;

    /// The week that is due at this time of the zone's clock, and since when it is, by the same clock.
    fn due(at: &str, zone: &str, now: &str) -> (String, String) {
        let zone = TimeZone::get(zone).unwrap();
        let now: DateTime = now.parse().unwrap();
        let due = due_week(zone.to_timestamp(now).unwrap(), at.parse().unwrap(), &zone).unwrap();
        (due.week.to_string(), zone.to_datetime(due.since).strftime("%F %H:%M").to_string())
    }

    #[test]
    fn the_week_before_is_due_from_the_minute_on() {
        for (at, now, week, since) in [
            ("mon 06:00", "2026-11-16T05:59:59", "2026-W45", "2026-11-09 06:00"),
            ("mon 06:00", "2026-11-16T06:00:00", "2026-W46", "2026-11-16 06:00"),
            ("mon 06:00", "2026-11-22T23:59:59", "2026-W46", "2026-11-16 06:00"),
            ("mon 00:00", "2026-11-16T00:00:00", "2026-W46", "2026-11-16 00:00"),
            // On another day the week goes on, so the one before it is due.
            ("sun 23:00", "2026-11-15T22:59:59", "2026-W44", "2026-11-08 23:00"),
            ("sun 23:00", "2026-11-15T23:00:00", "2026-W45", "2026-11-15 23:00"),
            ("sun 23:00", "2026-11-16T06:00:00", "2026-W45", "2026-11-15 23:00"),
            ("thu 12:30", "2026-11-19T12:29:00", "2026-W45", "2026-11-12 12:30"),
            ("thu 12:30", "2026-11-20T00:00:00", "2026-W46", "2026-11-19 12:30"),
            // Years of 53 and of 52 weeks.
            ("mon 06:00", "2027-01-04T06:00:00", "2026-W53", "2027-01-04 06:00"),
            ("mon 06:00", "2027-01-04T05:00:00", "2026-W52", "2026-12-28 06:00"),
            ("mon 06:00", "2025-12-29T06:00:00", "2025-W52", "2025-12-29 06:00"),
            ("thu 06:00", "2026-01-01T06:00:00", "2025-W52", "2026-01-01 06:00"),
        ] {
            for zone in ["Europe/Berlin", "UTC", "Pacific/Auckland", "America/New_York"] {
                let expected = (week.to_owned(), since.to_owned());
                assert_eq!(due(at, zone, now), expected, "{at} {zone} {now}");
            }
        }
    }

    #[test]
    fn a_minute_that_the_clock_leaves_out_or_shows_twice_makes_one_report_due() {
        let berlin = "Europe/Berlin";
        let spring = ("2026-W12".to_owned(), "2026-03-29 03:30".to_owned());
        assert_eq!(due("sun 02:30", berlin, "2026-03-29T03:30:00"), spring);
        assert_eq!(due("sun 02:30", berlin, "2026-03-29T03:29:00").0, "2026-W11");
        let zone = TimeZone::get(berlin).unwrap();
        let at = "sun 02:30".parse().unwrap();
        let first: Timestamp = "2026-10-25T02:30:00+02:00".parse().unwrap();
        let week = |now| due_week(now, at, &zone).unwrap();
        let second = SignedDuration::from_secs(1);
        assert_eq!(week(first).since, first);
        assert_eq!(week(first - second).week.to_string(), "2026-W41");
        assert_eq!(week(first + SignedDuration::from_hours(1)), week(first));
    }

    #[test]
    fn the_same_moment_is_another_week_in_another_zone() {
        let at = "mon 06:00".parse().unwrap();
        let now: Timestamp = "2026-11-15T18:00:00Z".parse().unwrap();
        let week = |zone| due_week(now, at, &TimeZone::get(zone).unwrap()).unwrap().week;
        assert_eq!(week("Pacific/Auckland").to_string(), "2026-W46");
        assert_eq!(week("Europe/Berlin").to_string(), "2026-W45");
    }

    #[test]
    fn the_first_facts_of_a_week_are_eight_to_fourteen_days_old() {
        for (at, days) in [("mon 00:00", 8), ("mon 06:00", 8), ("tue 23:59", 9), ("sun 20:00", 14)]
        {
            let age = age_of_facts(at.parse().unwrap());
            assert_eq!(age, Duration::from_hours(24 * days), "{at}");
        }
    }

    proptest! {
        #[test]
        fn the_week_is_over_on_a_monday_and_the_next_minute_is_a_week_away(
            seconds in 0i64..4_000_000_000,
            minute in 0i8..60,
            zone in prop::sample::select(vec!["UTC", "Asia/Kathmandu", "America/St_Johns"]),
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let at = format!("mon 06:{minute:02}").parse().unwrap();
            let now = Timestamp::from_second(seconds).unwrap();
            let due = due_week(now, at, &zone).unwrap();
            prop_assert!(due.since <= now);
            prop_assert!(due.week.sunday() < zone.to_datetime(due.since).date());
            prop_assert!(now.duration_since(due.since) < SignedDuration::from_hours(7 * 24 + 1));
            let monday = zone.to_timestamp(due.week.monday().to_datetime(Time::midnight())).unwrap();
            prop_assert!(due.since.duration_since(monday).unsigned_abs() <= age_of_facts(at));
            prop_assert_eq!(due_week(due.since, at, &zone), Some(due));
        }
    }
}
