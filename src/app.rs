//! The composition root: builds all parts of the daemon once and connects them.

mod plan;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::{auth::AuthClient, claude::ClaudeClient, mcp::McpClient, personas::PersonasClient},
    clock::Clock,
    config::{ClaudeConfig, Config},
    descriptors,
    domain::Redactor,
    http::HttpClient,
    journal::{Journal, JournalError},
    metrics::Metrics,
    pricing::{Pricing, PricingError},
    runner::{Deliverer, Fleet, Hindrance, PausedBy, Pipeline, Ticks, WeeklyReport},
    server::{
        ServerState, router,
        serve::{Limits, listen, serve},
    },
    shutdown::Shutdown,
    version::VERSION,
};

pub use plan::{PlanError, plan_tick};

/// Time limit for HTTP answers in progress, after all other parts have ended.
const SERVER_END: Duration = Duration::from_secs(1);
/// Time limit for closing the journal after an abort. Together with `SERVER_END` it fits into the time that
/// docker-compose.yml allows after the grace period.
const FORCED_CLOSE: Duration = Duration::from_millis(500);

/// The daemon: built, with its port bound, not yet running.
#[derive(Debug)]
pub struct App {
    listener: TcpListener,
    state: ServerState,
    deliverer: Option<Arc<Deliverer>>,
    weekly_report: WeeklyReport,
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("cannot listen on {0}: {1}; is another one running? PORT and HOST set another address")]
    Bind(SocketAddr, io::Error),
    /// The journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The HTTP client cannot be set up, for example because there are no CA certificates.
    #[error("the HTTP client cannot be set up: {0}; does the system have CA certificates?")]
    Http(#[from] reqwest::Error),
    /// The price table cannot be read or is invalid.
    #[error(transparent)]
    Pricing(#[from] PricingError),
    /// A metric cannot be registered.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How the daemon ended. It decides the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// A stop was requested, and all runs in flight ended.
    Drained,
    /// The shutdown was aborted, and what was still in flight was dropped.
    Forced,
    /// A part of the daemon panicked. The runs in flight ended.
    Broken,
}

impl App {
    /// Builds the daemon, binds its port and opens its journal. `clock` is the one wall clock of the
    /// process.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let journal = Journal::open(&config.journal.folder).await?;
        Self::build_on(journal, config, clock).await
    }

    /// Like [`App::build`], with a journal that is already open.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build_on(
        journal: Journal,
        config: Config,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        // The journal logs its own errors. While it is not writable, nothing is paid for.
        let _ = journal.check_writable().await;
        let address = config.listen;
        let listener = listen(address).map_err(|source| StartError::Bind(address, source))?;
        let metrics = Arc::new(Metrics::new(VERSION)?);
        metrics.scheduling.tick_interval.set(config.tick.interval.as_secs_f64());
        let http = HttpClient::new(metrics, Redactor::new(config.secrets()))?;
        let (peers, secret) = (&config.peers, config.seed_secret.clone());
        let auth = AuthClient::new(http.clone(), peers.auth.clone(), secret, clock.clone());
        let auth = Arc::new(auth);
        let pricing = load_prices(&config.claude)?;
        let concurrency = config.tick.concurrency;
        let claude =
            ClaudeClient::new(http.clone(), &config.claude, pricing, clock.clone(), concurrency);
        let personas = peers.service_key.as_ref().and_then(|key| {
            PersonasClient::new(http.clone(), peers.personas.clone(), key, clock.clone())
        });
        let claude = personas.as_ref().and(claude).map(Arc::new);
        let model = claude.clone().ok_or_else(|| config.missing_keys());
        let mcp = McpClient::new(http.clone(), &peers.mcp);
        let fleet = Fleet::load(journal, clock, http.clone(), auth, mcp, model, config);
        let fleet = Arc::new(fleet.await?);
        let weekly_report = WeeklyReport::new(fleet.clone(), http);
        // A pause, or its end, counts from the start of the process.
        fleet.note_halts().await;
        // Rows of earlier runs are delivered even if the key for Claude is missing.
        let deliverer = personas.map(|it| Arc::new(Deliverer::new(fleet.clone(), it)));
        let slot = claude
            .zip(deliverer.clone())
            .map(|(claude, deliverer)| Arc::new(Ticks::new(Pipeline::new(claude, deliverer))));
        let state = ServerState { slot, fleet, metrics_page: Arc::default() };
        Ok(Self { listener, state, deliverer, weekly_report })
    }

    /// The address and port that the daemon has bound.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle to stop the daemon.
    pub fn shutdown(&self) -> Shutdown {
        self.state.fleet.shutdown.clone()
    }

    /// Serves HTTP and runs ticks until a stop or a panic in a background task, then drains. The server
    /// answers during the whole drain: ending it closes the listener at once, so it is ended last.
    #[expect(clippy::disallowed_methods, reason = "the parts of the daemon")]
    pub async fn run(self) -> ProcessEnd {
        let Self { listener, state, deliverer, weekly_report } = self;
        let (fleet, slot) = (state.fleet.clone(), state.slot.clone());
        let (tick, shutdown) = (&fleet.config.tick, &fleet.shutdown);
        log_tick_loop(&state);
        let end_server = CancellationToken::new();
        let limits = Limits::within(descriptors::limit());
        descriptors::warn_if_few(tick.concurrency, limits.connections);
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router(state), limits, end_server.clone()));
        let mut server = tokio::spawn(supervise(server, shutdown.clone()));
        let grace = tokio::spawn(shutdown.clone().enforce_grace());
        let mut background = JoinSet::new();
        background.spawn(fleet.clone().delete_what_is_old());
        background.spawn(fleet.clone().keep_gauges());
        background.spawn(fleet.clone().keep_presence());
        background.spawn(weekly_report.work());
        if let Some(deliverer) = deliverer.clone() {
            background.spawn(deliverer.work());
        }
        if let Some(slot) = slot.clone() {
            slot.recover();
            background.spawn(slot.go_on_with_put_off());
        }
        let ticks = async {
            if let Some(slot) = &slot {
                slot.tick_every(tick.interval).await;
            }
            shutdown.stopping().await;
            tracing::info!("stopping: nothing new is started, what is in flight comes to its end");
            if let Some(slot) = &slot {
                slot.idle().await;
            }
        };
        let work = join(ticks, supervise(background, shutdown.clone()));
        let mut is_sound = shutdown.unless_aborted(work).await.is_some_and(|((), sound)| sound);
        if let Some(deliverer) = &deliverer {
            shutdown.unless_aborted(deliverer.save_unsaved()).await;
            deliverer.log_lost_ends().await;
        }
        end_server.cancel();
        match timeout(SERVER_END, &mut server).await {
            Ok(ended) => is_sound &= ended.unwrap_or(false),
            Err(_) => server.abort(),
        }
        let given_up = async {
            shutdown.aborted().await;
            sleep(FORCED_CLOSE).await;
        };
        fleet.journal.close_or(given_up).await;
        grace.abort();
        match (shutdown.is_aborted(), is_sound) {
            (true, _) => ProcessEnd::Forced,
            (false, true) => ProcessEnd::Drained,
            (false, false) => ProcessEnd::Broken,
        }
    }
}

