//! Old steps go, runs and money stay.

use jiff::Timestamp;

use super::{End, Journal, Result, RunState, Unit, number, text, time};

/// Runs whose steps are deleted in one transaction: short enough to hold nobody up.
const BATCH: u32 = 20;

impl Journal {
    /// Deletes the steps of some runs that ended before `cutoff`; returns of how many. Zero means that
    /// there are none left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn prune(&self, cutoff: Timestamp) -> Result<usize> {
        const EMPTY: &str = "UPDATE runs SET persona = '' WHERE id IN \
             (SELECT id FROM runs WHERE persona <> '' AND updated_at < $1 \
             AND state IN ($2, $3) LIMIT $4) RETURNING id";
        let [finished, failed] = [RunState::Finished, RunState::Failed].map(|it| text(it.as_str()));
        let old = vec![time(cutoff), finished, failed, number(BATCH)];
        self.write("delete old steps", Unit::Transaction, move |mut tx| {
            Box::pin(async move {
                let runs = tx.rows(EMPTY, old).await?;
                for run in &runs {
                    let id = run.text("id").unwrap_or_default();
                    tx.change("DELETE FROM steps WHERE run_id = $1", vec![text(id)]).await?;
                }
                // A list is renewed whenever a run begins with it.
                tx.change("DELETE FROM catalogs WHERE used_at < $1", vec![time(cutoff)]).await?;
                Ok(End::Commit(runs.len()))
            })
        })
        .await
    }
}
