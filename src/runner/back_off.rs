//! Personas that are held back after a failed run, so that the next tick does not pay again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{clock::Clock, domain::UserId};

/// Longest back-off of a failed run.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Who is held back, and until when. In memory.
#[derive(Debug)]
pub(super) struct BackOff {
    clock: Clock,
    first: Duration,
    held: Mutex<HashMap<UserId, Held>>,
}

#[derive(Debug)]
struct Held {
    until: Timestamp,
    /// Failed runs in a row.
    failures: u32,
}

impl BackOff {
    /// No one is held back; the first failed run will hold its persona for `first`.
    pub(super) fn new(clock: Clock, first: Duration) -> Self {
        Self { clock, first, held: Mutex::default() }
    }

    /// Whether this persona is held back now.
    pub(super) fn holds(&self, persona: &UserId) -> bool {
        self.held().get(persona).is_some_and(|held| held.until > self.clock.now())
    }

    /// A run of this persona failed: it is held back for the first step, doubled with each failure in
    /// a row up to an hour, or for `at_least` if that is longer. Returns for how long.
    pub(super) fn failed(&self, persona: &UserId, at_least: Option<Duration>) -> Duration {
        let mut all = self.held();
        let failures = all.get(persona).map_or(0, |held| held.failures);
        let step = self.first.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST);
        let wait = step.max(at_least.unwrap_or_default());
        let until = self.clock.now().checked_add(wait).unwrap_or(Timestamp::MAX);
        all.insert(persona.clone(), Held { until, failures: failures.saturating_add(1) });
        wait
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
        let back_off = BackOff::new(clock.clone(), MINUTE);
        let anna = UserId::parse("anna").unwrap();
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!back_off.holds(&anna));
            assert_eq!(back_off.failed(&anna, None), MINUTE * minutes);
            clock.advance(MINUTE * minutes - Duration::from_millis(1));
            assert!(back_off.holds(&anna));
            clock.advance(Duration::from_millis(1));
        }
        back_off.succeeded(&anna);
        assert_eq!(back_off.failed(&anna, None), MINUTE);
    }

    #[test]
    fn a_longer_hold_wins_and_others_are_not_held() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let back_off = BackOff::new(clock.clone(), MINUTE);
        let (anna, ben) = (UserId::parse("anna").unwrap(), UserId::parse("ben").unwrap());
        assert_eq!(back_off.failed(&anna, Some(30 * MINUTE)), 30 * MINUTE);
        clock.advance(29 * MINUTE);
        assert!(back_off.holds(&anna) && !back_off.holds(&ben));
    }
}
