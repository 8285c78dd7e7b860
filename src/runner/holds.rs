//! Personas that may not run now. A persona is held back after a failed run, so that the next tick does not
//! pay again, or because its daily budget is used up; or it waits until mana-mcp is available again. The end
//! of a hold is stored with the run, and the next process loads it.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::budget::next_day;
use crate::{clock::Clock, domain::UserId, journal::HeldBack};

/// Longest back-off after a failed run.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What the end of a run changes for the next run of its persona.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Changes nothing: an earlier hold and the count of failures stay.
    AsBefore,
    /// Ends a hold and resets the count of failures.
    Release,
    /// The persona is held back for the first step, doubled with each failure in a row up to one hour, or for
    /// this duration if it is longer.
    BackOff(Duration),
    /// The persona's budget is used up until this time, or until the next day (UTC) if there is none. This
    /// does not count as a failure.
    Broke(Option<Timestamp>),
    /// The persona waits for mana-mcp, for this reason.
    Away(String),
}

/// Why a persona may not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Held back until this time, after this number of failed runs in a row. The number is zero if the
    /// persona's budget is used up.
    Until(Timestamp, u32),
    /// Waits for mana-mcp, for this reason.
    Away(String),
}

/// The personas that may not run now, with the reasons.
#[derive(Debug)]
pub(crate) struct Holds {
    clock: Clock,
    first: Duration,
    back: Mutex<HashMap<UserId, HeldBack>>,
    away: watch::Sender<HashMap<UserId, String>>,
}

impl Holds {
    /// Starts with the stored holds. `first` is the back-off after the first failed run of a persona.
    pub(crate) fn new(clock: Clock, first: Duration, held: Vec<HeldBack>) -> Self {
        let held = held.into_iter().map(|held| (held.persona.clone(), held));
        Self { clock, first, back: Mutex::new(held.collect()), away: watch::Sender::default() }
    }

    /// Why this persona may not run now, if so. A hold from the future, made before the clock was set back,
    /// does not count.
    pub(super) fn why(&self, persona: &UserId) -> Option<Held> {
        if let Some(why) = self.away.borrow().get(persona) {
            return Some(Held::Away(why.clone()));
        }
        let now = self.clock.now();
        let all = self.back.lock();
        let held = all.get(persona).filter(|held| held.since <= now && now < held.until)?;
        Some(Held::Until(held.until, held.failures))
    }

    /// The number of failed runs of this persona in a row.
    pub(super) fn failures(&self, persona: &UserId) -> u32 {
        self.back.lock().get(persona).map_or(0, |held| held.failures)
    }

    /// Notes that a run of this persona begins or is resumed: the persona no longer waits for mana-mcp.
    pub(super) fn begin(&self, persona: &UserId) {
        self.away.send_if_modified(|all| all.remove(persona).is_some());
    }

