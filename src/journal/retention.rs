//! Old steps go, runs and money stay.

use jiff::Timestamp;

use super::{Journal, Result, begin, change, commit, number, rows, text, time};

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
             AND state IN ('finished', 'failed') LIMIT $2) RETURNING id";
        self.write("delete old steps", move |session| async move {
            let mut tx = begin(session).await?;
            let runs = rows(&mut tx, EMPTY, vec![time(cutoff), number(BATCH)]).await?;
            for run in &runs {
                let id = run.text("id").unwrap_or_default();
                change(&mut tx, "DELETE FROM steps WHERE run_id = $1", vec![text(id)]).await?;
            }
            // A list is renewed whenever a run begins with it.
            let unused = "DELETE FROM catalogs WHERE used_at < $1";
            change(&mut tx, unused, vec![time(cutoff)]).await?;
            commit(tx).await?;
            Ok(runs.len())
        })
        .await
    }
}
