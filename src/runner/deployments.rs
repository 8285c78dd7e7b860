//! Which build of the product is deployed, as the runner learns it: from releases that a deploy job tells of, else
//! from PRODUCT_VERSION_URL, else from PRODUCT_VERSION, else from what mana-mcp says about itself.
//!
//! Builds are ordered as they were met, never by version. Without any source no deployment is known, and runs name
//! none.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    clients::{
        mcp::Tool,
        product::{ProductClient, ProductError},
    },
    clock::Clock,
    config::ProductConfig,
    domain::ProductVersion,
    http::HttpClient,
    journal::{DeploymentRow, DeploymentSource, Journal, JournalError},
};

/// The shortest time between two requests to PRODUCT_VERSION_URL, by the daemon's clock.
const PERIOD: SignedDuration = SignedDuration::from_secs(30);

/// Knows which build of the product is deployed.
#[derive(Debug)]
pub(crate) struct Deployments {
    journal: Journal,
    clock: Clock,
    product: Option<ProductClient>,
    /// PRODUCT_VERSION.
    set: Option<ProductVersion>,
    /// The current deployment.
    current: Mutex<Option<DeploymentRow>>,
    /// What PRODUCT_VERSION_URL has answered. Held while a deployment is looked up, so that the current one is not
    /// replaced by an earlier one, and runs that end at the same time share one request.
    asked: tokio::sync::Mutex<Asked>,
    /// The tool list that was hashed last, with its hash.
    hashed: Mutex<Option<(Arc<[Tool]>, String)>>,
}

/// The version that mana-mcp gives of itself, of at most 100 characters, and the tools that it lists.
type Server<'s> = (Option<&'s str>, &'s Arc<[Tool]>);

/// What PRODUCT_VERSION_URL has answered.
#[derive(Debug, Default)]
struct Asked {
    /// When it was asked last, by the daemon's clock.
    at: Option<Timestamp>,
    /// The last version that it has named.
    version: Option<ProductVersion>,
    /// Whether the last request failed.
    is_failing: bool,
}

