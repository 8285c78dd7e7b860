//! A tick of 200 personas at once, with or without readers of the page, and what it was like.

use std::{fs, path::Path, sync::Arc, time::Duration};

use devstack::{
    daemon::Process,
    probe::{Answers, Probe},
};
use mana_persona_runner::{app::App, clock::Clock, config::Config, journal::Journal};
use serde_json::Value;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Problem,
    copy::Copy,
    load::Options,
    measured::Measured,
    peers::{PERSONAS, Peers, SEED_SECRET},
    readers::{Read, Readers},
    steps,
};

/// Pause between two looks at the size of the write-ahead log.
const LOOK: Duration = Duration::from_millis(50);

/// What a tick was like.
pub(crate) struct Outcome {
    /// The writes of steps.
    pub steps: Measured,
    /// The probes of /health.
    pub health: Answers,
    /// The largest size of the write-ahead log, in bytes.
    pub wal: u64,
    /// Resident memory in MB: before the tick, at most, at its end, and after a rest.
    pub memory: [f64; 4],
    /// What the readers got.
    pub read: Option<Read>,
}

/// Runs a tick in this process.
pub(crate) fn run(options: &Options, has_readers: bool) -> Result<Outcome, Problem> {
    // As in src/main.rs.
    let daemon = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let others = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let outcome = others.block_on(tick(&daemon, options, has_readers));
    daemon.shutdown_background();
    outcome
}

async fn tick(daemon: &Runtime, options: &Options, has_readers: bool) -> Result<Outcome, Problem> {
    let copy = Arc::new(Copy::new(options.folder.as_deref())?);
    let peers = Peers::start().await?;
    let config = config(&peers, copy.path())?;
    let folder = copy.path().to_owned();
    let (journal, app) = daemon
        .spawn(async move {
            let journal = Journal::open(&folder).await?;
            let app = App::build_on(journal.clone(), config, Clock::system()).await?;
            Ok::<_, Problem>((journal, app))
        })
        .await??;
    let (address, shutdown) = (app.local_addr()?, app.shutdown());
    let url = format!("http://{address}");
    let running = daemon.spawn(app.run());

    let process = Process::this();
    // From here on the peak is that of the tick.
    fs::write("/proc/self/clear_refs", "5")?;
    let before = process.memory()?;
    let stop = CancellationToken::new();
    let health = Probe::start(format!("{url}/health"))?;
    let steps = daemon.spawn(steps::append(journal, stop.clone()));
    let wal = tokio::spawn(largest_wal(copy.clone(), stop.clone()));
    let readers = match has_readers {
        true => Some(Readers::start(&url, address, options.pause)?),
        false => None,
    };
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.post(format!("{url}/diag/tick")).send().await?;
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    stop.cancel();
    let (steps, health, wal) = (steps.await??, health.stop().await?, wal.await?);
    let read = match readers {
        Some(readers) => Some(readers.stop().await?),
        None => None,
    };
    if answer["result"]["ranSuccessfully"] != PERSONAS {
        return Err(format!("the tick says {answer:.500}").into());
    }
    let (peak, after) = (process.peak_memory()?, process.memory()?);
    if has_readers {
        sleep(options.rest).await;
    }
    let memory = [before, peak, after, process.memory()?];
    shutdown.stop();
    running.await?;
    Ok(Outcome { steps, health, wal, memory, read })
}

/// The configuration of the daemon, with ticks only on request.
fn config(peers: &Peers, folder: &Path) -> Result<Config, Problem> {
    let mut variables = peers.variables.clone();
    let own = [
        ("RUNNER_DATA_DIR", folder.to_string_lossy().into_owned()),
        ("PORT", "0".into()),
        ("PERSONA_SEED_SECRET", SEED_SECRET.into()),
        ("PERSONA_CONCURRENCY", PERSONAS.to_string()),
        ("BUDGET_DAILY_USD", "10000".into()),
        ("TICK_INTERVAL_MS", "86400000".into()),
        ("REPORT_AT", "off".into()),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let config =
        Config::from_vars(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    config.map_err(|problems| format!("{problems:?}").into())
}

async fn largest_wal(copy: Arc<Copy>, stop: CancellationToken) -> u64 {
    let mut largest = 0;
    while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
        largest = largest.max(copy.wal());
    }
    largest
}
