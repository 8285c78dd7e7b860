//! Deletes the steps of old runs, those of pinned runs later. The runs themselves, their facts and the ledger are kept.

use jiff::{SignedDuration, Timestamp};

use super::{Journal, Result, number, pins::PINNED_FOR, text, time};

/// How many runs one transaction prunes. Such a transaction is short, so other writes do not wait long.
const BATCH: u32 = 20;

/// For how long steps are kept beyond the cutoff if no facts could be made from them.
const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Journal {
    /// Deletes the steps of some runs that ended before `cutoff`, and the tool lists that were last used before
    /// it. Steps from which no facts were made yet stay for a week longer, so the back-fill of an earlier version's runs
    /// comes first ([`Journal::runs_without_facts`]). Steps of pinned runs stay until 180 days after the pin
    /// ([`Journal::pin`]). Returns the number of pruned runs; 0 if no further run is to be pruned.
    ///
    /// # Errors
    /// If the journal cannot be read or written.
    pub async fn prune(&self, cutoff: Timestamp, now: Timestamp) -> Result<usize> {
        const OLD: &str = "SELECT id FROM runs WHERE persona <> '' AND updated_at < $1 \
             AND state IN ('finished', 'failed') AND (facts <> 0 OR updated_at < $2) \
             AND NOT EXISTS (SELECT 1 FROM pins WHERE run_id = runs.id AND pinned_at > $4) LIMIT $3";
        let before = |at: Timestamp, age| time(at.checked_sub(age).unwrap_or(Timestamp::MIN));
        let past_grace = before(cutoff, GRACE);
        let values = vec![time(cutoff), past_grace, number(BATCH), before(now, PINNED_FOR)];
        let old = self.rows("find old runs", OLD, values).await?;
        let old: Vec<_> = old.iter().filter_map(|run| run.text("id").ok()).collect();
        let of_run = old.iter().flat_map(|id| {
            [
                "DELETE FROM steps WHERE run_id = $1",
                "DELETE FROM pins WHERE run_id = $1",
                "UPDATE runs SET persona = '' WHERE id = $1",
            ]
            .map(|sql| (sql.into(), vec![text(id)]))
        });
        // The time of a tool list is renewed when a run begins with the list.
        let lists = ("DELETE FROM catalogs WHERE used_at < $1".into(), vec![time(cutoff)]);
        self.write("delete old steps", of_run.chain([lists]).collect()).await?;
        Ok(old.len())
    }
}
