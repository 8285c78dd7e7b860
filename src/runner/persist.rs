//! Makes the posts of a run: its actions and ratings in batches of a size that the server accepts. No row is
//! lost or duplicated.

use crate::{
    clients::personas::{Batch, MAX_ACTIONS, MAX_RATINGS},
    domain::{Action, ModuleRating, RunId},
};

/// First number of a run's posts of ratings, so that they sort after all posts of its actions.
const FIRST_OF_RATINGS: u32 = 1_000_000;

/// Numbered posts of a run's actions. The server builds a row id from the batch's id and the index in the
/// batch, so every batch has a different id (docs/contracts/mana-auth.md). The same actions always make the
/// same posts.
pub(super) fn posts_of_actions(run: RunId, actions: &[Action]) -> Vec<(u32, Batch)> {
    let batches = actions.chunks(MAX_ACTIONS).zip(ids(run, "actions"));
    (0..).zip(batches.map(|(rows, id)| Batch::of_actions(id, rows))).collect()
}

/// Numbered posts of a run's ratings, made like those of its actions.
pub(super) fn posts_of_ratings(run: RunId, ratings: &[ModuleRating]) -> Vec<(u32, Batch)> {
    let batches = ratings.chunks(MAX_RATINGS).zip(ids(run, "feedback"));
    (FIRST_OF_RATINGS..).zip(batches.map(|(rows, id)| Batch::of_ratings(id, rows))).collect()
}

/// The ids of the batches: the run's own id first, then ids derived from the run, the kind and the index.
fn ids(run: RunId, kind: &'static str) -> impl Iterator<Item = RunId> {
    std::iter::once(run).chain((1..).map(move |n| run.of_batch(kind, n)))
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
            let posts = posts_of_actions(run, &actions);
            prop_assert_eq!(&posts, &posts_of_actions(run, &actions));
            let mut names = Vec::new();
            let mut ids = HashSet::new();
            for (n, batch) in &posts {
                let n = *n;
                prop_assert_eq!(batch.clone().body.as_ptr(), batch.body.as_ptr(), "no copy");
                prop_assert!((1..=MAX_ACTIONS).contains(&batch.rows));
                let body: Value = serde_json::from_slice(&batch.body).unwrap();
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
