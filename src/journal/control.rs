//! What outlives a restart besides runs: whether the runner is paused, and which budget is used up.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Journal, Result, text, time};
use crate::{clients::auth::RefusedTries, domain::Usd};

const PAUSE: &str = "pause";
const BUDGET: &str = "budget_reached";
const FITTING_SECRET: &str = "fitting_seed_secret";
const REFUSED_TRIES: &str = "refused_logins";

/// What happens to runs in flight when the runner is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseMode {
    /// They end after their current turn.
    Pause,
    /// They come to their own end.
    Drain,
}

/// That the runner is paused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What it means for runs in flight.
    pub mode: PauseMode,
    /// What the caller gave as the reason.
    pub reason: Option<String>,
    /// The caller's address.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// That the fleet's budget of a period is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReached {
    /// The variable that sets the budget.
    pub variable: String,
    /// Its value then: another one later is another budget.
    pub limit: Usd,
    /// When the next period begins.
    pub until: Timestamp,
}

/// The budgets as they are kept. Earlier versions kept the last one only.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeptBudgets {
    All(Vec<BudgetReached>),
    One(BudgetReached),
}

impl Journal {
    /// Whether the runner is paused.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn pause(&self) -> Result<Option<Pause>> {
        self.control(PAUSE).await
    }

    /// Pauses the runner, or resumes it with `None`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_pause(&self, pause: Option<&Pause>, now: Timestamp) -> Result<()> {
        self.set_control(PAUSE, pause, now).await
    }

    /// The budgets that are used up.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn budgets_reached(&self) -> Result<Vec<BudgetReached>> {
        Ok(match self.control(BUDGET).await? {
            Some(KeptBudgets::All(reached)) => reached,
            Some(KeptBudgets::One(reached)) => vec![reached],
            None => Vec::new(),
        })
    }

    /// Writes down which budgets are used up.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_budgets_reached(
        &self,
        reached: &[BudgetReached],
        now: Timestamp,
    ) -> Result<()> {
        self.set_control(BUDGET, Some(reached), now).await
    }

    /// The fingerprint of the seed secret that opened an account last.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn fitting_secret(&self) -> Result<Option<String>> {
        self.control(FITTING_SECRET).await
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_fitting_secret(&self, fingerprint: &str, now: Timestamp) -> Result<()> {
        self.set_control(FITTING_SECRET, Some(fingerprint), now).await
    }

    /// The logins that mana-auth has refused of late.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn refused_tries(&self) -> Result<RefusedTries> {
        Ok(self.control(REFUSED_TRIES).await?.unwrap_or_default())
    }

    /// Writes them down.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_refused_tries(&self, tries: &RefusedTries, now: Timestamp) -> Result<()> {
        self.set_control(REFUSED_TRIES, Some(tries), now).await
    }

    async fn control<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        let sql = "SELECT value FROM control WHERE name = $1";
        let rows = self.rows("read its control table", sql, vec![text(name)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        // A value of another version of this program says nothing to this one.
        let read = serde_json::from_str(&row.text("value").unwrap_or_default());
        let told = |error: &serde_json::Error| {
            tracing::warn!("the journal's control value {name:?} is left aside: {error}");
        };
        Ok(read.inspect_err(told).ok())
    }

    async fn set_control<T: Serialize + ?Sized>(
        &self,
        name: &'static str,
        value: Option<&T>,
        now: Timestamp,
    ) -> Result<()> {
        let (sql, values) = match value.and_then(|value| serde_json::to_string(value).ok()) {
            Some(value) => (
                "INSERT INTO control (name, value, at) VALUES ($1, $2, $3) ON CONFLICT \
                 (name) DO UPDATE SET value = excluded.value, at = excluded.at",
                vec![text(name), text(value), time(now)],
            ),
            None => ("DELETE FROM control WHERE name = $1", vec![text(name)]),
        };
        self.change("write its control table", sql, values).await.map(drop)
    }
}
