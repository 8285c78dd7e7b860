//! Steps: what happened in a run, append-only, with the bookings in the ledger; and the tool lists of runs.

use jiff::{SignedDuration, Timestamp};

use super::{
    Booking, Journal, JournalError, Kind, NoRoom, Result, Statement, Value, facts::catalogs,
    number, text, time,
};
use crate::{domain::RunId, facts::line};

/// For how long the time of a tool list is not renewed. Short, compared with the days for which lists are kept.
const A_MOMENT: SignedDuration = SignedDuration::from_hours(1);

/// How often a refused transaction of steps is repeated. After a refusal for lack of money there may be money again.
const ROUNDS: u32 = 5;

/// A step that is written.
#[derive(Clone, Debug)]
pub struct NewStep {
    /// The position of the step in the run, from 0.
    pub number: u32,
    /// When the step was made.
    pub at: Timestamp,
    /// The content of the step, as JSON.
    pub body: String,
    /// The booking that is written with the step.
    pub booking: Option<Booking>,
}

impl NewStep {
    fn statements(&self, run: RunId) -> Vec<Statement> {
        const ADD: &str = "INSERT INTO steps (run_id, number, body, at) SELECT $1, $2, $3, $4 \
             WHERE $5 IS NULL OR EXISTS (SELECT 1 FROM steps WHERE run_id = $1 AND number = $5)";
        let asking = match self.booking {
            Some(Booking::Settle { asking, .. }) => number(asking),
            _ => Value::Number(None),
        };
        let add = vec![text(run), number(self.number), text(&self.body), time(self.at), asking];
        let booking = self.booking.iter().flat_map(|booking| booking.statements(run));
        [(ADD.into(), add)].into_iter().chain(booking).collect()
    }
}

/// What the write of these steps attempts, for messages.
fn attempted(steps: &[&NewStep]) -> &'static str {
    match steps.iter().find_map(|step| step.booking.as_ref()) {
        None => "write a step",
        Some(Booking::Reserve { .. }) => "reserve money",
        Some(Booking::Settle { .. }) => "settle a request",
    }
}

/// A step as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStep {
    /// The position of the step in the run, from 0.
    pub number: u32,
    /// When the step was made.
    pub at: Timestamp,
    /// The content of the step, as JSON; empty if the row cannot be read.
    pub body: String,
}

impl Journal {
    /// Appends a step without a booking.
    ///
    /// # Errors
    /// If the step cannot be written, or if another step has its number.
    pub async fn append_step(
        &self,
        run: RunId,
        number: u32,
        body: &str,
        now: Timestamp,
    ) -> Result<()> {
        let step = NewStep { number, at: now, body: body.to_owned(), booking: None };
        // A step without a reservation is never refused by a cap.
        self.record(run, &[&step]).await.map(drop)
    }

    /// Appends steps with their bookings, all of them or none. A step that the journal already has is not booked
    /// again, because an attempt that seemed to fail may have succeeded. If a reservation does not fit under a cap,
    /// nothing is written and the cap is returned.
    ///
    /// # Errors
    /// If the steps cannot be written, or if another step has the number of one of them.
    pub async fn record(
        &self,
        run: RunId,
        steps: &[&NewStep],
    ) -> Result<std::result::Result<(), NoRoom>> {
        let mut missing = steps.to_vec();
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        for _ in 0..ROUNDS {
            let statements = missing.iter().flat_map(|step| step.statements(run)).collect();
            let error = match self.write(attempted(&missing), statements).await {
                Err(error) if error.is_of_a_row() => error,
                written => return written.map(|_| Ok(())),
            };
            let refused = std::mem::take(&mut missing);
            for step in &refused {
                match self.body_of(run, step.number).await? {
                    None => missing.push(step),
                    Some(body) if body == step.body => {}
                    // Two processes would be writing the same run.
                    Some(_) => return Err(error),
                }
            }
            if missing.is_empty() {
                return Ok(Ok(()));
            }
            if missing.len() == refused.len() {
                for booking in missing.iter().filter_map(|step| step.booking.as_ref()) {
                    if let Some(no_room) = self.over(booking).await? {
                        return Ok(Err(no_room));
                    }
                }
            }
        }
        let why = "other runs took the room each time";
        Err(JournalError::Failed(attempted(&missing), Kind::Other, why.into()))
    }

    /// The content of the step with this number.
    async fn body_of(&self, run: RunId, step_number: u32) -> Result<Option<String>> {
        let sql = "SELECT body FROM steps WHERE run_id = $1 AND number = $2";
        let rows = self.rows("look up a step", sql, vec![text(run), number(step_number)]).await?;
        Ok(rows.first().map(|row| row.text("body").unwrap_or_default()))
    }

    /// The steps of a run, in order.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn steps(&self, run: RunId) -> Result<Vec<StoredStep>> {
        let sql = "SELECT number, at, body FROM steps WHERE run_id = $1 ORDER BY number";
        let rows = self.rows("read a run's steps", sql, vec![text(run)]).await?;
        let steps = rows.iter().map(|row| {
            let step_number = row.row_number();
            let body = step_number.and_then(|_| row.text("body").ok());
            StoredStep {
                number: step_number.unwrap_or(u32::MAX),
                at: row.time("at").unwrap_or_default(),
                body: body.unwrap_or_default(),
            }
        });
        Ok(steps.collect())
    }

    /// Stores the tool list that a run begins with, under its hash, and renews the time of a list that is already
    /// stored. Most runs begin with the same list, so its time is renewed once an hour only. `facts` is the list
    /// without schemas, which is kept for as long as the facts of the runs. `met_at` is the time of the run by mana-auth's
    /// clock.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn keep_catalog(
        &self,
        hash: &str,
        tools: &str,
        facts: &line::Catalog,
        now: Timestamp,
        met_at: Timestamp,
    ) -> Result<()> {
        // The list is long: most runs only read its time. What cannot be looked up is written.
        let fresh = "SELECT 1 FROM catalogs WHERE hash = $1 AND used_at BETWEEN $2 AND $3 \
             AND EXISTS (SELECT 1 FROM catalog_facts WHERE id = $4)";
        let values = vec![text(hash), time(now - A_MOMENT), time(now), text(&facts.id)];
        let found = self.rows("look up a tool list", fresh, values).await;
        if found.is_ok_and(|rows| !rows.is_empty()) {
            return Ok(());
        }
        const KEEP: &str = "INSERT INTO catalogs (hash, tools, used_at) VALUES ($1, $2, $3) \
             ON CONFLICT (hash) DO UPDATE SET used_at = excluded.used_at";
        let statements = |with_facts: bool| {
            let list: Statement = (KEEP.into(), vec![text(hash), text(tools), time(now)]);
            let facts = with_facts.then(|| catalogs::addition(facts, met_at));
            [list].into_iter().chain(facts).collect()
        };
        self.write_with_facts("keep a tool list", "", statements).await
    }

    /// The tool list with this hash.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn catalog(&self, hash: &str) -> Result<Option<String>> {
        let sql = "SELECT tools FROM catalogs WHERE hash = $1";
        let rows = self.rows("look up a tool list", sql, vec![text(hash)]).await?;
        let tools = rows.first().map(|row| row.text("tools")).transpose();
        tools.map_err(|detail| JournalError::Row("a tool list", detail))
    }
}
