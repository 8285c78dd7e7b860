//! Which build of the product a run met, and where the runner knows it from.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode as Status, routing::get};
use devstack::{fault::Fault, recorder::Recorded};
use mana_persona_runner::journal::Journal;
use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    script::make_due,
    support::{Setup, World, client, in_journal, logs::Logs, path::LOGIN, patiently, variable},
};

/// The shortest time between two requests to PRODUCT_VERSION_URL.
const PERIOD: Duration = Duration::from_secs(30);

/// What the product answers about its version, and how often it was asked.
type Told = Arc<Mutex<(Status, String, usize)>>;

/// A product that tells its version; returns the value of PRODUCT_VERSION_URL, too.
async fn product() -> (Told, String) {
    let told = Told::new(Mutex::new((Status::OK, String::new(), 0)));
    let answer = async |State(told): State<Told>| {
        let mut told = told.lock();
        told.2 += 1;
        (told.0, told.1.clone())
    };
    let router = Router::new().route("/health", get(answer)).with_state(told.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/health#/build/version", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (told, url)
}

fn tell(told: &Told, status: Status, version: &str) {
    let body = json!({"status": "ok", "build": {"version": version}}).to_string();
    let mut told = told.lock();
    (told.0, told.1) = (status, body);
}

async fn release(world: &World, body: impl Into<String>) -> (StatusCode, Value) {
    let key = variable(&world.peers, "MANA_SERVICE_KEY");
    let request = client().post(format!("{}/control/release", world.url));
    let sent = request.header("x-service-key", key).body(body.into()).send();
    let response = patiently("a release", sent).await.unwrap();
    let status = response.status();
    (status, response.json().await.unwrap_or_default())
}

/// The deployments in the order in which they were met.
async fn deployments(world: &World) -> Vec<String> {
    let sql = "SELECT number || ' ' || version || ' ' || source FROM deployments \
               WHERE first_at IS NOT NULL ORDER BY number";
    in_journal(world, sql).await
}

/// The deployments that the newest run began and ended with.
async fn of_last_run(world: &World) -> String {
    let sql = "SELECT COALESCE(deployment, '-') || ' to ' || COALESCE(deployment_end, '-') FROM runs \
               ORDER BY id DESC LIMIT 1";
    in_journal(world, sql).await.remove(0)
}

/// A tick of the next day, in which each persona runs.
async fn next_day(world: &World) {
    make_due(world).await;
    world.good_tick().await;
}

#[tokio::test]
async fn without_any_other_source_mana_mcp_tells_and_another_list_of_tools_is_another_build() {
    let world = Setup::many(&["anna"]).idle().start().await;
    world.good_tick().await;
    let known = deployments(&world).await;
    let version = known[0].strip_prefix("1 ").and_then(|it| it.strip_suffix(" server-info"));
    let (_, hash) = version.and_then(|version| version.split_once('~')).expect("the fallback");
    assert!(hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{known:?}");
    assert_eq!(of_last_run(&world).await, "1 to 1", "known once the tools are listed");
    next_day(&world).await;
    assert_eq!(deployments(&world).await, known, "the same list is the same build");
}

#[tokio::test]
async fn the_variable_wins_over_mana_mcp_also_after_a_restart_and_a_new_value_is_a_new_build() {
    let setup = Setup::many(&["anna"]).idle().var("PRODUCT_VERSION", "2.0 <b>`|`");
    let mut world = setup.start().await;
    world.good_tick().await;
    world.stop().await;
    world.start_again(&[]).await;
    next_day(&world).await;
    assert_eq!(deployments(&world).await, ["1 2.0 <b>`|` env"]);
    world.stop().await;
    world.start_again(&[("PRODUCT_VERSION", "1.9")]).await;
    next_day(&world).await;
    assert_eq!(deployments(&world).await, ["1 2.0 <b>`|` env", "2 1.9 env"]);
    assert_eq!(of_last_run(&world).await, "2 to 2");
}

#[tokio::test]
async fn the_products_url_wins_over_the_variable_and_a_failure_keeps_its_last_version() {
    let logs = Logs::capture("info");
    let (told, url) = product().await;
    tell(&told, Status::SERVICE_UNAVAILABLE, "7");
    let setup = Setup::many(&["anna"]).idle().var("PRODUCT_VERSION", "0");
    let mut world = setup.var("PRODUCT_VERSION_URL", url).start().await;
    world.good_tick().await;
    assert_eq!(deployments(&world).await, ["1 0 env"], "nobody has told a version yet");
    tell(&told, Status::OK, "7");
    next_day(&world).await;
    assert_eq!(told.lock().2, 1, "asked again only after {PERIOD:?}");
    let mut expected = vec!["1 0 env", "2 7 url"];
    for (status, version) in [
        (Status::OK, "7"),
        (Status::BAD_GATEWAY, "8"),
        (Status::OK, "\n"),
        (Status::OK, "8"),
        (Status::OK, "7"),
    ] {
        world.advance(PERIOD);
        tell(&told, status, version);
        next_day(&world).await;
        match expected.len() {
            2 if version == "8" && status.is_success() => expected.push("3 8 url"),
            3 => expected.push("4 7 url"),
            _ => {}
        }
        assert_eq!(deployments(&world).await, expected, "{status} {version:?}");
    }
    tell(&told, Status::BAD_GATEWAY, "");
    world.stop().await;
    world.start_again(&[]).await;
    next_day(&world).await;
    assert_eq!(deployments(&world).await, expected, "an earlier process was told this one");
    let failures = logs.lines_with("PRODUCT_VERSION_URL");
    let warned = failures.iter().filter(|line| line.contains("WARN")).count();
    assert_eq!(warned, 3, "one for each time it began to fail: {failures:#?}");
}

#[tokio::test]
async fn a_release_while_a_run_is_in_flight_makes_it_a_run_of_two_builds_and_only_releases_count_then()
 {
    let world = Setup::many(&["anna"]).idle().var("PRODUCT_VERSION", "1").start().await;
    let answer = CancellationToken::new();
    world.peers.claude.served.faults.inject(1, Fault::Hold(answer.clone()), |_| true);
    let tick = world.begin_tick();
    patiently("the request", world.peers.claude.served.recorder.wait_for(1, |_| true)).await;
    let (status, body) = release(&world, r#"{"version":" 2 ","note":"a\nb"}"#).await;
    let deployment = json!({"id": "D-2", "version": "2"});
    assert_eq!((status, body), (StatusCode::OK, json!({"ok": true, "deployment": deployment})));
    answer.cancel();
    tick.await.unwrap();
    assert_eq!(of_last_run(&world).await, "1 to 2");
    assert_eq!(release(&world, r#"{"version":"2"}"#).await.1["deployment"], deployment);
    next_day(&world).await;
    assert_eq!(of_last_run(&world).await, "2 to 2");
    assert_eq!(release(&world, r#"{"version":"1"}"#).await.1["deployment"]["id"], "D-3");
    next_day(&world).await;
    assert_eq!(of_last_run(&world).await, "3 to 3");
    assert_eq!(deployments(&world).await, ["1 1 env", "2 2 release", "3 1 release"]);
    assert_eq!(in_journal(&world, "SELECT note FROM deployments WHERE number = 2").await, ["a b"]);
}

#[tokio::test]
async fn a_release_before_the_first_answer_of_mana_auth_counts_from_the_first_tick() {
    let world = Setup::many(&["anna"]).idle().start().await;
    assert_eq!(release(&world, r#"{"version":"1"}"#).await.1["deployment"]["id"], "D-1");
    assert_eq!(deployments(&world).await, [""; 0], "met by no tick yet");
    world.good_tick().await;
    assert_eq!(deployments(&world).await, ["1 1 release"]);
    assert_eq!(of_last_run(&world).await, "1 to 1");
}

#[tokio::test]
async fn a_release_of_anything_but_a_short_printable_version_is_refused() {
    let world = Setup::default().start().await;
    let long = "x".repeat(10_000);
    let versions = ["", " ", &long, "a\nb", "a\u{0}", "1\u{202e}2", "\u{1b}[2J"];
    let bodies = versions.map(|version| json!({"version": version}).to_string());
    let odd = ["", "{}", "7", "null", r#"{"version":7}"#, r#"{"version":"1","note":7}"#, "{"];
    for body in bodies.into_iter().chain(odd.map(str::to_owned)) {
        let (status, answer) = release(&world, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["error"].as_str().unwrap().len() < 200, "{answer}");
    }
    let without_key = client().post(format!("{}/control/release", world.url));
    let refused = without_key.body(r#"{"version":"1"}"#).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(in_journal(&world, "SELECT version FROM deployments").await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_waited_for_its_session_begins_with_the_build_that_it_meets() {
    let (told, url) = product().await;
    tell(&told, Status::OK, "1");
    let world = Setup::many(&["anna"]).idle().var("PRODUCT_VERSION_URL", url).start().await;
    let (answer, auth) = (CancellationToken::new(), &world.peers.auth.served);
    let is_login = |request: &Recorded| request.path().ends_with(LOGIN);
    auth.faults.inject(1, Fault::Hold(answer.clone()), is_login);
    let tick = world.begin_tick();
    patiently("the login", auth.recorder.wait_for(1, is_login)).await;
    assert_eq!(of_last_run(&world).await, "1 to -");
    tell(&told, Status::OK, "2");
    world.advance(PERIOD);
    answer.cancel();
    tick.await.unwrap();
    assert_eq!(of_last_run(&world).await, "2 to 2");
}

#[tokio::test]
async fn a_run_that_is_only_closed_ends_with_the_build_that_it_has_met() {
    let (told, url) = product().await;
    tell(&told, Status::OK, "1");
    let mut world = Setup::many(&["anna"]).idle().var("PRODUCT_VERSION_URL", url).start().await;
    world.peers.claude.served.faults.inject(1, Fault::Hang, |_| true);
    drop(world.begin_tick());
    patiently("the request", world.peers.claude.served.recorder.wait_for(1, |_| true)).await;
    world.kill().await;
    tell(&told, Status::OK, "2");
    world.advance(Duration::from_secs(86_400));
    world.start_again(&[]).await;
    let is_over = async |_: &_| of_last_run(&world).await != "1 to -";
    world.journal_reaches("the end", is_over).await;
    assert_eq!(of_last_run(&world).await, "1 to 1");
}

#[tokio::test]
async fn a_release_of_the_command_line_counts_from_the_next_tick_and_not_for_a_run_in_flight() {
    let world = Setup::many(&["anna"]).idle().var("PRODUCT_VERSION", "1").start().await;
    let answer = CancellationToken::new();
    world.peers.claude.served.faults.inject(1, Fault::Hold(answer.clone()), |_| true);
    let tick = world.begin_tick();
    patiently("the request", world.peers.claude.served.recorder.wait_for(1, |_| true)).await;
    let beside = Journal::open_beside_daemon(world.peers.data_folder()).await.unwrap();
    beside.release("2", None).await.unwrap();
    answer.cancel();
    tick.await.unwrap();
    assert_eq!(of_last_run(&world).await, "1 to 1");
    next_day(&world).await;
    assert_eq!(of_last_run(&world).await, "2 to 2");
}
