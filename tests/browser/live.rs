//! What is new while a page is open.

use std::time::Duration;

use devstack::{Options, catalog, fault::Fault, recorder::Recorded};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    browser::Browser,
    lived::tick,
    stage::{self, Stage, patiently},
};

const CALLS: &str = "[data-calls] li";

/// What the list of calls says, the newest one first.
async fn listed(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('[data-calls] li')].map((it) =>
        it.textContent.replace(/\\s+/g, ' ').trim())";
    let told = browser.says(script).await;
    told.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Two personas with short days, of whom the model thinks a moment before each reply.
async fn two_personas() -> Stage {
    let mut options = Options::default();
    options.claude.latency = Duration::from_millis(200);
    options.claude.replies = 4;
    let (peers, _) =
        stage::start_peers(options, crate::lived::end(), &catalog::personas()[..2]).await;
    let daemon = stage::start_daemon(&peers, &[]).await;
    Stage { peers, daemon }
}

#[tokio::test]
async fn every_call_appears_as_it_ends_also_over_a_restart_of_the_daemon() {
    let mut stage = two_personas().await;
    let browser = stage.reader().await;
    browser.visit("/ui/live").await;
    assert_eq!(browser.count(CALLS).await, 0);
    browser.says("window.isTheSamePage = true").await;

    // The daemon is stopped in the middle of the tick; the next one, at the same address, ends the runs.
    let request = stage.daemon.client.post(format!("{}/diag/tick", stage.daemon.url)).send();
    let first = tokio::spawn(request);
    browser.until("a call", async |it| it.count(CALLS).await > 0).await;
    stage = stage.restarted().await;
    first.await.unwrap().ok();
    stage.nothing_in_flight().await;
    stage.peers.clock.advance(Duration::from_mins(1));
    stage.peers.clock.step_day();
    let result = tick(&stage.daemon).await;
    assert_eq!(result["failed"], json!([]), "{result}");

    let made = stage.peers.mcp.calls().len();
    browser.until("all calls", async |it| it.count(CALLS).await >= made).await;
    assert_eq!(browser.says("return window.isTheSamePage").await, true);
    let grown = listed(&browser).await;
    let is_of_restart =
        |line: &String| line.contains("/ui/live") && line.contains("ERR_CONNECTION");
    let noise = browser.noise().await;
    let cut =
        |line: &String| is_of_restart(line) || line.contains("ERR_INCOMPLETE_CHUNKED_ENCODING");
    assert!(noise.iter().all(cut), "{noise:?}");
    browser.visit("/ui/live").await;
    assert_eq!(listed(&browser).await, grown, "the same list as of who comes now");
    browser.end_quietly().await;
}

#[tokio::test]
async fn a_run_in_flight_grows_while_one_reads() {
    let stage = two_personas().await;
    let browser = stage.reader().await;
    // Claude answers the third request of a persona later.
    let go_on = CancellationToken::new();
    let is_third = |request: &Recorded| {
        let messages = &request.json()["messages"];
        messages
            .as_array()
            .is_some_and(|all| all.iter().filter(|it| it["role"] == "assistant").count() == 2)
    };
    stage.peers.claude.served.faults.inject(usize::MAX, Fault::Hold(go_on.clone()), is_third);
    let request = stage.daemon.client.post(format!("{}/diag/tick", stage.daemon.url)).send();
    let ticking = tokio::spawn(request);
    let recorder = &stage.peers.claude.served.recorder;
    patiently("the third request", recorder.wait_for(1, is_third)).await;

    browser.visit("/ui/live").await;
    browser.click("main a[href^='/ui/runs/']:not([href*='#'])").await;
    browser.until("the run", async |it| it.count("main[data-live-run]").await == 1).await;
    let path = browser.address().await;
    browser.says("window.isTheSamePage = true").await;
    let before = browser.count("details.call, .call").await;
    browser.click("main details summary").await;
    let opened = browser.says("return document.querySelector('main details[open]').id").await;
    go_on.cancel();
    browser
        .until("the end of the run", async |it| it.count("main[data-live-run]").await == 0)
        .await;
    assert!(browser.count("details.call, .call").await > before);
    assert_eq!(browser.says("return window.isTheSamePage").await, true);
    assert_eq!(browser.address().await, path);
    if let Value::String(id) = opened {
        assert!(
            id.is_empty() || browser.count(&format!("#{id}[open]")).await == 1,
            "{id} stays open"
        );
    }
    ticking.await.unwrap().unwrap();
    browser.end_quietly().await;
}
