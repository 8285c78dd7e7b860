//! mana-mcp becomes unreachable in the middle of a day: calls that did not reach it wait, or the run is put
//! off. No model request is paid for in the meantime, and no call is executed twice.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, recorder::Recorded};
use mana_persona_runner::journal::{Journal, RunState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    script::{calls_of, habits_list, main_requests, outcomes, posts, rating_requests, results},
    support::{Setup, World, patiently},
};

/// The metric of the daemon's look requests that could not connect to mana-mcp.
const REFUSED: &str =
    r#"http_client_requests_total{operation="look",outcome="unreachable",peer="mana-mcp"}"#;
/// The same metric for another operation.
fn unreachable(operation: &str) -> String {
    REFUSED.replace("look", operation)
}

fn habits_create() -> (&'static str, Value) {
    ("habits_create", json!({"title": "Lesen", "frequency": "daily"}))
}

/// A persona's day: a read, then these calls, then a final text.
fn script(world: &World, calls: Vec<(&'static str, Value)>) {
    world.peers.claude.answer_with(move |request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        1 => Some(Scripted::tools(&calls)),
        _ => Some(Scripted::text("Bis morgen!")),
    });
}

fn second(request: &Recorded) -> bool {
    request.json()["messages"][2].is_object() && !request.json()["tools"].is_null()
}

/// Starts a tick and closes mana-mcp's socket when `personas` have requested their second turn from Claude.
/// Once released, they make the calls of that turn.
async fn tick_with_mcp_down(world: &World, personas: usize) -> Tick {
    let (claude, released) = (&world.peers.claude.served, CancellationToken::new());
    claude.faults.inject(personas, Fault::Hold(released.clone()), second);
    let tick = world.begin_tick();
    patiently("the second turns", claude.recorder.wait_for(personas, second)).await;
    world.peers.mcp.served.refuse_connections().await.unwrap();
    released.cancel();
    Tick(tick)
}

struct Tick(JoinHandle<(StatusCode, Value)>);

impl Tick {
    async fn result(self) -> Value {
        let (status, body) = patiently("the tick", self.0).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body["result"].clone()
    }
}

/// Simulates the end of a restart: the port accepts connections again, the sessions are gone.
async fn restart_mcp(world: &World) {
    world.peers.mcp.forget_sessions().await;
    world.peers.mcp.served.accept_again().unwrap();
}

/// ranSuccessfully, skipped, putOff and the number of failed runs.
fn counts(result: &Value) -> [u64; 4] {
    let number = |name: &str| result[name].as_u64().unwrap();
    let failed = result["failed"].as_array().unwrap().len() as u64;
    [number("ranSuccessfully"), number("skipped"), number("putOff"), failed]
}

async fn in_state(world: &World, state: RunState) -> usize {
    world.journal().await.runs_in(state).await.unwrap().len()
}

async fn all_runs_end(world: &World) {
    let unfinished = async |journal: &Journal| {
        journal.runs_in(RunState::Running).await.unwrap().is_empty()
            && journal.outbox_depth().await.unwrap().oldest.is_none()
    };
    world.journal_reaches("the end of all runs", unfinished).await;
    world.nothing_in_flight().await;
}

/// Checks that Anna's day is complete: each tool called once, nothing paid for twice, one post of each kind.
async fn the_day_is_whole(world: &World) {
    assert_eq!(
        outcomes(&world.actions().await),
        [("habits.list", "ok"), ("habits.create", "ok"), ("habits.list", "ok")]
    );
    let made: Vec<_> = world.peers.mcp.calls().into_iter().map(|call| call.tool).collect();
    assert_eq!(made, ["habits.list", "habits.create", "habits.list"], "no call twice");
    assert_eq!((main_requests(world).len(), rating_requests(world).len()), (3, 1));
    let results = results(&main_requests(world)[2]);
    assert!(results.iter().all(|result| result["is_error"] != true), "{results:?}");
    assert_eq!((posts(world, "/actions").len(), posts(world, "/feedback").len()), (1, 1));
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    assert_eq!(in_state(world, RunState::Finished).await, 1);
}

