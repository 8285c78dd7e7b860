//! How long a run waits for Claude's limits in all, retries included.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::ClaudeError;
use crate::http::retry::{Retryable, Verdict};

/// Longest total wait of a run: a minute's limit is reset within it, and what takes longer is better
/// done in a later tick. The pause after which it is used up may go a second beyond it.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a run has waited for Claude's limits.
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

    /// A failed attempt of this run. It is final where waiting for another one would take more patience
    /// than is left.
    pub(super) fn judge(&self, error: ClaudeError) -> Judged {
        let left = self.left();
        let verdict = match error.verdict() {
            Verdict::Transient { retry_after } if left.is_zero() || retry_after > Some(left) => {
                Verdict::Final
            }
            verdict => verdict,
        };
        Judged(error, verdict)
    }
}

/// A failed attempt, and what it means for a run that has waited before.
#[derive(Debug)]
pub(super) struct Judged(pub(super) ClaudeError, Verdict);

impl Retryable for Judged {
    fn verdict(&self) -> Verdict {
        self.1
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn overloaded(retry_after: Option<Duration>) -> ClaudeError {
        ClaudeError::Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "overloaded_error".into(),
            code: None,
            message: String::new(),
            verdict: Verdict::Transient { retry_after },
        }
    }

    #[test]
    fn a_run_tries_again_only_while_the_wait_fits_into_its_patience() {
        let patience = Patience::default();
        let again = |wait: Option<u64>| {
            let error = overloaded(wait.map(Duration::from_secs));
            patience.judge(error).verdict() != Verdict::Final
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
    fn what_is_final_stays_final() {
        assert_eq!(Patience::default().judge(ClaudeError::WaitedEnough).verdict(), Verdict::Final);
    }
}
