//! The absences: those that were noted, and those that follow from halts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{ABSENCES, Lines, NEWEST, presence};
use crate::{
    domain::{Cadence, Label, WhyNotRun},
    facts::{
        Line,
        coverage::{Halt, Member, derive_absences},
        line::Absence,
    },
    journal::{Result, Row, Value},
};

const HALTS: &str = "SELECT * FROM halts ORDER BY began_at, kind";
/// The personas, by id.
const MEMBERS: &str = "SELECT id, cadence, first_at, last_at FROM personas ORDER BY id";
/// Slots with a run or a noted absence.
const TAKEN: &str = "SELECT persona_id, slot FROM runs WHERE server_at >= $1 \
     UNION ALL SELECT persona_id, slot FROM absences WHERE at >= $1";
/// How long a slot can have begun before a halt in it, in milliseconds.
const SLOT: i64 = 25 * 3_600_000;

impl<F: FnMut(Line)> Lines<'_, F> {
    /// Hands the absences over by slot and persona. `slots` are the first slot, and the first one after the last.
    pub(super) async fn read_absences(&mut self, slots: &[Value]) -> Result<()> {
        let halts = self.all(HALTS, &[], halt).await?;
        let Some(first) = halts.iter().map(|halt| halt.from).min() else {
            return self.read(ABSENCES, slots, presence::absence, Line::Absence).await;
        };
        let members = self.all(MEMBERS, &[], member).await?;
        let end = self.all(NEWEST, &[], |row| row.time("at").ok_or_else(String::new)).await?;
        let taken = self.taken(first).await?;
        let is_taken = |persona: &str, slot: &str| {
            taken.get(slot).is_some_and(|personas| personas.contains(persona))
        };
        let is_wanted = |absence: &Absence| match slots {
            [Value::Text(Some(from)), Value::Text(Some(end))] => {
                absence.slot >= *from && absence.slot < *end
            }
            _ => true,
        };
        let end = end.first().copied().unwrap_or(first);
        let derived = derive_absences(&members, is_taken, &halts, end).filter(is_wanted);
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

    /// The personas of each slot that is taken, of runs and absences that were noted since the slot of `first`.
    async fn taken(&mut self, first: Timestamp) -> Result<HashMap<Arc<str>, HashSet<String>>> {
        let since = Value::Number(Some(first.as_millisecond().saturating_sub(SLOT)));
        let mut taken: HashMap<Arc<str>, HashSet<String>> = HashMap::new();
        let row = |row: Row| {
            if let (Ok(persona), Ok(slot)) = (row.text("persona_id"), row.text("slot")) {
                taken.entry(slot.into()).or_default().insert(persona);
            }
        };
        let read = self.snapshot.each(TAKEN, vec![since], super::LIMIT, row).await;
        read.map_err(|error| super::failed(super::TASK, &error))?;
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
