//! Decides why a due persona does not run, and what becomes of an unfinished run. Ticks and plans share these rules.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
};

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
    /// The runs that are not to wait: those that go on, and those that are closed for a reason. Of several such runs of
    /// one persona only the first is listed; the others wait for the next list.
    pub(super) fn list<R: Borrow<RunRow>>(
        &self,
        runs: impl IntoIterator<Item = R>,
    ) -> Vec<(R, Option<&'static str>)> {
        let (mut personas, mut go_on) = (HashSet::new(), 0);
        let list = runs.into_iter().filter_map(|run| {
            let close = match self.fate(run.borrow(), go_on) {
                Fate::Waits => return None,
                Fate::GoesOn => None,
                Fate::Closed(why) => Some(why),
            };
            let is_first = personas.insert(run.borrow().persona_id.clone());
            go_on += usize::from(is_first && close.is_none());
            is_first.then_some((run, close))
        });
        list.collect()
    }

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::Clock,
        domain::{Cadence, ModuleMix, Persona, RunId, Usd},
        journal::{HeldBack, KeptSettings},
        runner::holds::Hold,
    };

    const NOW: Timestamp = Timestamp::constant(1_795_262_400, 0);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn anna() -> UserId {
        UserId::parse("anna").unwrap()
    }

    fn nobody_held() -> Holds {
        Holds::new(Clock::manual(NOW), Duration::from_secs(60), vec![])
    }

    /// Anna is held back for an hour after this number of failed runs.
    fn held(failures: u32) -> Holds {
        let until = NOW + HOUR;
        let held = HeldBack { persona: anna(), failures, since: NOW, until };
        Holds::new(Clock::manual(NOW), Duration::from_secs(60), vec![held])
    }

    /// A run of Anna that began and got on this many hours ago.
    fn run(state: RunState, began: i32, got_on: i32) -> RunRow {
        let persona = Persona {
            user_id: anna(),
            email: "persona.anna@mana.test".into(),
            system_prompt: String::new(),
            module_mix: ModuleMix::new([]),
            cadence: Cadence::Daily,
            archetype: None,
        };
        RunRow {
            id: RunId::new(),
            persona: Some(persona),
            persona_id: "anna".into(),
            label: None,
            slot: Slot::stored("2026-11-21"),
            attempt: 1,
            model: "claude".into(),
            state,
            stage: "main_turn".into(),
            spent: Usd::ZERO,
            replies: 0,
            calls: 0,
            call_errors: 0,
            ratings: 0,
            end_reason: None,
            started_at: NOW - HOUR * began,
            updated_at: NOW - HOUR * got_on,
            ended_at: None,
            server_at: NOW,
            server_time: None,
            outcome: None,
            deployment: None,
            deployment_end: None,
            settings: KeptSettings::default(),
        }
    }

    #[test]
    fn an_unfinished_run_goes_on_waits_or_is_closed() {
        use RunState::{RatingOwed, Running};
        const OLD: &str = "it had not got on for longer than JOURNAL_RESUME_MAX_AGE_MS";
        const UNRATED: &str = "its rating could not be asked for within seven days";
        const OTHER_MODEL: &str = "ANTHROPIC_MODEL was changed in the middle of this run";
        let week = 7 * 24;
        let (own, other) = ("claude", "another");
        let cancelled = Some(CANCELLED);
        for (state, began, got_on, model, holds, reason, before, fate) in [
            (Running, 90, 1, own, nobody_held(), None, 0, Fate::GoesOn),
            (Running, 90, 2, own, nobody_held(), None, 0, Fate::Closed(OLD)),
            (RatingOwed, 90, 90, own, nobody_held(), None, 0, Fate::GoesOn),
            (RatingOwed, week, 1, own, nobody_held(), None, 0, Fate::GoesOn),
            (RatingOwed, week + 1, 1, own, nobody_held(), None, 0, Fate::Closed(UNRATED)),
            (Running, 1, 1, other, nobody_held(), None, 0, Fate::Closed(OTHER_MODEL)),
            (RatingOwed, 1, 1, other, nobody_held(), None, 0, Fate::GoesOn),
            (Running, 1, 1, own, held(1), None, 0, Fate::Waits),
            (RatingOwed, 1, 1, own, held(0), None, 0, Fate::Waits),
            (Running, 1, 1, own, nobody_held(), None, 2, Fate::Waits),
            (Running, 1, 1, own, nobody_held(), Some("stopped"), 1, Fate::GoesOn),
            // What is closed costs nothing, so it waits for nobody.
            (Running, 1, 2, own, held(1), None, 2, Fate::Closed(OLD)),
            (Running, 1, 2, other, held(1), cancelled, 2, Fate::Closed(CANCELLED)),
            (RatingOwed, 1, 1, own, nobody_held(), cancelled, 0, Fate::Closed(CANCELLED)),
        ] {
            let mut run = run(state, began, got_on);
            run.model = model.into();
            run.end_reason = reason.map(str::to_owned);
            let resumption =
                Resumption { holds: &holds, most: 2, model: "claude", max_age: HOUR, now: NOW };
            assert_eq!(resumption.fate(&run, before), fate, "{run:?}, {before}");
        }
    }

    #[test]
    fn one_run_of_each_persona_is_listed_and_no_more_go_on_than_may() {
        let of = |persona: &str, got_on| {
            let run = run(RunState::Running, 5, got_on);
            RunRow { persona: None, persona_id: persona.into(), ..run }
        };
        let runs =
            [of("a", 1), of("a", 5), of("b", 5), of("b", 1), of("c", 1), of("d", 1), of("d", 5)];
        let listed = |most| {
            let holds = nobody_held();
            let resumption =
                Resumption { holds: &holds, most, model: "claude", max_age: HOUR, now: NOW };
            let place = |run: &RunRow| runs.iter().position(|it| it.id == run.id).unwrap();
            let list = resumption.list(&runs).into_iter();
            list.map(|(run, close)| (place(run), close.is_none())).collect::<Vec<_>>()
        };
        assert_eq!(listed(9), [(0, true), (2, false), (4, true), (5, true)]);
        assert_eq!(listed(2), [(0, true), (2, false), (4, true), (6, false)]);
        assert_eq!(listed(0), [(1, false), (2, false), (6, false)]);
    }

    #[test]
    fn of_several_reasons_a_due_persona_does_not_run_the_first_is_told() {
        let slot = Slot::stored("2026-11-21");
        let busy = HashSet::from(["anna".to_owned()]);
        let done = HashMap::from([(slot.clone(), busy.clone())]);
        let other_slot = HashMap::from([(Slot::stored("2026-11-20"), busy.clone())]);
        let paused = (WhyNotRun::Paused, "paused on request".to_owned());
        let (no_one, nothing) = (HashSet::new(), Done::new());
        for (holds, unfinished, done, nobody, why) in [
            (held(1), &busy, &done, Some(&paused), Some(WhyNotRun::HeldBack)),
            (held(0), &busy, &done, Some(&paused), Some(WhyNotRun::PersonaBudget)),
            (nobody_held(), &busy, &done, Some(&paused), Some(WhyNotRun::Unfinished)),
            (nobody_held(), &no_one, &done, Some(&paused), Some(WhyNotRun::SlotUsed)),
            (nobody_held(), &no_one, &other_slot, Some(&paused), Some(WhyNotRun::Paused)),
            (nobody_held(), &no_one, &nothing, None, None),
        ] {
            let barriers = Barriers { holds: &holds, unfinished, done, nobody };
            let found = barriers.why_not(&anna(), &slot);
            let told = found.map(|barred| match barred {
                Barred::Skipped { why, until, .. } => (why, until),
                Barred::Away(why) => panic!("{why}"),
            });
            let is_held = matches!(why, Some(WhyNotRun::HeldBack | WhyNotRun::PersonaBudget));
            assert_eq!(told, why.map(|why| (why, is_held.then_some(NOW + HOUR))));
        }
        let holds = held(1);
        holds.apply(&anna(), Hold::Away("mana-mcp is away".into()), "");
        let (unfinished, nobody) = (&busy, Some(&paused));
        let barriers = Barriers { holds: &holds, unfinished, done: &done, nobody };
        let found = barriers.why_not(&anna(), &slot);
        assert!(matches!(found, Some(Barred::Away(why)) if why == "mana-mcp is away"));
    }
}
