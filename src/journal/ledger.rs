//! Money: reserved before a request, settled after it, in the same transactions as the steps.
//!
//! An amount holds what was spent and what is reserved, in one number: the reservation of a request
//! whose answer was lost stays, so the ledger is never below what was billed, kill -9 or not.

use std::collections::HashMap;

use jiff::{Timestamp, tz::TimeZone};
use sqlx::{Any, Row, Transaction, any::AnyArguments, query::Query};

use super::{Journal, Result, bigint, count, steps};
use crate::domain::{RunId, Usd, UserId};

const FLEET: &str = "fleet";

/// What may be spent; `None` is no cap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caps {
    /// By all personas in a day (UTC).
    pub daily: Option<Usd>,
    /// By all personas in a month (UTC).
    pub monthly: Option<Usd>,
    /// By one persona in a day (UTC).
    pub persona_daily: Option<Usd>,
}

impl Caps {
    /// This one of them.
    pub fn of(&self, cap: Cap) -> Option<Usd> {
        match cap {
            Cap::Daily => self.daily,
            Cap::Monthly => self.monthly,
            Cap::PersonaDaily => self.persona_daily,
        }
    }
}

/// A cap that a request does not fit under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// BUDGET_DAILY_USD.
    Daily,
    /// BUDGET_MONTHLY_USD.
    Monthly,
    /// PERSONA_DAILY_USD.
    PersonaDaily,
}

impl Cap {
    /// All of them, in the order of the accounts of a [`Spending`].
    const ALL: [Self; 3] = [Self::Daily, Self::Monthly, Self::PersonaDaily];

    /// The variable that sets it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Daily => "BUDGET_DAILY_USD",
            Self::Monthly => "BUDGET_MONTHLY_USD",
            Self::PersonaDaily => "PERSONA_DAILY_USD",
        }
    }

    /// Whether it stops every persona.
    pub fn is_of_fleet(self) -> bool {
        self != Self::PersonaDaily
    }
}

/// A request does not fit under a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// The cap.
    pub cap: Cap,
    /// What it has left, beside what is spent and reserved; all of it where a request is larger than that.
    pub left: Usd,
}

/// Where a request's money is booked: a persona on a day.
#[derive(Clone, Debug)]
pub struct Spending {
    /// Scope and period of each, in the order of `Cap::ALL`.
    accounts: [(String, String); 3],
}

impl Spending {
    /// The accounts of this persona now.
    pub fn of(persona: &UserId, now: Timestamp) -> Self {
        let now = now.to_zoned(TimeZone::UTC);
        let day = now.strftime("%Y-%m-%d").to_string();
        let month = now.strftime("%Y-%m").to_string();
        let accounts = [
            (FLEET.to_owned(), day.clone()),
            (FLEET.to_owned(), month),
            (format!("persona:{persona}"), day),
        ];
        Self { accounts }
    }

    /// Binds scope and period of each account, in order.
    fn bind_to<'q>(&'q self, query: Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments> {
        self.accounts.iter().fold(query, |query, (scope, period)| query.bind(scope).bind(period))
    }
}

