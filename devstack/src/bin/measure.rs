//! Measures the compiled daemon for the README: start-up time, memory, CPU of a tick.
//!
//! `cargo run --release --bin measure -- PATH_OF_THE_DAEMON`

use std::{
    error::Error,
    fs,
    path::Path,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use devstack::{Devstack, catalog, clock::Clock};
use mana_persona_runner::domain::derive_password;
use reqwest::Client;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

const SEED_SECRET: &str = "measure-seed-secret";
const STARTS: usize = 21;
/// A Monday: all ten personas are due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let Some(daemon) = std::env::args_os().nth(1) else {
        eprintln!("usage: measure PATH_OF_THE_DAEMON");
        return ExitCode::from(64);
    };
    match tokio::time::timeout(LIMIT, measure(Path::new(&daemon))).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("measure: gave up after {} s", LIMIT.as_secs());
            ExitCode::FAILURE
        }
    }
}

async fn measure(daemon: &Path) -> Result<(), Box<dyn Error>> {
    let peers = Devstack::start(Default::default(), Clock::starting_at(MONDAY.parse()?)).await?;
    let password = |email: &str| derive_password(SEED_SECRET, email);
    peers.auth.seed(&catalog::personas(), password).await?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Daemon::start(daemon, &peers).await?.started_in);
    }
    starts.sort();
    println!("start to a healthy /health: {:.1} ms (median of {STARTS})", ms(starts[STARTS / 2]));

    let running = Daemon::start(daemon, &peers).await?;
    println!("idle RSS: {:.1} MB", running.memory("VmRSS:")?);
    let before = running.cpu()?;
    let started = Instant::now();
    let answer = running.client.post(format!("{}/diag/tick", running.url)).send().await?;
    let body = answer.bytes().await?;
    let took = started.elapsed();
    let result: serde_json::Value = serde_json::from_slice(&body)?;
    if result["result"]["ranSuccessfully"] != 10 {
        return Err(format!("the tick did not go well: {result}").into());
    }
    println!("tick of 10 personas at concurrency 10, 5 replies each, zero model latency:");
    println!("  daemon CPU: {:.1} ms, wall {:.0} ms", ms(running.cpu()? - before), ms(took));
    println!("  peak RSS: {:.1} MB", running.memory("VmHWM:")?);
    Ok(())
}

/// The compiled daemon as a child process.
struct Daemon {
    child: Child,
    client: Client,
    url: String,
    started_in: Duration,
    /// Kept open: a daemon without a reader would be told so by its log.
    _log: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    async fn start(program: &Path, peers: &Devstack) -> Result<Self, Box<dyn Error>> {
        let client = Client::builder().no_proxy().build()?;
        let started = Instant::now();
        let mut child = Command::new(program)
            .env_clear()
            .envs(peers.environment().iter().cloned())
            .env("PORT", "0")
            .env("PERSONA_SEED_SECRET", SEED_SECRET)
            .env("PERSONA_CONCURRENCY", "10")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = child.stdout.take().ok_or("no standard output")?;
        let mut log = BufReader::new(log).lines();
        let url = loop {
            let line = log.next_line().await?.ok_or("the daemon ended")?;
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
        };
        while !client.get(format!("{url}/health")).send().await?.status().is_success() {}
        let started_in = started.elapsed();
        Ok(Self { child, client, url, started_in, _log: log })
    }

    fn process(&self) -> Result<String, Box<dyn Error>> {
        Ok(format!("/proc/{}", self.child.id().ok_or("the daemon has ended")?))
    }

    /// A field of /proc/PID/status, in MB.
    fn memory(&self, field: &str) -> Result<f64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("{}/status", self.process()?))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// CPU time of all threads so far.
    fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("{}/task", self.process()?))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let nanos = text.split_whitespace().next().ok_or("an empty schedstat")?;
            total += Duration::from_nanos(nanos.parse()?);
        }
        Ok(total)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
