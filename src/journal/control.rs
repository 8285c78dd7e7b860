//! Values that are kept under a name: whether the runner is paused, which budgets are used up, and what logins have
//! shown.

use std::marker::PhantomData;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Journal, Result, text, time};
use crate::{clients::auth::RefusedTries, domain::Usd};

/// The name of a value, and the type that its JSON is read as.
#[derive(Clone, Copy, Debug)]
pub struct Key<T>(&'static str, PhantomData<T>);

impl<T> Key<T> {
    /// The key of the value with this name.
    pub(super) const fn named(name: &'static str) -> Self {
        Self(name, PhantomData)
    }

    pub(super) const fn name(&self) -> &'static str {
        self.0
    }
}

/// Is set while the runner is paused.
pub(crate) const PAUSE: Key<Pause> = Key("pause", PhantomData);
/// The budgets that are used up.
pub(crate) const BUDGETS: Key<Vec<BudgetReached>> = Key("budget_reached", PhantomData);
/// The fingerprint of the seed secret with which the last successful login was made.
pub(crate) const FITTING_SECRET: Key<String> = Key("fitting_seed_secret", PhantomData);
/// The latest logins that mana-auth has refused.
pub(crate) const REFUSED_TRIES: Key<RefusedTries> = Key("refused_logins", PhantomData);

/// What a pause does with the runs in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PauseMode {
    /// The runs end after their current turn.
    Pause,
    /// The runs are completed.
    Drain,
}

/// A pause that an operator has requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// What the pause does with the runs in flight.
    pub mode: PauseMode,
    /// The reason that the operator gave.
    pub reason: Option<String>,
    /// The IP address that the request came from.
    pub by: String,
    /// When the pause was requested.
    pub since: Timestamp,
}

/// A budget of the fleet that is used up in the current period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetReached {
    /// The name of the variable that sets the budget.
    pub variable: String,
    /// The value of the variable then. If the variable has another value later, this entry no longer holds.
    pub limit: Usd,
    /// When the period ends.
    pub until: Timestamp,
}

impl Journal {
    /// The value of this name; `None` if there is none or if it has another form.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn kept<T: DeserializeOwned>(&self, key: Key<T>) -> Result<Option<T>> {
        let sql = "SELECT value FROM control WHERE name = $1";
        let rows = self.rows("read its control table", sql, vec![text(key.0)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        // Another version of this program may have written the value in another form.
        let read = serde_json::from_str(&row.text("value").unwrap_or_default());
        let told = |error: &serde_json::Error| {
            tracing::warn!("the journal's control value {:?} is left aside: {error}", key.0);
        };
        Ok(read.inspect_err(told).ok())
    }

    /// Stores the value of this name; `None` deletes it.
    ///
    /// # Errors
    /// If the journal cannot be written.
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
        self.change("write its control table", sql, values).await
    }
}
