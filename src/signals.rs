//! The signals that stop and abort the daemon.

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::Shutdown;

/// SIGTERM, SIGINT and SIGHUP. A terminal sends SIGHUP when it is closed.
#[derive(Debug)]
pub struct Signals([Signal; 3]);

impl Signals {
    /// Receives these signals from now on. A signal that arrives before [`Self::stop`] is called is not lost.
    ///
    /// # Errors
    /// If the system refuses a signal handler.
    pub fn listen() -> std::io::Result<Self> {
        let [term, int, hup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([term?, int?, hup?]))
    }

    /// Requests the stop at the first signal and the abort at the second.
    pub async fn stop(mut self, shutdown: Shutdown) {
        for step in [Shutdown::stop, Shutdown::abort] {
            select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
            step(&shutdown);
        }
    }
}
