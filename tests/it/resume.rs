//! Runs that a killed or stopped daemon left unfinished, and how the next daemon continues them.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour, recorder::Recorded};
use mana_persona_runner::journal::{Journal, RunRow, RunState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    script::{calls_of, habits_list, main_requests, make_due, outcomes, posts, results},
    support::{Setup, World, path, patiently},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A persona whose day is a read, a write and a final text.
async fn anna() -> World {
    let world = Setup::one(&["habits"]).start().await;
    script(&world);
    world
}

fn script(world: &World) {
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        1 => Some(Scripted::tools(&[habits_create()])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
}

fn habits_create() -> (&'static str, Value) {
    ("habits_create", json!({"title": "Lesen", "frequency": "daily"}))
}

/// Makes the requests that match hang, and waits until one has arrived.
async fn hang_at(world: &World, matches: fn(&Recorded) -> bool) {
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, matches);
    drop(world.begin_tick());
    request_arrives(world, matches, 1).await;
}

async fn request_arrives(world: &World, matches: fn(&Recorded) -> bool, times: usize) {
    patiently("the request that hangs", async {
        while world.peers.claude.served.recorder.matching(matches).len() < times {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn messages(request: &Recorded) -> usize {
    request.json()["messages"].as_array().map_or(0, Vec::len)
}

fn second(request: &Recorded) -> bool {
    is_main(request) && messages(request) == 3
}

fn is_main(request: &Recorded) -> bool {
    !request.json()["tools"].is_null()
}

fn is_rating(request: &Recorded) -> bool {
    !is_main(request)
}

/// The bodies of all requests to Claude, in order of arrival.
fn bodies(world: &World) -> Vec<Value> {
    world.peers.claude.served.recorder.all().iter().map(Recorded::json).collect()
}

fn asked(world: &World, matches: fn(&Recorded) -> bool) -> usize {
    world.peers.claude.served.recorder.matching(matches).len()
}

async fn everything_ends(world: &World) {
    let unfinished = async |journal: &Journal| {
        let running = journal.runs_in(RunState::Running).await.unwrap();
        let owed = journal.runs_in(RunState::RatingOwed).await.unwrap();
        let outbox = journal.outbox_depth().await.unwrap();
        running.is_empty() && owed.is_empty() && outbox.oldest.is_none()
    };
    world.journal_reaches("the end of all runs", unfinished).await;
    world.nothing_in_flight().await;
}

async fn the_run(world: &World) -> RunRow {
    let runs = world.journal().await.latest_runs(10).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.into_iter().next().unwrap()
}

/// Checks the rows of a complete day.
async fn the_day_is_whole(world: &World) {
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), [("habits.list", "ok"), ("habits.create", "ok")]);
    assert_eq!(world.feedback().await.len(), 1);
    assert_eq!(posts(world, "/actions").len(), 1);
    assert_eq!(posts(world, "/feedback").len(), 1);
    assert_eq!(world.peers.mcp.calls().len(), 2, "no call twice");
    let run = the_run(world).await;
    assert_eq!((run.state, run.calls, run.ratings), (RunState::Finished, 2, 1));
}

#[tokio::test]
async fn a_run_killed_while_the_model_answers_goes_on_with_the_same_bytes_and_pays_once_more() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    let before = bodies(&world);
    let reserved = the_run(&world).await.spent;
    // At the start of the daemon, not only with the next tick.
    world.start_again(&[]).await;
    everything_ends(&world).await;

    let after = bodies(&world);
    assert_eq!(before.len(), 2);
    assert_eq!(after[2], before[1], "the same request once more");
    assert_eq!(asked(&world, is_main), 4);
    assert_eq!(asked(&world, is_rating), 1);
    the_day_is_whole(&world).await;
    for counted in ["runs_resumed_total", "answers_lost_total"] {
        assert_eq!(world.metric(counted).await, Some(1.0), "{counted}");
    }
    assert!(the_run(&world).await.spent > reserved, "the lost answer counts as spent");
    assert_eq!(world.tick().await["due"], 0);
}

#[tokio::test]
async fn bytes_of_thinking_reminders_and_odd_json_are_the_same_after_a_kill() {
    let mut world = Setup::one(&["habits"]).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        // Three denied calls in a row cause reminders.
        n @ 0..=3 => Some(crate::script::raw(
            &format!(
                r#"[ {{"type":"thinking","thinking":"","signature":"S{n}=="}},
                {{"type":"tool_use","id":"toolu_{n}","name":"admin_wipe","input":{{"b":1.0,"a":"\u00e9"}}}} ]"#
            ),
            Some("tool_use"),
        )),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    world.peers.mcp.add_tool("admin.wipe", "", crate::script::anything());
    let late = |request: &Recorded| is_main(request) && messages(request) >= 10;
    hang_at(&world, late).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    everything_ends(&world).await;
    let all = world.peers.claude.served.recorder.matching(late);
    assert_eq!(all[0].body, all[1].body, "byte for byte");
    assert!(String::from_utf8_lossy(&all[0].body).contains("<reminder>"));
}

#[tokio::test]
async fn a_call_whose_result_was_lost_is_not_repeated_and_the_model_is_told() {
    let mut world = anna().await;
    world.peers.mcp.override_tool("habits.create", 1, Behaviour::Delay(Duration::from_secs(9)));
    drop(world.begin_tick());
    patiently("the call", async {
        while world.peers.mcp.served.recorder.matching(calls_of("habits.create")).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.kill().await;
    world.start_again(&[]).await;
    everything_ends(&world).await;
    let calls = world.peers.mcp.served.recorder.matching(calls_of("habits.create"));
    assert_eq!(calls.len(), 1);
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), [("habits.list", "ok"), ("habits.create", "error")]);
    assert!(actions[1].error_message.as_deref().unwrap().contains("unknown"));
    let results = results(&main_requests(&world)[2]);
    assert_eq!(results[0]["is_error"], true);
    assert!(results[0]["content"].to_string().contains("may or may not"), "{results:?}");
    assert_eq!(main_requests(&world).len(), 3, "no reply was paid for twice");
}

#[tokio::test]
async fn a_run_killed_in_its_rating_hands_its_actions_in_once_and_asks_for_the_rating_again() {
    let mut world = anna().await;
    hang_at(&world, is_rating).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    everything_ends(&world).await;
    let ratings = world.peers.claude.served.recorder.matching(is_rating);
    assert_eq!(ratings.len(), 2);
    assert_eq!(ratings[0].body, ratings[1].body);
    assert_eq!(asked(&world, is_main), 3);
    the_day_is_whole(&world).await;
}

#[tokio::test]
async fn an_unfinished_run_waits_for_peers_that_are_away_at_the_restart() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    let faults = &world.peers.auth.served.faults;
    faults.inject(usize::MAX, Fault::status(503, "{}"), |r| r.path().contains("/auth/"));
    world.start_again(&[]).await;
    // The tick attempts the login once more, then the run is held back.
    let failed = r#"runs_total{outcome="failed",stage="login"}"#;
    world.metric_reaches(failed, 1.0).await;
    assert_eq!(the_run(&world).await.state, RunState::Running);
    assert_eq!(bodies(&world).len(), 2);
    world.peers.auth.served.faults.clear();
    patiently("the end of the recovery", async {
        while world.call(Method::POST, "/diag/tick").await.0 == StatusCode::CONFLICT {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(the_run(&world).await.state, RunState::Running, "it is held back");
    world.clock.advance(Duration::from_secs(60));
    world.tick().await;
    everything_ends(&world).await;
    assert_eq!(asked(&world, is_main), 4, "nothing was paid for twice but the lost answer");
    the_day_is_whole(&world).await;
}

#[tokio::test]
async fn a_pause_and_a_resume_in_one_breath_leave_no_rating_behind() {
    let world = anna().await;
    let answer = CancellationToken::new();
    world.peers.claude.served.faults.inject(1, Fault::Hold(answer.clone()), second);
    drop(world.begin_tick());
    request_arrives(&world, second, 1).await;
    for path in ["pause", "resume"] {
        assert_eq!(world.control(Method::POST, path).await.0, StatusCode::OK);
    }
    answer.cancel();
    everything_ends(&world).await;
    assert_eq!(world.feedback().await.len(), 1);
}

#[tokio::test]
async fn a_run_of_another_model_is_closed_with_what_it_has() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[("ANTHROPIC_MODEL", "claude-sonnet-5-5")]).await;
    everything_ends(&world).await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"), ("__run", "error")]);
    assert_eq!(bodies(&world).len(), 2);
}

#[tokio::test]
async fn a_run_whose_answer_is_lost_twice_is_closed_with_what_it_has() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.kill().await;
    world.start_again(&[]).await;
    request_arrives(&world, second, 2).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    everything_ends(&world).await;
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), [("habits.list", "ok"), ("__run", "error")]);
    assert_eq!(bodies(&world).len(), 3, "no third time, and no rating");
}

