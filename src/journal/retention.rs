//! Old steps go, runs and money stay.

use jiff::Timestamp;
use sqlx::Row;

use super::{Journal, Result, RunState, millis};

/// Runs whose steps are deleted in one transaction: short enough to hold nobody up.
const BATCH: i64 = 20;

impl Journal {
    /// Deletes the steps of some runs that ended before `cutoff`; returns of how many. Zero means that
    /// there are none left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn prune(&self, cutoff: Timestamp) -> Result<usize> {
        self.write("delete old steps", async {
            let old = sqlx::query(
                "SELECT id FROM runs WHERE persona <> '' AND updated_at < $1 \
                 AND state IN ($2, $3) LIMIT $4",
            )
            .bind(millis(cutoff))
            .bind(RunState::Finished.as_str())
            .bind(RunState::Failed.as_str())
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await?;
            let mut tx = self.pool.begin().await?;
            for run in &old {
                let id: String = run.try_get(0)?;
                sqlx::query("UPDATE runs SET persona = '' WHERE id = $1")
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("DELETE FROM steps WHERE run_id = $1")
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
            }
            // A list is renewed whenever a run begins with it.
            sqlx::query("DELETE FROM catalogs WHERE used_at < $1")
                .bind(millis(cutoff))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(old.len())
        })
        .await
    }
}
