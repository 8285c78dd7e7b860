//! The soak: many one-second ticks of the compiled daemon with a fast clock, so that personas are due again
//! all the time, with peers that fail from time to time. At the end nothing may have leaked, and every row
//! must match a call.
//!
//! `cargo run --release --bin soak -- PATH_OF_THE_DAEMON`; `.ci/soak` calls it.

mod account;
mod faults;
mod idle;
mod watch;

use std::{
    error::Error,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use devstack::{
    Devstack, Options as PeerOptions,
    auth::SeedPersona,
    catalog,
    claude::ClaudeOptions,
    clock::Clock,
    daemon::Daemon,
    marked::Marked,
    mcp::{McpOptions, ToolSet},
};
use faults::Faults;
use idle::Idle;
use mana_persona_runner::domain::{Cadence, derive_password};
use tokio::time::timeout;
use watch::Watch;

const SEED_SECRET: &str = "soak-seed-secret";
/// A Monday: every persona is due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
/// Seconds on the peers' clock per real second: an hour takes 12 s, a JWT lives for 3 s.
const SPEED: f64 = 300.0;
/// Number of personas. One in five keeps its cadence; the others are due every hour.
const PERSONAS: usize = 40;
const DAILY: usize = 5;
/// Replies of a main turn, including the closing one.
const REPLIES: usize = 5;
const MODEL_LATENCY: Duration = Duration::from_millis(40);
const TOOL_LATENCY: Duration = Duration::from_millis(10);
/// Time in addition to the soak itself, for the calm start and the calm end.
const AROUND: Duration = Duration::from_secs(300);
const USAGE: &str = "\
usage: soak [options] PATH_OF_THE_DAEMON
  --minutes N   how long, an hour at most (30)
  --seed N      of everything that is left to chance (1)";

/// Why the soak could not be carried out.
pub type Problem = Box<dyn Error + Send + Sync>;

struct Options {
    daemon: PathBuf,
    lasts: Duration,
    seed: u64,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let (mut daemon, mut minutes, mut seed) = (None, 30, 1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--minutes" => {
                    minutes = args.next()?.parse().ok().filter(|n| (1..=60).contains(n))?
                }
                "--seed" => seed = args.next()?.parse().ok()?,
                _ if arg.starts_with('-') || daemon.is_some() => return None,
                _ => daemon = Some(arg.into()),
            }
        }
        Some(Self { daemon: daemon?, lasts: Duration::from_secs(minutes * 60), seed })
    }
}

/// The peers and the personas.
pub struct World {
    /// The peers that the daemon uses.
    pub peers: Devstack,
    /// The marked calls that the model requested.
    pub marked: Marked,
    /// User id and cadence of each persona.
    pub personas: Vec<(String, Cadence)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = Options::from_args(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let limit = options.lasts + AROUND;
    let started = Instant::now();
    let result = match timeout(limit, soak(&options)).await {
        Ok(result) => result,
        Err(_) => Err(format!("gave up after {} s", limit.as_secs()).into()),
    };
    let wrong = result.unwrap_or_else(|error| vec![error.to_string()]);
    wrong.iter().take(30).for_each(|wrong| println!("VIOLATION: {wrong}"));
    println!("{} violations, {:.1} s", wrong.len(), started.elapsed().as_secs_f64());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the soak; returns the rules that do not hold.
async fn soak(options: &Options) -> Result<Vec<String>, Problem> {
    let (lasts, seed) = (options.lasts, options.seed);
    println!("soak: {} s of 1-second ticks, {PERSONAS} personas, seed {seed}", lasts.as_secs());
    let world = World::start(seed).await?;
    let daemon = Daemon::start(&options.daemon, variables(&world.peers)).await?;
    let result = phases(&world, &daemon, options).await;
    let mut wrong = match result {
        Ok(wrong) => wrong,
        Err(error) => vec![error.to_string()],
    };
    let last_words = daemon.last_words();
    wrong.extend(last_words.iter().filter(|line| line.contains("panicked")).cloned());
    if !wrong.is_empty() {
        last_words.iter().rev().take(10).rev().for_each(|line| println!("  log: {line}"));
    }
    let ended = daemon.stop(Duration::from_secs(20)).await?;
    if !ended.success() {
        wrong.push(format!("the daemon ended with {ended}"));
    }
    wrong.extend(account::check(&world).await?);
    Ok(wrong)
}

async fn phases(world: &World, daemon: &Daemon, options: &Options) -> Result<Vec<String>, Problem> {
    // Every persona first has one run without faults: resources that a process keeps from its first work on
    // are not a leak.
    idle::settle(world, daemon).await?;
    let before = Idle::of(daemon).await?;

    world.peers.clock.set_speed(SPEED);
    let faults = Faults::over(&world.peers, options.seed);
    let watch = tokio::select! {
        watch = Watch::over(daemon, options.lasts) => watch?,
        never = faults.lose_sessions() => match never {},
    };
    let met = faults.end();
    world.peers.clock.set_speed(0.0);
    println!("  faults met: {met}");

    let mut wrong = watch.wrong();
    idle::settle(world, daemon).await?;
    wrong.extend(Idle::returns(daemon, &before).await?);
    wrong.extend(met.missing().iter().map(|fault| format!("no request has met: {fault}")));
    Ok(wrong)
}

impl World {
    async fn start(seed: u64) -> Result<Self, Problem> {
        let claude =
            ClaudeOptions { latency: MODEL_LATENCY, keeps_requests: false, ..Default::default() };
        let mcp = McpOptions { tools: ToolSet::Empty, ..McpOptions::default() };
        let options = PeerOptions { claude, mcp, ..PeerOptions::default() };
        let peers = Devstack::start(options, Clock::starting_at(MONDAY.parse()?)).await?;
        peers.clock.set_speed(0.0);
        peers.stop_recording();
        let marked = Marked::begin(&peers, seed, REPLIES, TOOL_LATENCY)?;
        let mut personas = catalog::many_personas(PERSONAS);
        for (number, persona) in personas.iter_mut().enumerate() {
            if number % DAILY != 0 {
                persona.cadence = "hourly".into();
            }
        }
        let password = |email: &str| derive_password(SEED_SECRET, email);
        let users = peers.auth.seed(&personas, password).await?;
        let personas = users.into_iter().zip(personas.iter().map(cadence)).collect();
        Ok(Self { peers, marked, personas })
    }
}

fn cadence(persona: &SeedPersona) -> Cadence {
    match persona.cadence.as_str() {
        "hourly" => Cadence::Hourly,
        _ => Cadence::Daily,
    }
}

fn variables(peers: &Devstack) -> Vec<(&'static str, String)> {
    let mut variables = peers.environment().to_vec();
    let own = [
        ("PERSONA_SEED_SECRET", SEED_SECRET),
        ("PERSONA_CONCURRENCY", "8"),
        ("TICK_INTERVAL_MS", "1000"),
        ("RUN_BACKOFF_MS", "50"),
        // Only the faults may end a run: spending caps and the policy have their own tests.
        ("POLICY_MODE", "off"),
        ("BUDGET_DAILY_USD", "10000"),
        ("PERSONA_MAX_COST_USD", "10"),
    ];
    variables.extend(own.map(|(name, value)| (name, value.to_owned())));
    variables
}
