//! mana-mcp: the tool gateway, as docs/contracts/mana-mcp.md describes it.
//!
//! The MCP protocol is handled by rmcp's server. In front of it are the checks that the real server makes
//! first; behind it the answers are changed to the form of the TypeScript SDK. JWT and space are fixed when a
//! session is opened. The tools work on a generic store per space, so that reads return what was written.

mod calls;
mod catalog;
mod door;
mod handler;
mod planted;
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
    planted::{PlantedFault, Shows, Strike, Toll},
    space::Entry,
};
use self::{catalog::Tool, door::Door, handler::Shared, planted::Planted};
use crate::{clock::Clock, jwt::Keys, wire::Served};

/// The version that the recorded server names.
const RECORDED_VERSION: &str = "0.1.0";

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
    /// Decides which calls a planted fault strikes that strikes only some.
    pub seed: u64,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self {
            page_size: None,
            policy: ServerPolicy::default(),
            tools: ToolSet::default(),
            idle_timeout: Some(Duration::from_secs(10)),
            seed: 0,
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
            planted: Planted::new(options.seed),
            version: RwLock::new(RECORDED_VERSION.into()),
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

    /// Plants a fault. Faults planted earlier strike first, and planted faults before [`Self::override_tool`].
    pub fn plant(&self, fault: PlantedFault) {
        self.shared.planted.plant(fault);
    }

    /// Removes the planted faults of this name. What they struck stays counted.
    pub fn uproot(&self, name: &str) {
        self.shared.planted.uproot(name);
    }

    /// Everything that planted faults struck, in order.
    pub fn strikes(&self) -> Vec<Strike> {
        self.shared.planted.strikes()
    }

    /// What the planted faults of this name did.
    pub fn toll(&self, name: &str) -> Toll {
        self.strikes().iter().filter(|strike| strike.fault == name).collect()
    }

    /// Names this version in `serverInfo` of every session that is opened from now on.
    pub fn set_version(&self, version: &str) {
        *self.shared.version.write().unwrap_or_else(PoisonError::into_inner) = version.to_owned();
    }

    /// Offers these tools of the catalog from now on, without the tools that were added.
    ///
    /// # Errors
    /// When the catalog is invalid.
    pub fn set_tools(&self, tools: &ToolSet) -> Result<(), serde_json::Error> {
        let tools = catalog::tools(tools)?;
        *self.shared.tools.write().unwrap_or_else(PoisonError::into_inner) = tools;
        Ok(())
    }

    /// Gives the tool another input schema from now on; returns whether there is such a tool.
    pub fn set_schema(&self, name: &str, input_schema: Map<String, Value>) -> bool {
        let mut tools = self.shared.tools.write().unwrap_or_else(PoisonError::into_inner);
        let tool = tools.iter_mut().find(|tool| tool.name == name);
        tool.map(|tool| Arc::make_mut(tool).set_schema(input_schema)).is_some()
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
