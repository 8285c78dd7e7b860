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

use super::course::Course;
use crate::{
    agent::ToolError,
    clients::{
        auth::Access,
        mcp::{Ending, Fate, McpError, McpSession, ToolOutput, Tries},
    },
    domain::ToolName,
    http::retry::Retryable,
    metrics::SessionRenewal,
    runner::run_journal::RunJournal,
};

/// Time limit for getting a JWT that is needed only to end sessions.
const JWT_FOR_END: Duration = Duration::from_secs(3);
/// How many sessions a run may lose. After the last loss the run makes no further calls.
const MOST_LOSSES: u32 = 3;
/// How many fresh JWTs a run may request, whether the logins succeed or not.
const MOST_JWTS: u32 = 10;

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
    /// How many more sessions may be lost.
    losses_left: u32,
    /// How many more JWTs may be requested.
    jwts_left: u32,
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
        let (current, losses_left, jwts_left) = (Arc::new(first), MOST_LOSSES, MOST_JWTS);
        let (is_lost, retired, failed) = Default::default();
        let state = State { current, is_lost, retired, losses_left, jwts_left, failed };
        Self { journal, access, state: state.into() }
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
        tries: &Tries,
    ) -> Result<(Arc<McpSession>, Instant, Result<ToolOutput, McpError>), ToolError> {
        let session = self.lock(deadline).await?.current.clone();
        if !session.offers(tool) {
            return Err(ToolError::Vanished);
        }
        let began = Instant::now();
        let patience = course.patience(deadline.saturating_duration_since(began));
        let result = session.call(tool, arguments, patience, deadline, tries).await;
        if result.as_ref().is_err_and(|error| error.fate == Fate::SessionLost) {
            // Several concurrent calls may notice the same loss, which is counted once.
            let mut state = self.lock(deadline).await?;
            if Arc::ptr_eq(&state.current, &session) && !mem::replace(&mut state.is_lost, true) {
                state.losses_left -= 1;
                if state.losses_left == 0 {
                    return Err(ToolError::SessionsLost);
                }
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
        let State { current, retired, jwts_left, .. } = &mut *self.state.lock().await;
        // The DELETE of a session needs a JWT that is valid at that time.
        let jwt = current.jwt.clone();
        retired.push(current.clone());
        let end = async |sessions: &[Arc<McpSession>], jwt| {
            join_all(sessions.iter().map(|session| session.close(Some(jwt), limit))).await
        };
        let endings = end(retired, &jwt).await;
        let are_known = !endings.contains(&Ending::Unknown);
        let mut refused = endings.iter().map(|ending| *ending == Ending::Unauthorized);
        retired.retain(|_| refused.next().unwrap_or(false));
        if retired.is_empty() {
            return are_known;
        }
        // The JWT expired after the last call. Without a fresh one the server would keep the sessions for
        // ever.
        match self.fresh_jwt(jwts_left, Instant::now() + JWT_FOR_END.min(limit)).await {
            Ok(jwt) => end(retired, &jwt).await.iter().all(|it| *it == Ending::Ended) && are_known,
            Err(why) => {
                tracing::warn!("an MCP session stays open on the server: {}", why.reason);
                false
            }
        }
    }

    async fn lock(&self, deadline: Instant) -> Result<MutexGuard<'_, State>, ToolError> {
        let state = timeout_at(deadline, self.state.lock()).await;
        let state = state.map_err(|_| McpError::not_run("there was no session in time"))?;
        if state.losses_left == 0 { Err(ToolError::SessionsLost) } else { Ok(state) }
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
            SessionRenewal::Unauthorized => self.fresh_jwt(&mut state.jwts_left, deadline).await?,
        };
        let Access { space_id, redactor, .. } = self.access;
        let note = |session| self.journal.note_session(session);
        let fleet = &self.journal.fleet;
        let (session, listed) = fleet.mcp.open((&jwt, space_id), redactor, deadline, note).await?;
        // The session may be lost because another build of the product was deployed.
        fleet.meet_server(&session, &listed).await;
        Ok(session)
    }

    /// Logs in again for a fresh JWT, and adds the JWT to the run's redactor. `left` is how many JWTs the run
    /// may still request.
    async fn fresh_jwt(&self, left: &mut u32, deadline: Instant) -> Result<SecretString, McpError> {
        if *left == 0 {
            return Err(McpError::not_run("there is no further JWT in this run"));
        }
        *left -= 1;
        let space_id = Some(&*self.access.space_id);
        let RunJournal { fleet, persona, .. } = self.journal;
        let fresh = fleet.auth.open(&persona.email, space_id, deadline).await.map_err(|error| {
            if error.again_after().is_none() {
                // Further attempts could lock the account.
                *left = 0;
            }
            McpError::not_run(error.to_string())
        })?;
        self.access.redactor.learn(&fresh.redactor);
        Ok(fresh.jwt)
    }
}
