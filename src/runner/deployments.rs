//! Which build of the product is deployed, as the runner learns it: from releases that a deploy job tells of, else
//! from PRODUCT_VERSION_URL, else from PRODUCT_VERSION, else from what mana-mcp says about itself.
//!
//! Builds are ordered as they were met, never by version. Without any source no deployment is known, and runs name
//! none.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

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
/// How long a run waits at most for the current deployment to be looked up: a little longer than a request to
/// PRODUCT_VERSION_URL may take.
const LOOK_LIMIT: Duration = Duration::from_millis(2_500);

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
    /// What PRODUCT_VERSION_URL has answered.
    asked: Mutex<Asked>,
    /// Held while a deployment is looked up, so that the current one is not replaced by an earlier one, and runs that
    /// end at the same time share one request.
    looking: tokio::sync::Mutex<()>,
    /// The tool list that was hashed last, with its hash.
    hashed: Mutex<Option<(Arc<[Tool]>, String)>>,
}

/// The version that mana-mcp gives of itself, of at most 100 characters, and the tools that it lists.
pub(super) type Server<'s> = (Option<&'s str>, &'s Arc<[Tool]>);

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
        let (set, asked, looking, hashed) =
            (config.version.clone(), <_>::default(), <_>::default(), <_>::default());
        Ok(Self { journal, clock, product, set, current, asked, looking, hashed })
    }

    /// The number of the current deployment, as it was looked up last; `None` if no deployment is known.
    pub(super) fn current(&self) -> Option<i64> {
        self.current.lock().as_ref().map(|deployment| deployment.number)
    }

    /// Looks up the deployment that is current at mana-auth's time `at`, for a tick that may begin runs. Adopts the
    /// releases that the command line has left. If the look fails, the deployment before stays.
    pub(super) async fn follow(&self, at: Timestamp) {
        let _looking = self.looking.lock().await;
        self.note(self.adopt(at).await);
        if !self.is_released() {
            self.ask().await;
            self.note(self.meet(at, None).await);
        }
    }

    /// The number of the deployment that is current at mana-auth's time `at`, for a run: releases wait for the next
    /// tick, and an answer of PRODUCT_VERSION_URL is shared for [`PERIOD`]. If no other source tells which build is
    /// deployed, the `server` does. Reads nothing of the journal, and waits for at most [`LOOK_LIMIT`]; then the
    /// deployment before counts.
    pub(super) async fn of_run(&self, at: Timestamp, server: Option<Server<'_>>) -> Option<i64> {
        if self.must_ask() || self.news(server).is_some() {
            let look = async {
                let _looking = self.looking.lock().await;
                self.ask().await;
                self.note(self.meet(at, server).await);
            };
            if timeout(LOOK_LIMIT, look).await.is_err() {
                tracing::debug!("the deployment is not known in time; the one before counts");
            }
        }
        self.current()
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
        let _looking = self.looking.lock().await;
        let released = self.journal.release(version.as_str(), note).await?;
        if let Some(at) = at {
            self.note(self.adopt(at).await);
        }
        Ok(released)
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

    /// Adopts the releases that no tick has met yet. The current deployment, if it is a release then.
    async fn adopt(&self, at: Timestamp) -> Result<Option<DeploymentRow>, JournalError> {
        match self.journal.adopt_releases(at).await? {
            None if self.journal.has_releases().await? => self.journal.current_deployment().await,
            adopted => Ok(adopted),
        }
    }

    /// The deployment of the version that is known now; `None` if the current deployment stays.
    async fn meet(
        &self,
        at: Timestamp,
        server: Option<Server<'_>>,
    ) -> Result<Option<DeploymentRow>, JournalError> {
        match self.news(server) {
            Some((version, source)) => self.journal.meet_deployment(&version, source, at).await,
            None => Ok(None),
        }
    }

    /// The version that the first source has told, if it is not that of the current deployment.
    fn news(&self, server: Option<Server<'_>>) -> Option<(String, DeploymentSource)> {
        let current = self.current.lock().clone();
        let source = current.as_ref().map(|current| current.source);
        if source == Some(DeploymentSource::Release) {
            return None;
        }
        let told = self.asked.lock().version.clone();
        let (version, source) = match (told, &self.set, server) {
            (Some(version), ..) => (version.to_string(), DeploymentSource::Url),
            // An earlier process was told a version, and that one stays.
            (None, ..) if self.product.is_some() && source == Some(DeploymentSource::Url) => {
                return None;
            }
            (None, Some(set), _) => (set.to_string(), DeploymentSource::Env),
            (None, None, Some((version, tools))) => {
                let version = format!("{}~{}", version.unwrap_or("unknown"), self.hash(tools));
                (version, DeploymentSource::ServerInfo)
            }
            (None, None, None) => return None,
        };
        (current.is_none_or(|current| current.version != version)).then_some((version, source))
    }

    /// Whether only releases count.
    fn is_released(&self) -> bool {
        let current = self.current.lock();
        current.as_ref().is_some_and(|current| current.source == DeploymentSource::Release)
    }

    /// Whether PRODUCT_VERSION_URL counts and was not asked within the last [`PERIOD`].
    fn must_ask(&self) -> bool {
        let now = self.clock.now();
        // After the clock was set back, the time of the last request says nothing.
        let is_fresh = |at: Timestamp| at <= now && now.duration_since(at) < PERIOD;
        self.product.is_some() && !self.is_released() && !self.asked.lock().at.is_some_and(is_fresh)
    }

    /// Asks PRODUCT_VERSION_URL, if it must be asked.
    async fn ask(&self) {
        if let Some(product) = self.product.as_ref().filter(|_| self.must_ask()) {
            let now = self.clock.now();
            let answer = product.version().await;
            let mut asked = self.asked.lock();
            asked.at = Some(now);
            asked.note(answer);
        }
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{config::VersionUrl, domain::Redactor, metrics::Metrics};

    const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

    /// Those of a product that has told the version "1" just now and no longer answers.
    async fn told(journal: &Journal) -> Deployments {
        journal.meet_deployment("1", DeploymentSource::Url, NOON).await.unwrap();
        let http = HttpClient::new(Arc::new(Metrics::new("0").unwrap()), Redactor::default());
        let url = VersionUrl::parse("http://127.0.0.1:9/#/version").unwrap();
        let config = ProductConfig { version_url: Some(url), version: None };
        let (journal, clock) = (journal.clone(), Clock::manual(NOON));
        let deployments = Deployments::load(journal, clock, http.unwrap(), &config).await.unwrap();
        let version = ProductVersion::parse("1").ok();
        *deployments.asked.lock() = Asked { at: Some(NOON), version, is_failing: false };
        deployments
    }

    #[tokio::test]
    async fn a_run_shares_a_fresh_answer_without_waiting_and_waits_a_bounded_time_for_another_one()
    {
        let journal = Journal::in_memory().await.unwrap();
        let deployments = told(&journal).await;
        let _stuck = deployments.looking.lock().await;
        let of_run = || deployments.of_run(NOON, None);
        assert_eq!(of_run().now_or_never(), Some(Some(1)));
        deployments.clock.advance(Duration::from_secs(30));
        assert_eq!(of_run().now_or_never(), None, "it must be asked again");
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        assert_eq!(of_run().await, Some(1));
        assert_eq!(begun.elapsed().as_secs(), LOOK_LIMIT.as_secs());
    }

    #[tokio::test]
    async fn a_release_of_the_command_line_waits_for_a_tick_and_nothing_else_is_met_meanwhile() {
        let journal = Journal::in_memory().await.unwrap();
        let deployments = told(&journal).await;
        journal.release("3", None).await.unwrap();
        // An answer to a question that was asked before the release.
        deployments.asked.lock().version = ProductVersion::parse("2").ok();
        assert_eq!(deployments.of_run(NOON, None).await, Some(1));
        deployments.follow(NOON).await;
        assert_eq!(deployments.of_run(NOON, None).await, Some(2));
        let current = journal.current_deployment().await.unwrap().unwrap();
        assert_eq!((current.number, &*current.version), (2, "3"));
    }
}