impl Deployments {
    /// Starts with the deployment that is current according to the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn load(
        journal: Journal,
        clock: Clock,
        http: HttpClient,
        config: &ProductConfig,
    ) -> Result<Self, JournalError> {
        let current = Mutex::new(journal.current_deployment().await?);
        let product = config.version_url.clone().map(|url| ProductClient::new(http, url));
        let (asked, hashed) = Default::default();
        Ok(Self { journal, clock, product, set: config.version.clone(), current, asked, hashed })
    }

    /// The number of the current deployment, as it was looked up last; `None` if no deployment is known.
    pub(super) fn current(&self) -> Option<i64> {
        self.current.lock().as_ref().map(|deployment| deployment.number)
    }

    /// Looks up the deployment that is current at mana-auth's time `at`. If that fails, the one before stays.
    pub(super) async fn follow(&self, at: Timestamp) {
        self.look(at, None).await;
    }

    /// Like [`Self::follow`], at the end of a run. Releases wait for the next tick, so that the end of a run costs a
    /// look only if PRODUCT_VERSION_URL was not asked within the last [`PERIOD`].
    pub(super) async fn follow_at_end(&self, at: Timestamp) {
        let is_released = || {
            let current = self.current.lock();
            current.as_ref().is_some_and(|it| it.source == DeploymentSource::Release)
        };
        if self.product.is_none() || is_released() {
            return;
        }
        let mut asked = self.asked.lock().await;
        if !asked.is_fresh(self.clock.now()) {
            self.note(self.find(&mut asked, at, None).await);
        }
    }

    /// Like [`Self::follow`], at the begin of a session: if nothing else tells which build is deployed, the version of
    /// the server and the tools that it listed do. Returns the number of the current deployment if they do.
    pub(super) async fn meet_server(
        &self,
        version: Option<&str>,
        tools: &Arc<[Tool]>,
        at: Timestamp,
    ) -> Option<i64> {
        if !self.is_met(version, tools) {
            self.look(at, Some((version, tools))).await;
        }
        let current = self.current.lock();
        let told = current.as_ref().filter(|it| it.source == DeploymentSource::ServerInfo);
        told.map(|deployment| deployment.number)
    }

    /// Notes a release of this version, which is the current deployment from now on. If mana-auth's time `at` is not
    /// known yet, the release becomes current at the next tick. If the newest deployment has this version, nothing
    /// changes.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) async fn release(
        &self,
        version: &ProductVersion,
        note: Option<&str>,
        at: Option<Timestamp>,
    ) -> Result<DeploymentRow, JournalError> {
        let mut asked = self.asked.lock().await;
        let released = self.journal.release(version.as_str(), note).await?;
        if let Some(at) = at {
            self.note(self.find(&mut asked, at, None).await);
        }
        Ok(released)
    }

    /// Whether a server with this version and these tools changes nothing about the current deployment.
    fn is_met(&self, version: Option<&str>, tools: &Arc<[Tool]>) -> bool {
        let Some(current) = self.current.lock().clone() else { return false };
        match current.source {
            DeploymentSource::Release => true,
            DeploymentSource::Url => self.product.is_some(),
            DeploymentSource::Env => {
                self.set.as_ref().is_some_and(|set| set.as_str() == current.version)
            }
            DeploymentSource::ServerInfo => {
                self.product.is_none()
                    && self.set.is_none()
                    && self.version_of(version, tools) == current.version
            }
        }
    }

    /// The version of a server, by its own version and the tools that it lists.
    fn version_of(&self, version: Option<&str>, tools: &Arc<[Tool]>) -> String {
        format!("{}~{}", version.unwrap_or("unknown"), self.hash(tools))
    }

    async fn look(&self, at: Timestamp, server: Option<Server<'_>>) {
        let mut asked = self.asked.lock().await;
        self.note(self.find(&mut asked, at, server).await);
    }

    fn note(&self, found: Result<Option<DeploymentRow>, JournalError>) {
        match found {
            Ok(Some(found)) => {
                let mut current = self.current.lock();
                let is_new = current.as_ref().is_none_or(|current| current.number != found.number);
                if is_new {
                    let (id, source) = (found.id(), found.source.as_str());
                    tracing::info!(
                        id,
                        version = found.version,
                        source,
                        "a deployment of the product"
                    );
                }
                *current = Some(found);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("{error}; the product's deployment stays what it was"),
        }
    }

    /// The deployment of the first source that answers; `None` if the current deployment stays.
    async fn find(
        &self,
        asked: &mut Asked,
        at: Timestamp,
        server: Option<Server<'_>>,
    ) -> Result<Option<DeploymentRow>, JournalError> {
        self.journal.adopt_releases(at).await?;
        if self.journal.has_releases().await? {
            return self.journal.current_deployment().await;
        }
        let told = match &self.product {
            Some(product) => self.ask(product, asked).await,
            None => None,
        };
        let was_told = || {
            let current = self.current.lock();
            let source = current.as_ref().map(|current| current.source);
            self.product.is_some() && source == Some(DeploymentSource::Url)
        };
        let (version, source) = match (&told, &self.set, server) {
            (Some(version), ..) => (version.to_string(), DeploymentSource::Url),
            // An earlier process was told a version, and that one stays.
            (None, ..) if was_told() => return Ok(None),
            (None, Some(set), _) => (set.to_string(), DeploymentSource::Env),
            (None, None, Some((version, tools))) => {
                (self.version_of(version, tools), DeploymentSource::ServerInfo)
            }
            (None, None, None) => return Ok(None),
        };
        self.journal.meet_deployment(&version, source, at).await.map(Some)
    }

    /// The last version that the product has told. The product is asked at most every [`PERIOD`].
    async fn ask(&self, product: &ProductClient, asked: &mut Asked) -> Option<ProductVersion> {
        let now = self.clock.now();
        if !asked.is_fresh(now) {
            let answer = product.version().await;
            asked.at = Some(now);
            asked.note(answer);
        }
        asked.version.clone()
    }

    /// 8 hexadecimal digits of the hash of a tool list.
    fn hash(&self, tools: &Arc<[Tool]>) -> String {
        let mut hashed = self.hashed.lock();
        if let Some((last, hash)) = &*hashed
            && Arc::ptr_eq(last, tools)
        {
            return hash.clone();
        }
        // Names, texts and schemas that were JSON before.
        let listed = serde_json::to_vec(tools.as_ref()).unwrap_or_default();
        let digest = Sha256::digest(listed);
        let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        *hashed = Some((tools.clone(), hash.clone()));
        hash
    }
}

impl Asked {
    /// Whether the product was asked within the last [`PERIOD`].
    fn is_fresh(&self, now: Timestamp) -> bool {
        // After the clock was set back, the time of the last request says nothing.
        self.at.is_some_and(|at| at <= now && now.duration_since(at) < PERIOD)
    }

    /// Notes an answer. Only the first failure in a row is logged.
    fn note(&mut self, answer: Result<ProductVersion, ProductError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, answer.is_err());
        match answer {
            Ok(version) => {
                if was_failing {
                    tracing::info!("PRODUCT_VERSION_URL names a version again");
                }
                self.version = Some(version);
            }
            Err(error) if !was_failing => {
                tracing::warn!("PRODUCT_VERSION_URL: {error}; the last version stays");
            }
            Err(_) => {}
        }
    }
}
