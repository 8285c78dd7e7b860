//! Deletes the steps and the facts of old runs, and old reports, in small batches.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::fleet::Fleet;
use crate::journal::JournalError;

/// Pause between two searches for what is old.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Pause between two batches, so that runs can write to the journal meanwhile.
pub(super) const BREATH: Duration = Duration::from_millis(50);
/// How long single tool calls are kept.
const CALLS_RETENTION: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Fleet {
    /// Every hour until a stop: makes the facts that are missing, then deletes the steps and personas of runs that
    /// ended more than JOURNAL_RETENTION_DAYS ago, and facts and reports from before FACTS_RETENTION_DAYS. The rows of
    /// the runs and their costs are kept.
    pub(crate) async fn delete_what_is_old(self: Arc<Self>) {
        self.shutdown.every(PERIOD, || self.sweep()).await;
    }

    pub(super) async fn sweep(&self) {
        let warn = |swept: Result<(), JournalError>| {
            if let Err(error) = swept {
                tracing::warn!("{error}; tried again in an hour");
            }
        };
        // First, because facts are made from steps. What fails keeps nothing else from being done.
        warn(self.make_missing_facts().await);
        self.has_made_missing_facts.store(true, Ordering::Relaxed);
        warn(self.delete_old_steps().await);
        warn(self.delete_old_facts().await);
    }

    async fn delete_old_steps(&self) -> Result<(), JournalError> {
        let keep = self.config.journal.retention;
        let now = self.clock.now();
        let cutoff = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
        let mut runs = 0;
        loop {
            match self.journal.prune(cutoff, now).await? {
                0 => break,
                pruned => runs += pruned,
            }
            sleep(BREATH).await;
        }
        if runs > 0 {
            tracing::info!(runs, "deleted the steps of old runs");
        }
        Ok(())
    }

    async fn delete_old_facts(&self) -> Result<(), JournalError> {
        let keep = self.config.journal.facts_retention;
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        // A clock of the daemon that is wrong must not delete facts.
        let Some(now) = self.server_time.last_told() else { return Ok(()) };
        let mut deleted = 0;
        loop {
            match self.journal.prune_facts(now, keep, CALLS_RETENTION).await? {
                0 => break,
                more => deleted += more,
            }
            sleep(BREATH).await;
        }
        if deleted > 0 {
            tracing::info!(deleted, "deleted old facts");
        }
        self.delete_old_reports(now, keep).await
    }
}
