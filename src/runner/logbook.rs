//! What the fleet as a whole leaves in the journal, by mana-auth's time: ticks with their absences, pauses and stops of
//! the model, and deployments of the product.

use std::{sync::Arc, time::Duration};

use super::{
    absences::{Due, TickTime},
    deployments::Server,
    fleet::Fleet,
    server_time::Jump,
};
use crate::{
    clients::mcp::{McpSession, Tool},
    domain::ProductVersion,
    journal::{DeploymentRow, JournalError},
};

/// The longest time between two notes that the runner is up. The journal keeps one an hour.
const HOUR: Duration = Duration::from_secs(3_600);

impl Fleet {
    /// Notes that the runner is up, at least once an hour until a stop, whatever ticks do.
    pub(crate) async fn keep_presence(self: Arc<Self>) {
        let period = self.config.tick.interval.min(HOUR);
        self.shutdown.every(period, || self.note_presence()).await;
    }

    /// Notes a tick that has asked who is due.
    pub(super) async fn note_tick(&self, time: TickTime, due: &[Due]) {
        self.absences.note(&self.journal, time, due).await;
    }

    /// Notes the time that mana-auth has told. If its clock was put forward while nobody was called, the halt lasted
    /// until then.
    pub(super) async fn note_server_time(&self, TickTime { at, clock_at }: TickTime) {
        let told = self.server_time.note(at, clock_at);
        if let Some(Jump { since }) = told
            && let Err(error) = self.journal.extend_halts(since, at).await
        {
            tracing::warn!("{error}; the days of a pause may be missing in the facts");
        }
    }

    /// Notes that the runner is up, as soon as mana-auth's time is known, unless the last tick could not find out who is
    /// due: then nobody would know that a persona was due and did not run.
    async fn note_presence(&self) {
        let is_in_vain = self.is_asking() && self.last_tick.lock().due.is_some();
        let clock_at = self.clock.now();
        if let Some(at) = self.server_time.up_at(clock_at, self.is_asking())
            && !is_in_vain
        {
            self.absences.note(&self.journal, TickTime { at, clock_at }, &[]).await;
        }
    }

    /// Notes whether the runner is paused and whether the model is stopped, if this has changed.
    pub(crate) async fn note_halts(&self) {
        // First, so that no halt begins long after the last tick.
        self.note_presence().await;
        let (is_paused, is_stopped) = (self.is_paused(), self.is_model_stopped());
        let at = self.server_time.at(self.clock.now());
        self.halts.note(&self.journal, is_paused, is_stopped, at).await;
    }

    /// Whether the next tick asks who is due.
    pub(super) fn is_asking(&self) -> bool {
        !self.is_paused() && !self.is_model_stopped()
    }

    fn is_paused(&self) -> bool {
        self.control.paused().is_some()
    }

    fn is_model_stopped(&self) -> bool {
        self.model.as_ref().is_ok_and(|claude| claude.stopped().is_some())
    }

    /// Looks up the current deployment for a tick, unless a stop is requested meanwhile.
    pub(super) async fn follow_deployments(&self) {
        let at = self.server_time.at(self.clock.now());
        self.shutdown.unless_stopping(self.deployments.follow(at)).await;
    }

    /// The number of the current deployment at the end of a run.
    pub(super) async fn deployment_at_end(&self) -> Option<i64> {
        self.deployment_of_run(None).await
    }

    /// The number of the current deployment at the begin of a session with these tools.
    pub(super) async fn meet_server(
        &self,
        session: &McpSession,
        listed: &Arc<[Tool]>,
    ) -> Option<i64> {
        self.deployment_of_run(Some((session.server_version.as_deref(), listed))).await
    }

    /// The daemon's stop does not wait for the product: the deployment that was looked up last counts then.
    async fn deployment_of_run(&self, server: Option<Server<'_>>) -> Option<i64> {
        let at = self.server_time.at(self.clock.now());
        let met = self.shutdown.unless_stopping(self.deployments.of_run(at, server)).await;
        met.unwrap_or_else(|| self.deployments.current())
    }

    /// Notes a release of this version. It is the current deployment from now on, or from the next tick on if
    /// mana-auth's time is not known yet. If the newest deployment has this version, nothing changes. Returns the
    /// newest deployment.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) async fn release(
        &self,
        version: &ProductVersion,
        note: Option<&str>,
    ) -> Result<DeploymentRow, JournalError> {
        let at = self.server_time.up_at(self.clock.now(), self.is_asking());
        self.deployments.release(version, note, at).await
    }
}
