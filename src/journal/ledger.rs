//! Money: reserved before a request, settled after it, in the same transactions as the steps.
//!
//! An amount holds what was spent and what is reserved, in one number: the reservation of a request
//! whose answer was lost stays, so the ledger is never below what was billed, kill -9 or not.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Journal, Result, Row, Value, begin, change, commit, number, rows, steps::append, text,
};
use crate::domain::{Label, RunId, Usd, UserId, labels};

const FLEET: &str = "fleet";
const ADD_TO_RUN: &str = "UPDATE runs SET spent = spent + $2 WHERE id = $1";

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

    /// An amount, then scope and period of each account, in order.
    fn booking(&self, amount: i64) -> Vec<Value> {
        let accounts = self.0.iter().flat_map(|(scope, period)| [scope, period]);
        [number(amount)].into_iter().chain(accounts.map(text)).collect()
    }
}

/// The day and the month of `now` (UTC).
fn periods(now: Timestamp) -> [String; 2] {
    let now = now.to_zoned(TimeZone::UTC);
    ["%Y-%m-%d", "%Y-%m"].map(|period| now.strftime(period).to_string())
}

impl Journal {
    /// Reserves `amount` and appends the step that says what for. Nothing is written where it does not
    /// fit under a cap, which is returned.
    ///
    /// # Errors
    /// When it cannot be written; nothing is, then.
    pub async fn reserve(
        &self,
        (run, step_number, body): (RunId, u32, &str),
        spending: &Spending,
        amount: Usd,
        caps: &Caps,
        now: Timestamp,
    ) -> Result<std::result::Result<(), NoRoom>> {
        const BOOK: &str = "INSERT INTO ledger (amount, scope, period) \
             VALUES ($1, $2, $3), ($1, $4, $5), ($1, $6, $7) \
             ON CONFLICT (scope, period) DO UPDATE SET amount = excluded.amount + \
             CASE WHEN CAST(ledger.amount AS BIGINT) < 0 THEN 0 \
             ELSE CAST(ledger.amount AS BIGINT) END \
             RETURNING scope, period, CAST(amount AS BIGINT) AS amount";
        let (body, spending, caps) = (body.to_owned(), spending.clone(), *caps);
        self.write("reserve money", move |session| async move {
            let mut tx = begin(session).await?;
            if !append(&mut tx, (run, step_number, &body), now).await? {
                return Ok(Ok(()));
            }
            let booked = rows(&mut tx, BOOK, spending.booking(stored(amount))).await?;
            let accounts = Cap::ALL.iter().zip(&spending.0);
            let over = accounts.filter_map(|(&cap, account)| {
                // An account that is not told counts as over its cap.
                let booked = amount_of(account, &booked).unwrap_or(Usd::MAX);
                let limit = caps.of(cap).filter(|limit| booked > *limit)?;
                let before = if amount > limit { Usd::ZERO } else { booked.saturating_sub(amount) };
                Some((amount <= limit, NoRoom { cap, left: limit.saturating_sub(before) }))
            });
            // One that the request alone is larger than comes first: nothing that others give back helps.
            if let Some((_, no_room)) = over.min_by_key(|(fits, no_room)| (*fits, no_room.left)) {
                return Ok(Err(no_room));
            }
            change(&mut tx, ADD_TO_RUN, vec![text(run), number(stored(amount))]).await?;
            commit(tx).await?;
            Ok(Ok(()))
        })
        .await
    }

    /// Puts what a request cost in place of what was reserved for it with the step of this number, and
    /// appends the step that says what came of it. Nothing is written where nothing was reserved.
    ///
    /// # Errors
    /// When it cannot be written; nothing is, then.
    pub async fn settle(
        &self,
        (run, step_number, body): (RunId, u32, &str),
        asking: u32,
        spending: &Spending,
        (reserved, cost): (Usd, Usd),
        now: Timestamp,
    ) -> Result<()> {
        const ASKED: &str = "SELECT at FROM steps WHERE run_id = $1 AND number = $2";
        const BOOK: &str = "UPDATE ledger SET amount = amount + $1 WHERE (scope = $2 AND period = $3) \
             OR (scope = $4 AND period = $5) OR (scope = $6 AND period = $7)";
        let difference = stored(cost).saturating_sub(stored(reserved));
        let (body, spending) = (body.to_owned(), spending.clone());
        self.write("settle a request", move |session| async move {
            let mut tx = begin(session).await?;
            if !append(&mut tx, (run, step_number, &body), now).await? {
                return Ok(());
            }
            // Behind the first write, and so behind all that was under way.
            if rows(&mut tx, ASKED, vec![text(run), number(asking)]).await?.is_empty() {
                return Ok(());
            }
            change(&mut tx, BOOK, spending.booking(difference)).await?;
            change(&mut tx, ADD_TO_RUN, vec![text(run), number(difference)]).await?;
            commit(tx).await
        })
        .await
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
