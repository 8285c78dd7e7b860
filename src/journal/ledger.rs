//! The ledger: money is reserved before a model request and settled after it, in the transactions of the steps.
//!
//! An account has one amount for spent and reserved money. If the answer of a request is lost, its reservation
//! stays. So the amount is never below what was billed, even after a kill -9.

use std::collections::HashMap;

use jiff::{Timestamp, tz::TimeZone};

use super::{Journal, Result, Statement, Value, number, text};
use crate::{
    config::BudgetConfig,
    domain::{Label, RunId, Usd, UserId, labels},
};

/// The scope of the accounts of all personas together.
const FLEET: &str = "fleet";
/// The scope of a persona's accounts begins with this text, which its id follows.
const PERSONA: &str = "persona:";

labels! {
    /// A cap, in the order of the accounts of a [`Spending`]. Its word is the variable that sets it.
    pub Cap {
        /// For all personas together in a day.
        Daily = "BUDGET_DAILY_USD",
        /// For all personas together in a month.
        Monthly = "BUDGET_MONTHLY_USD",
        /// For one persona in a day.
        PersonaDaily = "PERSONA_DAILY_USD",
    }
}

impl Cap {
    /// The amount of this cap in `caps`.
    pub(crate) fn of(self, caps: &BudgetConfig) -> Option<Usd> {
        match self {
            Self::Daily => caps.daily,
            Self::Monthly => caps.monthly,
            Self::PersonaDaily => caps.persona_daily,
        }
    }

    /// Whether the cap is one for all personas together.
    pub(crate) fn is_of_fleet(self) -> bool {
        self != Self::PersonaDaily
    }
}

/// The refusal of a reservation: the request does not fit under a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// The cap that the request does not fit under.
    pub cap: Cap,
    /// What is neither spent nor reserved under the cap. For a request that is larger than the cap: the whole cap.
    pub left: Usd,
}

/// The accounts in which a request is booked, one for each [`Cap`], in their order.
#[derive(Clone, Debug)]
pub struct Spending([Account; 3]);

/// What is spent and reserved at one moment.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By all personas together, on the day (UTC).
    pub day: Usd,
    /// By all personas together, in the month (UTC).
    pub month: Usd,
    /// By each persona on the day (UTC), by its id. A persona that has spent nothing is missing.
    pub personas: HashMap<String, Usd>,
    /// By each unfinished run, by its id.
    pub unfinished: HashMap<String, UnfinishedBooks>,
}

/// What an unfinished run has spent and reserved.
#[derive(Clone, Debug, Default)]
pub struct UnfinishedBooks {
    /// The id of its persona.
    pub persona: String,
    /// The sum of both.
    pub booked: Usd,
    /// The beginning of the body of its last step: the step that reserves money is short.
    pub last_step: String,
    /// Whether a tool call of the run has a result.
    pub has_called: bool,
}

/// The scope (the fleet or a persona) and the period (a day or a month) of an account.
type Account = (String, String);

impl Spending {
    /// The accounts for requests of this persona at the time `now`.
    pub fn of(persona: &UserId, now: Timestamp) -> Self {
        let [day, month] = periods(now);
        let persona = (format!("{PERSONA}{persona}"), day.clone());
        Self([(FLEET.into(), day), (FLEET.into(), month), persona])
    }
}

/// The day and the month (UTC) of `now`.
fn periods(now: Timestamp) -> [String; 2] {
    let now = now.to_zoned(TimeZone::UTC);
    ["%Y-%m-%d", "%Y-%m"].map(|period| now.strftime(period).to_string())
}

/// A booking that is written with a step.
#[derive(Clone, Debug)]
pub enum Booking {
    /// Reserves money for the request that the step announces.
    Reserve {
        /// The accounts of the booking.
        spending: Spending,
        /// The highest possible cost of the request.
        amount: Usd,
        /// The caps of the accounts. If an account would exceed its cap, nothing is written.
        caps: BudgetConfig,
    },
    /// Replaces the reservation of a request by its cost.
    Settle {
        /// The accounts of the booking.
        spending: Spending,
        /// The number of the step that announced the request. If that step is missing, nothing was reserved, and
        /// neither the booking nor its step is written.
        asking: u32,
        /// The amount that was reserved for the request.
        reserved: Usd,
        /// The cost of the request.
        cost: Usd,
    },
}

