//! Which runs have no facts yet.

use crate::journal::{Journal, Result, RunRow, number, runs::runs};

impl Journal {
    /// The oldest runs, at most `most`, that have ended and whose facts were made by no extractor of this version or
    /// a later one, but whose steps exist. After [`Journal::write_facts`] a run is no longer among them.
    ///
    /// A run whose rating is owed is not among them: its end will write its facts.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn runs_without_facts(&self, version: u32, most: u32) -> Result<Vec<RunRow>> {
        let which = runs!(
            "WHERE state IN ('finished', 'failed') AND persona <> '' AND facts >= 0 AND facts < $1 \
             ORDER BY updated_at, id LIMIT $2"
        );
        self.runs("look for runs without facts", which, vec![number(version), number(most)]).await
    }
}
