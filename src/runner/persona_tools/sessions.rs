//! The MCP sessions of a run. A session is replaced when the server has lost it or no longer accepts its JWT,
//! and all sessions are ended at the end of the run.

use std::{mem, sync::Arc, time::Duration};

use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout_at},
};

use super::{course::Course, tally::Tally};
use crate::{
    agent::ToolError,
    clients::{
        auth::Access,
        mcp::{Ending, Fate, McpError, McpSession, ToolOutput},
    },
    domain::ToolName,
    http::retry::Retryable,
    metrics::SessionRenewal,
    runner::run_journal::RunJournal,
};

/// Time limit for getting a JWT that is needed only to end sessions.
const JWT_FOR_END: Duration = Duration::from_secs(3);

/// The sessions of one run: the current one and the replaced ones.
#[derive(Debug)]
pub(super) struct Sessions<'a> {
    /// The journal of the run: it records the session ids and knows the persona.
    pub journal: &'a RunJournal,
    /// The access from the login at the beginning of the run. The space stays the same; the JWT may be
    /// replaced.
    pub access: &'a Access,
    /// Locked while a new session is opened, so that other calls wait for the new session and share it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<McpSession>,
    is_lost: bool,
    /// Replaced sessions, in which calls may still be in progress. The catalog was made from the tools of the
    /// first one.
    retired: Vec<Arc<McpSession>>,
    tally: Tally,
    /// When the last attempt to replace the current session failed, and with which error.
    failed: Option<(Instant, McpError)>,
}

impl Drop for State {
    fn drop(&mut self) {
        // The DELETE of a session needs a JWT that is valid at that time.
        self.retired.iter().for_each(|session| session.carry(&self.current.jwt));
    }
}

impl<'a> Sessions<'a> {
    /// Starts with the session `first`; the run's catalog is made from its tools.
    pub(super) fn new(journal: &'a RunJournal, access: &'a Access, first: McpSession) -> Self {
        let (current, tally) = (Arc::new(first), Tally::FULL);
        let (is_lost, retired, failed) = Default::default();
        let state = Mutex::new(State { current, is_lost, retired, tally, failed });
        Self { journal, access, state }
    }

    /// Calls a tool in the current session. Returns that session, the time at which the call began, and its
    /// result.
    ///
    /// # Errors
    /// When the session does not list the tool, when no session is available before `deadline`, or when the
    /// run has lost too many sessions.
    pub(super) async fn call(
        &self,
        tool: &ToolName,
        arguments: &Map<String, Value>,
        course: &Course,
        deadline: Instant,
    ) -> Result<(Arc<McpSession>, Instant, Result<ToolOutput, McpError>), ToolError> {
        let session = self.lock(deadline).await?.current.clone();
        if !session.offers(tool) {
            return Err(ToolError::Vanished);
        }
        let began = Instant::now();
        let patience = course.patience(deadline.saturating_duration_since(began));
        let result = session.call(tool, arguments, patience, deadline).await;
        if result.as_ref().is_err_and(|error| error.fate == Fate::SessionLost) {
            // Several concurrent calls may notice the same loss, which is counted once.
            let mut state = self.lock(deadline).await?;
            if Arc::ptr_eq(&state.current, &session)
                && !mem::replace(&mut state.is_lost, true)
                && state.tally.note_loss()
            {
                return Err(ToolError::SessionsLost);
            }
        }
        Ok((session, began, result))
    }

