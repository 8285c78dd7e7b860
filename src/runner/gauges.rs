//! What the metrics say of the journal, brought up to date every few seconds.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::Budget;
use crate::{
    clock::Clock,
    journal::{Cap, Journal, JournalError},
    metrics::{BudgetScope, Metrics, OutboxState},
    shutdown::Shutdown,
};

/// Between readings. Scrapes are further apart, and must not wait for a disk.
const PERIOD: Duration = Duration::from_secs(2);

/// Reads the journal for the metrics.
#[derive(Debug)]
pub struct Gauges {
    journal: Journal,
    budget: Arc<Budget>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Gauges {
    /// Gauges of this journal and this budget, the time of the last finished run as an earlier process
    /// has left it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn load(
        journal: Journal,
        budget: Arc<Budget>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, JournalError> {
        if let Some(at) = journal.last_finished_run().await? {
            metrics.record_finished_run(at);
        }
        Ok(Self { journal, budget, clock, metrics })
    }

    /// Reads until a stop.
    pub async fn work(self: Arc<Self>, shutdown: Shutdown) {
        self.refresh().await;
        while shutdown.unless_stopping(sleep(PERIOD)).await.is_some() {
            self.refresh().await;
        }
    }

    /// Brings them up to date now.
    pub async fn refresh(&self) {
        if let Err(error) = self.read().await {
            tracing::debug!("the gauges of the journal stay as they are: {error}");
        }
        self.metrics.delivery.journal_writable.set(self.journal.trouble().is_none().into());
        for (cap, scope) in [(Cap::Daily, BudgetScope::Day), (Cap::Monthly, BudgetScope::Month)] {
            self.metrics.set_budget_reached(scope, self.budget.is_reached(cap));
        }
    }

    async fn read(&self) -> Result<(), JournalError> {
        let now = self.clock.now();
        // What is wrong with the place says nothing about what the database knows.
        let place = self.journal.check_place().await;
        let depth = self.journal.outbox_depth().await?;
        self.metrics.set_outbox(OutboxState {
            actions: depth.actions,
            feedback: depth.feedback,
            oldest_age: depth
                .oldest
                .map(|oldest| now.duration_since(oldest).try_into().unwrap_or_default()),
            dead_letters: depth.dead,
        });
        let (today, month) = self.journal.fleet_spending(now).await?;
        let caps = self.budget.caps();
        self.metrics.set_budget(BudgetScope::Day, today, caps.daily);
        self.metrics.set_budget(BudgetScope::Month, month, caps.monthly);
        self.metrics.delivery.journal_size.set(self.journal.size().await? as f64);
        if let Some(free) = place? {
            self.metrics.delivery.disk_free.set(free as f64);
        }
        Ok(())
    }
}
