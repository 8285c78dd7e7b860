//! The daemon under test, and how it is ended.

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

/// Personas at once.
pub(crate) const CONCURRENCY: usize = 4;
/// What a SIGTERM may take in the end.
const GRACE: Duration = Duration::from_secs(3);
/// Beyond the grace, for a busy machine.
const EXIT_LIMIT: Duration = Duration::from_secs(15);
/// A step of its clock.
const STEP: SignedDuration = SignedDuration::from_hours(1);

/// How the daemon is started each time.
pub(crate) struct Launcher {
    program: Option<PathBuf>,
    variables: Vec<(&'static str, String)>,
    /// What all daemons say.
    pub log: PathBuf,
    clock: Clock,
    /// Moves the clock of a daemon in this process.
    _stepping: Option<Stepping>,
}

/// The daemon, running.
pub(crate) enum Daemon {
    /// The compiled one.
    Process(Box<Child>),
    /// One in this process.
    InProcess(Runtime),
}

impl Launcher {
    /// For daemons among these peers.
    pub(crate) fn new(options: &Options, peers: &Devstack) -> Self {
        let mut variables = peers.environment().to_vec();
        let own = [
            ("PORT", "0".to_owned()),
            ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
            ("PERSONA_CONCURRENCY", CONCURRENCY.to_string()),
            ("TICK_INTERVAL_MS", "250".to_owned()),
            ("RUN_BACKOFF_MS", "50".to_owned()),
            ("SHUTDOWN_GRACE_MS", GRACE.as_millis().to_string()),
            // Nothing but the crashes is to end a run: caps and the policy have their own tests.
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

    /// Starts it; it is not waited for.
    ///
    /// # Errors
    /// When that is not possible.
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
                    // The last of the tasks before may still hold the lock.
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
    /// Ends it with this signal, and waits until it is gone; where it is sent both, it has this long
    /// between them. Whether it says that it came to its own end.
    ///
    /// # Errors
    /// When it was gone already, or does not go.
    pub(crate) async fn end(self, signal: Signal, between: Duration) -> Result<bool, Problem> {
        let mut child = match self {
            Self::Process(child) => child,
            Self::InProcess(runtime) => {
                // Every task is dropped where it waits, the sooner the better.
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
            // It may be faster.
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

/// A clock that goes like the machine's, but is an hour ahead or behind at times.
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