    /// Applies the hold that follows from a run of this persona. Returns until when the persona is held back,
    /// if it is. `what` is the log message for a back-off.
    pub(super) fn apply(&self, persona: &UserId, hold: Hold, what: &str) -> Option<Timestamp> {
        let since = self.clock.now();
        let mut all = self.back.lock();
        let (until, failures, what) = match hold {
            Hold::AsBefore => return None,
            Hold::Release => {
                all.remove(persona);
                return None;
            }
            Hold::Away(why) => {
                self.away.send_modify(|all| drop(all.insert(persona.clone(), why)));
                return None;
            }
            Hold::BackOff(at_least) => {
                let failures = all.get(persona).map_or(0, |held| held.failures);
                let step = self.first.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST);
                let until = since.checked_add(step.max(at_least)).unwrap_or(Timestamp::MAX);
                (until, failures.saturating_add(1), what)
            }
            Hold::Broke(until) => {
                let what = "the persona is held back: PERSONA_DAILY_USD is used up";
                (until.unwrap_or_else(|| next_day(since)), 0, what)
            }
        };
        let wait_s = until.duration_since(since).as_secs();
        tracing::info!(wait_s, %until, "{what}");
        let persona = persona.clone();
        all.insert(persona.clone(), HeldBack { persona, failures, since, until });
        Some(until)
    }

    /// Notes that mana-mcp is available again: no persona waits for it any longer.
    pub(super) fn mcp_is_back(&self) {
        self.away.send_if_modified(|all| !std::mem::take(all).is_empty());
    }

    /// Whether any persona waits for mana-mcp.
    pub(super) fn waits_for_mcp(&self) -> bool {
        !self.away.borrow().is_empty()
    }

    /// Resolves as soon as a persona waits for mana-mcp.
    pub(super) async fn somebody_waits_for_mcp(&self) {
        // Never an error: `self` owns the sender.
        let _ = self.away.subscribe().wait_for(|all| !all.is_empty()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn anna() -> UserId {
        UserId::parse("anna").unwrap()
    }

    /// Applies one more failed run, and returns how long the persona is held back from now on.
    fn failed(holds: &Holds, persona: &UserId, at_least: Duration) -> Duration {
        let until = holds.apply(persona, Hold::BackOff(at_least), "").unwrap();
        until.duration_since(holds.clock.now()).try_into().unwrap()
    }

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_starts_over_after_a_success() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let holds = Holds::new(clock.clone(), MINUTE, Vec::new());
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(holds.why(&anna()), None);
            assert_eq!(failed(&holds, &anna(), Duration::ZERO), MINUTE * minutes);
            clock.advance(MINUTE * minutes - Duration::from_millis(1));
            assert!(holds.why(&anna()).is_some());
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(holds.apply(&anna(), Hold::Release, ""), None);
        assert_eq!(failed(&holds, &anna(), Duration::ZERO), MINUTE);
    }

    #[test]
    fn a_longer_hold_wins_and_others_are_not_held() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let holds = Holds::new(clock.clone(), MINUTE, Vec::new());
        assert_eq!(failed(&holds, &anna(), 30 * MINUTE), 30 * MINUTE);
        clock.advance(29 * MINUTE);
        let until = Timestamp::UNIX_EPOCH + 30 * MINUTE;
        assert_eq!(holds.why(&anna()), Some(Held::Until(until, 1)));
        assert_eq!(holds.why(&UserId::parse("ben").unwrap()), None);
    }

    #[test]
    fn who_has_no_money_is_held_back_till_the_next_day_and_has_not_failed() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let holds = Holds::new(clock, MINUTE, Vec::new());
        failed(&holds, &anna(), Duration::ZERO);
        let until = holds.apply(&anna(), Hold::Broke(None), "").unwrap();
        assert_eq!(until, Timestamp::UNIX_EPOCH + 24 * 60 * MINUTE);
        assert_eq!(holds.why(&anna()), Some(Held::Until(until, 0)));
    }

    #[test]
    fn who_waits_for_mana_mcp_does_so_until_it_is_back_or_a_run_begins() {
        let holds = Holds::new(Clock::manual(Timestamp::UNIX_EPOCH), MINUTE, Vec::new());
        for over in [|holds: &Holds| holds.mcp_is_back(), |holds: &Holds| holds.begin(&anna())] {
            holds.apply(&anna(), Hold::Away("gone".into()), "");
            assert_eq!(holds.why(&anna()), Some(Held::Away("gone".into())));
            assert!(holds.waits_for_mcp());
            over(&holds);
            assert!(holds.why(&anna()).is_none() && !holds.waits_for_mcp());
        }
    }

    #[test]
    fn a_restart_goes_on_where_the_back_off_was_and_a_clock_set_back_ends_it() {
        let start = Timestamp::UNIX_EPOCH + MINUTE * 100;
        let held =
            HeldBack { persona: anna(), failures: 2, since: start, until: start + MINUTE * 2 };
        let load = |now| Holds::new(Clock::manual(now), MINUTE, vec![held.clone()]);
        let holds = load(start);
        assert!(holds.why(&anna()).is_some());
        assert_eq!(failed(&holds, &anna(), Duration::ZERO), MINUTE * 4);
        assert_eq!(load(start + MINUTE * 2).why(&anna()), None);
        assert_eq!(load(start - MINUTE).why(&anna()), None);
    }
}
