//! A persona's tools: its MCP session, and its vault where a tool needs one.

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    agent::ToolHost,
    clients::{
        auth::AuthClient,
        mcp::{CallError, Content, McpSession, ToolOutput},
    },
    domain::ToolName,
};

/// What tools of encrypted modules say to a persona without a vault (contracts/mana-auth.md).
const NO_VAULT: &str = "VAULT_NOT_INITIALISED";

/// Calls tools in one run's session.
#[derive(Debug)]
pub(super) struct PersonaTools<'a> {
    session: &'a McpSession,
    auth: &'a AuthClient,
    jwt: &'a SecretString,
    /// Whether the vault was initialised in this run, successfully or not: once is enough.
    vault_tried: Mutex<bool>,
}

impl<'a> PersonaTools<'a> {
    pub(super) fn new(
        session: &'a McpSession,
        auth: &'a AuthClient,
        jwt: &'a SecretString,
    ) -> Self {
        Self { session, auth, jwt, vault_tried: Mutex::new(false) }
    }

    /// Initialises the vault if this run has not tried yet. Returns whether there is now one.
    async fn init_vault(&self, deadline: Instant) -> bool {
        let mut tried = self.vault_tried.lock().await;
        if *tried {
            return false;
        }
        *tried = true;
        match self.auth.init_vault(self.jwt, deadline).await {
            Ok(()) => {
                tracing::info!("initialised the persona's vault");
                true
            }
            Err(error) => {
                tracing::warn!("the persona's vault could not be initialised: {error}");
                false
            }
        }
    }
}

impl ToolHost for PersonaTools<'_> {
    async fn call(
        &self,
        tool: &ToolName,
        arguments: Map<String, Value>,
        limit: Duration,
    ) -> Result<ToolOutput, CallError> {
        let deadline = Instant::now() + limit;
        let result = self.session.call(tool, arguments.clone(), limit).await;
        // The call that says so did not run, so it may be repeated whatever it does.
        if says_no_vault(&result) && self.init_vault(deadline).await {
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
