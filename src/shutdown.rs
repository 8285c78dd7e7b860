//! Shutdown in two steps, stop and abort.
//!
//! After `stop`, nothing new is started and work under way is ended; results that were paid for are still
//! handed in. After `abort`, all work is dropped. The first signal requests the stop. A second signal, or the
//! end of the grace time (SHUTDOWN_GRACE_MS), requests the abort.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The state of the shutdown. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: CancellationToken,
    abort: CancellationToken,
    grace: Duration,
}

impl Shutdown {
    /// A state in which neither stop nor abort is requested. `grace` is the time between stop and abort.
    pub fn new(grace: Duration) -> Self {
        Self { stop: CancellationToken::new(), abort: CancellationToken::new(), grace }
    }

    /// A shutdown for a part of the work. The part can be stopped alone, and it is stopped or aborted
    /// together with the whole.
    #[must_use]
    pub(crate) fn of_part(&self) -> Self {
        let (stop, abort) = (self.stop.child_token(), self.abort.child_token());
        Self { stop, abort, grace: self.grace }
    }

    /// Requests the stop. Repeated calls have no effect.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Requests the abort, and the stop with it.
    pub fn abort(&self) {
        self.stop.cancel();
        self.abort.cancel();
    }

    /// Whether the stop was requested.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether the abort was requested.
    pub(crate) fn is_aborted(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// How long an orderly end, such as the DELETE of a session, may take: without a limit in ordinary
    /// operation, an eighth of the grace time after a stop was requested.
    pub(crate) fn courtesy(&self) -> Duration {
        if self.is_stopping() { self.grace / 8 } else { Duration::MAX }
    }

    /// Resolves when the stop is requested.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Resolves when the abort is requested.
    pub(crate) async fn aborted(&self) {
        self.abort.cancelled().await;
    }

    /// The output of `future`. If the abort is requested first, `future` is dropped and the result is `None`.
    pub(crate) async fn unless_aborted<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        unless(&self.abort, future).await
    }

    /// The output of `future`. If the stop is requested first, `future` is dropped and the result is `None`.
    pub(crate) async fn unless_stopping<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        unless(&self.stop, future).await
    }

    /// Does `work` at once and then again after each `period`. When the stop is requested, work under way is
    /// dropped.
    pub async fn every<F: Future>(&self, period: Duration, work: impl Fn() -> F) {
        let work = async {
            loop {
                work().await;
                sleep(period).await;
            }
        };
        self.unless_stopping(work).await;
    }

    /// Resolves when half the grace time has passed since the stop. A running tool call may use that half;
    /// the other half is for handing in the rows.
    pub(crate) async fn tool_share_used(&self) {
        self.stopping().await;
        self.unless_aborted(sleep(self.grace / 2)).await;
    }

    /// Requests the abort when the grace time after the stop has passed.
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
        // The token is checked first, so that no more work is done once it is cancelled.
        () = token.cancelled() => None,
        outcome = future => Some(outcome),
    }
}
