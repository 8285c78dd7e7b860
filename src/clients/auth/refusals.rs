//! Counts how often mana-auth has recently refused an account's credentials: five refusals lock the account.

use std::{collections::HashMap, ops::DerefMut, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::Clock;

/// How long mana-auth counts a refused login (docs/contracts/mana-auth.md).
const WINDOW: Duration = Duration::from_secs(900);
/// The largest number of refused logins in a window that is risked. One more locks the account.
const MOST: usize = 4;

/// The times of refused logins, by e-mail.
pub(crate) type RefusedTries = HashMap<String, Vec<Timestamp>>;

/// Keeps the number of login attempts of each account below the number that locks it.
#[derive(Debug)]
pub struct Refusals {
    clock: Clock,
    accounts: Mutex<HashMap<String, Tries>>,
}

#[derive(Debug, Default)]
struct Tries {
    refused: Vec<Timestamp>,
    /// Attempts whose answer was lost. If other attempts were refused, these may have been refused as well.
    unknown: Vec<Timestamp>,
    under_way: usize,
}

/// The outcome of a login attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The login succeeded, and mana-auth forgets the account's failures.
    LoggedIn,
    /// The credentials were refused.
    Refused,
    /// There was no usable answer, so the credentials may have been refused.
    Unknown,
    /// mana-auth did not check the credentials.
    NotCounted,
}

impl Refusals {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, accounts: Mutex::default() }
    }

    /// Begins a login attempt of this account. The caller writes the outcome into the returned guard; without
    /// that the outcome is unknown. Dropping the guard ends the attempt.
    ///
    /// # Errors
    /// The time when the next attempt may begin, if none may begin now.
    pub(super) fn begin(&self, email: &str) -> Result<impl DerefMut<Target = Outcome>, Timestamp> {
        let now = self.clock.now();
        // mana-auth ignores case too: another spelling is the same account.
        let account = email.to_lowercase();
        let mut accounts = self.accounts.lock();
        accounts.retain(|_, tries| {
            tries.forget(now);
            tries.under_way > 0 || !tries.refused.is_empty() || !tries.unknown.is_empty()
        });
        let tries = accounts.entry(account.clone()).or_default();
        if let Some(until) = tries.full_until(now) {
            return Err(until);
        }
        tries.under_way += 1;
        Ok(scopeguard::guard(Outcome::Unknown, move |outcome| self.end(account, outcome)))
    }

    fn end(&self, account: String, outcome: Outcome) {
        let now = self.clock.now();
        let mut accounts = self.accounts.lock();
        let tries = accounts.entry(account).or_default();
        tries.under_way = tries.under_way.saturating_sub(1);
        match outcome {
            Outcome::LoggedIn => (tries.refused, tries.unknown) = Default::default(),
            Outcome::Refused => tries.refused.push(now),
            Outcome::Unknown => tries.unknown.push(now),
            Outcome::NotCounted => {}
        }
    }

    /// The refusals that still count, for the next process.
    pub fn refused(&self) -> RefusedTries {
        let now = self.clock.now();
        let mut accounts = self.accounts.lock();
        accounts.values_mut().for_each(|tries| tries.forget(now));
        let refused = accounts.iter().filter(|(_, tries)| !tries.refused.is_empty());
        refused.map(|(email, tries)| (email.clone(), tries.refused.clone())).collect()
    }

    /// Adds the refusals that an earlier process has counted.
    pub(crate) fn restore(&self, refused: RefusedTries) {
        let mut accounts = self.accounts.lock();
        for (email, refused) in refused {
            accounts.entry(email).or_default().refused.extend(refused);
        }
    }
}

impl Tries {
    /// Removes the entries that no longer count, and those from a clock that was far ahead.
    fn forget(&mut self, now: Timestamp) {
        let counts = |at: &mut Timestamp| now.duration_since(*at).unsigned_abs() < WINDOW;
        self.refused.retain_mut(counts);
        self.unknown.retain_mut(counts);
    }

    /// Until when no further attempt may begin; `None` if one may begin now.
    fn full_until(&self, now: Timestamp) -> Option<Timestamp> {
        let total = self.refused.len() + self.unknown.len() + self.under_way;
        if total < MOST || (self.refused.is_empty() && self.under_way < MOST) {
            return None;
        }
        let mut times: Vec<_> = self.refused.iter().chain(&self.unknown).copied().collect();
        // Attempts in flight are taken to end now, because they end soon in any case.
        times.resize(total, now);
        times.sort_unstable();
        times.get(total - MOST).and_then(|at| at.checked_add(WINDOW).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const ANNA: &str = "persona.anna@mana.test";

    fn refusals() -> (Refusals, Clock) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH + 1_000 * MINUTE);
        (Refusals::new(clock.clone()), clock)
    }

    #[test]
    fn the_fifth_try_waits_until_the_first_refusal_no_longer_counts() {
        let (refusals, clock) = refusals();
        let first = clock.now();
        for email in [ANNA, "Persona.Anna@mana.test", ANNA, ANNA] {
            *refusals.begin(email).unwrap() = Outcome::Refused;
            clock.advance(MINUTE);
        }
        assert_eq!(refusals.begin(ANNA).err().unwrap(), first + WINDOW);
        *refusals.begin("persona.ben@mana.test").unwrap() = Outcome::LoggedIn;
        clock.set(first + WINDOW);
        *refusals.begin(ANNA).unwrap() = Outcome::Refused;
        assert_eq!(refusals.begin(ANNA).err().unwrap(), first + MINUTE + WINDOW);
    }

    #[test]
    fn a_success_ends_the_count_and_an_unchecked_login_is_not_counted() {
        let (refusals, _) = refusals();
        for _ in 0..3 {
            *refusals.begin(ANNA).unwrap() = Outcome::Refused;
        }
        for _ in 0..9 {
            *refusals.begin(ANNA).unwrap() = Outcome::NotCounted;
        }
        *refusals.begin(ANNA).unwrap() = Outcome::LoggedIn;
        for _ in 0..4 {
            *refusals.begin(ANNA).unwrap() = Outcome::Refused;
        }
        assert!(refusals.begin(ANNA).is_err());
    }

    #[test]
    fn lost_answers_and_attempts_in_flight_count_if_they_could_lock_the_account() {
        let (refusals, _) = refusals();
        for _ in 0..9 {
            drop(refusals.begin(ANNA).unwrap());
        }
        *refusals.begin(ANNA).unwrap() = Outcome::Refused;
        assert!(refusals.begin(ANNA).is_err(), "nine may have been refused as well");
        let ben = "persona.ben@mana.test";
        let under_way: Vec<_> = (0..4).map(|_| refusals.begin(ben).unwrap()).collect();
        assert!(refusals.begin(ben).is_err());
        drop(under_way);
        assert!(refusals.begin(ben).is_ok());
    }

    #[test]
    fn the_count_survives_a_restart_and_entries_from_a_clock_far_ahead_do_not() {
        let (refusals, clock) = refusals();
        clock.advance(60 * MINUTE);
        *refusals.begin("persona.ben@mana.test").unwrap() = Outcome::Refused;
        clock.set(clock.now() - 60 * MINUTE);
        for _ in 0..4 {
            *refusals.begin(ANNA).unwrap() = Outcome::Refused;
        }
        let kept = refusals.refused();
        assert_eq!(kept.keys().collect::<Vec<_>>(), [ANNA]);
        let next = Refusals::new(clock.clone());
        next.restore(kept);
        assert!(next.begin(ANNA).is_err());
        clock.advance(WINDOW);
        assert!(next.begin(ANNA).is_ok());
    }
}