impl Journal {
    /// Reserves `amount` and appends the step that says what for. Nothing is written where it does not
    /// fit under a cap, which is returned.
    ///
    /// # Errors
    /// When it cannot be written; nothing is, then.
    pub async fn reserve(
        &self,
        (run, number, body): (RunId, u32, &str),
        spending: &Spending,
        amount: Usd,
        caps: &Caps,
        now: Timestamp,
    ) -> Result<std::result::Result<(), NoRoom>> {
        let limits = Cap::ALL.map(|cap| (cap, caps.of(cap)));
        let too_small = limits.into_iter().filter_map(|(cap, limit)| {
            limit.filter(|limit| amount > *limit).map(|left| NoRoom { cap, left })
        });
        if let Some(no_room) = too_small.min_by_key(|no_room| no_room.left) {
            return Ok(Err(no_room));
        }
        self.write("reserve money", async {
            let mut tx = self.pool.begin().await?;
            if !steps::append(&mut tx, run, number, body, now).await? {
                return Ok(Ok(()));
            }
            let booking = sqlx::query(
                "INSERT INTO ledger (amount, scope, period) \
                 VALUES ($1, $2, $3), ($1, $4, $5), ($1, $6, $7) \
                 ON CONFLICT (scope, period) DO UPDATE SET amount = excluded.amount + \
                 CASE WHEN CAST(ledger.amount AS BIGINT) < 0 THEN 0 \
                 ELSE CAST(ledger.amount AS BIGINT) END \
                 RETURNING scope, period, CAST(amount AS BIGINT)",
            );
            let booking = booking.bind(bigint(amount.picodollars()));
            let booked = spending.bind_to(booking).fetch_all(&mut *tx).await?;
            let booked = booked.iter().map(|row| {
                let account = (row.try_get(0)?, row.try_get(1)?);
                Ok((account, Usd::from_picodollars(count(row.try_get(2)?))))
            });
            let booked = booked.collect::<sqlx::Result<HashMap<(String, String), Usd>>>()?;
            let accounts = limits.iter().zip(&spending.accounts);
            let over = accounts.into_iter().filter_map(|((cap, limit), account)| {
                // An account that is not told counts as over its cap.
                let booked = booked.get(account).copied().unwrap_or(Usd::MAX);
                let limit = limit.filter(|limit| booked > *limit)?;
                let left = limit.saturating_sub(booked.saturating_sub(amount));
                Some(NoRoom { cap: *cap, left })
            });
            if let Some(no_room) = over.min_by_key(|no_room| no_room.left) {
                tx.rollback().await?;
                return Ok(Err(no_room));
            }
            add_to_run(&mut tx, run, bigint(amount.picodollars())).await?;
            tx.commit().await?;
            Ok(Ok(()))
        })
        .await
    }

    /// Puts what a request cost in the place of what was reserved for it with the step of this number, and
    /// appends the step that says what came of it. Nothing is written where nothing was reserved.
    ///
    /// # Errors
    /// When it cannot be written; nothing is, then.
    pub async fn settle(
        &self,
        (run, number, body): (RunId, u32, &str),
        asking: u32,
        spending: &Spending,
        (reserved, cost): (Usd, Usd),
        now: Timestamp,
    ) -> Result<()> {
        let difference = bigint(cost.picodollars()).saturating_sub(bigint(reserved.picodollars()));
        self.write("settle a request", async {
            let mut tx = self.pool.begin().await?;
            if !steps::append(&mut tx, run, number, body, now).await? {
                return Ok(());
            }
            // Behind the first write, and so behind all that was under way.
            if !steps::is_written(&mut tx, run, asking).await? {
                return tx.rollback().await;
            }
            let booking = sqlx::query(
                "UPDATE ledger SET amount = amount + $1 WHERE (scope = $2 AND period = $3) \
                 OR (scope = $4 AND period = $5) OR (scope = $6 AND period = $7)",
            );
            spending.bind_to(booking.bind(difference)).execute(&mut *tx).await?;
            add_to_run(&mut tx, run, difference).await?;
            tx.commit().await
        })
        .await
    }

    /// What the fleet has spent and reserved on the day and in the month of `now` (UTC).
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn fleet_spending(&self, now: Timestamp) -> Result<(Usd, Usd)> {
        let now = now.to_zoned(TimeZone::UTC);
        let day = now.strftime("%Y-%m-%d").to_string();
        let month = now.strftime("%Y-%m").to_string();
        let rows = self
            .read("read the ledger", async {
                let rows = sqlx::query(
                    "SELECT period, CAST(amount AS BIGINT) FROM ledger WHERE scope = $1 AND period IN ($2, $3)",
                )
                .bind(FLEET)
                .bind(&day)
                .bind(&month)
                .fetch_all(&self.pool)
                .await?;
                let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
                rows.collect::<sqlx::Result<Vec<(String, i64)>>>()
            })
            .await?;
        let of = |wanted: &str| {
            let found = rows.iter().find(|(period, _)| period == wanted);
            Usd::from_picodollars(found.map(|(_, amount)| count(*amount)).unwrap_or_default())
        };
        Ok((of(&day), of(&month)))
    }
}

async fn add_to_run(tx: &mut Transaction<'_, Any>, run: RunId, amount: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE runs SET spent = spent + $2 WHERE id = $1")
        .bind(run.to_string())
        .bind(amount)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