/// Waits for tasks that run until a stop. Returns whether none of them panicked.
///
/// The first panic stops the daemon in good order. Without the outbox worker or the server the daemon would
/// look alive but deliver nothing, and no operator would notice. Every supervisor sees an exit code, and the
/// restart by `restart: always` is the best tested recovery.
async fn supervise(mut tasks: JoinSet<()>, shutdown: Shutdown) -> bool {
    let mut is_sound = true;
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            is_sound = false;
            tracing::error!(
                "a part of the daemon has panicked; it ends, so that it can be restarted"
            );
            shutdown.stop();
        }
    }
    is_sound
}

/// Loads the prices of the configured model. A model without a price is charged like the most expensive one,
/// so that no budget is exceeded unnoticed.
fn load_prices(config: &ClaudeConfig) -> Result<Pricing, PricingError> {
    let pricing = Pricing::load(config.pricing_file.as_deref(), &config.model)?;
    if !pricing.is_known {
        tracing::warn!(
            model = config.model,
            "the price table does not know this model; it is priced as the dearest (PRICING_FILE)"
        );
    }
    if pricing.is_free() {
        tracing::warn!(
            model = config.model,
            "PRICING_FILE prices tokens of this model at nothing: what they cost counts towards no budget"
        );
    }
    Ok(pricing)
}

fn log_tick_loop(state: &ServerState) {
    if let Err(unset) = &state.fleet.model {
        let missing = Hindrance::Unset(unset.clone());
        tracing::warn!("{missing}; /health, /metrics and /diag/login still work");
    } else if state.fleet.control.paused() == Some(PausedBy::Environment) {
        tracing::info!("RUNNER_PAUSED is set: no ticks");
    } else {
        let interval_ms = state.fleet.config.tick.interval.as_millis() as u64;
        tracing::info!(interval_ms, "the first tick comes one interval from now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_background_stops_the_daemon_and_is_not_taken_for_a_good_end() {
        for panics in [false, true] {
            let shutdown = Shutdown::new(Duration::from_secs(1));
            let mut tasks = JoinSet::new();
            let sound = shutdown.clone();
            tasks.spawn(async move { sound.stopping().await });
            tasks.spawn(async move { assert!(!panics, "as this test wants it") });
            let end = tokio::spawn(supervise(tasks, shutdown.clone()));
            if !panics {
                shutdown.stop();
            }
            let ended = timeout(Duration::from_secs(30), end).await.expect("all of them end");
            assert_eq!(ended.unwrap(), !panics);
        }
    }
}
