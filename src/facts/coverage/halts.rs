//! Absences while nobody was asked who is due: during a pause, and while all use of the model had stopped.

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

/// The absences that follow from `halts`: one for each slot that lies wholly or partly in a halt, began before
/// `end` and is not taken. A slot is taken if `is_taken(persona, slot)` says that it has a run or an absence. Of
/// two halts of a slot the first in `halts` counts. The absences come by slot, then in the order of `personas`;
/// they are made one by one, and reach back 400 days at most.
///
/// A persona is not expected before it was first due, nor in a halt that began more than 14 days after it was last
/// due.
pub fn derive_absences<'a>(
    personas: &'a [Member],
    is_taken: impl Fn(&str, &str) -> bool + 'a,
    halts: &'a [Halt],
    end: Timestamp,
) -> impl Iterator<Item = Absence> + 'a {
    let first = halts.iter().map(|halt| halt.from).min().unwrap_or(end);
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
