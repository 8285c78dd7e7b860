//! The facts of runs of a version before that made none.

use crate::{earlier_version::daemon_of_today, support::in_journal};

#[tokio::test]
async fn the_facts_of_finished_runs_of_the_earlier_version_are_made_from_their_steps() {
    let world = daemon_of_today().await;
    let all_made =
        async |_: &_| in_journal(&world, "SELECT id FROM runs WHERE facts = 0").await.is_empty();
    world.journal_reaches("the facts", all_made).await;
    // Anna's and ben's runs had ended before: no build of the product was known, and only the daemon's clock.
    let earlier = in_journal(
        &world,
        "SELECT outcome || ' ' || calls || ' ' || (SELECT COUNT(*) FROM calls WHERE run_id = runs.id) \
         || ' ' || (server_at = started_at) || ' ' || (deployment IS NULL) FROM runs \
         WHERE persona LIKE '%persona.anna@%' OR persona LIKE '%persona.ben@%'",
    );
    let earlier = earlier.await;
    assert_eq!(earlier.len(), 2);
    for run in earlier {
        let [outcome, calls, facts, shift, build] = run.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{run}");
        };
        assert_eq!((outcome, calls, shift, build), ("done", facts, "1", "1"), "{run}");
        assert_ne!(calls, "0", "{run}");
    }
    let tools = "SELECT DISTINCT tool FROM calls JOIN runs ON runs.id = run_id \
                 WHERE persona LIKE '%persona.anna@%' ORDER BY tool";
    assert!(in_journal(&world, tools).await.contains(&"habits.list".to_owned()));
}
