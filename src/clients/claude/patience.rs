//! Limits how long a run waits for Claude's rate limits in all, retries included.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::http::Verdict;

/// Longest total wait of a run. A limit per minute is reset within this time, and a longer wait is better
/// left to a later tick. The last pause may exceed this time by a second.
const PATIENCE: Duration = Duration::from_secs(180);

/// The time that a run has waited for Claude's limits.
#[derive(Debug, Default)]
pub struct Patience {
    spent_ms: AtomicU64,
}

impl Patience {
    /// How long the run has waited so far.
    pub fn spent(&self) -> Duration {
        Duration::from_millis(self.spent_ms.load(Relaxed))
    }

    pub(super) fn left(&self) -> Duration {
        PATIENCE.saturating_sub(self.spent())
    }

    pub(super) fn spend(&self, wait: Duration) {
        self.spent_ms.fetch_add(wait.as_millis() as u64, Relaxed);
    }

    /// Whether another attempt may follow a failed attempt of this run. It may not if the wait for it would
    /// take more patience than is left.
    pub(super) fn allows(&self, verdict: Verdict) -> bool {
        let Verdict::Transient { retry_after } = verdict else { return false };
        let left = self.left();
        !left.is_zero() && retry_after <= Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tries_again_only_while_the_wait_fits_into_its_patience() {
        let patience = Patience::default();
        let again = |wait: Option<u64>| {
            patience.allows(Verdict::Transient { retry_after: wait.map(Duration::from_secs) })
        };
        assert!(again(None) && again(Some(60)));
        patience.spend(Duration::from_secs(150));
        assert!(again(None) && again(Some(30)));
        assert!(!again(Some(31)), "half a minute is left");
        patience.spend(Duration::from_secs(31));
        assert!(!again(None) && !again(Some(0)), "nothing is left");
        assert_eq!(patience.spent(), Duration::from_secs(181));
    }

    #[test]
    fn a_final_failure_stays_final() {
        assert!(!Patience::default().allows(Verdict::Final));
    }
}
