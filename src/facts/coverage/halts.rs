//! Absences while nobody was asked who is due: during a pause, and while all use of the model had stopped.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::days::{date, may_be_due};
use crate::{
    domain::{Cadence, Slot, WhyNotRun},
    facts::line::Absence,
};

/// A persona that was not due for so long before a halt has left the fleet.
const LEFT_AFTER: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Absences are derived for at most so many days before the end: as long as facts are kept.
const DAYS: i64 = 400;

/// A time in which nobody was asked who is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// `Paused` or `ModelStopped`.
    pub why: WhyNotRun,
    /// When the halt began.
    pub from: Timestamp,
    /// When the halt ended; `None` if it goes on.
    pub until: Option<Timestamp>,
}

/// A persona as the runner knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id of the persona.
    pub id: String,
    /// How often the persona is due.
    pub cadence: Cadence,
    /// When the persona was due for the first time.
    pub first_at: Timestamp,
    /// When the persona was due for the last time.
    pub last_at: Timestamp,
}

/// The absences that follow from `halts`: one for each slot that lies wholly or partly in a halt, began within
/// `range` and is not taken. A slot is taken if `is_taken(persona, slot)` says that it has a run or an absence. Of
/// two halts of a slot the first in `halts` counts. The absences come by slot, then in the order of `personas`;
/// they are made one by one, and reach back 400 days at most.
///
/// A persona is not expected before it was first due, nor in a halt that began more than 14 days after it was last
/// due.
pub fn derive_absences<'a>(
    personas: &'a [Member],
    is_taken: impl Fn(&str, &str) -> bool + 'a,
    halts: &'a [Halt],
    range: Range<Timestamp>,
) -> impl Iterator<Item = Absence> + 'a {
    let end = range.end;
    let first = halts.iter().map(|halt| halt.from).min().unwrap_or(end).max(range.start);
    let span = SignedDuration::from_hours(24 * DAYS);
    let oldest = end.checked_sub(span).unwrap_or(Timestamp::MIN);
    let last_day = date(end, &TimeZone::UTC);
    let days = date(first.max(oldest), &TimeZone::UTC).series(jiff::Span::new().days(1));
    let periods = days.take_while(move |day| *day <= last_day).flat_map(periods);
    periods.flat_map(move |period| {
        let until = |halt: &Halt| halt.until.unwrap_or(end).min(end);
        let overlaps = move |halt: &&Halt| halt.from < period.until && period.from < until(halt);
        let absence = |member: &Member| {
            let expected = |halt: &&Halt| {
                member.first_at < period.until
                    && halt.from.duration_since(member.last_at) <= LEFT_AFTER
            };
            let halt = halts.iter().filter(overlaps).find(expected)?;
            let slot = Slot::of(member.cadence, period.from);
            let is_free = !is_taken(&member.id, slot.as_str());
            is_free.then(|| Absence {
                slot: slot.as_str().to_owned(),
                persona: member.id.clone(),
                why: halt.why,
            })
        };
        let due = |member: &&Member| period.is_of(member.cadence);
        personas.iter().filter(due).filter_map(absence).collect::<Vec<_>>()
    })
}

/// The time of a slot.
#[derive(Clone, Copy, Debug)]
struct Period {
    from: Timestamp,
    until: Timestamp,
    is_hour: bool,
    day: Date,
}

impl Period {
    /// Whether personas of this cadence have a slot for the period.
    fn is_of(&self, cadence: Cadence) -> bool {
        self.is_hour == (cadence == Cadence::Hourly) && may_be_due(cadence, self.day)
    }
}

