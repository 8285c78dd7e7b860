//! Rows that do not say what this program writes.

use super::*;

#[tokio::test]
async fn an_odd_step_is_the_trouble_of_its_run_alone() {
    for number in ["-1", "4294967296", "9223372036854775808", "2.5", "'x'"] {
        let journal = Journal::in_memory().await.unwrap();
        let (odd, other) =
            (begin(&journal, "anna", "s", NOON).await, begin(&journal, "ben", "s", NOON).await);
        journal.append_step(odd, 0, "1", NOON).await.unwrap();
        journal.spoil(format!("INSERT INTO steps VALUES ('{odd}', {number}, 'x', '2')")).await;
        let steps = journal.steps(odd).await.unwrap();
        let bodies: Vec<_> = steps.iter().map(|step| step.body.as_str()).collect();
        assert!(bodies.contains(&"1") && bodies.contains(&""), "{number}: {bodies:?}");
        // A step in the place of another one is nobody else's trouble either.
        let error = journal.append_step(odd, 0, "other", NOON).await.unwrap_err();
        assert!(error.is_of_a_row(), "{error}");
        assert_eq!(journal.trouble(), None, "{number}");
        journal.append_step(other, 0, "1", NOON).await.unwrap();
    }
}

#[tokio::test]
async fn odd_numbers_in_a_run_hide_neither_it_nor_the_others() {
    let journal = Journal::in_memory().await.unwrap();
    let (a, b) =
        (begin(&journal, "anna", "s", NOON).await, begin(&journal, "ben", "s", NOON).await);
    for sql in [
        "UPDATE runs SET replies = -3, calls = 1e300, spent = -5, attempt = 'x', persona = '{' \
         WHERE persona_id = 'anna'",
        "UPDATE runs SET started_at = 'soon', ended_at = 'never', next_eligible_at = 'x', \
         held_since = 1e300 WHERE persona_id = 'anna'",
    ] {
        journal.spoil(sql).await;
    }
    assert_eq!(journal.runs_in(RunState::Running).await.unwrap().len(), 2);
    let row = journal.run(a).await.unwrap().unwrap();
    assert_eq!((row.persona, row.replies, row.spent), (None, 0, Usd::ZERO));
    assert_eq!(journal.held_back().await.unwrap().len(), 0);
    assert_eq!(journal.last_finished_run().await.unwrap(), None);
    journal.spoil("UPDATE runs SET state = 'of tomorrow' WHERE persona_id = 'anna'").await;
    assert!(journal.run(a).await.unwrap_err().is_of_a_row());
    assert_eq!(journal.latest_runs(9).await.unwrap()[0].id, b);
    journal
        .spoil("UPDATE runs SET slot = x'ff', persona_id = x'ff' WHERE state = 'of tomorrow'")
        .await;
    assert_eq!(journal.personas_done_for(&Slot::stored("s")).await.unwrap(), ["ben"]);
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn an_odd_post_is_kept_and_listed_and_holds_up_no_other_run() {
    let journal = Journal::in_memory().await.unwrap();
    let (a, b) = (begin(&journal, "a", "s", NOON).await, begin(&journal, "b", "s", NOON).await);
    for run in [a, b] {
        journal.end_run(run, &ended(RunState::Finished), &[post(0, "x")], NOON).await.unwrap();
    }
    journal
        .spoil(
            "UPDATE outbox SET kind = 'dreams', attempts = -1, row_count = 1e300, created_at = 'x' \
         WHERE run_id = (SELECT MIN(run_id) FROM outbox)",
        )
        .await;
    let kept = journal.kept_posts().await.unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().any(|post| post.kind == "dreams"));
    assert_eq!(journal.outbox_depth().await.unwrap().actions, 2);
    assert!(journal.due_post(b, NOON).await.unwrap().is_some());
    // One that cannot even be named is at least counted.
    journal.spoil("UPDATE outbox SET number = -1 WHERE kind = 'dreams'").await;
    assert_eq!(journal.kept_posts().await.unwrap().len(), 1);
    assert_eq!(journal.outbox_depth().await.unwrap().actions, 2);
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn an_account_that_says_less_than_nothing_pays_for_nothing() {
    let caps = Caps { daily: Some(usd(1.0)), ..Caps::default() };
    for amount in ["-9000000000000", "'much'", "0.5"] {
        let journal = Journal::in_memory().await.unwrap();
        let id = begin(&journal, "anna", "s", NOON).await;
        let spending = Spending::of(&persona("anna").user_id, NOON);
        let reserve = async |number| {
            let step = (id, number, "{}");
            journal.reserve(step, &spending, usd(0.6), &caps, NOON).await.unwrap()
        };
        reserve(0).await.unwrap();
        journal.spoil(format!("UPDATE ledger SET amount = {amount}")).await;
        assert_eq!(reserve(1).await, Ok(()), "{amount}");
        assert_eq!(reserve(2).await.unwrap_err().cap, Cap::Daily, "{amount}");
        assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.6));
        assert_eq!(journal.trouble(), None);
    }
}

#[tokio::test]
async fn a_control_value_that_is_garbage_is_left_aside() {
    let journal = Journal::in_memory().await.unwrap();
    for value in ["'{'", "x'ff'", "7"] {
        let sql = format!(
            "REPLACE INTO control VALUES ('pause', {value}, 0), ('budget_reached', {value}, 0)"
        );
        journal.spoil(sql).await;
        assert_eq!(journal.pause().await.unwrap(), None);
        assert_eq!(journal.budgets_reached().await.unwrap(), []);
        assert_eq!(journal.trouble(), None);
    }
}