#[tokio::test]
async fn an_unfinished_run_that_is_too_old_is_closed_and_its_actions_are_handed_in() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    world.clock.advance(HOUR + Duration::from_secs(1));
    world.start_again(&[]).await;
    everything_ends(&world).await;
    let actions = world.actions().await;
    assert_eq!(outcomes(&actions), [("habits.list", "ok"), ("__run", "error")]);
    assert_eq!(bodies(&world).len(), 2, "nothing further is asked");
    assert_eq!(the_run(&world).await.state, RunState::Finished);
}

#[tokio::test]
async fn a_run_ended_by_a_stop_uses_up_its_slot_and_is_rated_after_the_restart() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.stop().await;
    world.peers.claude.served.faults.clear();
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);
    assert_eq!(the_run(&world).await.state, RunState::RatingOwed);
    world.start_again(&[]).await;
    everything_ends(&world).await;
    assert_eq!(world.feedback().await.len(), 1);
    assert_eq!(asked(&world, is_main), 2, "the day is over");
    world.peers.auth.set_last_active_at(&world.users[0], None).await;
    let result = world.tick().await;
    assert_eq!((&result["due"], &result["skipped"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_persona_has_one_run_a_day_whatever_due_says_and_by_the_servers_clock() {
    let mut world = anna().await;
    world.good_tick().await;
    for restart in [false, true] {
        if restart {
            world.stop().await;
            world.start_again(&[]).await;
        }
        world.peers.auth.set_last_active_at(&world.users[0], None).await;
        // The runner's own clock is one day ahead.
        world.clock.advance(24 * HOUR);
        assert_eq!(world.tick().await["skipped"], 1);
    }
    make_due(&world).await;
    assert_eq!(world.tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn a_failed_run_leaves_its_slot_free_and_its_back_off_survives_a_restart() {
    let mut world = anna().await;
    let refusal = Fault::status(422, "{}");
    world.peers.claude.served.faults.inject(1, refusal, |_| true);
    assert_eq!(world.tick().await["failed"].as_array().unwrap().len(), 1);
    world.stop().await;
    world.start_again(&[]).await;
    assert_eq!(world.tick().await["skipped"], 1);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.tick().await["ranSuccessfully"], 1);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_folder_does_not_start() {
    use mana_persona_runner::{app::App, config::Config};
    let world = anna().await;
    let config = Config::from_vars(crate::support::variables(&world.peers, &[])).unwrap();
    let error = App::build(config, world.clock.clone()).await.unwrap_err();
    assert!(error.to_string().contains("another daemon"), "{error}");
    assert_eq!(world.call(Method::GET, "/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_killed_run_that_is_stopped_at_its_next_login_goes_on_with_the_login_after_that() {
    let mut world = anna().await;
    hang_at(&world, second).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();

    let login = |r: &Recorded| r.path() == path::LOGIN;
    world.peers.auth.served.faults.inject(1, Fault::Hang, login);
    world.start_again(&[]).await;
    let recorder = world.peers.auth.served.recorder.clone();
    patiently("the second login", recorder.wait_for(2, login)).await;
    world.stop().await;
    assert_eq!(the_run(&world).await.state, RunState::Running, "nothing of it has happened");

    world.start_again(&[]).await;
    everything_ends(&world).await;
    the_day_is_whole(&world).await;
}

#[tokio::test]
async fn the_rate_of_a_resumed_run_counts_its_earlier_calls_at_their_own_time() {
    for (later, denied) in [(61, 0.0), (30, 1.0)] {
        let mut world = Setup::one(&["habits"]).var("POLICY_TOOL_RATE", 1).start().await;
        world.peers.claude.answer_with(|request| match request.turn() {
            _ if request.is_rating() => None,
            0 | 1 => Some(Scripted::tools(&[habits_list()])),
            _ => Some(Scripted::text("Bis morgen!")),
        });
        hang_at(&world, second).await;
        world.kill().await;
        world.peers.claude.served.faults.clear();
        world.clock.advance(Duration::from_secs(later));
        world.start_again(&[]).await;
        everything_ends(&world).await;
        let denials = world.metrics().await;
        let denials = denials.lines().filter(|line| line.contains(r#"decision="deny""#));
        let denials: f64 =
            denials.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        assert_eq!(denials, denied, "{later} s later");
    }
}