/// The periods of a date of UTC in the order of their slots' text: the day, then its hours.
fn periods(day: Date) -> impl Iterator<Item = Period> {
    let begin = TimeZone::UTC.to_timestamp(day.into()).ok();
    begin.into_iter().flat_map(move |begin| {
        let period = move |is_hour, hours, length| {
            let from = begin + SignedDuration::from_hours(hours);
            Period { from, until: from + SignedDuration::from_hours(length), is_hour, day }
        };
        std::iter::once(period(false, 0, 24)).chain((0..24).map(move |hour| period(true, hour, 1)))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn member(id: &str, cadence: Cadence) -> Member {
        let (first_at, last_at) = (time("2026-11-01T06:00"), time("2026-11-19T06:00"));
        Member { id: id.to_owned(), cadence, first_at, last_at }
    }

    fn time(text: &str) -> Timestamp {
        format!("{text}:00Z").parse().unwrap()
    }

    fn pause(from: &str, until: Option<&str>) -> Halt {
        Halt { why: WhyNotRun::Paused, from: time(from), until: until.map(time) }
    }

    /// The derived absences as `persona slot why`.
    fn absences(members: &[Member], taken: &[&str], halts: &[Halt], end: &str) -> Vec<String> {
        let taken: HashSet<_> = taken.iter().copied().collect();
        let is_taken =
            |persona: &str, slot: &str| taken.contains(format!("{persona} {slot}").as_str());
        derive_absences(members, is_taken, halts, Timestamp::MIN..time(end))
            .map(|absence| format!("{} {} {}", absence.persona, absence.slot, absence.why.as_str()))
            .collect()
    }

    #[test]
    fn a_slot_that_lies_partly_in_a_halt_is_an_absence_unless_it_is_taken() {
        let members = [member("a", Cadence::Daily), member("b", Cadence::Daily)];
        // Thursday noon to Saturday morning.
        let halts = [pause("2026-11-19T12:00", Some("2026-11-21T05:00"))];
        let taken = ["a 2026-11-19", "b 2026-11-19", "a 2026-11-21"];
        let all = absences(&members, &taken, &halts, "2026-12-01T00:00");
        assert_eq!(all, ["a 2026-11-20 paused", "b 2026-11-20 paused", "b 2026-11-21 paused"]);
    }

    #[test]
    fn a_halt_that_ends_when_a_slot_begins_does_not_touch_the_slot() {
        let members = [member("a", Cadence::Daily), member("h", Cadence::Hourly)];
        let halts = [pause("2026-11-19T22:30", Some("2026-11-20T00:00"))];
        let all = absences(&members, &[], &halts, "2026-12-01T00:00");
        let expected = ["a 2026-11-19 paused", "h 2026-11-19T22 paused", "h 2026-11-19T23 paused"];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_weekday_persona_is_not_absent_on_a_weekend() {
        let members = [member("w", Cadence::Weekdays)];
        let halts = [pause("2026-11-20T00:00", Some("2026-11-24T00:00"))];
        let all = absences(&members, &[], &halts, "2026-12-01T00:00");
        assert_eq!(all, ["w 2026-11-20 paused", "w 2026-11-23 paused"]);
    }

    #[test]
    fn a_halt_that_goes_on_reaches_to_the_end() {
        let members = [member("a", Cadence::Daily)];
        let halts = [pause("2026-11-20T00:00", None)];
        let all = absences(&members, &[], &halts, "2026-11-21T00:00");
        assert_eq!(all, ["a 2026-11-20 paused"]);
    }

    #[test]
    fn of_two_halts_of_a_slot_the_first_counts() {
        let members = [member("a", Cadence::Daily)];
        let stopped = Halt {
            why: WhyNotRun::ModelStopped,
            ..pause("2026-11-20T06:00", Some("2026-11-22T00:00"))
        };
        let halts = [pause("2026-11-20T08:00", Some("2026-11-20T09:00")), stopped];
        let all = absences(&members, &[], &halts, "2026-12-01T00:00");
        assert_eq!(all, ["a 2026-11-20 paused", "a 2026-11-21 model-stopped"]);
    }

    #[test]
    fn a_persona_is_not_expected_before_it_was_first_due_or_after_it_has_left() {
        let halts = [pause("2026-11-20T00:00", Some("2026-11-22T00:00"))];
        let of = |first: &str, last: &str| {
            let (first_at, last_at) = (time(first), time(last));
            let member = Member { first_at, last_at, ..member("a", Cadence::Daily) };
            absences(&[member], &[], &halts, "2026-12-01T00:00").len()
        };
        assert_eq!(of("2026-11-22T06:00", "2026-11-22T06:00"), 0);
        assert_eq!(of("2026-11-21T06:00", "2026-11-22T06:00"), 1);
        assert_eq!(of("2026-10-01T06:00", "2026-11-07T06:00"), 2);
        assert_eq!(of("2026-10-01T06:00", "2026-11-05T06:00"), 0);
    }

    #[test]
    fn absences_are_derived_for_400_days_at_most() {
        let first_at = time("2020-01-01T00:00");
        let members = [Member { first_at, last_at: first_at, ..member("a", Cadence::Daily) }];
        let halts = [pause("2020-01-01T06:00", None)];
        let all = absences(&members, &[], &halts, "2026-12-01T00:00");
        assert_eq!(all.len(), 400);
        assert_eq!(all.last().unwrap(), "a 2026-11-30 paused");
        assert!(absences(&members, &[], &[], "2026-12-01T00:00").is_empty());
    }
}
