//! Waits for moments at which the daemon has no unfinished work, and counts its descriptors and tasks.

use std::{
    io,
    time::{Duration, Instant},
};

use devstack::daemon::Daemon;
use serde_json::Value;
use tokio::time::sleep;

use crate::{Problem, World};

/// Time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Time limit for finishing all work. The outbox waits for up to some seconds between two deliveries.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Time limit for closing idle connections, on a busy machine.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Time for which the counts must not change before the daemon counts as idle. The connection pool checks
/// every 4 s for connections that were idle for 4 s, so a connection is kept for up to 8 s.
const UNCHANGED: Duration = Duration::from_secs(12);

/// Waits until no persona is due, no run is in flight and the outbox is empty. The peers' clock must be
/// stopped during the wait.
///
/// # Errors
/// When this state is not reached in time.
pub(crate) async fn settle(world: &World, daemon: &Daemon) -> Result<(), Problem> {
    let started = Instant::now();
    loop {
        let status = control(daemon, "status").await?;
        let outbox = &status["outbox"];
        let waiting = ["actions", "feedback", "dead"].map(|what| outbox[what].as_u64());
        let is_idle = status["runs"].as_array().is_some_and(Vec::is_empty)
            && status["tickInFlight"] == false
            && waiting == [Some(0); 3];
        if is_idle && world.peers.auth.due_now().await.is_empty() {
            return Ok(());
        }
        if started.elapsed() > SETTLE_LIMIT {
            let due = world.peers.auth.due_now().await.len();
            return Err(format!("no calm comes: {due} are due, {status}").into());
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn control(daemon: &Daemon, what: &str) -> Result<Value, Problem> {
    let url = format!("{}/control/{what}", daemon.url);
    let method = if what == "status" { reqwest::Method::GET } else { reqwest::Method::POST };
    let key = devstack::auth::AuthOptions::default().service_key;
    let answer = daemon.client.request(method, url).header("x-service-key", key).send().await?;
    Ok(serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?)
}

/// Resources of an idle daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Idle {
    descriptors: usize,
    tasks: usize,
}

impl Idle {
    /// Pauses the daemon, so that no tick interferes, and waits until the counts no longer change.
    ///
    /// # Errors
    /// When the daemon does not answer, or the counts keep changing.
    pub(crate) async fn of(daemon: &Daemon) -> Result<Self, Problem> {
        control(daemon, "drain").await?;
        let started = Instant::now();
        let mut held = (Self::now(daemon).await?, Instant::now());
        while held.1.elapsed() < UNCHANGED {
            sleep(POLL_INTERVAL).await;
            let now = Self::now(daemon).await?;
            if now != held.0 {
                held = (now, Instant::now());
            }
            if started.elapsed() > IDLE_LIMIT {
                return Err(format!("what an idle daemon holds goes on changing: {now:?}").into());
            }
        }
        control(daemon, "resume").await?;
        println!("  idle: {:?}", held.0);
        Ok(held.0)
    }

    /// The leaks found if the daemon does not return to the counts `before`.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) async fn returns(daemon: &Daemon, before: &Self) -> Result<Vec<String>, Problem> {
        let after = Self::of(daemon).await?;
        let mut wrong = Vec::new();
        if after.descriptors > before.descriptors {
            wrong.push(format!("descriptors leak: {before:?} before, {after:?} after"));
        }
        if after.tasks > before.tasks {
            wrong.push(format!("tasks leak: {before:?} before, {after:?} after"));
        }
        Ok(wrong)
    }

    async fn now(daemon: &Daemon) -> Result<Self, Problem> {
        let tasks = daemon.metric("mana_persona_runner_runtime_tasks").await?;
        let tasks = tasks.ok_or_else(|| io::Error::other("the metric of tasks is missing"))?;
        Ok(Self { descriptors: daemon.process()?.descriptors()?, tasks: tasks as usize })
    }
}
