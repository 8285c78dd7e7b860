//! Starts and ends the daemon under test.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use devstack::{Devstack, chance::Chance};
use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    app::{App, StartError},
    clock::Clock,
    config::Config,
    journal::JournalError,
};
use tokio::{
    process::{Child, Command},
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Problem,
    options::{Options, Signal},
    world::SEED_SECRET,
};

/// How many personas run at the same time.
pub(crate) const CONCURRENCY: usize = 4;
/// The daemon's grace period after a SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// Time in addition to the grace period until the process must have ended, for a busy machine.
const EXIT_LIMIT: Duration = Duration::from_secs(15);
/// By how much the daemon's clock is stepped.
const STEP: SignedDuration = SignedDuration::from_hours(1);

/// The settings with which each daemon is started.
pub(crate) struct Launcher {
    program: Option<PathBuf>,
    variables: Vec<(&'static str, String)>,
    /// File with the log lines of all daemons.
    pub log: PathBuf,
    clock: Clock,
    /// Steps the clock of a daemon that runs in this process.
    _stepping: Option<Stepping>,
}

/// A running daemon, as a child process or in this process.
pub(crate) enum Daemon {
    /// The compiled daemon as a child process.
    Process(Box<Child>),
    /// The daemon as a library, on a runtime of its own in this process.
    InProcess(Runtime),
}

impl Launcher {
    /// A launcher for daemons that use these peers.
    pub(crate) fn new(options: &Options, peers: &Devstack) -> Self {
        let mut variables = peers.environment().to_vec();
        let own = [
            ("PORT", "0".to_owned()),
            ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
            ("PERSONA_CONCURRENCY", CONCURRENCY.to_string()),
            ("TICK_INTERVAL_MS", "250".to_owned()),
            ("RUN_BACKOFF_MS", "50".to_owned()),
            ("SHUTDOWN_GRACE_MS", GRACE.as_millis().to_string()),
            // Only the crashes may end a run: spending caps and the policy have their own tests.
            ("POLICY_MODE", "off".to_owned()),
            ("BUDGET_DAILY_USD", "1000".to_owned()),
            ("PERSONA_MAX_COST_USD", "10".to_owned()),
        ];
        variables.extend(own);
        let log = std::env::temp_dir().join(format!("mana-crash-{}.log", uuid::Uuid::now_v7()));
        let clock =
            if options.clock_steps { Clock::manual(Timestamp::now()) } else { Clock::system() };
        let program = (!options.clock_steps).then(|| options.daemon.clone());
        let stepping = options.clock_steps.then(|| Stepping::start(clock.clone(), options.seed));
        Self { program, variables, log, clock, _stepping: stepping }
    }

    /// Starts a daemon; does not wait until it listens.
    ///
    /// # Errors
    /// When the process or the thread cannot be started.
    pub(crate) async fn start(&self) -> Result<Daemon, Problem> {
        let Some(program) = &self.program else { return self.start_here().await };
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(program)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()?;
        Ok(Daemon::Process(Box::new(child)))
    }

    async fn start_here(&self) -> Result<Daemon, Problem> {
        let pairs = self.variables.iter();
        let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let config = Config::from_vars(pairs).map_err(|problems| format!("{problems:?}"))?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let clock = self.clock.clone();
        runtime.spawn(async move {
            loop {
                match App::build(config.clone(), clock.clone()).await {
                    Ok(app) => {
                        app.run().await;
                        break;
                    }
                    // The last tasks of the previous daemon may still hold the lock.
                    Err(StartError::Journal(JournalError::InUse { .. })) => {
                        sleep(Duration::from_millis(5)).await;
                    }
                    Err(error) => panic!("the daemon does not start: {error}"),
                }
            }
        });
        Ok(Daemon::InProcess(runtime))
    }
}

impl Daemon {
    /// Ends the daemon with this signal and waits until it has ended; `between` is the time between the two
    /// signals of [`Signal::Both`]. Returns whether the daemon ended with a success status.
    ///
    /// # Errors
    /// When the daemon had ended before, or does not end in time.
    pub(crate) async fn end(self, signal: Signal, between: Duration) -> Result<bool, Problem> {
        let mut child = match self {
            Self::Process(child) => child,
            Self::InProcess(runtime) => {
                // The shutdown drops every task at its current await point.
                let ended = tokio::task::spawn_blocking(|| runtime.shutdown_timeout(GRACE));
                ended.await?;
                return Ok(false);
            }
        };
        if let Some(status) = child.try_wait()? {
            return Err(format!("the daemon ended by itself with {status}").into());
        }
        if signal != Signal::Kill {
            let pid = child.id().ok_or("no process id")?.to_string();
            Command::new("kill").args(["-s", "TERM", &pid]).status().await?;
        }
        if signal == Signal::Both {
            // The daemon may end before the time is over.
            let _ = timeout(between, child.wait()).await;
        }
        if signal != Signal::Term && child.try_wait()?.is_none() {
            child.start_kill()?;
        }
        match timeout(GRACE + EXIT_LIMIT, child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => Err(format!("the daemon does not end after {signal:?}").into()),
        }
    }
}

/// Steps a clock that runs like the machine's by an hour forth and back.
struct Stepping(JoinHandle<()>);

impl Stepping {
    fn start(clock: Clock, seed: u64) -> Self {
        let mut chance = Chance::new(seed, 3);
        Self(tokio::spawn(async move {
            let mut ahead = SignedDuration::ZERO;
            let mut next_step = Instant::now();
            loop {
                if Instant::now() >= next_step {
                    ahead = match chance.between(0, 3) {
                        0 => -STEP,
                        1 => SignedDuration::ZERO,
                        _ => STEP,
                    };
                    next_step = Instant::now() + chance.millis(100, 1_500);
                }
                clock.set(Timestamp::now() + ahead);
                sleep(Duration::from_millis(5)).await;
            }
        }))
    }
}

impl Drop for Stepping {
    fn drop(&mut self) {
        self.0.abort();
    }
}