    /// Replaces `session`, in which a call that began at `began` was refused, unless another call has
    /// replaced it.
    pub(super) async fn renew(
        &self,
        session: &Arc<McpSession>,
        reason: SessionRenewal,
        began: Instant,
        deadline: Instant,
    ) -> Result<(), ToolError> {
        let mut state = self.lock(deadline).await?;
        if !Arc::ptr_eq(&state.current, session) {
            return Ok(());
        }
        // Calls that began before the last failed attempt share its error; a later call tries again.
        if let Some((at, failure)) = &state.failed
            && began < *at
        {
            return Err(failure.clone().into());
        }
        let opened = timeout_at(deadline, self.open(&mut state, reason, deadline)).await;
        match opened.unwrap_or_else(|_| Err(McpError::not_run("there was no time for it"))) {
            Ok(next) => {
                let State { current, retired, is_lost, failed, .. } = &mut *state;
                retired.push(mem::replace(current, Arc::new(next)));
                (*is_lost, *failed) = (false, None);
                let frozen = retired.first().map_or(&[][..], |first| &*first.tools);
                let gone = frozen.iter().filter(|tool| !current.offers(tool)).count();
                match reason {
                    SessionRenewal::Lost => tracing::warn!(
                        tools.gone = gone,
                        "mana-mcp lost the session; opened another one"
                    ),
                    SessionRenewal::Unauthorized => {
                        tracing::info!(tools.gone = gone, "opened another session with a fresh JWT")
                    }
                }
                self.journal.fleet.metrics.record_session_renewal(reason);
                Ok(())
            }
            Err(mut why) => {
                if why.fate != Fate::Away {
                    let what = match reason {
                        SessionRenewal::Lost => "the session was lost",
                        SessionRenewal::Unauthorized => "the JWT is no longer accepted (401)",
                    };
                    let reason = format!("{what} and there is no new session: {}", why.reason);
                    tracing::warn!("{reason}");
                    why = McpError::not_run(reason);
                }
                state.failed = Some((Instant::now(), why.clone()));
                Err(why.into())
            }
        }
    }

    /// Ends all sessions on the server. Each step may take as long as `limit`. Returns whether the server has
    /// confirmed the end of every session.
    pub(super) async fn close(&self, limit: Duration) -> bool {
        let State { current, retired, tally, .. } = &mut *self.state.lock().await;
        // The DELETE of a session needs a JWT that is valid at that time.
        let jwt = current.jwt.clone();
        retired.push(current.clone());
        let end = async |sessions: &[Arc<McpSession>], jwt| {
            join_all(sessions.iter().map(|session| session.close(Some(jwt), limit))).await
        };
        let endings = end(retired, &jwt).await;
        let mut are_ended = !endings.contains(&Ending::Unknown);
        let mut refused = endings.iter().map(|ending| *ending == Ending::Unauthorized);
        retired.retain(|_| refused.next().unwrap_or(false));
        if !retired.is_empty() {
            // The JWT expired after the last call. Without a fresh one the server would keep the sessions for
            // ever.
            let deadline = Instant::now() + JWT_FOR_END.min(limit);
            match self.fresh_jwt(tally, deadline).await {
                Ok(jwt) => {
                    are_ended &= end(retired, &jwt).await.iter().all(|it| *it == Ending::Ended)
                }
                Err(why) => {
                    tracing::warn!("an MCP session stays open on the server: {}", why.reason);
                    are_ended = false;
                }
            }
        }
        are_ended
    }

    async fn lock(&self, deadline: Instant) -> Result<MutexGuard<'_, State>, ToolError> {
        let state = timeout_at(deadline, self.state.lock()).await;
        let state = state.map_err(|_| McpError::not_run("there was no session in time"))?;
        if state.tally.is_over() { Err(ToolError::SessionsLost) } else { Ok(state) }
    }

    /// Opens a session to replace the current one, with a fresh JWT if the old one is no longer accepted.
    async fn open(
        &self,
        state: &mut State,
        reason: SessionRenewal,
        deadline: Instant,
    ) -> Result<McpSession, McpError> {
        let jwt = match reason {
            SessionRenewal::Lost => state.current.jwt.clone(),
            SessionRenewal::Unauthorized => self.fresh_jwt(&mut state.tally, deadline).await?,
        };
        let Access { space_id, redactor, .. } = self.access;
        let note = |session| self.journal.note_session(session);
        Ok(self.journal.fleet.mcp.open((&jwt, space_id), redactor, deadline, note).await?.0)
    }

    /// Logs in again for a fresh JWT, and adds the JWT to the run's redactor.
    async fn fresh_jwt(
        &self,
        tally: &mut Tally,
        deadline: Instant,
    ) -> Result<SecretString, McpError> {
        if !tally.take_jwt() {
            return Err(McpError::not_run("there is no further JWT in this run"));
        }
        let space_id = Some(&*self.access.space_id);
        let RunJournal { fleet, persona, .. } = self.journal;
        let fresh = fleet.auth.open(&persona.email, space_id, deadline).await.map_err(|error| {
            if error.again_after().is_none() {
                tally.note_final_refusal();
            }
            McpError::not_run(error.to_string())
        })?;
        self.access.redactor.learn(&fresh.redactor);
        Ok(fresh.jwt)
    }
}
