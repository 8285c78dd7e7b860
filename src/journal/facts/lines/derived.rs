//! The absences: those that were noted, and those that follow from halts.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{ABSENCES, Lines, NEWEST, presence};
use crate::{
    domain::{Cadence, Label, WhyNotRun},
    facts::{
        Line,
        coverage::{Halt, Member, derive_absences},
    },
    journal::{Result, Row, Value, text},
};

const HALTS: &str = "SELECT * FROM halts ORDER BY began_at, kind";
/// The personas, by id.
const MEMBERS: &str = "SELECT id, cadence, first_at, last_at FROM personas ORDER BY id";
/// Slots of some days with a run or a noted absence.
const TAKEN: &str = "SELECT persona_id, slot FROM runs WHERE slot >= $1 AND slot < $2 \
     UNION ALL SELECT persona_id, slot FROM absences WHERE slot >= $1 AND slot < $2";

impl<F: FnMut(Line)> Lines<'_, F> {
    /// Hands the absences over by slot and persona. `slots` are the first slot, and the first one after the last;
    /// `range` is when their days begin and end.
    pub(super) async fn read_absences(
        &mut self,
        slots: &[Value],
        range: Range<Timestamp>,
    ) -> Result<()> {
        let halts = self.all(HALTS, &[], halt).await?;
        let newest = self.all(NEWEST, &[], |row| row.time("at").ok_or_else(String::new)).await?;
        let end = newest.first().map_or(range.start, |newest| range.end.min(*newest));
        let days = days_of(&halts, range.start..end);
        if days.is_empty() {
            return self.read(ABSENCES, slots, presence::absence, Line::Absence).await;
        }
        let members = self.all(MEMBERS, &[], member).await?;
        let taken = self.taken(&days).await?;
        let is_taken = |persona: &str, slot: &str| {
            taken.get(slot).is_some_and(|personas| personas.contains(persona))
        };
        let derived = derive_absences(&members, is_taken, &halts, range.start..end);
        let mut derived = derived.peekable();
        let Self { journal, snapshot, each, .. } = self;
        let noted = |row: Row| {
            let Some(noted) = journal.readable_row("an absence", &row, presence::absence) else {
                return;
            };
            while let Some(earlier) = derived.next_if(|absence| *absence < noted) {
                each(Line::Absence(earlier));
            }
            each(Line::Absence(noted));
        };
        let read = snapshot.each(ABSENCES, slots.to_vec(), super::LIMIT, noted).await;
        read.map_err(|error| super::failed(super::TASK, &error))?;
        derived.for_each(|absence| (self.each)(Line::Absence(absence)));
        Ok(())
    }

    /// The personas of each slot of these days that is taken, by a run or a noted absence.
    async fn taken(&mut self, days: &[Range<Date>]) -> Result<HashMap<Arc<str>, HashSet<String>>> {
        let mut taken: HashMap<Arc<str>, HashSet<String>> = HashMap::new();
        let mut row = |row: Row| {
            if let (Ok(persona), Ok(slot)) = (row.text("persona_id"), row.text("slot")) {
                taken.entry(slot.into()).or_default().insert(persona);
            }
        };
        for days in days {
            let slots = vec![text(days.start), text(days.end)];
            let read = self.snapshot.each(TAKEN, slots, super::LIMIT, &mut row).await;
            read.map_err(|error| super::failed(super::TASK, &error))?;
        }
        Ok(taken)
    }

    /// The rows of a query that can be read.
    async fn all<T>(
        &mut self,
        sql: &'static str,
        values: &[Value],
        read: fn(&Row) -> std::result::Result<T, String>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let row = |row: Row| all.extend(self.journal.readable_row("the facts", &row, read));
        let done = self.snapshot.each(sql, values.to_vec(), super::LIMIT, row).await;
        done.map_err(|error| super::failed(super::TASK, &error))?;
        Ok(all)
    }
}

/// The days (UTC) within `range` that a halt lies in wholly or partly: the first one, and the first one after. The
/// ranges do not overlap, so their number is limited by the number of days.
fn days_of(halts: &[Halt], range: Range<Timestamp>) -> Vec<Range<Date>> {
    let date = |time: Timestamp| TimeZone::UTC.to_datetime(time).date();
    let clipped = |halt: &Halt| {
        let (from, until) = (halt.from.max(range.start), halt.until.unwrap_or(range.end));
        let until = until.min(range.end);
        let is_empty = until < from;
        (!is_empty).then(|| date(from)..date(until).tomorrow().unwrap_or(Date::MAX))
    };
    let mut days: Vec<Range<Date>> = halts.iter().filter_map(clipped).collect();
    days.sort_by_key(|days| days.start);
    days.dedup_by(|next, days| {
        let overlaps = next.start <= days.end;
        if overlaps {
            days.end = days.end.max(next.end);
        }
        overlaps
    });
    days
}

fn halt(row: &Row) -> std::result::Result<Halt, String> {
    let kind = row.text("kind")?;
    Ok(Halt {
        // The kinds are words of reasons.
        why: WhyNotRun::parse(&kind).ok_or_else(|| format!("kind {kind:?}"))?,
        from: row.time("began_at").ok_or("began_at is no time")?,
        until: row.time("ended_at"),
    })
}

fn member(row: &Row) -> std::result::Result<Member, String> {
    let cadence = row.text("cadence")?;
    Ok(Member {
        id: row.text("id")?,
        cadence: Cadence::parse(&cadence).ok_or_else(|| format!("cadence {cadence:?}"))?,
        first_at: row.time("first_at").ok_or("first_at is no time")?,
        last_at: row.time("last_at").ok_or("last_at is no time")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halts_are_clipped_to_the_range_and_their_days_are_read_once() {
        let time = |text: &str| format!("{text}:00Z").parse::<Timestamp>().unwrap();
        let halt = |from: &str, until: Option<&str>| Halt {
            why: WhyNotRun::Paused,
            from: time(from),
            until: until.map(time),
        };
        let halts = [
            halt("2020-01-01T00:00", Some("2026-11-02T08:00")),
            halt("2026-11-02T09:00", Some("2026-11-02T10:00")),
            halt("2026-11-06T09:00", Some("2026-11-06T10:00")),
            halt("2026-11-09T09:00", None),
        ];
        let days = |from, end| {
            let days = days_of(&halts, time(from)..time(end));
            days.iter().map(|days| format!("{}/{}", days.start, days.end)).collect::<Vec<_>>()
        };
        let all = ["2026-11-01/2026-11-03", "2026-11-06/2026-11-07", "2026-11-09/2026-11-11"];
        assert_eq!(days("2026-11-01T00:00", "2026-11-10T12:00"), all);
        assert_eq!(days("2026-11-03T00:00", "2026-11-06T00:00"), [""; 0]);
    }
}
