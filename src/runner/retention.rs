//! Deletes the steps of old runs in small batches.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;

use super::fleet::Fleet;

/// Pause between two searches for old steps.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Pause between two batches, so that runs can write to the journal meanwhile.
const BREATH: Duration = Duration::from_millis(50);

impl Fleet {
    /// Deletes the steps and personas of runs that ended more than JOURNAL_RETENTION_DAYS ago, every hour
    /// until a stop. The rows of the runs and their costs are kept.
    pub(crate) async fn delete_old_steps(self: Arc<Self>) {
        self.shutdown.every(PERIOD, || self.sweep()).await;
    }

    async fn sweep(&self) {
        let keep = self.config.journal.retention;
        let cutoff = self.clock.now().checked_sub(keep).unwrap_or(Timestamp::MIN);
        let mut runs = 0;
        loop {
            match self.journal.prune(cutoff).await {
                Ok(0) => break,
                Ok(pruned) => runs += pruned,
                Err(error) => {
                    tracing::warn!("{error}; tried again in an hour");
                    break;
                }
            }
            sleep(BREATH).await;
        }
        if runs > 0 {
            tracing::info!(runs, "deleted the steps of old runs");
        }
    }
}
