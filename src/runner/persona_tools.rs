//! Calls the tools of a persona, and provides what a call needs: a session, a valid JWT, and a vault for the
//! tools of encrypted modules.

mod course;
mod sessions;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{sync::OnceCell, time::Instant};

use self::{
    course::{Course, Remedy},
    sessions::Sessions,
};
use super::run_journal::RunJournal;
use crate::{
    agent::{ToolError, ToolHost, catalog::CatalogTool},
    clients::{
        auth::Access,
        mcp::{self, McpSession, ToolOutput, Tries},
    },
};

/// Calls tools in the MCP sessions of one run.
#[derive(Debug)]
pub(super) struct PersonaTools<'a> {
    sessions: Sessions<'a>,
    /// Set by the first call that fails without a vault: when the vault was initialised, or `None` if that
    /// failed. A run tries it once.
    vault: OnceCell<Option<Instant>>,
}

impl<'a> PersonaTools<'a> {
    /// The tools of the persona of `run`. `access` is its login, `session` its first session.
    pub(super) fn new(run: &'a RunJournal, access: &'a Access, session: McpSession) -> Self {
        Self { sessions: Sessions::new(run, access, session), vault: OnceCell::new() }
    }

    /// Ends every session of the run on the server. Returns whether the server has confirmed it for all of
    /// them.
    pub(super) async fn close(&self, limit: Duration) -> bool {
        self.sessions.close(limit).await
    }

    /// Initialises the persona's vault after a call that began at `began` failed without one. Returns whether
    /// the vault was initialised after that time, so that the call may succeed now.
    async fn ensure_vault(&self, jwt: &SecretString, began: Instant, deadline: Instant) -> bool {
        let Sessions { journal, access, .. } = &self.sessions;
        let initialise = || async {
            let (auth, email) = (&journal.fleet.auth, &journal.persona.email);
            match auth.init_vault(email, jwt, &access.redactor, deadline).await {
                Ok(()) => tracing::info!("initialised the persona's vault"),
                Err(error) => {
                    tracing::warn!("the persona's vault could not be initialised: {error}");
                    return None;
                }
            }
            Some(Instant::now())
        };
        self.vault.get_or_init(initialise).await.is_some_and(|since| began < since)
    }
}

impl ToolHost for PersonaTools<'_> {
    async fn call(
        &self,
        tool: &CatalogTool,
        arguments: Map<String, Value>,
        limit: Duration,
        tries: &Tries,
    ) -> Result<ToolOutput, ToolError> {
        let deadline = Instant::now() + limit;
        let mut course = Course::new(tool.is_read_only);
        loop {
            let call = self.sessions.call(&tool.name, &arguments, &course, deadline, tries);
            let (session, began, result) = call.await?;
            let is_repeated = match course.after(&result) {
                None => false,
                Some(Remedy::AskAgain) => true,
                Some(Remedy::Renew(reason)) => {
                    Box::pin(self.sessions.renew(&session, reason, began, deadline)).await?;
                    true
                }
                Some(Remedy::InitVault) => self.ensure_vault(&session.jwt, began, deadline).await,
            };
            let is_late = Instant::now() >= deadline;
            if !is_repeated || is_late {
                return Ok(result.map_err(|error| course.judge(error, limit, is_late))?);
            }
            self.sessions.journal.fleet.metrics.record_client_retry(mcp::PEER, "tools_call");
        }
    }

    async fn returns(&self, since: Instant, deadline: Instant) -> bool {
        self.sessions.journal.fleet.mcp.look.returns(since, deadline).await
    }
}
