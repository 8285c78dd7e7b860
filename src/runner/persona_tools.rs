//! A persona's tools, and what a call takes besides itself: a session, a JWT, and a vault where a tool
//! needs one.

mod course;
mod sessions;
mod tally;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{sync::Mutex, time::Instant};

use self::{
    course::{Course, Next},
    sessions::Sessions,
};
use crate::{
    agent::{ToolError, ToolHost, catalog::CatalogTool},
    clients::mcp::{self, CallError, McpSession, ToolOutput},
};

pub(super) use sessions::Opener;

/// Calls tools in one run's sessions.
#[derive(Debug)]
pub(super) struct PersonaTools<'a> {
    opener: Opener<'a>,
    sessions: Sessions<'a>,
    vault: Mutex<Vault>,
}

/// What is known of the persona's vault.
#[derive(Debug)]
enum Vault {
    /// No tool has missed it.
    Unasked,
    /// Initialised in this run, at this time.
    InitialisedAt(Instant),
    /// Could not be initialised; once is enough.
    Unavailable,
}

impl<'a> PersonaTools<'a> {
    /// The tools of whom `opener` stands for, beginning with this session.
    pub(super) fn new(opener: Opener<'a>, session: McpSession) -> Self {
        let sessions = Sessions::new(opener, session);
        Self { opener, sessions, vault: Mutex::new(Vault::Unasked) }
    }

    /// Ends every session of the run on the server. Whether that says so.
    pub(super) async fn close(self, limit: Duration) -> bool {
        self.sessions.close(limit).await
    }

    /// Makes sure that there is a vault, which a call begun at `began` missed. Returns whether there is
    /// one now that was not there then.
    async fn ensure_vault(&self, jwt: &SecretString, began: Instant, deadline: Instant) -> bool {
        let mut vault = self.vault.lock().await;
        match *vault {
            Vault::InitialisedAt(time) => return began < time,
            Vault::Unavailable => return false,
            Vault::Unasked => {}
        }
        let redactor = &self.opener.access.redactor;
        match self.opener.auth.init_vault(jwt, redactor, deadline).await {
            Ok(()) => {
                tracing::info!("initialised the persona's vault");
                *vault = Vault::InitialisedAt(Instant::now());
                true
            }
            Err(error) => {
                tracing::warn!("the persona's vault could not be initialised: {error}");
                *vault = Vault::Unavailable;
                false
            }
        }
    }
}

impl ToolHost for PersonaTools<'_> {
    async fn call(
        &self,
        tool: &CatalogTool,
        arguments: Map<String, Value>,
        limit: Duration,
    ) -> Result<ToolOutput, ToolError> {
        let deadline = Instant::now() + limit;
        let mut course = Course::new(tool.is_read_only);
        loop {
            let session = self.sessions.current(deadline).await?;
            if !session.offers(&tool.name) {
                return Err(ToolError::Vanished);
            }
            let began = Instant::now();
            let patience = course.patience(deadline.saturating_duration_since(began));
            let result = session.call(&tool.name, arguments.clone(), patience, deadline).await;
            if result == Err(CallError::SessionLost) {
                self.sessions.count_loss(&session, deadline).await?;
            }
            let is_repeated = match course.after(&result) {
                Next::Over => false,
                Next::AskAgain => true,
                Next::Renew(reason) => {
                    self.sessions.renew(&session, reason, began, deadline).await?;
                    true
                }
                Next::InitVault => self.ensure_vault(&session.jwt, began, deadline).await,
            };
            if !is_repeated || Instant::now() >= deadline {
                return match result {
                    // A proxy has answered for it.
                    Err(CallError::NotRun { reason, transient: true, .. })
                        if !self.opener.mcp.is_there().await =>
                    {
                        Err(CallError::Away { reason }.into())
                    }
                    result => {
                        let is_late = Instant::now() >= deadline;
                        Ok(result.map_err(|error| course.judge(error, limit, is_late))?)
                    }
                };
            }
            self.opener.metrics.record_client_retry(mcp::PEER.0, "tools_call");
        }
    }

    async fn returns(&self, since: Instant, deadline: Instant) -> bool {
        self.opener.mcp.returns(since, deadline).await
    }
}
