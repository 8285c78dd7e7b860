//! The checks before every sign-in: the rate limit per caller and the lockout per e-mail.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

const SIGN_INS_PER_WINDOW: usize = 3;
/// Length of the rate limit's window in seconds, and the `X-Retry-After` of a refusal.
pub(super) const WINDOW_SECONDS: i64 = 10;

const FAILURES_UNTIL_LOCKED: usize = 5;
const FAILURES_COUNT_FOR: SignedDuration = SignedDuration::from_mins(15);
const LOCKED_FOR: SignedDuration = SignedDuration::from_mins(30);

/// Counts sign-ins per caller and failures per e-mail.
#[derive(Default)]
pub(super) struct Guard {
    /// Times of the admitted sign-ins, by caller.
    sign_ins: Mutex<HashMap<String, Vec<Timestamp>>>,
    /// Recent failed sign-ins, by e-mail.
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Default)]
struct Failures {
    at: Vec<Timestamp>,
    locked_until: Option<Timestamp>,
}

impl Guard {
    /// Counts a sign-in of this caller; `false` if the caller exceeds the rate limit.
    pub(super) fn admits(&self, caller: &str, now: Timestamp) -> bool {
        let mut callers = self.sign_ins.lock().unwrap_or_else(PoisonError::into_inner);
        let sign_ins = callers.entry(caller.to_owned()).or_default();
        let window = SignedDuration::from_secs(WINDOW_SECONDS);
        sign_ins.retain(|at| now.duration_since(*at) < window);
        let admitted = sign_ins.len() < SIGN_INS_PER_WINDOW;
        if admitted {
            sign_ins.push(now);
        }
        admitted
    }

    /// The remaining lockout of this e-mail in seconds, if it is locked.
    pub(super) fn locked_for(&self, email: &str, now: Timestamp) -> Option<i64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let left = failures.get(email)?.locked_until?.duration_since(now);
        // Rounded up, so that a client that waits this long is not refused again.
        left.is_positive().then(|| left.as_secs() + i64::from(left.subsec_nanos() > 0))
    }

    /// Counts a failed sign-in.
    pub(super) fn failed(&self, email: &str, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = failures.entry(email.to_owned()).or_default();
        failures.at.retain(|at| now.duration_since(*at) < FAILURES_COUNT_FOR);
        failures.at.push(now);
        if failures.at.len() >= FAILURES_UNTIL_LOCKED {
            failures.at.clear();
            failures.locked_until = Some(now + LOCKED_FOR);
        }
    }

    /// Clears the failures of an e-mail after a successful sign-in.
    pub(super) fn succeeded(&self, email: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(email);
    }
}
