//! Stopping in two steps.
//!
//! `stop`: start nothing new and come to an end; what was already paid for is still handed in.
//! `abort`: drop everything. The first signal stops; a second one, or the end of the grace, aborts.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The two tokens. Clones share them.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: CancellationToken,
    abort: CancellationToken,
    grace: Duration,
}

impl Shutdown {
    /// Nothing requested yet; from stop to abort there will be `grace`.
    pub fn new(grace: Duration) -> Self {
        Self { stop: CancellationToken::new(), abort: CancellationToken::new(), grace }
    }

    /// One for a part of the work: it can be stopped by itself, and ends with the whole.
    #[must_use]
    pub(crate) fn of_part(&self) -> Self {
        let (stop, abort) = (self.stop.child_token(), self.abort.child_token());
        Self { stop, abort, grace: self.grace }
    }

    /// Asks for a stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Asks to drop everything.
    pub fn abort(&self) {
        self.stop.cancel();
        self.abort.cancel();
    }

    /// Whether a stop was asked for.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether everything is to be dropped.
    pub(crate) fn is_aborted(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// How long ending things politely may take: as long as they like, in a stop a fraction of the grace.
    pub(crate) fn courtesy(&self) -> Duration {
        if self.is_stopping() { self.grace / 8 } else { Duration::MAX }
    }

    /// Resolves once a stop is asked for.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Resolves once everything is to be dropped.
    pub(crate) async fn aborted(&self) {
        self.abort.cancelled().await;
    }

    /// What the future comes to; `None` where everything is to be dropped before, and the future is.
    pub(crate) async fn unless_aborted<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        unless(&self.abort, future).await
    }

    /// What the future comes to; `None` where a stop is asked for before, and the future is dropped.
    pub(crate) async fn unless_stopping<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        unless(&self.stop, future).await
    }

    /// Does this at once and again after each `period`, until a stop drops it.
    pub async fn every<F: Future>(&self, period: Duration, work: impl Fn() -> F) {
        let work = async {
            loop {
                work().await;
                sleep(period).await;
            }
        };
        self.unless_stopping(work).await;
    }

    /// Resolves half the grace after a stop was asked for: a running tool call has had its share, the
    /// rest is for handing in what happened.
    pub(crate) async fn tool_share_used(&self) {
        self.stopping().await;
        self.unless_aborted(sleep(self.grace / 2)).await;
    }

    /// Aborts once the grace after a stop has passed.
    pub(crate) async fn enforce_grace(self) {
        self.stopping().await;
        if self.unless_aborted(sleep(self.grace)).await.is_some() {
            tracing::error!(
                grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
                "the shutdown grace has passed with work still in flight; dropping it"
            );
            self.abort();
        }
    }
}

async fn unless<T>(token: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        // First, so that nothing more is done.
        () = token.cancelled() => None,
        outcome = future => Some(outcome),
    }
}
