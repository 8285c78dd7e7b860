//! Signals that end the daemon.

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::Shutdown;

/// SIGTERM, SIGINT and SIGHUP, which a terminal that is closed sends.
#[derive(Debug)]
pub struct Signals([Signal; 3]);

impl Signals {
    /// Receives them from now on; one that comes before anybody waits is kept.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> std::io::Result<Self> {
        let [term, int, hup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([term?, int?, hup?]))
    }

    /// The first one stops, the second aborts.
    pub async fn stop(mut self, shutdown: Shutdown) {
        for step in [Shutdown::stop, Shutdown::abort] {
            select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
            step(&shutdown);
        }
    }
}
