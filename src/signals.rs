//! Signals that end the daemon.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::Shutdown;

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Receives both from now on; one that comes before anybody waits is kept.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> std::io::Result<Self> {
        let (term, int) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { term: signal(term)?, int: signal(int)? })
    }

    /// The first one stops, the second aborts.
    pub async fn stop(mut self, shutdown: Shutdown) {
        for step in [Shutdown::stop, Shutdown::abort] {
            tokio::select! { _ = self.term.recv() => {}, _ = self.int.recv() => {} }
            step(&shutdown);
        }
    }
}