impl Booking {
    /// The statements that follow the statement of the step.
    pub(super) fn statements(&self, run: RunId) -> Vec<Statement> {
        const RESERVE: &str = "INSERT INTO ledger (scope, period, amount) VALUES ($1, $2, $3) \
             ON CONFLICT (scope, period) DO UPDATE SET amount = excluded.amount + \
             CASE WHEN CAST(ledger.amount AS BIGINT) < 0 THEN 0 \
             ELSE CAST(ledger.amount AS BIGINT) END";
        // The column does not allow NULL. So this statement, and with it the whole transaction, fails if the account
        // exceeds its cap.
        const CHECK: &str = "UPDATE ledger SET amount = NULL \
             WHERE scope = $1 AND period = $2 AND amount > $3";
        const SPEND: &str = "UPDATE runs SET spent = spent + $2 WHERE id = $1";
        const SETTLE: &str = "UPDATE ledger SET amount = amount + $3 WHERE scope = $1 AND period = $2 \
             AND EXISTS (SELECT 1 FROM steps WHERE run_id = $4 AND number = $5)";
        const CORRECT: &str = "UPDATE runs SET spent = spent + $2 WHERE id = $1 \
             AND EXISTS (SELECT 1 FROM steps WHERE run_id = $1 AND number = $3)";
        let values = |(scope, period): &Account, third| vec![text(scope), text(period), third];
        match self {
            Self::Reserve { spending, amount, caps } => {
                let amount = stored(*amount);
                let of_account = |(cap, account): (&Cap, _)| {
                    let limit = Value::Number(cap.of(caps).map(stored));
                    [
                        (RESERVE.into(), values(account, number(amount))),
                        (CHECK.into(), values(account, limit)),
                    ]
                };
                let accounts = Cap::ALL.iter().zip(&spending.0).flat_map(of_account);
                accounts.chain([(SPEND.into(), vec![text(run), number(amount)])]).collect()
            }
            Self::Settle { spending, asking, reserved, cost } => {
                let difference = stored(*cost).saturating_sub(stored(*reserved));
                let of_account = |account| {
                    let mut values = values(account, number(difference));
                    values.extend([text(run), number(*asking)]);
                    (SETTLE.into(), values)
                };
                let correction = vec![text(run), number(difference), number(*asking)];
                spending.0.iter().map(of_account).chain([(CORRECT.into(), correction)]).collect()
            }
        }
    }
}

impl Journal {
    /// The cap that has no room for a reservation; `None` if all have room. Of several caps, the one with the least
    /// left.
    pub(super) async fn over(&self, booking: &Booking) -> Result<Option<NoRoom>> {
        let Booking::Reserve { spending, amount, caps } = booking else { return Ok(None) };
        let (amount, mut over) = (*amount, Vec::new());
        for (&cap, account) in Cap::ALL.iter().zip(&spending.0) {
            let booked = self.booked(account).await?;
            if let Some(limit) = cap.of(caps).filter(|limit| booked + amount > *limit) {
                let left = if amount > limit { limit } else { limit.saturating_sub(booked) };
                over.push((amount <= limit, NoRoom { cap, left }));
            }
        }
        // A cap below the amount comes first, because no money that other runs give back would help.
        let first = over.into_iter().min_by_key(|(fits, no_room)| (*fits, no_room.left));
        Ok(first.map(|(_, no_room)| no_room))
    }

    /// What all personas together have spent and reserved, on the day and in the month (UTC) of `now`.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn fleet_spending(&self, now: Timestamp) -> Result<(Usd, Usd)> {
        let [day, month] = periods(now).map(|period| (FLEET.to_owned(), period));
        Ok((self.booked(&day).await?, self.booked(&month).await?))
    }

    /// The accounts at the time `now`, and the unfinished runs, as they are at one moment: while a daemon runs, money
    /// that is reserved may be given back at any time.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn books(&self, now: Timestamp) -> Result<Books> {
        let sql = "SELECT scope, period, CAST(amount AS BIGINT) AS amount, NULL AS persona, NULL AS step, \
             0 AS called FROM ledger WHERE period = $1 OR (period = $2 AND scope = $3) \
             UNION ALL SELECT id, NULL, spent, persona_id, (SELECT SUBSTR(body, 1, 200) FROM steps \
             WHERE run_id = runs.id ORDER BY number DESC LIMIT 1), (SELECT COUNT(*) FROM steps \
             WHERE run_id = runs.id AND body LIKE '{\"called\"%') FROM runs \
             WHERE state IN ('running', 'rating_owed')";
        let [day, month] = periods(now);
        let values = vec![text(&day), text(&month), text(FLEET)];
        let mut books = Books::default();
        for row in self.rows("read the ledger", sql, values).await? {
            let (scope, period) = (row.text("scope").unwrap_or_default(), row.text("period"));
            let amount = row.money("amount");
            match (scope.strip_prefix(PERSONA), period) {
                (Some(persona), Ok(_)) => drop(books.personas.insert(persona.to_owned(), amount)),
                (None, Ok(period)) if period == day => books.day = amount,
                (None, Ok(_)) => books.month = amount,
                (_, Err(_)) => {
                    let books_of_run = UnfinishedBooks {
                        persona: row.text("persona").unwrap_or_default(),
                        booked: amount,
                        last_step: row.text("step").unwrap_or_default(),
                        has_called: row.number("called") > Some(0),
                    };
                    drop(books.unfinished.insert(scope, books_of_run));
                }
            }
        }
        Ok(books)
    }

    /// What is spent and reserved in an account.
    async fn booked(&self, (scope, period): &Account) -> Result<Usd> {
        let sql = "SELECT CAST(amount AS BIGINT) AS amount FROM ledger \
             WHERE scope = $1 AND period = $2";
        let rows = self.rows("read the ledger", sql, vec![text(scope), text(period)]).await?;
        Ok(rows.first().map(|row| row.money("amount")).unwrap_or_default())
    }
}

/// An amount as it is stored, in picodollars.
fn stored(amount: Usd) -> i64 {
    i64::try_from(amount.picodollars()).unwrap_or(i64::MAX)
}
