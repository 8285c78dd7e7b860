//! Decides why a due persona does not run, and what becomes of an unfinished run. Ticks and plans share these rules.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::holds::{Held, Holds};
use crate::{
    domain::{RunState, Slot, UserId, WhyNotRun},
    journal::{CANCELLED, Journal, JournalError, RunRow},
};

/// Longest time after the start of a run for which its rating can still be requested.
const MAX_AGE_OF_RATING: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What keeps due personas from running.
pub(super) struct Barriers<'a> {
    pub holds: &'a Holds,
    /// Ids of the personas with an unfinished run.
    pub unfinished: &'a HashSet<String>,
    /// For each slot of the due personas: the ids of the personas that have run in it.
    pub done: &'a Done,
    /// Why nobody runs now, if so, with a text about it.
    pub nobody: Option<&'a (WhyNotRun, String)>,
}

/// For each slot, the ids of personas.
pub(super) type Done = HashMap<Slot, HashSet<String>>;

/// Why a due persona does not run.
pub(super) enum Barred {
    /// It waits for mana-mcp, for this reason.
    Away(String),
    /// It is skipped.
    Skipped {
        why: WhyNotRun,
        /// The reason in words.
        because: String,
        /// When its hold ends, if it is held.
        until: Option<Timestamp>,
    },
}

impl Barriers<'_> {
    /// Why this persona does not run in this slot; `None` if it runs.
    pub(super) fn why_not(&self, persona: &UserId, slot: &Slot) -> Option<Barred> {
        let id = persona.as_str();
        let skipped = |why, because| Barred::Skipped { why, because, until: None };
        match self.holds.why(persona) {
            Some(Held::Away(why)) => Some(Barred::Away(why)),
            Some(Held::Until(until, failures)) => {
                let (why, because) = match failures {
                    0 => {
                        let because = format!("PERSONA_DAILY_USD is used up until {until}");
                        (WhyNotRun::PersonaBudget, because)
                    }
                    _ => {
                        let row = format!("failed runs in a row: {failures}");
                        (WhyNotRun::HeldBack, format!("held back until {until}, {row}"))
                    }
                };
                Some(Barred::Skipped { why, because, until: Some(until) })
            }
            None if self.unfinished.contains(id) => {
                Some(skipped(WhyNotRun::Unfinished, "a run of it comes to its end first".into()))
            }
            None if self.done.get(slot).is_some_and(|done| done.contains(id)) => {
                Some(skipped(WhyNotRun::SlotUsed, format!("it has had its run for {slot}")))
            }
            None => self.nobody.map(|(why, because)| skipped(*why, because.clone())),
        }
    }
}

/// For each of these slots: the ids of the personas that have a run in it which has not failed.
///
/// # Errors
/// When the journal cannot be read.
pub(super) async fn done_for(
    journal: &Journal,
    slots: impl IntoIterator<Item = Slot>,
) -> Result<Done, JournalError> {
    let mut done = HashMap::new();
    for slot in slots.into_iter().collect::<HashSet<_>>() {
        let personas = journal.personas_done_for(&slot).await?;
        done.insert(slot, personas.into_iter().collect());
    }
    Ok(done)
}

/// The unfinished runs: those that were interrupted by the end of a process, those that still owe their rating, and
/// those that were put off. Oldest first, those that owe a rating last.
///
/// # Errors
/// When the journal cannot be read.
pub(super) async fn unfinished_runs(journal: &Journal) -> Result<Vec<RunRow>, JournalError> {
    let mut runs = journal.runs_in(RunState::Running).await?;
    runs.extend(journal.runs_in(RunState::RatingOwed).await?);
    Ok(runs)
}

/// What becomes of an unfinished run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The run is closed for this reason, which costs nothing.
    Closed(&'static str),
    /// The run goes on.
    GoesOn,
    /// The run stays as it is.
    Waits,
}

/// What decides about unfinished runs.
pub(super) struct Resumption<'a> {
    pub holds: &'a Holds,
    /// How many runs may go on.
    pub most: usize,
    /// The id of the model that requests name.
    pub model: &'a str,
    /// JOURNAL_RESUME_MAX_AGE_MS.
    pub max_age: SignedDuration,
    pub now: Timestamp,
}

impl Resumption<'_> {
    /// What becomes of `run`, if `before` runs go on already.
    pub(super) fn fate(&self, run: &RunRow, before: usize) -> Fate {
        let held_by = run.persona.as_ref().and_then(|persona| self.holds.why(&persona.user_id));
        match self.why_closed(run) {
            Some(why) => Fate::Closed(why),
            None if before >= self.most || held_by.is_some() => Fate::Waits,
            None => Fate::GoesOn,
        }
    }

    fn why_closed(&self, run: &RunRow) -> Option<&'static str> {
        let (since, most, too_old) = match run.state {
            // Longer than for a running one, because a pause may last over a weekend.
            RunState::RatingOwed => (
                run.started_at,
                MAX_AGE_OF_RATING,
                "its rating could not be asked for within seven days",
            ),
            _ => (
                run.updated_at,
                self.max_age,
                "it had not got on for longer than JOURNAL_RESUME_MAX_AGE_MS",
            ),
        };
        if run.is_cancelled() {
            Some(CANCELLED)
        } else if self.now.duration_since(since) > most {
            Some(too_old)
        } else {
            // Claude accepts thinking blocks only with the model that made them.
            let is_bound = run.state == RunState::Running && run.model != self.model;
            is_bound.then_some("ANTHROPIC_MODEL was changed in the middle of this run")
        }
    }
}
