//! Asks /health again and again, from a thread of its own: what it waits for is the daemon, not the
//! runtime on which devstack is busy.

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

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(50);
/// An answer that takes longer is none.
const LIMIT: Duration = Duration::from_secs(5);

/// A thread that asks until it is stopped.
pub(crate) struct Probe {
    stop: Arc<Notify>,
    thread: JoinHandle<io::Result<Answers>>,
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How long each answer took, the shortest first.
    pub took: Vec<Duration>,
    /// How often there was none, or another than 200.
    pub failed: usize,
}

impl Probe {
    /// Starts asking.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(url: String) -> io::Result<Self> {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("probe".into()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(&url, &stopped)).map_err(io::Error::other)
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops asking.
    ///
    /// # Errors
    /// When it could not ask at all.
    pub(crate) async fn stop(self) -> io::Result<Answers> {
        self.stop.notify_one();
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        joined
            .map_err(|error: JoinError| io::Error::other(error))?
            .map_err(|_| io::Error::other("the probe panicked"))?
    }
}

impl Answers {
    /// So many percent of the answers took no longer.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.took.len() * percent).div_ceil(100).max(1) - 1;
        self.took.get(rank).copied().unwrap_or(Duration::MAX)
    }
}

async fn ask(url: &str, stopped: &Notify) -> reqwest::Result<Answers> {
    let client = Client::builder().no_proxy().timeout(LIMIT).build()?;
    let mut answers = Answers::default();
    let mut ticks = interval(PERIOD);
    // After a slow answer the next question comes a whole period later, not a burst of them.
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
                // Read to its end, so that the connection can be used again.
                answer.bytes().await?;
                answers.took.push(asked.elapsed());
            }
            _ => answers.failed += 1,
        }
    }
    answers.took.sort();
    Ok(answers)
}
