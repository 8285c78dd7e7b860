//! Signals that end the daemon.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::Shutdown;

/// SIGTERM, SIGINT and SIGHUP, which a terminal that is closed sends.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// Receives them from now on; one that comes before anybody waits is kept.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> std::io::Result<Self> {
        let term = signal(SignalKind::terminate())?;
        let int = signal(SignalKind::interrupt())?;
        Ok(Self { term, int, hup: signal(SignalKind::hangup())? })
    }

    /// The first one stops, the second aborts.
    pub async fn stop(mut self, shutdown: Shutdown) {
        for step in [Shutdown::stop, Shutdown::abort] {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
                _ = self.hup.recv() => {}
            }
            step(&shutdown);
        }
    }
}
