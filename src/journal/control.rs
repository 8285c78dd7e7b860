//! What outlives a restart besides runs: whether the runner is paused, and which budget is used up.

use std::marker::PhantomData;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Journal, Result, text, time};
use crate::{clients::auth::RefusedTries, domain::Usd};

/// What is kept under a name, as JSON: a value of one type.
#[derive(Clone, Copy, Debug)]
pub struct Key<T>(&'static str, PhantomData<T>);

/// That the runner is paused.
pub(crate) const PAUSE: Key<Pause> = Key("pause", PhantomData);
/// The budgets that are used up.
pub(crate) const BUDGETS: Key<Vec<BudgetReached>> = Key("budget_reached", PhantomData);
/// The fingerprint of the seed secret that opened an account last.
pub(crate) const FITTING_SECRET: Key<String> = Key("fitting_seed_secret", PhantomData);
/// The logins that mana-auth has refused of late.
pub(crate) const REFUSED_TRIES: Key<RefusedTries> = Key("refused_logins", PhantomData);

/// What happens to runs in flight when the runner is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PauseMode {
    /// They end after their current turn.
    Pause,
    /// They come to their own end.
    Drain,
}

/// That the runner is paused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
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
pub(crate) struct BudgetReached {
    /// The variable that sets the budget.
    pub variable: String,
    /// Its value then: another one later is another budget.
    pub limit: Usd,
    /// When the next period begins.
    pub until: Timestamp,
}

impl Journal {
    /// What is kept under this name.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn kept<T: DeserializeOwned>(&self, key: Key<T>) -> Result<Option<T>> {
        let sql = "SELECT value FROM control WHERE name = $1";
        let rows = self.rows("read its control table", sql, vec![text(key.0)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        // A value of another version of this program says nothing to this one.
        let read = serde_json::from_str(&row.text("value").unwrap_or_default());
        let told = |error: &serde_json::Error| {
            tracing::warn!("the journal's control value {:?} is left aside: {error}", key.0);
        };
        Ok(read.inspect_err(told).ok())
    }

    /// Keeps a value under this name, or nothing any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep<T: Serialize>(
        &self,
        key: Key<T>,
        value: Option<&T>,
        now: Timestamp,
    ) -> Result<()> {
        let (sql, values) = match value.and_then(|value| serde_json::to_string(value).ok()) {
            Some(value) => (
                "INSERT INTO control (name, value, at) VALUES ($1, $2, $3) ON CONFLICT \
                 (name) DO UPDATE SET value = excluded.value, at = excluded.at",
                vec![text(key.0), text(value), time(now)],
            ),
            None => ("DELETE FROM control WHERE name = $1", vec![text(key.0)]),
        };
        self.change("write its control table", sql, values).await.map(drop)
    }
}
