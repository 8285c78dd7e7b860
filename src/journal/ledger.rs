//! Money: reserved before a request, settled after it, in the same transactions as the steps.
//!
//! An amount holds what was spent and what is reserved, in one number: the reservation of a request
//! whose answer was lost stays, so the ledger is never below what was billed, kill -9 or not.

use jiff::{Timestamp, tz::TimeZone};

use super::{Journal, Result, Row, Statement, Value, number, text};
use crate::domain::{Label, RunId, Usd, UserId, labels};

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

labels! {
    /// A cap that a request does not fit under, in the order of the accounts of a [`Spending`]; its word is the
    /// variable that sets it.
    pub Cap {
        /// Of all personas in a day.
        Daily = "BUDGET_DAILY_USD",
        /// Of all personas in a month.
        Monthly = "BUDGET_MONTHLY_USD",
        /// Of one persona in a day.
        PersonaDaily = "PERSONA_DAILY_USD",
    }
}

impl Cap {
    /// The variable that sets it.
    pub fn variable(self) -> &'static str {
        self.as_str()
    }

    /// Whether it stops every persona.
    pub(crate) fn is_of_fleet(self) -> bool {
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

/// Where a request's money is booked, a persona's on a day: the account of each cap, in order.
#[derive(Clone, Debug)]
pub struct Spending([Account; 3]);

/// Scope and period.
type Account = (String, String);

impl Spending {
    /// The accounts of this persona now.
    pub fn of(persona: &UserId, now: Timestamp) -> Self {
        let [day, month] = periods(now);
        let persona = (format!("persona:{persona}"), day.clone());
        Self([(FLEET.into(), day), (FLEET.into(), month), persona])
    }

    /// Scope and period of each account, in order.
    fn accounts(&self) -> impl Iterator<Item = Value> {
        self.0.iter().flat_map(|(scope, period)| [text(scope), text(period)])
    }

    /// An amount, then the accounts.
    fn booking(&self, amount: i64) -> Vec<Value> {
        [number(amount)].into_iter().chain(self.accounts()).collect()
    }
}

/// The day and the month of `now` (UTC).
fn periods(now: Timestamp) -> [String; 2] {
    let now = now.to_zoned(TimeZone::UTC);
    ["%Y-%m-%d", "%Y-%m"].map(|period| now.strftime(period).to_string())
}

/// What is booked with a step.
#[derive(Clone, Debug)]
pub enum Booking {
    /// Reserves money for the request that the step announces.
    Reserve {
        /// The accounts that pay.
        spending: Spending,
        /// The most that the request may cost.
        amount: Usd,
        /// What the accounts may hold. Nothing is written where one would hold more.
        caps: Caps,
    },
    /// Replaces the reservation of a request by its cost.
    Settle {
        /// The accounts that pay.
        spending: Spending,
        /// The number of the step that announced the request. Without that step nothing was reserved, and nothing
        /// is written, the step that says what came of the request included.
        asking: u32,
        /// What was reserved.
        reserved: Usd,
        /// What the request cost.
        cost: Usd,
    },
}

impl Booking {
    /// The statements that follow the step of this run.
    pub(super) fn statements(&self, run: RunId) -> Vec<Statement> {
        const RESERVE: &str = "INSERT INTO ledger (amount, scope, period) \
             VALUES ($1, $2, $3), ($1, $4, $5), ($1, $6, $7) \
             ON CONFLICT (scope, period) DO UPDATE SET amount = excluded.amount + \
             CASE WHEN CAST(ledger.amount AS BIGINT) < 0 THEN 0 \
             ELSE CAST(ledger.amount AS BIGINT) END";
        // An amount may not be NULL: this fails, and all that is written with it, where an account is over its cap.
        const CHECK: &str = "UPDATE ledger SET amount = NULL WHERE (scope = $1 AND period = $2 AND amount > $3) \
             OR (scope = $4 AND period = $5 AND amount > $6) \
             OR (scope = $7 AND period = $8 AND amount > $9)";
        const SPEND: &str = "UPDATE runs SET spent = spent + $2 WHERE id = $1";
        const SETTLE: &str = "UPDATE ledger SET amount = amount + $1 WHERE ((scope = $2 AND period = $3) \
             OR (scope = $4 AND period = $5) OR (scope = $6 AND period = $7)) \
             AND EXISTS (SELECT 1 FROM steps WHERE run_id = $8 AND number = $9)";
        const CORRECT: &str = "UPDATE runs SET spent = spent + $2 WHERE id = $1 \
             AND EXISTS (SELECT 1 FROM steps WHERE run_id = $1 AND number = $3)";
        match self {
            Self::Reserve { spending, amount, caps } => {
                let limits =
                    Cap::ALL.iter().zip(&spending.0).flat_map(|(&cap, (scope, period))| {
                        [text(scope), text(period), Value::Number(caps.of(cap).map(stored))]
                    });
                vec![
                    (RESERVE, spending.booking(stored(*amount))),
                    (CHECK, limits.collect()),
                    (SPEND, vec![text(run), number(stored(*amount))]),
                ]
            }
            Self::Settle { spending, asking, reserved, cost } => {
                let difference = stored(*cost).saturating_sub(stored(*reserved));
                let mut booking = spending.booking(difference);
                booking.extend([text(run), number(*asking)]);
                let correction = vec![text(run), number(difference), number(*asking)];
                vec![(SETTLE, booking), (CORRECT, correction)]
            }
        }
    }
}

impl Journal {
    /// The cap that has no room for `amount`, if there is one: of several, the one that has the least left.
    pub(super) async fn over(
        &self,
        spending: &Spending,
        amount: Usd,
        caps: &Caps,
    ) -> Result<Option<NoRoom>> {
        let sql = "SELECT scope, period, CAST(amount AS BIGINT) AS amount FROM ledger \
             WHERE (scope = $1 AND period = $2) OR (scope = $3 AND period = $4) \
             OR (scope = $5 AND period = $6)";
        let booked = self.rows("read the ledger", sql, spending.accounts().collect()).await?;
        let accounts = Cap::ALL.iter().zip(&spending.0);
        let over = accounts.filter_map(|(&cap, account)| {
            let booked = amount_of(account, &booked).unwrap_or_default();
            let limit = caps.of(cap).filter(|limit| booked + amount > *limit)?;
            let left = if amount > limit { limit } else { limit.saturating_sub(booked) };
            Some((amount <= limit, NoRoom { cap, left }))
        });
        // A cap that the request alone exceeds comes first: nothing that other runs give back helps.
        Ok(over.min_by_key(|(fits, no_room)| (*fits, no_room.left)).map(|(_, no_room)| no_room))
    }

    /// What the fleet has spent and reserved on the day and in the month of `now` (UTC).
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn fleet_spending(&self, now: Timestamp) -> Result<(Usd, Usd)> {
        let sql = "SELECT scope, period, CAST(amount AS BIGINT) AS amount FROM ledger \
             WHERE scope = $1 AND period IN ($2, $3)";
        let [day, month] = periods(now).map(|period| (FLEET.to_owned(), period));
        let values = vec![text(FLEET), text(&day.1), text(&month.1)];
        let rows = self.rows("read the ledger", sql, values).await?;
        let [today, month] = [day, month].map(|account| amount_of(&account, &rows));
        Ok((today.unwrap_or_default(), month.unwrap_or_default()))
    }
}

/// An amount as it is stored.
fn stored(amount: Usd) -> i64 {
    i64::try_from(amount.picodollars()).unwrap_or(i64::MAX)
}

/// What these rows say of an account, if they do.
fn amount_of((scope, period): &Account, rows: &[Row]) -> Option<Usd> {
    let is_it = |row: &&Row| {
        row.text("scope").as_ref() == Ok(scope) && row.text("period").as_ref() == Ok(period)
    };
    rows.iter().find(is_it).map(|row| row.money("amount"))
}
