//! The load run: one tick of the compiled daemon with a thousand due personas, two hundred at the same time,
//! and a model with a realistic latency. Prints how the daemon compares with the ideal duration and which
//! resources it used; exits with 1 if a target is missed or a row is missing.
//!
//! `cargo run --release --bin load -- PATH_OF_THE_DAEMON`

mod account;

use std::{
    error::Error,
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use devstack::{
    Devstack, Options as PeerOptions, catalog,
    claude::ClaudeOptions,
    clock::Clock,
    daemon::{Daemon, Process},
    probe::Probe,
};
use mana_persona_runner::domain::derive_password;
use serde_json::Value;
use tokio::time::timeout;

const SEED_SECRET: &str = "load-seed-secret";
/// A Monday: every persona is due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
/// Replies of a main turn. The rating is one more request.
const REPLIES: usize = 5;
/// Highest ratio of wall time to ideal time.
const WALL: f64 = 1.15;
/// Highest memory use, in MB.
const MEMORY: f64 = 150.0;
/// Highest p99 of /health.
const HEALTH: Duration = Duration::from_millis(50);
/// The run is aborted after this many times the ideal duration.
const PATIENCE: u32 = 4;
const USAGE: &str = "\
usage: load [options] PATH_OF_THE_DAEMON
  --personas N      due personas (1000)
  --concurrency N   of them at once (200)
  --latency-ms N    how long every model reply takes (3000)";

struct Options {
    daemon: PathBuf,
    personas: usize,
    concurrency: usize,
    latency: Duration,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let (mut daemon, mut personas, mut concurrency, mut latency_ms) = (None, 1_000, 200, 3_000);
        while let Some(arg) = args.next() {
            let mut number = || args.next()?.parse().ok().filter(|number| *number > 0);
            match arg.as_str() {
                "--personas" => personas = number()?,
                "--concurrency" => concurrency = number()?,
                "--latency-ms" => latency_ms = number()?,
                _ if arg.starts_with('-') || daemon.is_some() => return None,
                _ => daemon = Some(arg.into()),
            }
        }
        let latency = Duration::from_millis(latency_ms as u64);
        Some(Self { daemon: daemon?, personas, concurrency, latency })
    }

    /// Duration of the tick if only the model took time: whole rounds of personas, because the replies of one
    /// persona come one after another.
    fn ideal(&self) -> Duration {
        let work = self.latency.mul_f64((self.personas * (REPLIES + 1)) as f64);
        work.div_f64(self.concurrency as f64)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = Options::from_args(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let limit = options.ideal() * PATIENCE + Duration::from_secs(60);
    let result = match timeout(limit, load(&options)).await {
        Ok(result) => result,
        Err(_) => Err(format!("gave up after {} s", limit.as_secs()).into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load; returns whether every target was met and every row exists.
async fn load(options: &Options) -> Result<bool, Box<dyn Error>> {
    println!(
        "load: {} personas, {} at once, {REPLIES} replies and a rating of {} ms each; load average {}",
        options.personas,
        options.concurrency,
        options.latency.as_millis(),
        load_average()?,
    );
    let claude = ClaudeOptions {
        replies: REPLIES,
        latency: options.latency,
        keeps_requests: false,
        ..ClaudeOptions::default()
    };
    let peers = PeerOptions { claude, folder_in_memory: true, ..PeerOptions::default() };
    let peers = Devstack::start(peers, Clock::starting_at(MONDAY.parse()?)).await?;
    peers.stop_recording();
    let users = peers
        .auth
        .seed(&catalog::many_personas(options.personas), |email| {
            derive_password(SEED_SECRET, email)
        })
        .await?;

    let daemon = Daemon::start(&options.daemon, variables(options, &peers)).await?;
    let (process, own) = (daemon.process()?, Process::this());
    let before = (process.cpu()?, own.cpu()?);
    let probe = Probe::start(format!("{}/health", daemon.url))?;
    let started = Instant::now();
    let answer = daemon.client.post(format!("{}/diag/tick", daemon.url)).send().await?;
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let wall = started.elapsed();
    let health = probe.stop().await?;
    let cpu = (process.cpu()? - before.0, own.cpu()? - before.1);

    let mut met = [
        target(
            "wall time",
            format!(
                "{:.1} s, {:.3} x the ideal {:.1} s",
                s(wall),
                s(wall) / s(options.ideal()),
                s(options.ideal())
            ),
            format!("{WALL} x"),
            wall <= options.ideal().mul_f64(WALL),
        ),
        target(
            "daemon's peak RSS",
            format!("{:.1} MB", process.peak_memory()?),
            format!("{MEMORY} MB"),
            process.peak_memory()? <= MEMORY,
        ),
        target(
            "p99 of /health",
            format!(
                "{:.1} ms (median {:.1}, longest {:.1}, {} probes, {} failed)",
                ms(health.percentile(99)),
                ms(health.percentile(50)),
                ms(health.percentile(100)),
                health.took.len(),
                health.failed,
            ),
            format!("{} ms", HEALTH.as_millis()),
            health.percentile(99) <= HEALTH && health.failed == 0,
        ),
    ]
    .iter()
    .all(|met| *met);
    println!(
        "  daemon CPU {:.1} s, devstack CPU {:.1} s (of {:.1} s of wall time)",
        s(cpu.0),
        s(cpu.1),
        s(wall)
    );
    println!(
        "  model requests at once, at most: {}; load average {}",
        peers.claude.peak_in_flight(),
        load_average()?
    );

    let wrong = account::check(&peers, &users, &answer, REPLIES + 1).await;
    met &= wrong.is_empty();
    wrong.iter().take(20).for_each(|wrong| println!("  WRONG: {wrong}"));
    if !wrong.is_empty() {
        daemon.last_words().iter().for_each(|line| println!("  log: {line}"));
    }
    let ended = daemon.stop(Duration::from_secs(15)).await?;
    if !ended.success() {
        println!("  WRONG: the daemon ended with {ended}");
    }
    Ok(met && ended.success())
}

fn target(what: &str, measured: String, most: String, is_met: bool) -> bool {
    println!("  {} {what}: {measured}; at most {most}", if is_met { "ok    " } else { "MISSED" });
    is_met
}

fn variables(options: &Options, peers: &Devstack) -> Vec<(&'static str, String)> {
    let mut variables = peers.environment().to_vec();
    variables.extend([
        ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
        ("PERSONA_CONCURRENCY", options.concurrency.to_string()),
        ("BUDGET_DAILY_USD", "10000".to_owned()),
        // No automatic ticks: the only tick is the requested one.
        ("TICK_INTERVAL_MS", "86400000".to_owned()),
    ]);
    variables
}

fn load_average() -> std::io::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn s(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn ms(duration: Duration) -> f64 {
    s(duration) * 1_000.0
}
