//! Who runs in a tick that begins now, and who could run in one that begins a little later.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::accounts::{Accounts, Span};
use crate::{
    clock::Clock,
    config::Config,
    domain::{Persona, RunState, Slot, Usd, WhyNotRun},
    journal::{Journal, JournalError, RunRow},
    runner::{
        eligibility::{Barred, Barriers, Done, Fate, Resumption, done_for, unfinished_runs},
        holds::Holds,
    },
};

/// A time at which a tick may begin.
struct Moment {
    holds: Holds,
    /// mana-auth's time.
    server_time: Timestamp,
}

impl Moment {
    fn slot(&self, persona: &Persona) -> Slot {
        Slot::of(persona.cadence, self.server_time)
    }
}

/// The due personas and the unfinished runs, and what decides about them.
pub(super) struct Outlook<'a> {
    config: &'a Config,
    now: Timestamp,
    /// Now, and the latest time at which the tick may begin.
    moments: [Moment; 2],
    nobody: Option<(WhyNotRun, String)>,
    pub personas: Vec<Persona>,
    /// The unfinished runs.
    runs: Vec<RunRow>,
    /// Ids of the personas with an unfinished run.
    busy: HashSet<String>,
    done: Done,
}

impl<'a> Outlook<'a> {
    /// The outlook for a tick that begins in the time `begin`, if /due has answered with these personas at mana-auth's
    /// time `server_time`.
    /// `nobody` says why no run may begin now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn new(
        journal: &Journal,
        config: &'a Config,
        Span { from: now, to: until }: Span,
        personas: Vec<Persona>,
        server_time: Timestamp,
        nobody: Option<(WhyNotRun, String)>,
    ) -> Result<Self, JournalError> {
        let held = journal.held_back().await?;
        let wait = until.duration_since(now);
        let moments = [(now, SignedDuration::ZERO), (until, wait)].map(|(at, wait)| Moment {
            holds: Holds::new(Clock::manual(at), config.tick.run_backoff, held.clone()),
            server_time: server_time.checked_add(wait).unwrap_or(Timestamp::MAX),
        });
        let runs = unfinished_runs(journal).await?;
        let busy = runs.iter().map(|run| run.persona_id.clone()).collect();
        let slots = moments.iter().flat_map(|it| personas.iter().map(|persona| it.slot(persona)));
        let done = done_for(journal, slots).await?;
        Ok(Self { config, now, moments, nobody, personas, runs, busy, done })
    }

    /// Why this persona would not run now.
    pub(super) fn why_not(&self, persona: &Persona) -> Option<WhyNotRun> {
        let [now, _] = &self.moments;
        let Self { busy: unfinished, done, nobody, .. } = self;
        let barriers = Barriers { holds: &now.holds, unfinished, done, nobody: nobody.as_ref() };
        match barriers.why_not(&persona.user_id, &now.slot(persona))? {
            Barred::Skipped { why, .. } => Some(why),
            Barred::Away(_) => Some(WhyNotRun::Unfinished),
        }
    }

    /// The unfinished runs that go on now, at most one of each persona, and the number of those that are closed.
    pub(super) fn unfinished_now(&self) -> (Vec<&RunRow>, usize) {
        let most = if self.nobody.is_some() { 0 } else { usize::MAX };
        let resumption = self.resumption(&self.moments[0], most);
        let (go_on, closed): (Vec<_>, Vec<_>) =
            resumption.list(&self.runs).into_iter().partition(|(_, close)| close.is_none());
        (go_on.into_iter().map(|(run, _)| run).collect(), closed.len())
    }

    /// The most that each persona could cost in a tick that begins at any of the moments, by its id. That is what
    /// `accounts` leaves to its unfinished runs that go on; and a whole run, if the persona may begin one after the daemon
    /// has gone on with them. A run that fails without a result counts as if the persona began the day anew.
    pub(super) fn most(&self, accounts: &Accounts<'_>) -> HashMap<&str, Usd> {
        let mut most = HashMap::<&str, Usd>::new();
        // Personas whose slot is free again if their unfinished run is closed or fails.
        let mut may_fail = HashSet::new();
        for run in &self.runs {
            let fate = |it| self.resumption(it, usize::MAX).fate(run, 0);
            if self.moments.iter().any(|it| fate(it) == Fate::GoesOn) {
                *most.entry(&run.persona_id).or_default() += accounts.left_of(run);
            }
            if run.state == RunState::Running && accounts.leaves_nothing(run) {
                may_fail.insert(&run.persona_id);
            }
        }
        let mut free_again = self.done.clone();
        free_again.values_mut().for_each(|personas| personas.retain(|id| !may_fail.contains(id)));
        let max_cost = self.config.run.max_cost;
        for persona in &self.personas {
            let sum = most.entry(persona.user_id.as_str()).or_default();
            if self.may_begin(persona, &self.done) {
                *sum += max_cost;
            } else if self.may_begin(persona, &free_again) {
                *sum = max_cost.max(*sum);
            }
        }
        most
    }

    /// Whether this persona may begin a run at any of the moments, if its unfinished runs have come to their end and
    /// these personas have used their slots.
    fn may_begin(&self, persona: &Persona, done: &Done) -> bool {
        let unfinished = HashSet::new();
        self.moments.iter().any(|it| {
            let barriers =
                Barriers { holds: &it.holds, unfinished: &unfinished, done, nobody: None };
            barriers.why_not(&persona.user_id, &it.slot(persona)).is_none()
        })
    }

    fn resumption<'m>(&'m self, moment: &'m Moment, most: usize) -> Resumption<'m> {
        let max_age = self.config.journal.resume_max_age;
        Resumption {
            holds: &moment.holds,
            most,
            model: &self.config.claude.model,
            max_age: max_age.try_into().unwrap_or(SignedDuration::MAX),
            now: self.now,
        }
    }
}
