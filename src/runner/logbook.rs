//! What the fleet as a whole leaves in the journal, by mana-auth's time: ticks with their absences, pauses and stops of
//! the model, and deployments of the product.

use std::sync::Arc;

use super::{
    absences::{Due, TickTime},
    fleet::Fleet,
};
use crate::{
    clients::mcp::{McpSession, Tool},
    domain::ProductVersion,
    journal::{DeploymentRow, JournalError},
};

impl Fleet {
    /// Notes a tick that has asked who is due.
    pub(super) async fn note_tick(&self, time: TickTime, due: &[Due]) {
        self.absences.note(&self.journal, time, due).await;
    }

    /// Notes that the runner is up, in a moment in which it does not ask who is due.
    pub(super) async fn note_presence(&self) {
        let clock_at = self.clock.now();
        let time = TickTime { at: self.server_time.at(clock_at), clock_at };
        self.absences.note(&self.journal, time, &[]).await;
    }

    /// Notes whether the runner is paused and whether the model is stopped, if this has changed.
    pub(crate) async fn note_halts(&self) {
        let is_paused = self.control.paused().is_some();
        let is_stopped = self.model.as_ref().is_ok_and(|claude| claude.stopped().is_some());
        let at = self.server_time.at(self.clock.now());
        self.halts.note(&self.journal, is_paused, is_stopped, at).await;
    }

    /// Looks up the current deployment, unless a stop is requested meanwhile.
    pub(super) async fn follow_deployments(&self) {
        let at = self.server_time.at(self.clock.now());
        self.shutdown.unless_stopping(self.deployments.follow(at)).await;
    }

    /// The number of the deployment that is current at the end of a run. The daemon's stop does not wait for the
    /// product: the deployment that was looked up last counts then.
    pub(super) async fn deployment_at_end(&self) -> Option<i64> {
        let at = self.server_time.at(self.clock.now());
        self.shutdown.unless_stopping(self.deployments.follow_at_end(at)).await;
        self.deployments.current()
    }

    /// Looks up the current deployment at the begin of a session with these tools. Returns its number if only mana-mcp
    /// tells which one it is.
    pub(super) async fn meet_server(
        &self,
        session: &McpSession,
        listed: &Arc<[Tool]>,
    ) -> Option<i64> {
        let at = self.server_time.at(self.clock.now());
        let met = self.deployments.meet_server(session.server_version.as_deref(), listed, at);
        self.shutdown.unless_stopping(met).await.flatten()
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
        let at = self.server_time.known_at(self.clock.now());
        self.deployments.release(version, note, at).await
    }
}
