//! Makes the plan of a tick, beside a running daemon or without one.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    clients::personas::{PersonasClient, PersonasError},
    clock::Clock,
    config::Config,
    domain::{Plan, Redactor},
    http::HttpClient,
    journal::{Journal, JournalError},
    metrics::Metrics,
    runner::{DUE_LIMIT, PATIENCE_ON_REQUEST, plan},
    version::VERSION,
};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The personas endpoint did not say who is due.
    #[error("who is due is not known: {0}")]
    Due(#[from] PersonasError),
    /// MANA_SERVICE_KEY is not set. [`Config::for_plan`] makes sure that it is.
    #[error("MANA_SERVICE_KEY is not set")]
    Unset,
    /// The HTTP client cannot be set up, for example because there are no CA certificates.
    #[error("the HTTP client cannot be set up: {0}; does the system have CA certificates?")]
    Http(#[from] reqwest::Error),
    /// A metric cannot be registered.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Asks who is due, and plans a tick with the journal in the configured folder, which is only read. Without a journal
/// there have been no runs yet.
///
/// # Errors
/// See [`PlanError`].
pub async fn plan_tick(config: &Config, clock: &Clock) -> Result<Plan, PlanError> {
    let journal = match Journal::open_read_only(&config.journal.folder).await {
        Err(JournalError::Missing(_)) => Journal::in_memory().await?,
        opened => opened?,
    };
    let planned = plan_with(&journal, config, clock).await;
    journal.close().await;
    planned
}

async fn plan_with(journal: &Journal, config: &Config, clock: &Clock) -> Result<Plan, PlanError> {
    let metrics = Arc::new(Metrics::new(VERSION)?);
    let http = HttpClient::new(metrics, Redactor::new(config.secrets()))?;
    let peers = &config.peers;
    let key = peers.service_key.as_ref().ok_or(PlanError::Unset)?;
    let personas = PersonasClient::new(http, peers.personas.clone(), key, clock.clone());
    let personas = personas.ok_or(PlanError::Unset)?;
    let due = personas.fetch_due(PATIENCE_ON_REQUEST, Instant::now() + DUE_LIMIT).await?;
    Ok(plan(journal, config, clock, due).await?)
}
