//! A journal whose disk is full, and later has space again.

use std::time::Duration;

use devstack::{Devstack, claude::Scripted, fault::Fault};
use mana_persona_runner::{
    app::{App, ProcessEnd},
    clock::Clock,
    config::Config,
    domain::{Outcome, RunId},
    journal::{Journal, RunState},
    shutdown::Shutdown,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    facts_law::facts_as_the_steps_say,
    script::{habits_list, outcomes},
    support::{Setup, call, patiently, start_peers, variables},
};

const DAY: Duration = Duration::from_secs(86_400);

/// Writes until nothing more fits, not even one byte.
async fn fill(journal: &Journal, clock: &Clock) {
    journal.limit_pages(1).await.unwrap();
    let mut number = 0;
    for bytes in [100_000, 3_000, 300, 1] {
        let run = RunId::new();
        while journal.append_step(run, number, &"x".repeat(bytes), clock.now()).await.is_ok() {
            number += 1;
        }
    }
}

/// A daemon with its peers, on a journal that the test can fill.
struct Scene {
    peers: Devstack,
    users: Vec<String>,
    journal: Journal,
    clock: Clock,
    url: String,
    client: Client,
    shutdown: Shutdown,
    daemon: JoinHandle<ProcessEnd>,
}

impl Scene {
    async fn start(vars: &[(&'static str, String)]) -> Self {
        let setup = Setup::one(&["habits"]);
        let (peers, users) = start_peers(setup.peers, &setup.personas).await;
        peers.claude.answer_with(|request| match request.turn() {
            _ if request.is_rating() => None,
            0 | 1 => Some(Scripted::tools(&[habits_list()])),
            _ => Some(Scripted::text("Bis morgen!")),
        });
        let config = Config::from_vars(variables(&peers, vars)).unwrap();
        let clock = Clock::manual("2026-03-09T11:00:00Z".parse().unwrap());
        let journal = Journal::open(peers.data_folder()).await.unwrap();
        let app = App::build_on(journal.clone(), config, clock.clone()).await.unwrap();
        let url = format!("http://{}", app.local_addr().unwrap());
        let shutdown = app.shutdown();
        let daemon = tokio::spawn(app.run());
        let client = Client::builder().no_proxy().build().unwrap();
        Self { peers, users, journal, clock, url, client, shutdown, daemon }
    }

    async fn health(&self) -> Value {
        call(&self.client, Method::GET, &format!("{}/health", self.url)).await.1
    }

    async fn becomes(&self, status: &str) {
        patiently(status, async {
            while self.health().await["status"] != status {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn begin_tick(&self) -> JoinHandle<(StatusCode, Value)> {
        let (client, url) = (self.client.clone(), format!("{}/diag/tick", self.url));
        tokio::spawn(async move { call(&client, Method::POST, &url).await })
    }

    /// Starts a tick and fills the disk while the model answers the `n`th request.
    async fn fill_during_answer(&self, n: usize) -> JoinHandle<(StatusCode, Value)> {
        let answer = CancellationToken::new();
        let claude = &self.peers.claude.served;
        let messages = 2 * n - 1;
        claude.faults.inject(1, Fault::Hold(answer.clone()), move |request| {
            request.json()["messages"].as_array().is_some_and(|m| m.len() == messages)
        });
        let tick = self.begin_tick();
        patiently("the request", claude.recorder.wait_for(n, |_| true)).await;
        fill(&self.journal, &self.clock).await;
        answer.cancel();
        self.becomes("degraded").await;
        tick
    }

    async fn empty(&self) {
        self.journal.limit_pages(1_000_000).await.unwrap();
    }

    fn asked(&self) -> usize {
        self.peers.claude.served.recorder.all().len()
    }

    async fn end(self) {
        self.shutdown.stop();
        patiently("the end of the daemon", self.daemon).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_stops_paid_work_says_so_loses_nothing_and_heals_by_itself() {
    let scene = Scene::start(&[]).await;
    // The disk becomes full while the model answers: the reply is kept, and no further request is sent.
    let tick = scene.fill_during_answer(1).await;
    let reason = scene.health().await["reason"].to_string();
    assert!(reason.contains("journal") && reason.contains("full"), "{reason}");
    let ready = call(&scene.client, Method::GET, &format!("{}/ready", scene.url)).await;
    assert_eq!(ready.0, StatusCode::SERVICE_UNAVAILABLE);
    let metrics = scene.client.get(format!("{}/metrics", scene.url)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("\nmana_persona_runner_journal_writable 0\n"), "as /ready tells it");
    assert_eq!(scene.asked(), 1);

    // Once there is space again, the run continues by itself with all of its steps.
    scene.empty().await;
    let (status, body) = patiently("the tick", tick).await.unwrap();
    assert_eq!((status, &body["result"]["ranSuccessfully"]), (StatusCode::OK, &json!(1)), "{body}");
    assert_eq!(scene.health().await["status"], "ok");
    assert_eq!(scene.peers.auth.actions().await.len(), 2);
    assert_eq!(scene.peers.auth.feedback().await.len(), 1);
    let run = scene.journal.latest_runs(1).await.unwrap().remove(0);
    assert_eq!((run.state, run.replies, run.calls), (RunState::Finished, 3, 2));
    let steps = scene.journal.steps(run.id).await.unwrap();
    assert_eq!(steps.iter().filter(|step| step.body.starts_with("{\"replied\"")).count(), 4);

    // If the disk is full from the beginning, no persona logs in.
    fill(&scene.journal, &scene.clock).await;
    scene.peers.auth.set_last_active_at(&scene.users[0], None).await;
    scene.peers.clock.advance(DAY);
    let auth = &scene.peers.auth.served.recorder;
    let upstream = (scene.asked(), auth.all().len());
    let (status, body) = scene.begin_tick().await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body["error"].to_string().contains("full"), "{body}");
    assert_eq!((scene.asked(), auth.all().len()), upstream);
    scene.empty().await;
    scene.becomes("ok").await;
    let (_, body) = scene.begin_tick().await.unwrap();
    assert_eq!(body["result"]["ranSuccessfully"], 1, "{body}");
    scene.end().await;
}

#[tokio::test]
async fn a_run_that_ends_on_a_full_disk_is_kept_in_memory_and_written_and_posted_later() {
    let scene = Scene::start(&[("PERSONA_TIMEOUT_MS", "8000".into())]).await;
    let tick = scene.fill_during_answer(2).await;
    let (_, body) = patiently("the tick", tick).await.unwrap();
    let error = body["result"]["failed"][0]["error"].to_string();
    // On a stalled machine either limit may be reached first: the wait for the journal, or the run's timeout.
    assert!(error.contains("record") || error.contains("PERSONA_TIMEOUT_MS"), "{body}");
    assert_eq!(body["result"]["undelivered"], 1, "{body}");
    assert!(scene.peers.auth.actions().await.is_empty(), "nothing goes out without a record");
    let run = scene.journal.latest_runs(1).await.unwrap().remove(0);
    assert_eq!(run.state, RunState::Running, "nobody could write down that it ended");

    scene.empty().await;
    patiently("the end of the run in the journal", async {
        while scene.journal.run(run.id).await.unwrap().unwrap().state == RunState::Running {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let steps = scene.journal.steps(run.id).await.unwrap();
    assert_eq!(steps.iter().filter(|step| step.body.starts_with("{\"replied\"")).count(), 2);
    scene.becomes("ok").await;
    patiently("the rows", async {
        while scene.peers.auth.actions().await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let actions = scene.peers.auth.actions().await;
    assert_eq!(outcomes(&actions), [("habits.list", "ok"), ("__run", "error")]);
    let (run, facts) = facts_as_the_steps_say(&scene.journal).await.remove(0);
    assert_eq!((run.outcome, facts.calls.len()), (Some(Outcome::Failed), 1), "with its end");
    scene.end().await;
}

#[tokio::test]
async fn files_that_are_removed_under_the_daemon_stop_paid_work_until_they_are_back() {
    let world = Setup::one(&["habits"]).start().await;
    let folder = world.peers.data_folder().to_owned();
    let elsewhere = folder.with_extension("away");
    std::fs::rename(&folder, &elsewhere).unwrap();
    let (status, body) = world.call(Method::POST, "/diag/tick").await;
    assert_ne!(status, StatusCode::OK, "{body}");
    assert!(body["error"].to_string().contains("removed or replaced"), "{body}");
    assert_eq!(world.upstream_requests(), 0);
    assert_eq!(world.metric("journal_writable").await, Some(0.0));
    let (status, body) = world.call(Method::GET, "/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");

    std::fs::rename(&elsewhere, &folder).unwrap();
    assert_eq!(world.good_tick().await["ranSuccessfully"], 1);
    assert_eq!(world.metric("journal_writable").await, Some(1.0));
}

#[tokio::test]
async fn a_full_disk_is_noticed_by_the_next_tick_even_if_no_persona_is_due() {
    let scene = Scene::start(&[]).await;
    scene.begin_tick().await.unwrap();
    fill(&scene.journal, &scene.clock).await;
    scene.begin_tick().await.unwrap();
    scene.becomes("degraded").await;
    scene.journal.limit_pages(1_000_000).await.unwrap();
    scene.begin_tick().await.unwrap();
    scene.becomes("ok").await;
}

#[tokio::test]
async fn a_run_kept_in_memory_is_written_by_a_stop_once_there_is_space() {
    let scene = Scene::start(&[("PERSONA_TIMEOUT_MS", "8000".into())]).await;
    let tick = scene.fill_during_answer(2).await;
    patiently("the tick", tick).await.unwrap();
    let run = scene.journal.latest_runs(1).await.unwrap().remove(0);
    assert_eq!(run.state, RunState::Running, "nobody could write down that it ended");
    // The outbox checks every two seconds; the stop comes before the next check.
    scene.empty().await;
    scene.shutdown.stop();
    let Scene { peers, daemon, .. } = scene;
    assert_eq!(patiently("the end of the daemon", daemon).await.unwrap(), ProcessEnd::Drained);
    let journal = Journal::open_read_only(peers.data_folder()).await.unwrap();
    let run = journal.run(run.id).await.unwrap().unwrap();
    assert_eq!((run.state, run.calls), (RunState::Finished, 1));
    assert_eq!(facts_as_the_steps_say(&journal).await[0].1.calls.len(), 1);
    let kept = journal.kept_posts().await.unwrap();
    assert!(!kept.is_empty() || !peers.auth.actions().await.is_empty(), "its rows are kept");
}
