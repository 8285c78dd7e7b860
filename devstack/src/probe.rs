//! Requests an address such as that of /health again and again, from a thread of its own, so that the measured latency
//! is that of the daemon and not of the runtime that is busy with devstack.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use reqwest::Client;
use tokio::{
    runtime::Builder,
    sync::Notify,
    task::JoinError,
    time::{MissedTickBehavior, interval},
};

/// Interval between two requests.
const PERIOD: Duration = Duration::from_millis(50);
/// Longest time to wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// A thread that sends requests until it is stopped.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<Notify>,
    thread: JoinHandle<io::Result<Answers>>,
}

/// The results of the probe.
#[derive(Debug, Default)]
pub struct Answers {
    /// Latency of each answer, in ascending order after the probe has ended.
    pub took: Vec<Duration>,
    /// Number of requests without an answer or with a status other than 2xx.
    pub failed: usize,
}

impl Probe {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(url: String) -> io::Result<Self> {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("probe".into()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(&url, &stopped)).map_err(io::Error::other)
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops the thread and returns its results.
    ///
    /// # Errors
    /// When the requests could not be sent at all.
    pub async fn stop(self) -> io::Result<Answers> {
        self.stop.notify_one();
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        joined
            .map_err(|error: JoinError| io::Error::other(error))?
            .map_err(|_| io::Error::other("the probe panicked"))?
    }
}

impl Answers {
    /// The latency that `percent` percent of the answers do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.took.len() * percent).div_ceil(100).max(1) - 1;
        self.took.get(rank).copied().unwrap_or(Duration::MAX)
    }
}

async fn ask(url: &str, stopped: &Notify) -> reqwest::Result<Answers> {
    let client = Client::builder().no_proxy().timeout(LIMIT).build()?;
    let mut answers = Answers::default();
    let mut ticks = interval(PERIOD);
    // After a slow answer the next request follows one period later, instead of a burst of missed requests.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped.notified() => break,
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        let answer = client.get(url).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => {
                // The body is read completely, so that the connection can be used again.
                answer.bytes().await?;
                answers.took.push(asked.elapsed());
            }
            _ => answers.failed += 1,
        }
    }
    answers.took.sort();
    Ok(answers)
}
