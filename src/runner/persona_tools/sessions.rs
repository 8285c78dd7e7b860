//! The MCP sessions of a run: another one where the server has lost one or no longer accepts its JWT,
//! and all of them ended with the run.

use std::{mem, sync::Arc, time::Duration};

use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout_at},
};

use super::tally::Tally;
use crate::{
    agent::ToolError,
    clients::{
        auth::{Access, AuthClient},
        mcp::{CallError, McpClient, McpError, McpSession, ToolOutput},
    },
    domain::ToolName,
    http::retry::{Retryable, Verdict},
    metrics::{Metrics, SessionRenewal},
    runner::run_journal::RunJournal,
};

/// For a JWT that is needed only to end a session with.
const JWT_FOR_END: Duration = Duration::from_secs(3);

/// What it takes to open sessions as a persona.
#[derive(Clone, Copy, Debug)]
pub(in crate::runner) struct Opener<'a> {
    pub mcp: &'a McpClient,
    pub auth: &'a AuthClient,
    pub metrics: &'a Metrics,
    pub email: &'a str,
    /// Where sessions are written down.
    pub journal: &'a RunJournal,
    /// Of the beginning of the run; the space stays, the JWT may be replaced.
    pub access: &'a Access,
}

/// One run's sessions, of which one is current.
#[derive(Debug)]
pub(super) struct Sessions<'a> {
    opener: Opener<'a>,
    /// Held while another session is opened, so that calls wait for it and share it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<Session>,
    is_lost: bool,
    /// Earlier ones, which calls may still be under way in.
    retired: Vec<Arc<Session>>,
    /// The tools of the first, which the catalog is frozen from.
    frozen: Vec<ToolName>,
    tally: Tally,
    /// When the last attempt to replace the current one failed, and why.
    failed: Option<(Instant, CallError)>,
}

/// A session of a run.
#[derive(Debug)]
pub(super) struct Session {
    mcp: McpSession,
    /// The JWT its tools work with.
    pub jwt: SecretString,
    /// Its place among the run's sessions.
    number: u32,
}

impl Session {
    /// Whether this tool may be called in it.
    pub(super) fn offers(&self, tool: &ToolName) -> bool {
        self.mcp.offers(tool)
    }

    /// As [`McpSession::call`].
    pub(super) async fn call(
        &self,
        tool: &ToolName,
        arguments: Map<String, Value>,
        patience: Duration,
        deadline: Instant,
    ) -> Result<ToolOutput, CallError> {
        self.mcp.call(tool, arguments, patience, deadline).await
    }
}

impl<'a> Sessions<'a> {
    /// Begins with `first`, whose tools are the frozen ones.
    pub(super) fn new(opener: Opener<'a>, first: McpSession) -> Self {
        let frozen = first.tools().to_vec();
        let current = Arc::new(Session { mcp: first, jwt: opener.access.jwt.clone(), number: 0 });
        let state = State {
            current,
            is_lost: false,
            retired: Vec::new(),
            frozen,
            tally: Tally::default(),
            failed: None,
        };
        Self { opener, state: Mutex::new(state) }
    }

    /// The session to call tools in.
    pub(super) async fn current(&self, deadline: Instant) -> Result<Arc<Session>, ToolError> {
        let state = self.lock(deadline).await?;
        if state.tally.is_over() {
            return Err(ToolError::SessionsLost);
        }
        Ok(state.current.clone())
    }

    /// Counts the loss of `session`, which several calls may find out; an error if it is the one too
    /// many.
    pub(super) async fn count_loss(
        &self,
        session: &Session,
        deadline: Instant,
    ) -> Result<(), ToolError> {
        let mut state = self.lock(deadline).await?;
        if state.current.number == session.number && !mem::replace(&mut state.is_lost, true) {
            state.tally.note_loss();
        }
        if state.tally.is_over() { Err(ToolError::SessionsLost) } else { Ok(()) }
    }

    /// Replaces `session`, in which a call begun at `began` was refused, unless that has happened since.
    pub(super) async fn renew(
        &self,
        session: &Session,
        reason: SessionRenewal,
        began: Instant,
        deadline: Instant,
    ) -> Result<(), ToolError> {
        let mut state = self.lock(deadline).await?;
        if state.current.number != session.number {
            return Ok(());
        }
        // Calls that waited for the same attempt share its failure too; a later one tries anew.
        if let Some((at, failure)) = &state.failed
            && began < *at
        {
            return Err(failure.clone().into());
        }
        let opened = timeout_at(deadline, self.opener.open(&mut state, reason, deadline)).await;
        let opened = opened.unwrap_or_else(|_| Err(not_run("there was no time for it".into())));
        match opened {
            Ok(next) => {
                state.replace(next, reason);
                self.opener.metrics.record_session_renewal(reason);
                Ok(())
            }
            Err(mut why) => {
                if let CallError::NotRun { reason: why, .. } = &mut why {
                    let what = match reason {
                        SessionRenewal::Lost => "the session was lost",
                        SessionRenewal::Unauthorized => "the JWT is no longer accepted (401)",
                    };
                    *why = format!("{what} and there is no new session: {why}");
                    tracing::warn!("{why}");
                }
                state.failed = Some((Instant::now(), why.clone()));
                Err(why.into())
            }
        }
    }

