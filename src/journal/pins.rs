//! Pins: runs that a report quotes, so that people can still read them when the steps of other runs are gone.

use jiff::{SignedDuration, Timestamp};

use super::{Journal, Result, Statement, number, text, time};

/// How long the steps of a pinned run are kept, from the first pin on.
pub(super) const PINNED_FOR: SignedDuration = SignedDuration::from_hours(180 * 24);

/// How many runs are pinned at most.
const MOST: u32 = 200;

impl Journal {
    /// Pins these runs from `now` on, by the clock of the daemon: their steps are kept for 180 days. A run that is pinned
    /// already keeps the time of its first pin. Only the 200 latest pins stay. Unknown runs, and runs without steps, are
    /// passed over.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn pin(&self, runs: &[&str], now: Timestamp) -> Result<()> {
        match pins(runs, now) {
            pins if pins.is_empty() => Ok(()),
            pins => self.write_facts_alone("pin runs", pins).await.map(drop),
        }
    }
}

/// The statements that pin these runs.
pub(super) fn pins(runs: &[&str], now: Timestamp) -> Vec<Statement> {
    const PIN: &str = "INSERT INTO pins (run_id, pinned_at) \
         SELECT id, $2 FROM runs WHERE id = $1 AND persona <> '' ON CONFLICT DO NOTHING";
    const LATEST: &str = "DELETE FROM pins WHERE run_id NOT IN \
         (SELECT run_id FROM pins ORDER BY pinned_at DESC, run_id DESC LIMIT $1)";
    if runs.is_empty() {
        return vec![];
    }
    // The first runs of a report are those of the heaviest frictions.
    let runs = runs.iter().take(MOST as usize);
    let pins = runs.map(|run| (PIN.into(), vec![text(run), time(now)]));
    pins.chain([(LATEST.into(), vec![number(MOST)])]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Outcome, RunId},
        journal::tests::{NOON, begin},
    };

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    /// A run that ended at noon with one step.
    async fn ended(journal: &Journal, name: &str) -> RunId {
        let run = begin(journal, name, name, NOON).await;
        journal.append_step(run, 0, "{}", NOON).await.unwrap();
        journal.give_up(run, ("why", Outcome::Failed), NOON).await.unwrap();
        run
    }

    async fn pin(journal: &Journal, run: RunId, now: Timestamp) {
        journal.pin(&[&run.to_string()], now).await.unwrap();
    }

    /// Deletes what is older than 30 days.
    async fn prune(journal: &Journal, now: Timestamp) -> usize {
        journal.prune(now - DAY * 30, now).await.unwrap()
    }

    async fn pinned(journal: &Journal) -> Vec<String> {
        let sql = "SELECT run_id FROM pins ORDER BY pinned_at, run_id";
        let rows = journal.rows("look up pins", sql, vec![]).await.unwrap();
        rows.iter().map(|row| row.text("run_id").unwrap()).collect()
    }

    #[tokio::test]
    async fn the_steps_of_a_pinned_run_are_kept_for_180_days_from_its_first_pin_on() {
        let journal = Journal::in_memory().await.unwrap();
        let (anna, ben) = (ended(&journal, "anna").await, ended(&journal, "ben").await);
        for day in [1, 20] {
            pin(&journal, anna, NOON + DAY * day).await;
        }
        assert_eq!(prune(&journal, NOON + DAY * 60).await, 1);
        assert!(journal.steps(ben).await.unwrap().is_empty());
        pin(&journal, ben, NOON + DAY * 60).await;
        assert_eq!(prune(&journal, NOON + DAY * 181 - DAY / 24).await, 0);
        assert_eq!(journal.steps(anna).await.unwrap().len(), 1);
        assert_eq!(pinned(&journal).await, [anna.to_string()], "ben's steps are gone");
        assert_eq!(prune(&journal, NOON + DAY * 181).await, 1);
        assert!(journal.steps(anna).await.unwrap().is_empty());
        assert!(pinned(&journal).await.is_empty());
    }

    #[tokio::test]
    async fn only_the_latest_200_pins_stay_and_an_unknown_run_is_passed_over() {
        let journal = Journal::in_memory().await.unwrap();
        let mut runs = Vec::new();
        for number in 0..201 {
            runs.push(ended(&journal, &format!("p{number}")).await.to_string());
        }
        journal.pin(&[], NOON).await.unwrap();
        journal.pin(&["019aa5b4-0000-7000-8000-000000000000", "`|", &runs[0]], NOON).await.unwrap();
        assert_eq!(pinned(&journal).await, [&*runs[0]]);
        let all: Vec<_> = runs.iter().map(|run| &**run).collect();
        journal.pin(&all[..200], NOON + DAY).await.unwrap();
        assert_eq!(pinned(&journal).await, all[..200]);
        journal.pin(&all, NOON + DAY * 2).await.unwrap();
        assert_eq!(pinned(&journal).await.len(), 200);
        journal.pin(&all[200..], NOON + DAY * 2).await.unwrap();
        assert_eq!(pinned(&journal).await, all[1..], "the first pin was the oldest");
    }
}
