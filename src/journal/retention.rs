//! Deletes the steps of old runs. The runs themselves, their facts and the ledger are kept.

use jiff::{SignedDuration, Timestamp};

use super::{Journal, Result, number, text, time};

/// How many runs one transaction prunes. Such a transaction is short, so other writes do not wait long.
const BATCH: u32 = 20;

/// For how long steps are kept beyond the cutoff if no facts could be made from them.
const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Journal {
    /// Deletes the steps of some runs that ended before `cutoff`, and the tool lists that were last used before
    /// it. Steps from which no facts were made yet stay for a week longer, so the back-fill of an earlier version's runs
    /// comes first ([`Journal::runs_without_facts`]). Returns the number of pruned runs; 0 if no further run is to be
    /// pruned.
    ///
    /// # Errors
    /// If the journal cannot be read or written.
    pub async fn prune(&self, cutoff: Timestamp) -> Result<usize> {
        const OLD: &str = "SELECT id FROM runs WHERE persona <> '' AND updated_at < $1 \
             AND state IN ('finished', 'failed') AND (facts <> 0 OR updated_at < $2) LIMIT $3";
        let past_grace = cutoff.checked_sub(GRACE).unwrap_or(Timestamp::MIN);
        let values = vec![time(cutoff), time(past_grace), number(BATCH)];
        let old = self.rows("find old runs", OLD, values).await?;
        let old: Vec<_> = old.iter().filter_map(|run| run.text("id").ok()).collect();
        let of_run = old.iter().flat_map(|id| {
            ["DELETE FROM steps WHERE run_id = $1", "UPDATE runs SET persona = '' WHERE id = $1"]
                .map(|sql| (sql.into(), vec![text(id)]))
        });
        // The time of a tool list is renewed when a run begins with the list.
        let lists = ("DELETE FROM catalogs WHERE used_at < $1".into(), vec![time(cutoff)]);
        self.write("delete old steps", of_run.chain([lists]).collect()).await?;
        Ok(old.len())
    }
}