fn anna() -> Setup {
    Setup::one(&["habits"])
}

fn impatient(setup: Setup) -> Setup {
    setup.var("PERSONA_TOOL_TIMEOUT_MS", 500)
}

#[tokio::test]
async fn a_short_restart_costs_no_call_and_one_look_serves_all_runs() {
    let names = ["anna", "ben", "cleo", "dora"];
    let world = Setup::many(&names).var("PERSONA_CONCURRENCY", 4).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    let tick = tick_with_mcp_down(&world, 4).await;
    world.metric_reaches(&unreachable("tools_call"), 4.0).await;
    world.metric_reaches(REFUSED, 3.0).await;
    restart_mcp(&world).await;
    assert_eq!(counts(&tick.result().await), [4, 0, 0, 0]);
    let actions = world.actions().await;
    assert_eq!(actions.len(), 12);
    assert!(actions.iter().all(|row| row.result == "ok"), "{actions:?}");
    assert_eq!(world.peers.mcp.calls().len(), 12);
    assert_eq!(main_requests(&world).len(), 12);
    // The runs waited for the shared look request instead of trying by themselves.
    assert_eq!(world.metric(&unreachable("tools_call")).await, Some(4.0));
    assert_eq!(world.metric(&unreachable("initialize")).await, Some(0.0));
    assert_eq!(world.metric(r#"mcp_sessions_renewed_total{reason="lost"}"#).await, Some(4.0));
}

#[tokio::test]
async fn a_run_whose_mana_mcp_stays_away_is_put_off_and_the_next_tick_makes_the_refused_call() {
    let world = impatient(anna()).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    let result = tick_with_mcp_down(&world, 1).await.result().await;
    assert_eq!(counts(&result), [0, 0, 1, 0], "{result}");
    assert!(result["costUsd"].as_f64().unwrap() > 0.0, "what it has paid is told: {result}");
    assert_eq!(main_requests(&world).len(), 2, "nothing is paid for meanwhile");
    assert_eq!((posts(&world, "/actions").len(), posts(&world, "/feedback").len()), (0, 0));
    assert_eq!(in_state(&world, RunState::Running).await, 1, "its slot is not used up");
    let (status, body) = world.call(Method::GET, "/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let reason = body["reason"].as_str().unwrap();
    assert!(reason.contains("was put off") && reason.contains("cannot be reached"), "{reason}");

    // mana-mcp is still away: a tick reports it again, without a login.
    let logins = world.upstream_requests();
    assert_eq!(counts(&world.tick().await), [0, 0, 1, 0]);
    assert_eq!(world.upstream_requests(), logins + 1, "only who is due is asked");
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);

    restart_mcp(&world).await;
    world.good_tick().await;
    all_runs_end(&world).await;
    the_day_is_whole(&world).await;
    assert_eq!(world.metric(r#"runs_total{outcome="put_off",stage="main_turn"}"#).await, Some(1.0));
}

#[tokio::test]
async fn a_run_that_was_put_off_goes_on_by_itself_once_mana_mcp_is_there_again() {
    let world = impatient(anna()).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    assert_eq!(counts(&tick_with_mcp_down(&world, 1).await.result().await), [0, 0, 1, 0]);
    restart_mcp(&world).await;
    all_runs_end(&world).await;
    the_day_is_whole(&world).await;
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_run_that_was_put_off_survives_a_restart_of_the_daemon() {
    let mut world = impatient(anna()).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    tick_with_mcp_down(&world, 1).await.result().await;
    world.stop().await;
    assert_eq!(in_state(&world, RunState::Running).await, 1);
    restart_mcp(&world).await;
    world.start_again(&[]).await;
    all_runs_end(&world).await;
    the_day_is_whole(&world).await;
}

#[tokio::test]
async fn a_run_killed_while_it_waits_still_makes_the_refused_call() {
    let mut world = anna().var("PERSONA_TOOL_TIMEOUT_MS", 60_000).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    drop(tick_with_mcp_down(&world, 1).await);
    world.metric_reaches(REFUSED, 1.0).await;
    world.kill().await;
    restart_mcp(&world).await;
    world.start_again(&[]).await;
    all_runs_end(&world).await;
    the_day_is_whole(&world).await;
}

#[tokio::test]
async fn a_run_that_is_put_off_for_too_long_is_closed_with_its_results_so_far() {
    let world = impatient(anna()).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    tick_with_mcp_down(&world, 1).await.result().await;
    world.clock.advance(Duration::from_secs(3_601));
    world.tick().await;
    all_runs_end(&world).await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"), ("__run", "error")]);
    assert_eq!((main_requests(&world).len(), rating_requests(&world).len()), (2, 0));
}

#[tokio::test]
async fn parallel_reads_are_put_off_together_and_those_that_were_answered_are_not_made_again() {
    let world = impatient(anna()).start().await;
    let slow = ("todo_list", json!({}));
    script(&world, vec![habits_list(), slow, habits_list()]);
    // The first call is answered before the socket closes; an interrupted read is sent once more.
    let (mcp, released) = (&world.peers.mcp, CancellationToken::new());
    mcp.served.faults.inject(1, Fault::Hold(released.clone()), calls_of("todo.list"));
    let tick = world.begin_tick();
    let recorder = &mcp.served.recorder;
    patiently("the slow read", recorder.wait_for(1, calls_of("todo.list"))).await;
    let three_are_known = async |journal: &Journal| {
        let run = journal.latest_runs(1).await.unwrap().remove(0).id;
        let steps = journal.steps(run).await.unwrap();
        steps.iter().filter(|step| step.body.starts_with(r#"{"called""#)).count() == 3
    };
    world.journal_reaches("the results of the others", three_are_known).await;
    mcp.served.refuse_connections().await.unwrap();
    assert_eq!(counts(&Tick(tick).result().await), [0, 0, 1, 0]);
    assert_eq!(main_requests(&world).len(), 2);
    released.cancel();
    restart_mcp(&world).await;
    world.good_tick().await;
    all_runs_end(&world).await;
    let made: Vec<_> = mcp.calls().into_iter().map(|call| call.tool).collect();
    assert_eq!(made.iter().filter(|tool| *tool == "habits.list").count(), 3, "{made:?}");
    let rows = world.actions().await;
    assert_eq!(
        outcomes(&rows),
        [("habits.list", "ok"), ("habits.list", "ok"), ("todo.list", "ok"), ("habits.list", "ok")]
    );
    assert_eq!(main_requests(&world).len(), 3);
}

#[tokio::test]
async fn without_a_session_nothing_is_begun_and_the_slot_stays_free() {
    let world = impatient(Setup::many(&["anna", "ben"])).short_days().start().await;
    world.peers.mcp.served.refuse_connections().await.unwrap();
    for _ in 0..2 {
        let result = world.tick().await;
        assert_eq!(counts(&result), [0, 0, 2, 0], "{result}");
        let (status, body) = world.call(Method::GET, "/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body["reason"].as_str().unwrap().contains("put off"), "{body}");
    }
    assert_eq!(world.metric(&unreachable("initialize")).await, Some(2.0), "one attempt each");
    assert_eq!(world.metric(r#"runs_total{outcome="put_off",stage="mcp"}"#).await, Some(2.0));
    assert!(world.peers.claude.requests().is_empty());
    assert_eq!(in_state(&world, RunState::Failed).await, 2);
    restart_mcp(&world).await;
    assert_eq!(counts(&world.good_tick().await), [2, 0, 0, 0]);
    assert_eq!(world.call(Method::GET, "/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_session_is_waited_for_as_a_call_is() {
    let world = anna().short_days().start().await;
    world.peers.mcp.served.refuse_connections().await.unwrap();
    let tick = Tick(world.begin_tick());
    world.metric_reaches(REFUSED, 2.0).await;
    restart_mcp(&world).await;
    assert_eq!(counts(&tick.result().await), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_proxy_answering_for_an_unreachable_server_counts_as_unreachable() {
    for status in [502, 503, 504] {
        let world = impatient(anna()).short_days().start().await;
        let faults = &world.peers.mcp.served.faults;
        faults.inject(usize::MAX, Fault::status(status, "<html>no upstream</html>"), |_| true);
        assert_eq!(counts(&world.tick().await), [0, 0, 1, 0], "{status}");
        faults.clear();
        assert_eq!(counts(&world.good_tick().await), [1, 0, 0, 0], "{status}");
    }
    // The handshake just before was successful.
    let world = impatient(anna()).short_days().start().await;
    let lists = |r: &Recorded| r.method == Method::GET || r.json()["method"] == "tools/list";
    world.peers.mcp.served.faults.inject(usize::MAX, Fault::status(503, ""), lists);
    assert_eq!(counts(&world.tick().await), [0, 0, 1, 0]);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    world.peers.mcp.served.faults.clear();
    assert_eq!(counts(&world.good_tick().await), [1, 0, 0, 0]);

    // A call that such a proxy refuses is known not to have run only if the status is 503.
    let world = impatient(anna()).start().await;
    script(&world, vec![habits_create(), habits_list()]);
    let (claude, released) = (&world.peers.claude.served, CancellationToken::new());
    claude.faults.inject(1, Fault::Hold(released.clone()), second);
    let tick = Tick(world.begin_tick());
    patiently("the second turn", claude.recorder.wait_for(1, second)).await;
    let faults = &world.peers.mcp.served.faults;
    faults.inject(usize::MAX, Fault::status(503, "no upstream"), |_| true);
    released.cancel();
    assert_eq!(counts(&tick.result().await), [0, 0, 1, 0]);
    world.peers.mcp.forget_sessions().await;
    faults.clear();
    world.good_tick().await;
    all_runs_end(&world).await;
    the_day_is_whole(&world).await;
}

#[tokio::test]
async fn a_stop_a_pause_or_a_cancel_ends_a_runs_wait_at_once() {
    for how in ["stop", "pause", "cancel"] {
        let mut world = anna().var("PERSONA_TOOL_TIMEOUT_MS", 600_000).start().await;
        script(&world, vec![habits_create(), habits_list()]);
        let tick = tick_with_mcp_down(&world, 1).await;
        world.metric_reaches(REFUSED, 1.0).await;
        match how {
            "stop" => drop(world.stop().await),
            "pause" => drop(world.control(Method::POST, "pause").await),
            _ => {
                let (_, status) = world.control(Method::GET, "status").await;
                let id = status["runs"][0]["id"].as_str().unwrap().to_owned();
                world.control(Method::POST, &format!("runs/{id}/cancel")).await;
            }
        }
        let (status, body) = patiently(how, tick.0).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{how}: {body}");
        // A call that was not made leaves no row.
        assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")], "{how}");
        assert_eq!(main_requests(&world).len(), 2, "{how}");
    }
}

#[tokio::test]
async fn a_module_that_no_call_has_reached_is_not_rated() {
    let world = anna().start().await;
    let mcp = &world.peers.mcp;
    for tool in ["denied.delete", "refused.create", "failed.create", "lost.create"] {
        mcp.add_tool(tool, "", crate::script::anything());
    }
    mcp.served.faults.inject(9, Fault::status(403, "{}"), calls_of("refused.create"));
    mcp.served.faults.inject(9, Fault::status(500, "{}"), calls_of("lost.create"));
    mcp.override_tool("failed.create", 9, devstack::mcp::Behaviour::IsError("no".into()));
    let names = ["denied_delete", "refused_create", "failed_create", "lost_create", "made_up"];
    let calls: Vec<_> = names.iter().map(|name| (*name, json!({}))).collect();
    script(&world, calls);
    world.good_tick().await;
    let asked = rating_requests(&world)[0].body["output_config"].to_string();
    for (module, is_asked) in
        [("denied", false), ("refused", false), ("made", false), ("failed", true), ("lost", true)]
    {
        assert_eq!(asked.contains(&format!("\"{module}\"")), is_asked, "{module}: {asked}");
    }
}
