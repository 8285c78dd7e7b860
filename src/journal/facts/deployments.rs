//! The builds of the product, in the order in which the runner met them.

use jiff::Timestamp;

use super::{optional_words, words};
use crate::{
    domain::{Label, labels},
    facts::line,
    journal::{Journal, JournalError, Result, Row, number, text, time},
};

labels! {
    /// Where the version of a deployment comes from.
    pub DeploymentSource {
        /// The command `release`, or `POST /control/release`.
        Release = "release",
        /// PRODUCT_VERSION_URL.
        Url = "url",
        /// PRODUCT_VERSION.
        Env = "env",
        /// The version in mana-mcp's serverInfo, with a hash of the tool list.
        ServerInfo = "server-info",
    }
}

/// A build of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// The position among all deployments, from 1.
    pub number: i64,
    /// The version of the build.
    pub version: String,
    /// Where the version comes from.
    pub source: DeploymentSource,
    /// What was said about the release.
    pub note: Option<String>,
    /// When the daemon first met the build; `None` if it has not yet.
    pub first_at: Option<Timestamp>,
}

impl DeploymentRow {
    /// The id in exports and JSON: `D-` and the number.
    pub fn id(&self) -> String {
        id(self.number)
    }
}

/// The id of the deployment with this number.
pub(super) fn id(number: i64) -> String {
    format!("D-{number}")
}

/// Adds a deployment, unless the newest one has its version.
const ADD: &str = "INSERT INTO deployments (number, version, source, note, first_at) \
     SELECT (SELECT COALESCE(MAX(number), 0) + 1 FROM deployments), $1, $2, $3, $4 \
     WHERE NOT EXISTS (SELECT 1 FROM deployments WHERE version = $1 \
     AND number = (SELECT MAX(number) FROM deployments))";
/// Adds a deployment of a version that no release told. As soon as there is a release, only releases count.
const MEET: &str = " AND NOT EXISTS (SELECT 1 FROM deployments WHERE source = 'release')";
/// Ends all deployments that another one has followed.
const END: &str = "UPDATE deployments SET last_at = $1 WHERE last_at IS NULL AND first_at IS NOT NULL \
     AND number < (SELECT MAX(number) FROM deployments WHERE first_at IS NOT NULL)";
const CURRENT: &str =
    "SELECT * FROM deployments WHERE first_at IS NOT NULL ORDER BY number DESC LIMIT 1";
const NEWEST: &str = "SELECT * FROM deployments ORDER BY number DESC LIMIT 1";

impl Journal {
    /// The deployment that the daemon met last.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn current_deployment(&self) -> Result<Option<DeploymentRow>> {
        let rows = self.rows("look up the deployment", CURRENT, vec![]).await?;
        rows.first().map(read).transpose().map_err(of_row)
    }

    /// The latest deployments that the daemon has met, newest first; at most `most`.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn latest_deployments(&self, most: u32) -> Result<Vec<DeploymentRow>> {
        let sql =
            "SELECT * FROM deployments WHERE first_at IS NOT NULL ORDER BY number DESC LIMIT $1";
        let rows = self.rows("list the deployments", sql, vec![number(most)]).await?;
        Ok(self.readable("a deployment", &rows, read))
    }

    /// Leaves a release for the daemon to meet, and returns its deployment. If the newest deployment has this
    /// version, nothing changes and that deployment is returned.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn release(&self, version: &str, note: Option<&str>) -> Result<DeploymentRow> {
        let released = self.deploy(version, DeploymentSource::Release, note, None).await?;
        released.ok_or_else(|| of_row("there is none".into()))
    }

    /// Marks the releases that the daemon has not met yet as met at the time `at`, in their order. Returns the
    /// newest of them, which is the current deployment then; `None` if there are none.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn adopt_releases(&self, at: Timestamp) -> Result<Option<DeploymentRow>> {
        const ADOPT: &str =
            "UPDATE deployments SET first_at = $1 WHERE first_at IS NULL RETURNING *";
        let pending = "SELECT 1 FROM deployments WHERE first_at IS NULL LIMIT 1";
        if self.rows("look for releases", pending, vec![]).await?.is_empty() {
            return Ok(None);
        }
        let statements = [ADOPT, END].map(|sql| (sql.into(), vec![time(at)]));
        let adopted = self.write_facts_alone("adopt releases", statements.into()).await?;
        let adopted: std::result::Result<Vec<_>, _> = adopted.iter().map(read).collect();
        Ok(adopted.map_err(of_row)?.into_iter().max_by_key(|deployment| deployment.number))
    }

    /// The current deployment after the build of this version was met at the time `at`. If the current one has this
    /// version, it stays; otherwise there is a new one. If there is any release, nothing is added, because only
    /// releases count then; `None` if none of them was met yet.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn meet_deployment(
        &self,
        version: &str,
        source: DeploymentSource,
        at: Timestamp,
    ) -> Result<Option<DeploymentRow>> {
        self.deploy(version, source, None, Some(at)).await
    }

    async fn deploy(
        &self,
        version: &str,
        source: DeploymentSource,
        note: Option<&str>,
        at: Option<Timestamp>,
    ) -> Result<Option<DeploymentRow>> {
        let (last, condition) = if at.is_some() { (CURRENT, MEET) } else { (NEWEST, "") };
        let found = self.rows("look up the deployment", last, vec![]).await?;
        if let Some(found) = found.first().and_then(|row| read(row).ok())
            && found.version == version
        {
            return Ok(Some(found));
        }
        // Another process may add a deployment meanwhile, so the statements look for themselves.
        let values = vec![words(version), text(source.as_str()), optional_words(note), time(at)];
        let mut statements = vec![(format!("{ADD}{condition}").into(), values)];
        if at.is_some() {
            statements.push((END.into(), vec![time(at)]));
        }
        statements.push((last.into(), vec![]));
        let rows = self.write_facts_alone("note a deployment", statements).await?;
        rows.first().map(read).transpose().map_err(of_row)
    }

    /// Whether any deployment comes from a release. Then no other source counts.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn has_releases(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM deployments WHERE source = 'release' LIMIT 1";
        Ok(!self.rows("look for releases", sql, vec![]).await?.is_empty())
    }
}

fn of_row(detail: String) -> JournalError {
    JournalError::Row("a deployment", detail)
}

fn read(row: &Row) -> std::result::Result<DeploymentRow, String> {
    let source = row.text("source")?;
    Ok(DeploymentRow {
        number: row.number("number").ok_or("it has no number")?,
        version: row.text("version")?,
        source: DeploymentSource::parse(&source).ok_or_else(|| format!("source {source:?}"))?,
        note: row.text("note").ok(),
        first_at: row.time("first_at"),
    })
}

/// The line of a deployment that the daemon has met.
pub(super) fn line(row: &Row) -> std::result::Result<line::Deployment, String> {
    let DeploymentRow { number, version, source, first_at, .. } = read(row)?;
    let at = first_at.ok_or("it was not met")?;
    Ok(line::Deployment { id: id(number), version, source: source.as_str().into(), at })
}
