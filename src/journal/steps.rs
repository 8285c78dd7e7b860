//! Steps: what happened in a run, append-only, and the money that goes with them.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row};

use super::{Journal, Result, bigint, int, millis, timestamp};
use crate::domain::RunId;

/// How long a tool list counts as just kept, in milliseconds: nothing beside the days of its retention.
const A_MOMENT: i64 = 3_600_000;

/// A step as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStep {
    /// Its place in the run, from 0.
    pub number: u32,
    /// When it was written.
    pub at: Timestamp,
    /// What it says, as JSON; nothing if its row is not as this program writes it.
    pub body: String,
}

impl Journal {
    /// Appends a step. One that is there already stays as it is: an attempt that seemed to fail may
    /// have succeeded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn append_step(
        &self,
        run: RunId,
        number: u32,
        body: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.write("write a step", async {
            let mut connection = self.pool.acquire().await?;
            append(&mut connection, run, number, body, now).await
        })
        .await?;
        Ok(())
    }

    /// The steps of a run, in order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn steps(&self, run: RunId) -> Result<Vec<StoredStep>> {
        self.read("read a run's steps", async {
            let rows =
                sqlx::query("SELECT number, at, body FROM steps WHERE run_id = $1 ORDER BY number")
                    .bind(run.to_string())
                    .fetch_all(&self.pool)
                    .await?;
            let steps = rows.iter().map(|row| {
                let number = int(row, "number").and_then(|number| u32::try_from(number).ok());
                let body = number.and_then(|_| row.try_get("body").ok());
                StoredStep {
                    number: number.unwrap_or(u32::MAX),
                    at: timestamp(int(row, "at").unwrap_or_default()),
                    body: body.unwrap_or_default(),
                }
            });
            Ok(steps.collect())
        })
        .await
    }

    /// Keeps a list of tools that a run begins with, under its hash. One that was kept a moment ago is not
    /// written again: lists are long, and all runs have the same.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep_catalog(&self, hash: &str, tools: &str, now: Timestamp) -> Result<()> {
        let used_at = self
            .read("look up a tool list", async {
                let row = sqlx::query("SELECT used_at FROM catalogs WHERE hash = $1")
                    .bind(hash)
                    .fetch_optional(&self.pool)
                    .await?;
                row.map(|row| row.try_get::<i64, _>(0)).transpose()
            })
            .await?;
        if used_at.is_some_and(|at| (0..A_MOMENT).contains(&(millis(now) - at))) {
            return Ok(());
        }
        self.write("keep a tool list", async {
            sqlx::query(
                "INSERT INTO catalogs (hash, tools, used_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (hash) DO UPDATE SET used_at = excluded.used_at",
            )
            .bind(hash)
            .bind(tools)
            .bind(millis(now))
            .execute(&self.pool)
            .await
        })
        .await?;
        Ok(())
    }

    /// The list of tools kept under this hash.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn catalog(&self, hash: &str) -> Result<Option<String>> {
        self.read("look up a tool list", async {
            let row = sqlx::query("SELECT tools FROM catalogs WHERE hash = $1")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| row.try_get(0)).transpose()
        })
        .await
    }
}

/// Whether the run has a step of this number.
pub(super) async fn is_written(
    connection: &mut AnyConnection,
    run: RunId,
    number: u32,
) -> sqlx::Result<bool> {
    let step = sqlx::query("SELECT at FROM steps WHERE run_id = $1 AND number = $2")
        .bind(run.to_string())
        .bind(bigint(number));
    Ok(step.fetch_optional(connection).await?.is_some())
}

/// Appends a step; false if the very same is there already.
pub(super) async fn append(
    connection: &mut AnyConnection,
    run: RunId,
    number: u32,
    body: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO steps (run_id, number, at, body) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(run.to_string())
    .bind(bigint(number))
    .bind(millis(now))
    .bind(body)
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 0 {
        let there: String = sqlx::query("SELECT body FROM steps WHERE run_id = $1 AND number = $2")
            .bind(run.to_string())
            .bind(bigint(number))
            .fetch_one(connection)
            .await?
            .try_get(0)?;
        // Anything else in its place would mean that two write the same run.
        let same = || Err(sqlx::Error::Decode("another step has this number".into()));
        return if there == body { Ok(false) } else { same() };
    }
    Ok(true)
}
