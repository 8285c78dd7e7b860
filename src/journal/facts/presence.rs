//! When the daemon was up, when it called nobody, and who was due and did not run.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::personas;
use crate::{
    domain::{Label, WhyNotRun, labels},
    facts::line,
    journal::{Journal, Result, Row, Sql, number, rows_of, text, time},
};

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

labels! {
    /// Why nobody is called for a while.
    pub HaltKind {
        /// An operator has paused the runner.
        Paused = "paused",
        /// All use of the model has stopped.
        ModelStopped = "model-stopped",
    }
}

/// What a tick leaves behind.
#[derive(Clone, Copy, Debug)]
pub struct TickFacts<'a> {
    /// When the tick was, by mana-auth's time.
    pub at: Timestamp,
    /// When the tick was, by the clock of the daemon.
    pub clock_at: Timestamp,
    /// The personas that were due.
    pub personas: &'a [line::Persona],
    /// The due personas that do not run, each with the reason.
    pub absences: &'a [line::Absence],
}

impl Journal {
    /// Notes a tick. Only what has changed since the tick before is written. An absence is not noted for a slot that
    /// has a run of the persona.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn note_tick(&self, tick: &TickFacts<'_>) -> Result<()> {
        const TICK: &str = "INSERT INTO ticks (hour, at, clock_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING";
        const ABSENT: &str = "INSERT INTO absences (slot, persona_id, why, at)";
        const REPLACE: &str =
            " ON CONFLICT (slot, persona_id) DO UPDATE SET why = excluded.why, at = excluded.at";
        let mut statements = personas::additions(tick.personas, tick.at);
        let hour = number(tick.at.as_millisecond().div_euclid(HOUR) * HOUR);
        let known = "SELECT 1 FROM ticks WHERE hour = $1";
        if self.rows("look up a tick", known, vec![hour.clone()]).await?.is_empty() {
            statements.push((TICK.into(), vec![hour, time(tick.at), time(tick.clock_at)]));
        }
        let rows = self.new_absences(tick.absences).await?.into_iter().map(|absence| {
            let line::Absence { slot, persona, why } = absence;
            vec![text(slot), text(persona), text(why.as_str()), time(tick.at)]
        });
        let absences = rows_of(ABSENT, "($1, $2, $3, $4)", rows.collect());
        statements.extend(absences.map(|(sql, values)| ((sql + REPLACE), values)));
        if statements.is_empty() {
            return Ok(());
        }
        self.write_facts_alone("note a tick", statements).await.map(drop)
    }

    /// Those of these absences that are not noted, or with another reason, in slots without a run of the persona.
    async fn new_absences<'a>(
        &self,
        absences: &'a [line::Absence],
    ) -> Result<Vec<&'a line::Absence>> {
        let absences = absences.iter().filter(|absence| absence.why != WhyNotRun::SlotUsed);
        let mut absences: Vec<_> = absences.collect();
        let slots: BTreeSet<_> = absences.iter().map(|absence| &absence.slot).collect();
        for slot in slots {
            let sql = "SELECT persona_id, why FROM absences WHERE slot = $1 \
                 UNION ALL SELECT persona_id, NULL FROM runs WHERE slot = $1";
            let rows = self.rows("look up absences", sql, vec![text(slot)]).await?;
            let known = rows.iter().filter_map(|row| Some((row.text("persona_id").ok()?, row)));
            let known: HashMap<_, _> =
                known.map(|(persona, row)| (persona, row.text("why").ok())).collect();
            absences.retain(|absence| {
                absence.slot != *slot
                    || known.get(&absence.persona).is_none_or(|known| {
                        known.as_ref().is_some_and(|why| why != absence.why.as_str())
                    })
            });
        }
        Ok(absences)
    }

    /// The last hour's first tick, by mana-auth's time and by the clock of the daemon.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn last_tick(&self) -> Result<Option<(Timestamp, Timestamp)>> {
        let sql = "SELECT at, clock_at FROM ticks ORDER BY hour DESC LIMIT 1";
        let rows = self.rows("look up the last tick", sql, vec![]).await?;
        Ok(rows.first().and_then(|row| Some((row.time("at")?, row.time("clock_at")?))))
    }

    /// Notes that nobody is called from the time `at`, for this reason. Changes nothing if that is noted already.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn begin_halt(&self, kind: HaltKind, at: Timestamp) -> Result<()> {
        let sql = "INSERT INTO halts (kind, began_at) SELECT $1, $2 WHERE NOT EXISTS \
             (SELECT 1 FROM halts WHERE kind = $1 AND ended_at IS NULL) \
             ON CONFLICT (kind, began_at) DO UPDATE SET ended_at = NULL";
        self.change_halt("note a halt", sql, kind, at).await
    }

    /// Notes that personas are called again from the time `at`. Changes nothing if no halt of this kind is noted.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn end_halt(&self, kind: HaltKind, at: Timestamp) -> Result<()> {
        let sql = "UPDATE halts SET ended_at = CASE WHEN began_at > $2 THEN began_at ELSE $2 END \
             WHERE kind = $1 AND ended_at IS NULL";
        self.change_halt("note the end of a halt", sql, kind, at).await
    }

    /// Whether a halt of this kind is noted that has not ended.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn is_halted(&self, kind: HaltKind) -> Result<bool> {
        let sql = "SELECT 1 FROM halts WHERE kind = $1 AND ended_at IS NULL";
        let rows = self.rows("look up a halt", sql, vec![text(kind.as_str())]).await?;
        Ok(!rows.is_empty())
    }

    /// Moves the ends of halts that ended in the time from `since` to `until` to the end of that time.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn extend_halts(&self, since: Timestamp, until: Timestamp) -> Result<()> {
        let sql = "UPDATE halts SET ended_at = $2 WHERE ended_at >= $1 AND ended_at < $2";
        let statement = (sql.into(), vec![time(since), time(until)]);
        self.write_facts_alone("note the end of a halt", vec![statement]).await.map(drop)
    }

    async fn change_halt(
        &self,
        task: &'static str,
        sql: Sql,
        kind: HaltKind,
        at: Timestamp,
    ) -> Result<()> {
        let statement = (sql.into(), vec![text(kind.as_str()), time(at)]);
        self.write_facts_alone(task, vec![statement]).await.map(drop)
    }
}

pub(in crate::journal) fn absence(row: &Row) -> std::result::Result<line::Absence, String> {
    let why = row.text("why")?;
    Ok(line::Absence {
        slot: row.text("slot")?,
        persona: row.text("persona_id")?,
        why: WhyNotRun::parse(&why).ok_or_else(|| format!("why {why:?}"))?,
    })
}
