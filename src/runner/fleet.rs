//! The state that all ticks and runs of this process share.

use std::sync::{Arc, atomic::AtomicBool};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    absences::Absences, budget::Budget, control::Control, deployments::Deployments, halts::Halts,
    holds::Holds, seed_secret::SeedSecret, server_time::ServerTime,
};
use crate::{
    clients::{auth::AuthClient, claude::ClaudeClient, mcp::McpClient},
    clock::Clock,
    config::Config,
    domain::Persona,
    http::HttpClient,
    journal::{Journal, JournalError},
    metrics::Metrics,
    shutdown::Shutdown,
};

/// The shared parts of the process. Each part owns and guards its own state.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub config: Arc<Config>,
    /// Logs personas in, and makes redactors for their secrets.
    pub(super) auth: Arc<AuthClient>,
    pub(super) mcp: McpClient,
    pub journal: Journal,
    /// The budget caps that are reached.
    pub budget: Budget,
    /// The pause, and the runs in flight.
    pub control: Arc<Control>,
    /// The personas that may not run now.
    pub(super) holds: Holds,
    /// Whether mana-auth has accepted PERSONA_SEED_SECRET.
    pub seed_secret: SeedSecret,
    /// mana-auth's time.
    pub(super) server_time: ServerTime,
    /// Which build of the product is deployed.
    pub(super) deployments: Deployments,
    /// What the journal says of pauses and stops of the model.
    pub(super) halts: Halts,
    /// What the journal says of the last ticks.
    pub(super) absences: Absences,
    /// Whether this process has made the facts that earlier versions did not make, or could not.
    pub(super) has_made_missing_facts: AtomicBool,
    /// The client of Claude, or the environment variables that are not set and without which there are no
    /// ticks.
    pub model: Result<Arc<ClaudeClient>, Vec<&'static str>>,
    /// PERSONA_CONCURRENCY permits, shared by the runs of a tick and of recoveries.
    pub(super) permits: Arc<Semaphore>,
    /// Faults that the last conclusive tick found.
    pub(super) last_tick: Mutex<LastTick>,
    pub shutdown: Shutdown,
    /// The only wall clock of the process; tests set it by hand.
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

/// Faults that the last conclusive tick found. A tick that could not test one of them leaves its value
/// unchanged.
#[derive(Debug, Default)]
pub(super) struct LastTick {
    /// Why the due personas are not known.
    pub due: Option<String>,
    /// Whether every login was refused for its credentials.
    pub seed_secret: bool,
    /// Why no run could use mana-mcp.
    pub no_session: Option<String>,
}

impl Fleet {
    /// Builds the shared state from the configuration and from what earlier processes stored in the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn load(
        journal: Journal,
        clock: Clock,
        http: HttpClient,
        auth: Arc<AuthClient>,
        mcp: McpClient,
        model: Result<Arc<ClaudeClient>, Vec<&'static str>>,
        config: Arc<Config>,
    ) -> Result<Self, JournalError> {
        let metrics = http.metrics.clone();
        if let Some(at) = journal.last_finished_run().await? {
            metrics.record_finished_run(at);
        }
        let tick = &config.tick;
        let control = Control::load(journal.clone(), clock.clone(), tick.paused).await?;
        let deployments =
            Deployments::load(journal.clone(), clock.clone(), http, &config.product).await?;
        let time_zone = config.time_zone.iana_name().unwrap_or("UTC").to_owned();
        let last_tick = journal.last_tick().await?;
        Ok(Self {
            server_time: ServerTime::of_last_tick(last_tick),
            deployments,
            halts: Halts::after(last_tick.map(|(at, _)| at)),
            absences: Absences::in_zone(&journal, &time_zone, clock.now()).await,
            has_made_missing_facts: AtomicBool::new(false),
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

    /// The persona with its secrets redacted in each text. The redactor leaves the e-mail alone: the system prompt may
    /// contain it and is stored byte for byte.
    pub(super) fn without_secrets(&self, persona: Persona) -> Persona {
        let redactor = self.auth.redactor_of(&persona.email).without(&persona.email);
        persona.redacted(&redactor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::BudgetConfig,
        domain::{Redactor, Usd},
    };

    impl Fleet {
        /// A fleet with these caps and without a model, for unit tests of modules that need a fleet.
        pub(in crate::runner) async fn of_test(
            journal: &Journal,
            clock: &Clock,
            budget: BudgetConfig,
        ) -> (Arc<Self>, HttpClient) {
            let mut config = Config { budget, ..Config::from_vars([]).unwrap() };
            config.run.max_cost = Usd::from_cents(10_000);
            let metrics = Arc::new(Metrics::new("0").unwrap());
            let http = HttpClient::new(metrics, Redactor::default()).unwrap();
            let at = config.peers.auth.clone();
            let auth = AuthClient::new(http.clone(), at, "seed".into(), clock.clone());
            let mcp = McpClient::new(http.clone(), &config.peers.mcp);
            let (journal, clock) = (journal.clone(), clock.clone());
            let unset = Err(config.missing_keys());
            let fleet =
                Self::load(journal, clock, http.clone(), auth.into(), mcp, unset, config.into());
            (Arc::new(fleet.await.unwrap()), http)
        }
    }
}
