//! Limits how long a run waits for Claude's rate limits in all, retries included.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

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

    /// Whether another attempt may follow a failed attempt of this run after this wait. It may not if the wait
    /// would take more patience than is left.
    pub(super) fn allows(&self, wait: Duration) -> bool {
        let left = self.left();
        !left.is_zero() && wait <= left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tries_again_only_while_the_wait_fits_into_its_patience() {
        let patience = Patience::default();
        let again = |wait| patience.allows(Duration::from_secs(wait));
        assert!(again(0) && again(60));
        patience.spend(Duration::from_secs(150));
        assert!(again(0) && again(30));
        assert!(!again(31), "half a minute is left");
        patience.spend(Duration::from_secs(31));
        assert!(!again(0), "nothing is left");
        assert_eq!(patience.spent(), Duration::from_secs(181));
    }
}
