//! Embedded peers of the persona runner, over real sockets: mana-auth, mana-mcp, the product's health endpoint
//! and a scripted Claude.
//!
//! Each peer behaves as `docs/contracts` describes and refuses what the real peer refuses. Tests and the demo
//! start a whole [`Devstack`]. Every peer records the requests it receives ([`recorder::Recorder`]), can be
//! told to fail at the socket ([`fault::Faults`]) and reads the time from one shared [`clock::Clock`], which
//! can be set and run faster.

pub mod auth;
pub mod catalog;
pub mod chance;
#[cfg(feature = "browser")]
pub mod chromium;
pub mod claude;
pub mod clock;
pub mod daemon;
pub mod days;
pub mod fault;
pub mod jwt;
pub mod marked;
pub mod mcp;
pub mod picture;
pub mod probe;
pub mod product;
pub mod recorder;
pub mod story;
pub mod webhook;
pub mod wire;
pub mod worlds;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use auth::{AuthOptions, ManaAuth};
use claude::{ClaudeOptions, FakeClaude};
use clock::Clock;
use jwt::Keys;
use mcp::{ManaMcp, McpOptions};
use product::Product;

/// How the peers behave.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Settings of the simulated mana-auth.
    pub auth: AuthOptions,
    /// Settings of the simulated mana-mcp.
    pub mcp: McpOptions,
    /// Settings of the scripted Claude.
    pub claude: ClaudeOptions,
    /// Puts the runner's data folder on a tmpfs (in memory), on machines that have one.
    pub folder_in_memory: bool,
}

/// All peers. They share what the real peers share: mana-mcp accepts the JWTs of mana-auth and knows
/// which users have a vault there.
#[derive(Debug)]
pub struct Devstack {
    /// The mana-auth of this devstack.
    pub auth: ManaAuth,
    /// The mana-mcp of this devstack.
    pub mcp: ManaMcp,
    /// The scripted Claude of this devstack.
    pub claude: FakeClaude,
    /// The health endpoint of the product. No variable of [`Self::environment`] names it.
    pub product: Product,
    /// The clock that all peers read.
    pub clock: Clock,
    environment: Vec<(&'static str, String)>,
    data: DataFolder,
}

/// A data folder for the runner that uses these peers. It is removed when the devstack is dropped.
#[derive(Debug)]
struct DataFolder(PathBuf);

/// The path at which Linux mounts a tmpfs.
const IN_MEMORY: &str = "/dev/shm";

impl DataFolder {
    fn new(in_memory: bool) -> Self {
        let tmpfs = Some(PathBuf::from(IN_MEMORY)).filter(|folder| in_memory && folder.is_dir());
        let parent = tmpfs.unwrap_or_else(std::env::temp_dir);
        Self(parent.join(format!("mana-devstack-{}", uuid::Uuid::now_v7())))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // The folder does not exist if no runner was started.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Why a devstack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No key pair could be generated for the JWTs.
    #[error(transparent)]
    Keys(#[from] jwt::KeyError),
    /// mana-auth could not be started.
    #[error("mana-auth: {0}")]
    Auth(#[from] auth::StartError),
    /// mana-mcp could not be started.
    #[error("mana-mcp: {0}")]
    Mcp(#[from] mcp::StartError),
    /// No port could be bound for the health endpoint.
    #[error("health endpoint: {0}")]
    Product(#[from] std::io::Error),
    /// The scripted Claude could not be started.
    #[error("Claude: {0}")]
    Claude(#[from] claude::StartError),
}

impl Devstack {
    /// Starts the peers on free loopback ports.
    ///
    /// # Errors
    /// When one of the peers does not start.
    pub async fn start(options: Options, clock: Clock) -> Result<Self, StartError> {
        let keys = Keys::generate()?;
        let service_key = options.auth.service_key.clone();
        let api_key = options.claude.api_key.clone();
        let auth = ManaAuth::start(options.auth, clock.clone(), keys.clone()).await?;
        let vaults = auth.vaults();
        let has_vault = Arc::new(move |user: &str| vaults.is_initialised(user));
        let mcp = ManaMcp::start(options.mcp, clock.clone(), keys, has_vault).await?;
        let claude = FakeClaude::start(options.claude, clock.clone()).await?;
        let product = Product::start().await?;
        let data = DataFolder::new(options.folder_in_memory);
        let environment = vec![
            ("MANA_AUTH_URL", auth.url().to_owned()),
            ("MANA_MCP_URL", mcp.url().to_owned()),
            ("MANA_SERVICE_KEY", service_key),
            ("ANTHROPIC_BASE_URL", claude.url().to_owned()),
            ("ANTHROPIC_API_KEY", api_key),
            ("RUNNER_DATA_DIR", data.0.to_string_lossy().into_owned()),
        ];
        Ok(Self { auth, mcp, claude, product, clock, environment, data })
    }

    /// Stops keeping requests from now on, for tests with more requests than memory can hold. Counts, rows,
    /// calls and violations are still kept.
    pub fn stop_recording(&self) {
        for served in [&self.auth.served, &self.mcp.served, &self.claude.served] {
            served.recorder.turn_off();
        }
    }

    /// The folder for the journal of a runner that uses these peers.
    pub fn data_folder(&self) -> &Path {
        &self.data.0
    }

    /// The environment variables that point a runner at these peers and at a folder for its journal.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }
}
