//! mana-mcp: the tool gateway, as docs/contracts/mana-mcp.md describes it.
//!
//! The MCP protocol is handled by rmcp's server. In front of it are the checks that the real server makes
//! first; behind it the answers are changed to the form of the TypeScript SDK. JWT and space are fixed when a
//! session is opened. The tools work on a generic store per space, so that reads return what was written.

mod calls;
mod catalog;
mod door;
mod handler;
mod schema;
mod sessions;
mod space;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{Router, routing::any};
use serde_json::{Map, Value};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::{
    calls::{Behaviour, Call, ServerPolicy},
    catalog::ToolSet,
    space::Entry,
};
use self::{catalog::Tool, door::Door, handler::Shared};
use crate::{clock::Clock, jwt::Keys, wire::Served};

/// Returns whether the user with this id has an encryption vault.
pub type VaultCheck = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a server differs from the recorded one.
#[derive(Clone, Debug)]
pub struct McpOptions {
    /// Tools per page of `tools/list`; `None`, as recorded, lists all tools at once.
    pub page_size: Option<usize>,
    /// The server's POLICY_MODE setting.
    pub policy: ServerPolicy,
    /// The tools on offer.
    pub tools: ToolSet,
    /// After this time without an answer the stream of a request ends without an event; `None` keeps it open
    /// for ever. The recorded server waits 10 s.
    pub idle_timeout: Option<Duration>,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self {
            page_size: None,
            policy: ServerPolicy::default(),
            tools: ToolSet::default(),
            idle_timeout: Some(Duration::from_secs(10)),
        }
    }
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tool catalog cannot be read.
    #[error("the tool catalog is broken: {0}")]
    Catalog(#[from] serde_json::Error),
    /// No port could be bound.
    #[error("no port for mana-mcp: {0}")]
    Bind(#[from] io::Error),
}

/// The running mana-mcp. Dropping it ends every session and closes the socket.
pub struct ManaMcp {
    /// The socket of this peer: recorded requests and planned faults.
    pub served: Served,
    shared: Arc<Shared>,
    door: Door,
    _running: DropGuard,
}

impl fmt::Debug for ManaMcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManaMcp").field("served", &self.served).finish_non_exhaustive()
    }
}

impl ManaMcp {
    /// Starts a server on a free loopback port. `keys` are the keys that mana-auth signs with.
    ///
    /// # Errors
    /// When no port can be bound or the catalog is invalid.
    pub async fn start(
        options: McpOptions,
        clock: Clock,
        keys: Keys,
        vault_initialised: VaultCheck,
    ) -> Result<Self, StartError> {
        let tools = catalog::tools(&options.tools)?;
        let shared = Arc::new(Shared {
            options,
            clock,
            keys,
            vault_initialised,
            tools: RwLock::new(tools),
            owners: Default::default(),
            calls: Default::default(),
            plans: Default::default(),
            spaces: Default::default(),
            gate: Default::default(),
        });
        let running = CancellationToken::new();
        let door = Door::new(Arc::clone(&shared), running.clone());
        let router = Router::new().route("/mcp", any(door::enter)).with_state(door.clone());
        let served = Served::start(router).await?;
        Ok(Self { served, shared, door, _running: running.drop_guard() })
    }

    /// The server's base URL, without `/mcp`.
    pub fn url(&self) -> &str {
        &self.served.url
    }

    /// Every call that reached a tool, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.all()
    }

    /// Waits until `n` calls for which `matches` returns `true` have reached a tool, and returns them. The
    /// caller limits the wait.
    pub async fn wait_for_calls(&self, n: usize, matches: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.shared.calls.wait_for(n, matches).await
    }

    /// Number of sessions that were opened and not deleted.
    pub fn open_sessions(&self) -> usize {
        self.shared.owners.count()
    }

    /// Whether `session` was opened and not deleted.
    pub fn is_open(&self, session: &str) -> bool {
        self.shared.owners.owner(session).is_some()
    }

    /// Closes every session, as a restart of the server does: all session ids are unknown from now on.
    pub async fn forget_sessions(&self) {
        for session in self.shared.owners.drain() {
            self.door.close(&session).await;
        }
    }

    /// Applies `behaviour` to the next `times` calls that reach `tool` (`usize::MAX`: all of them). Earlier
    /// plans take precedence.
    pub fn override_tool(&self, tool: &str, times: usize, behaviour: Behaviour) {
        self.shared.plans.add(tool, times, behaviour);
    }

    /// Adds a tool at the end of the list. Its arguments are stored as an entry.
    pub fn add_tool(&self, name: &str, description: &str, input_schema: Map<String, Value>) {
        let tool = Tool::added(name, description, input_schema);
        let tools = &self.shared.tools;
        tools.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(tool));
    }

    /// The entry of each tool in `tools/list`.
    pub fn listed_tools(&self) -> Vec<Value> {
        self.shared.tools().iter().map(|tool| tool.listing()).collect()
    }

    /// The entries of the space, in the order in which they were written.
    pub fn entries(&self, space_id: &str) -> Vec<Entry> {
        self.shared.spaces.entries(space_id)
    }
}
