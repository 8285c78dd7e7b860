//! A persona's tools: its MCP session, and its vault where a tool needs one.

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    agent::{ToolHost, catalog::CatalogTool},
    clients::{
        auth::AuthClient,
        mcp::{CallError, Content, McpSession, ToolOutput},
    },
};

/// What tools of encrypted modules say to a persona without a vault (contracts/mana-auth.md).
const NO_VAULT: &str = "VAULT_NOT_INITIALISED";

/// Calls tools in one run's session.
#[derive(Debug)]
pub(super) struct PersonaTools<'a> {
    session: &'a McpSession,
    auth: &'a AuthClient,
    jwt: &'a SecretString,
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
    pub(super) fn new(
        session: &'a McpSession,
        auth: &'a AuthClient,
        jwt: &'a SecretString,
    ) -> Self {
        Self { session, auth, jwt, vault: Mutex::new(Vault::Unasked) }
    }

    /// Makes sure that there is a vault, which a call begun at `began` missed. Returns whether there is
    /// one now that was not there then.
    async fn ensure_vault(&self, began: Instant, deadline: Instant) -> bool {
        let mut vault = self.vault.lock().await;
        match *vault {
            Vault::InitialisedAt(time) => return began < time,
            Vault::Unavailable => return false,
            Vault::Unasked => {}
        }
        match self.auth.init_vault(self.jwt, deadline).await {
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
    ) -> Result<ToolOutput, CallError> {
        let tool = &tool.name;
        let began = Instant::now();
        let deadline = began + limit;
        let result = self.session.call(tool, arguments.clone(), limit).await;
        // The call that says so did not run, so it may be repeated whatever it does.
        if says_no_vault(&result) && self.ensure_vault(began, deadline).await {
            let left = deadline.saturating_duration_since(Instant::now());
            return self.session.call(tool, arguments, left).await;
        }
        result
    }
}

fn says_no_vault(result: &Result<ToolOutput, CallError>) -> bool {
    match result {
        Ok(output) => {
            output.is_error
                && output.content.iter().any(
                    |content| matches!(content, Content::Text(text) if text.contains(NO_VAULT)),
                )
        }
        Err(CallError::Rejected { message, .. }) => message.contains(NO_VAULT),
        Err(_) => false,
    }
}