    /// Ends all of them on the server, each step within `limit`. Whether the server says that it did.
    pub(super) async fn close(self, limit: Duration) -> bool {
        let Self { opener, state } = self;
        let State { current, mut retired, mut tally, .. } = state.into_inner();
        retired.push(current);
        // No call is under way any more, so nobody else holds one.
        let ends = retired.into_iter().filter_map(Arc::into_inner).map(|it| it.mcp.close(limit));
        let (mut all_ended, mut still_open) = (true, Vec::new());
        for end in join_all(ends).await {
            match end {
                Ok(is_ended) => all_ended &= is_ended,
                Err(session) => still_open.push(session),
            }
        }
        if still_open.is_empty() {
            return all_ended;
        }
        // The JWT ran out after the last call. Without another one the server keeps them for ever.
        let deadline = Instant::now() + JWT_FOR_END.min(limit);
        let jwt = timeout_at(deadline, opener.fresh_jwt(&mut tally, deadline)).await;
        match jwt.unwrap_or_else(|_| Err("there was no fresh JWT in time".into())) {
            Ok(jwt) => {
                let ends = still_open.into_iter().map(|session| session.end(&jwt));
                join_all(ends).await.into_iter().all(|is_ended| is_ended) && all_ended
            }
            Err(why) => {
                tracing::warn!("an MCP session stays open on the server: {why}");
                false
            }
        }
    }

    async fn lock(&self, deadline: Instant) -> Result<MutexGuard<'_, State>, ToolError> {
        timeout_at(deadline, self.state.lock())
            .await
            .map_err(|_| not_run("there was no session in time".into()).into())
    }
}

impl State {
    fn replace(&mut self, next: Session, reason: SessionRenewal) {
        let gone = self.frozen.iter().filter(|tool| !next.offers(tool)).count();
        match reason {
            SessionRenewal::Lost => {
                tracing::warn!(tools.gone = gone, "mana-mcp lost the session; opened another one");
            }
            SessionRenewal::Unauthorized => {
                tracing::info!(tools.gone = gone, "opened another session with a fresh JWT");
            }
        }
        let jwt = next.jwt.clone();
        self.retired.push(mem::replace(&mut self.current, Arc::new(next)));
        // Only a JWT that is valid then passes the door, even to end a session.
        self.retired.iter().for_each(|session| session.mcp.end_with(&jwt));
        (self.is_lost, self.failed) = (false, None);
    }
}

impl Opener<'_> {
    /// Opens the session after the current one.
    async fn open(
        &self,
        state: &mut State,
        reason: SessionRenewal,
        deadline: Instant,
    ) -> Result<Session, CallError> {
        let jwt = match reason {
            SessionRenewal::Lost => state.current.jwt.clone(),
            SessionRenewal::Unauthorized => {
                self.fresh_jwt(&mut state.tally, deadline).await.map_err(not_run)?
            }
        };
        let Access { space_id, redactor, .. } = self.access;
        let note = |session| self.journal.note_session(session);
        let opened = self.mcp.open((&jwt, space_id), redactor, deadline, note).await;
        let (mcp, _) = opened.map_err(|error| match error {
            McpError::Away { reason, .. } => CallError::Away { reason },
            error => not_run(error.to_string()),
        })?;
        Ok(Session { mcp, jwt, number: state.current.number + 1 })
    }

    /// A fresh JWT, which the run's redactor knows from now on.
    async fn fresh_jwt(
        &self,
        tally: &mut Tally,
        deadline: Instant,
    ) -> Result<SecretString, String> {
        if !tally.take_jwt() {
            return Err("there is no further JWT in this run".into());
        }
        match self.auth.fresh_jwt(self.email, deadline).await {
            Ok(fresh) => {
                self.access.redactor.learn(&fresh.redactor);
                Ok(fresh.jwt)
            }
            Err(error) => {
                if error.verdict() == Verdict::Final {
                    tally.note_final_refusal();
                }
                Err(error.to_string())
            }
        }
    }
}

fn not_run(reason: String) -> CallError {
    CallError::NotRun { reason, transient: false, retry_after: None }
}
