//! Handing in what a run came to: rows in batches the server takes, nothing lost, nothing doubled.

use tokio::time::Instant;

use crate::{
    clients::personas::{Batch, MAX_ACTIONS, MAX_RATINGS, PersonasClient, PersonasError},
    domain::{Action, ModuleRating, RunId, UserId},
    shutdown::Shutdown,
};

/// Why rows were not handed in.
#[derive(Debug, thiserror::Error)]
pub(super) enum PersistError {
    /// The server did not take them.
    #[error(transparent)]
    Personas(#[from] PersonasError),
    /// The shutdown was forced.
    #[error("the shutdown was forced before the rows were handed in")]
    Aborted,
}

/// Batches of actions. The server makes row ids of the batch's id and the index in it, so every batch
/// after the first has an id of its own (contracts/mana-auth.md).
pub(super) fn batches_of_actions(run: RunId, actions: &[Action]) -> Vec<Batch> {
    let ids = std::iter::once(run).chain(std::iter::repeat_with(RunId::new));
    actions.chunks(MAX_ACTIONS).zip(ids).map(|(rows, id)| Batch::of_actions(id, rows)).collect()
}

/// Batches of ratings, likewise.
pub(super) fn batches_of_ratings(run: RunId, ratings: &[ModuleRating]) -> Vec<Batch> {
    let ids = std::iter::once(run).chain(std::iter::repeat_with(RunId::new));
    ratings.chunks(MAX_RATINGS).zip(ids).map(|(rows, id)| Batch::of_ratings(id, rows)).collect()
}

/// Posts batches one after the other. A stop does not end it, an abort does.
pub(super) async fn post_all(
    personas: &PersonasClient,
    persona: &UserId,
    batches: &[Batch],
    deadline: Instant,
    shutdown: &Shutdown,
) -> Result<(), PersistError> {
    let post = async {
        for batch in batches {
            let written = personas.post(persona, batch, deadline).await?;
            if written != batch.rows() {
                tracing::warn!(sent = batch.rows(), written, "the server confirmed another number");
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        result = post => result,
        () = shutdown.aborted() => Err(PersistError::Aborted),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// No row is lost or moved, no batch is too large, and no two rows get the same id.
        #[test]
        fn batches_hold_every_action_once_in_order_under_distinct_row_ids(count in 0usize..1_700) {
            let run = RunId::new();
            let actions: Vec<_> = (0..count)
                .map(|n| Action::new(&format!("m.t{n}"), None, None, Duration::ZERO))
                .collect();
            let batches = batches_of_actions(run, &actions);
            let mut names = Vec::new();
            let mut ids = HashSet::new();
            for (n, batch) in batches.iter().enumerate() {
                prop_assert!((1..=MAX_ACTIONS).contains(&batch.rows()));
                let body: Value = serde_json::from_slice(batch.body()).unwrap();
                for (index, row) in body["actions"].as_array().unwrap().iter().enumerate() {
                    let name = row["toolName"].as_str().unwrap().to_owned();
                    let id = row["tickId"].as_str().unwrap();
                    prop_assert_eq!(id == run.to_string(), n == 0);
                    prop_assert!(ids.insert((id.to_owned(), index)));
                    names.push(name);
                }
            }
            let expected: Vec<_> = (0..count).map(|n| format!("m.t{n}")).collect();
            prop_assert_eq!(names, expected);
        }
    }
}
