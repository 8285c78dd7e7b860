//! Updates the gauges that are read from the journal every few seconds.

use std::{sync::Arc, time::Duration};

use super::fleet::Fleet;
use crate::{
    journal::{Cap, JournalError},
    metrics::BudgetScope,
};

/// Pause between two updates. A scrape must not wait for the disk, so it reads the last values; scrapes are
/// further apart than this.
const PERIOD: Duration = Duration::from_secs(2);

impl Fleet {
    /// Updates the gauges every [`PERIOD`] until a stop.
    pub(crate) async fn keep_gauges(self: Arc<Self>) {
        self.shutdown.every(PERIOD, || self.refresh_gauges()).await;
    }

    /// Updates the gauges once.
    pub(super) async fn refresh_gauges(&self) {
        if let Err(error) = self.read_gauges().await {
            tracing::debug!("the gauges of the journal stay as they are: {error}");
        }
        self.metrics.delivery.journal_writable.set(self.journal.trouble().is_none().into());
        for (cap, scope) in [(Cap::Daily, BudgetScope::Day), (Cap::Monthly, BudgetScope::Month)] {
            self.metrics.set_budget_reached(scope, self.budget.reached_now(cap).is_some());
        }
    }

    async fn read_gauges(&self) -> Result<(), JournalError> {
        let now = self.clock.now();
        // Its error is returned last: the database may be readable even if the folder is not.
        let folder = self.journal.check_folder().await;
        let age = |since| now.duration_since(since).try_into().unwrap_or_default();
        let depth = self.journal.outbox_depth().await?;
        self.metrics.set_outbox(depth.actions, depth.feedback, depth.oldest.map(age));
        self.metrics.delivery.dead_letters.set(depth.dead as f64);
        let unposted = self.journal.kept_report_posts().await?;
        let refused = unposted.iter().filter(|post| post.is_refused).count();
        self.metrics.set_unposted_reports(unposted.len() - refused, refused);
        let (today, month) = self.journal.fleet_spending(now).await?;
        let caps = &self.budget.caps;
        self.metrics.set_budget(BudgetScope::Day, today, caps.daily);
        self.metrics.set_budget(BudgetScope::Month, month, caps.monthly);
        self.metrics.delivery.journal_size.set(self.journal.size().await? as f64);
        if let Some(free) = folder? {
            self.metrics.delivery.disk_free.set(free as f64);
        }
        Ok(())
    }
}
