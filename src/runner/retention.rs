//! Old steps are deleted, a little at a time.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::{clock::Clock, journal::Journal, shutdown::Shutdown};

/// Between looks for old steps.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Between batches, so that runs get their turn at the journal.
const BREATH: Duration = Duration::from_millis(50);

/// Deletes the steps of old runs; runs and money stay.
#[derive(Debug)]
pub struct Retention {
    journal: Journal,
    clock: Clock,
    keep: Duration,
}

impl Retention {
    /// Steps are kept for `keep` after their run ended.
    pub fn new(journal: Journal, clock: Clock, keep: Duration) -> Self {
        Self { journal, clock, keep }
    }

    /// Deletes until a stop.
    pub async fn work(self, shutdown: Shutdown) {
        let work = async {
            loop {
                self.sweep().await;
                sleep(PERIOD).await;
            }
        };
        shutdown.unless_stopping(work).await;
    }

    async fn sweep(&self) {
        let cutoff = self.clock.now().checked_sub(self.keep).unwrap_or(Timestamp::MIN);
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
