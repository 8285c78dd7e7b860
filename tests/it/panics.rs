//! A run in which the daemon's own code panics: only this run fails, and its rows are posted.

use std::time::Duration;

use mana_persona_runner::journal::RunState;
use serde_json::{Value, json};

use crate::{
    script::{make_due_after, only_failure, outcomes},
    support::{Setup, World, logs::Logs},
};

/// The log line between the end of a tool call and its step in the journal.
const AFTER_A_CALL: &str = "tool call ended";
/// The log line after mana-auth has answered a login.
const AFTER_THE_LOGIN: &str = "http.operation=\"login\"";
/// The log line after a failed run has been closed.
const AFTER_CLOSING: &str = "run did not end well";
/// Longer than the first back-off, but short enough that a daily persona is in the same slot.
const AN_HOUR: Duration = Duration::from_secs(3_600);

async fn assert_failed_runs(world: &World, number: f64) {
    let failed = world.metric(r#"runs_total{outcome="failed",stage="due"}"#).await;
    assert_eq!(failed, Some(number));
    assert_eq!(world.metric("runs_in_flight").await, Some(0.0));
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

fn counts(result: &Value) -> [&Value; 3] {
    ["due", "ranSuccessfully", "skipped"].map(|name| &result[name])
}

#[tokio::test]
async fn a_run_that_panics_is_closed_and_its_persona_held_back() {
    let logs = Logs::capture("debug");
    let mut setup = Setup::many(&["anna", "ben"]).short_days();
    setup.personas.iter_mut().for_each(|persona| persona.cadence = "hourly".into());
    let world = setup.start().await;
    logs.panic_at(AFTER_A_CALL);
    let result = world.tick().await;
    assert_eq!(counts(&result), [2, 1, 0]);
    assert_eq!(only_failure(&result), "the run panicked; the log has the place");
    assert_failed_runs(&world, 1.0).await;
    assert_eq!(world.metric("run_backoffs_total").await, Some(1.0));
    let runs = world.journal().await.latest_runs(9).await.unwrap();
    let mut stages: Vec<_> = runs.iter().map(|run| (run.state, run.stage.as_str())).collect();
    stages.sort_by_key(|(_, stage)| *stage);
    let expected = [(RunState::Finished, "done"), (RunState::Finished, "due")];
    assert_eq!(stages, expected, "it has used up its slot and did not go well");

    let (failed, well): (Vec<_>, Vec<_>) = {
        let (actions, rated) = (world.actions().await, world.feedback().await);
        assert_eq!(rated.len(), 1);
        actions.into_iter().partition(|row| row.persona_id != rated[0].persona_id)
    };
    assert!(!well.is_empty() && well.iter().all(|row| row.result == "ok"), "{well:?}");
    assert_eq!(outcomes(&failed), [("habits.list", "error"), ("__run", "error")]);
    let messages: Vec<_> = failed.iter().map(|row| row.error_message.as_deref().unwrap()).collect();
    assert!(messages[0].contains("may or may not"), "nobody wrote down how it ended");
    assert!(messages[1].contains("panicked"), "{messages:?}");

    // When it is due again, the persona is held back for a while and then runs.
    make_due_after(&world, AN_HOUR).await;
    assert_eq!(counts(&world.tick().await), [2, 1, 1]);
    world.clock.advance(AN_HOUR);
    make_due_after(&world, AN_HOUR).await;
    assert_eq!(counts(&world.good_tick().await), [2, 2, 0]);
}

#[tokio::test]
async fn a_run_that_panics_again_when_it_is_closed_is_over_all_the_same() {
    // The first place that panics, and the rows and the state that remain.
    let cases = [(AFTER_A_CALL, 2, RunState::Finished), (AFTER_THE_LOGIN, 0, RunState::Failed)];
    for (first, rows, state) in cases {
        let logs = Logs::capture("debug");
        let world = Setup::one(&["habits"]).short_days().start().await;
        logs.panic_at(first);
        logs.panic_at(AFTER_CLOSING);
        let result = world.tick().await;
        assert_eq!(counts(&result), [1, 0, 0], "{first}");
        assert_eq!(only_failure(&result), "the run panicked; the log has the place");
        assert_eq!(world.actions().await.len(), rows, "{first}");
        let run = world.journal().await.latest_runs(2).await.unwrap().remove(0);
        assert_eq!(run.state, state, "{first}");
        assert!(run.end_reason.unwrap().contains("panicked"), "{first}");
        assert_failed_runs(&world, 1.0).await;
        assert_eq!(world.health().await["status"], json!("ok"));
        make_due_after(&world, AN_HOUR).await;
        assert_eq!(counts(&world.good_tick().await), [1, 0, 1], "{first}: held back");
    }
}
