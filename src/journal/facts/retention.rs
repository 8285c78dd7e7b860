//! Deletes facts that are too old, by mana-auth's time.

use jiff::{SignedDuration, Timestamp};

use crate::journal::{Journal, Result, Sql, Statement, number, text, time};

/// How many runs one transaction prunes. Such a transaction is short, so other writes do not wait long.
const BATCH: u32 = 20;

const WITH_OLD_CALLS: &str = "SELECT id FROM runs WHERE has_calls = 1 AND server_at < $1 \
     ORDER BY server_at, id LIMIT $2";
const OF_OLD_CALLS: [&str; 2] =
    ["DELETE FROM calls WHERE run_id = $1", "UPDATE runs SET has_calls = 0 WHERE id = $1"];

const WITH_OLD_FACTS: &str = "SELECT id FROM runs WHERE facts > 0 AND server_at < $1 \
     ORDER BY server_at, id LIMIT $2";
pub(super) const OF_OLD_FACTS: [&str; 5] = [
    "DELETE FROM calls WHERE run_id = $1",
    "DELETE FROM run_tools WHERE run_id = $1",
    "DELETE FROM run_modules WHERE run_id = $1",
    "DELETE FROM issue_hits WHERE run_id = $1",
    "UPDATE runs SET facts = -1, has_calls = 0 WHERE id = $1",
];

/// What belongs to no single run: old rows, unless a run with facts or an issue refers to them. A tool list is also
/// kept for runs that may get facts: those in flight, and those of the back-fill. The current deployment and a halt that
/// goes on have no end.
const UNREFERENCED: [&str; 8] = [
    "DELETE FROM issues WHERE first_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM issue_hits WHERE issue = issues.id) RETURNING id",
    "DELETE FROM mutes WHERE muted_until < $1 \
     AND NOT EXISTS (SELECT 1 FROM issues WHERE id = mutes.issue) RETURNING issue",
    "DELETE FROM deployments WHERE last_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM issues WHERE first_deployment = deployments.number) \
     AND NOT EXISTS (SELECT 1 FROM runs WHERE facts > 0 AND server_at >= $1 \
     AND (deployment = deployments.number OR deployment_end = deployments.number)) RETURNING number",
    "DELETE FROM catalog_facts WHERE first_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM runs WHERE catalog = catalog_facts.id \
     AND (facts > 0 OR facts = 0 AND persona <> '')) RETURNING id",
    "DELETE FROM personas WHERE last_at < $1 RETURNING id",
    "DELETE FROM absences WHERE at < $1 RETURNING slot",
    "DELETE FROM ticks WHERE at < $1 RETURNING hour",
    "DELETE FROM halts WHERE ended_at < $1 RETURNING kind",
];

impl Journal {
    /// Deletes some of the facts that are older than `facts`, and of the single calls that are older than `calls`.
    /// Returns how many runs and other rows were affected; 0 if nothing is left to be deleted. `now` is mana-auth's
    /// time.
    ///
    /// # Errors
    /// If the journal cannot be read or written.
    pub async fn prune_facts(
        &self,
        now: Timestamp,
        facts: SignedDuration,
        calls: SignedDuration,
    ) -> Result<usize> {
        let before = |age| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let pruned = self.prune_runs(WITH_OLD_FACTS, &OF_OLD_FACTS, before(facts)).await?
            + self.prune_runs(WITH_OLD_CALLS, &OF_OLD_CALLS, before(calls)).await?;
        if pruned > 0 {
            return Ok(pruned);
        }
        let statements = UNREFERENCED.map(|sql| (sql.into(), vec![time(before(facts))]));
        Ok(self.write_facts_alone("delete old facts", statements.into()).await?.len())
    }

    async fn prune_runs(
        &self,
        which: Sql,
        of_run: &'static [&'static str],
        cutoff: Timestamp,
    ) -> Result<usize> {
        let old = self.rows("find old facts", which, vec![time(cutoff), number(BATCH)]).await?;
        let old: Vec<_> = old.iter().filter_map(|run| run.text("id").ok()).collect();
        let of_run = |id: &String| -> Vec<Statement> {
            of_run.iter().map(|&sql| (sql.into(), vec![text(id)])).collect()
        };
        let statements: Vec<_> = old.iter().flat_map(of_run).collect();
        if !statements.is_empty() {
            self.write_facts_alone("delete old facts", statements).await?;
        }
        Ok(old.len())
    }
}
