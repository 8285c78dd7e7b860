//! What all ticks and runs of this process share.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{budget::Budget, control::Control, holds::Holds, seed_secret::SeedSecret};
use crate::{
    clients::{auth::AuthClient, claude::ClaudeClient, mcp::McpClient},
    clock::Clock,
    config::Config,
    journal::{Journal, JournalError},
    metrics::Metrics,
    shutdown::Shutdown,
};

/// Handles of what all ticks and runs share, each the one owner of its own state.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// What was configured.
    pub config: Arc<Config>,
    /// Who logs personas in, and knows what is secret of them.
    pub(super) auth: Arc<AuthClient>,
    /// Where their tools are.
    pub(super) mcp: McpClient,
    /// Where everything is written down.
    pub journal: Journal,
    /// What may be spent.
    pub budget: Budget,
    /// Pauses, and the runs in flight.
    pub control: Arc<Control>,
    /// Who does not run for now.
    pub(super) holds: Holds,
    /// Whether logins can go well.
    pub seed_secret: SeedSecret,
    /// Claude, or the variables that are not set.
    pub model: Result<Arc<ClaudeClient>, Vec<&'static str>>,
    /// PERSONA_CONCURRENCY, for the runs of a tick and those of a recovery beside it.
    pub(super) permits: Arc<Semaphore>,
    /// What was wrong with the last tick that could tell.
    pub(super) last_tick: Mutex<LastTick>,
    /// Stop and abort.
    pub shutdown: Shutdown,
    /// Today.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What was wrong with the last tick that could tell.
#[derive(Debug, Default)]
pub(super) struct LastTick {
    /// Why nobody knows who is due.
    pub due: Option<String>,
    /// Whether every login was refused for its credentials.
    pub seed_secret: bool,
    /// Why no run got a session at mana-mcp.
    pub no_session: Option<String>,
}

impl Fleet {
    /// The fleet as an earlier process has left it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn load(
        journal: Journal,
        clock: Clock,
        metrics: Arc<Metrics>,
        auth: Arc<AuthClient>,
        mcp: McpClient,
        model: Result<Arc<ClaudeClient>, Vec<&'static str>>,
        config: Arc<Config>,
    ) -> Result<Self, JournalError> {
        if let Some(at) = journal.last_finished_run().await? {
            metrics.record_finished_run(at);
        }
        let tick = &config.tick;
        let control = Control::load(journal.clone(), clock.clone(), tick.paused).await?;
        Ok(Self {
            budget: Budget::load(&config.budget, &journal, clock.clone()).await?,
            control: Arc::new(control),
            holds: Holds::new(clock.clone(), tick.run_backoff, journal.held_back().await?),
            seed_secret: SeedSecret::load(journal.clone(), clock.clone(), auth.clone(), &config)
                .await?,
            model,
            permits: Arc::new(Semaphore::new(tick.concurrency)),
            last_tick: Mutex::default(),
            shutdown: Shutdown::new(config.shutdown_grace),
            config,
            auth,
            mcp,
            journal,
            clock,
            metrics,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::BudgetConfig,
        domain::{Redactor, Usd},
        http::HttpClient,
    };

    impl Fleet {
        /// One with these caps that logs nobody in and has no model, for tests of others.
        pub(in crate::runner) async fn of_test(
            journal: &Journal,
            clock: &Clock,
            budget: BudgetConfig,
        ) -> (Arc<Self>, HttpClient) {
            let mut config = Config { budget, ..Config::from_vars([]).unwrap() };
            config.run.max_cost = Usd::from_cents(10_000);
            let metrics = Arc::new(Metrics::new("0").unwrap());
            let http = HttpClient::new(metrics.clone(), Redactor::default()).unwrap();
            let at = config.peers.auth.clone();
            let auth = AuthClient::new(http.clone(), at, "seed".into(), clock.clone());
            let mcp = McpClient::new(http.clone(), &config.peers.mcp);
            let (journal, clock) = (journal.clone(), clock.clone());
            let unset = Err(config.missing_keys());
            let fleet = Self::load(journal, clock, metrics, auth.into(), mcp, unset, config.into());
            (Arc::new(fleet.await.unwrap()), http)
        }
    }
}
