//! Measures the compiled daemon for docs/figures.md: start-up time, memory, CPU of a tick.
//!
//! `cargo run --release --bin measure -- PATH_OF_THE_DAEMON`

use std::{
    error::Error,
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use devstack::{Devstack, catalog, clock::Clock, daemon::Daemon};
use mana_persona_runner::domain::derive_password;

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
        starts.push(start(daemon, &peers).await?.started_in);
    }
    starts.sort();
    println!("start to a healthy /health: {:.1} ms (median of {STARTS})", ms(starts[STARTS / 2]));

    let running = start(daemon, &peers).await?;
    let process = running.process()?;
    println!("idle RSS: {:.1} MB", process.memory()?);
    let before = process.cpu()?;
    let started = Instant::now();
    let answer = running.client.post(format!("{}/diag/tick", running.url)).send().await?;
    let body = answer.bytes().await?;
    let took = started.elapsed();
    let result: serde_json::Value = serde_json::from_slice(&body)?;
    if result["result"]["ranSuccessfully"] != 10 {
        return Err(format!("the tick did not go well: {result}").into());
    }
    println!("tick of 10 personas at concurrency 10, 5 replies each, zero model latency:");
    println!("  daemon CPU: {:.1} ms, wall {:.0} ms", ms(process.cpu()? - before), ms(took));
    println!("  peak RSS: {:.1} MB", process.peak_memory()?);
    Ok(())
}

async fn start(program: &Path, peers: &Devstack) -> io::Result<Daemon> {
    let own = [("PERSONA_SEED_SECRET", SEED_SECRET.into()), ("PERSONA_CONCURRENCY", "10".into())];
    Daemon::start(program, peers.environment().iter().cloned().chain(own)).await
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
