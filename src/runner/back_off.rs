//! Personas that are held back after a failed run, so that the next tick does not pay again. What is
//! decided here is written down with the run; a restart begins with it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{clock::Clock, domain::UserId, journal::HeldBack};

/// Longest back-off of a failed run.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Who is held back, and until when.
#[derive(Debug)]
pub struct BackOff {
    clock: Clock,
    first: Duration,
    held: Mutex<HashMap<UserId, Held>>,
}

#[derive(Debug)]
struct Held {
    since: Timestamp,
    until: Timestamp,
    /// Failed runs in a row.
    failures: u32,
}

impl BackOff {
    /// These are held back; the first failed run of anybody else will hold its persona for `first`.
    pub fn new(clock: Clock, first: Duration, held: Vec<HeldBack>) -> Self {
        let held = held.into_iter().map(|HeldBack { persona, failures, since, until }| {
            (persona, Held { since, until, failures })
        });
        Self { clock, first, held: Mutex::new(held.collect()) }
    }

    /// Whether this persona is held back now.
    pub(super) fn holds(&self, persona: &UserId) -> bool {
        self.until(persona).is_some()
    }

    /// Until when this persona is held back, if it is. A clock that was set back does not hold it any longer.
    pub(super) fn until(&self, persona: &UserId) -> Option<Timestamp> {
        let now = self.clock.now();
        let all = self.held();
        let held = all.get(persona).filter(|held| held.since <= now && now < held.until)?;
        Some(held.until)
    }

    /// Failed runs of this persona in a row: none where it is held back for its money.
    pub(super) fn failures(&self, persona: &UserId) -> u32 {
        self.held().get(persona).map_or(0, |held| held.failures)
    }

    /// A run of this persona failed: it is held back for the first step, doubled with each failure in
    /// a row up to an hour, or for `at_least` if that is longer. Returns for how long, and until when.
    pub(super) fn failed(
        &self,
        persona: &UserId,
        at_least: Option<Duration>,
    ) -> (Duration, Timestamp) {
        let mut all = self.held();
        let failures = all.get(persona).map_or(0, |held| held.failures);
        let step = self.first.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST);
        let wait = step.max(at_least.unwrap_or_default());
        let since = self.clock.now();
        let until = since.checked_add(wait).unwrap_or(Timestamp::MAX);
        all.insert(persona.clone(), Held { since, until, failures: failures.saturating_add(1) });
        (wait, until)
    }

    /// This persona has nothing to do before `until`, which is nobody's failure.
    pub(super) fn hold_until(&self, persona: &UserId, until: Timestamp) {
        let since = self.clock.now();
        self.held().insert(persona.clone(), Held { since, until, failures: 0 });
    }

    /// A run of this persona left its mark: the next failure starts from the first step again.
    pub(super) fn succeeded(&self, persona: &UserId) {
        self.held().remove(persona);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<UserId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_starts_over_after_a_success() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let back_off = BackOff::new(clock.clone(), MINUTE, Vec::new());
        let anna = UserId::parse("anna").unwrap();
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!back_off.holds(&anna));
            assert_eq!(back_off.failed(&anna, None).0, MINUTE * minutes);
            clock.advance(MINUTE * minutes - Duration::from_millis(1));
            assert!(back_off.holds(&anna));
            clock.advance(Duration::from_millis(1));
        }
        back_off.succeeded(&anna);
        assert_eq!(back_off.failed(&anna, None).0, MINUTE);
    }

    #[test]
    fn a_longer_hold_wins_and_others_are_not_held() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let back_off = BackOff::new(clock.clone(), MINUTE, Vec::new());
        let (anna, ben) = (UserId::parse("anna").unwrap(), UserId::parse("ben").unwrap());
        assert_eq!(back_off.failed(&anna, Some(30 * MINUTE)).0, 30 * MINUTE);
        clock.advance(29 * MINUTE);
        assert!(back_off.holds(&anna) && !back_off.holds(&ben));
    }

    #[test]
    fn a_restart_goes_on_where_the_back_off_was_and_a_clock_set_back_ends_it() {
        let start = Timestamp::UNIX_EPOCH + MINUTE * 100;
        let anna = UserId::parse("anna").unwrap();
        let held = HeldBack {
            persona: anna.clone(),
            failures: 2,
            since: start,
            until: start + MINUTE * 2,
        };
        let load = |now| BackOff::new(Clock::manual(now), MINUTE, vec![held.clone()]);
        let back_off = load(start);
        assert!(back_off.holds(&anna));
        assert_eq!(back_off.failed(&anna, None).0, MINUTE * 4);
        assert!(!load(start + MINUTE * 2).holds(&anna));
        assert!(!load(start - MINUTE).holds(&anna));
    }
}
