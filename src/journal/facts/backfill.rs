//! Which runs have no facts yet, and writing what is made of their steps.

use super::{
    of_run::{marks, of_run},
    personas,
    retention::OF_OLD_FACTS,
};
use crate::{
    domain::{Outcome, RunId},
    facts::RunFacts,
    journal::{Journal, Result, Row, RunRow, Value, number, runs, text},
};

/// Where a search for runs without facts goes on: after the run with these columns `facts`, `updated_at` and `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched(i64, i64, String);

impl Default for Searched {
    /// The begin of a search.
    fn default() -> Self {
        Self(i64::MIN, i64::MIN, String::new())
    }
}

/// The conditions on `persona` and `state` are those of the index `runs_by_facts`.
pub(super) const WITHOUT_FACTS: &str = runs::runs!(
    "WHERE state NOT IN ('running', 'rating_owed') AND persona <> '' AND facts >= 0 AND facts < $1 \
     AND (facts, updated_at, id) > ($2, $3, $4) ORDER BY facts, updated_at, id LIMIT $5"
);

impl Journal {
    /// Writes the facts of a run that ended without them, and who its persona is.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn write_facts(
        &self,
        run: &RunRow,
        facts: &RunFacts,
        outcome: Outcome,
    ) -> Result<()> {
        const DONE: &str = "UPDATE runs SET outcome = $2, facts = $3, has_calls = $4 WHERE id = $1 \
             AND state IN ('finished', 'failed')";
        let mut statements = of_run(run.id, facts, "'finished', 'failed'");
        let done = [text(run.id), text(outcome.as_str())].into_iter().chain(marks(Some(facts)));
        statements.push((DONE.into(), done.collect()));
        let persona = run.persona.as_ref();
        statements.extend(persona.map(|it| personas::met_earlier(it, run.server_at)));
        self.write_facts_alone("write facts", statements).await.map(drop)
    }

    /// The next runs of a search, at most `most`, that have ended and whose facts were made by no extractor of this
    /// version or a later one, but whose steps exist. Runs without any facts come first, then the oldest. `None` at the
    /// end of the search. A run that cannot be read is logged and given up like by [`Journal::give_facts_up`].
    ///
    /// A run whose rating is owed is not among them: its end will write its facts.
    ///
    /// # Errors
    /// If the journal cannot be read, or if it cannot be written that a run is given up.
    pub async fn runs_without_facts(
        &self,
        version: u32,
        searched: &mut Searched,
        most: u32,
    ) -> Result<Option<Vec<RunRow>>> {
        let Searched(facts, updated_at, id) = searched.clone();
        let after = [facts, updated_at].map(|number| Value::Number(Some(number)));
        let values = [number(version)].into_iter().chain(after).chain([text(id), number(most)]);
        let rows =
            self.rows("look for runs without facts", WITHOUT_FACTS, values.collect()).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        *searched = position(last);
        let mut found = Vec::new();
        for row in rows {
            match self.readable_row("a run", &row, runs::read) {
                Some(run) => found.push(run),
                None => self.mark_without_facts(row.text("id").unwrap_or_default()).await?,
            }
        }
        Ok(Some(found))
    }

    /// Notes that the facts of a run cannot be made: it has none from now on, and [`Journal::runs_without_facts`] no
    /// longer has it.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn give_facts_up(&self, run: RunId) -> Result<()> {
        self.mark_without_facts(run.to_string()).await
    }

    async fn mark_without_facts(&self, id: String) -> Result<()> {
        let statements = OF_OLD_FACTS.map(|sql| (sql.into(), vec![text(&id)]));
        self.write_facts_alone("give facts up", statements.into()).await.map(drop)
    }
}

/// The position of a row. What cannot be read is passed over.
fn position(row: &Row) -> Searched {
    let number = |column| row.number(column).unwrap_or(i64::MAX);
    Searched(number("facts"), number("updated_at"), row.text("id").unwrap_or_default())
}
