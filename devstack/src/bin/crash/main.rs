//! The crash test: kills the daemon at random moments, lets a last daemon finish all work, and checks the
//! result.
//!
//! `cargo run --bin crash -- --kills 100 PATH_OF_THE_DAEMON`; `.ci/crash` runs it in all its forms.

mod check;
mod daemon;
mod ledger;
mod options;
mod rounds;
mod weather;
mod world;

use std::{error::Error, fs, process::ExitCode, time::Instant};

use check::Findings;
use daemon::{CONCURRENCY, Launcher};
use options::Options;
use tokio::time::timeout;
use world::World;

/// Why the test could not be carried out, or an error during the test.
pub type Problem = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::from_args(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(64);
        }
    };
    let started = Instant::now();
    println!(
        "crash test: {} x {:?} at concurrency {CONCURRENCY}, seed {}{}{}",
        options.kills,
        options.signal,
        options.seed,
        if options.auth_faults { ", mana-auth failing half of the time" } else { "" },
        if options.clock_steps {
            ", the clock stepped an hour forth and back (in process)"
        } else {
            ""
        },
    );
    let result = match timeout(options.limit, crash(&options)).await {
        Ok(result) => result,
        Err(_) => Err(format!("gave up after {} s", options.limit.as_secs()).into()),
    };
    match result {
        Ok(findings) => {
            findings.figures.iter().for_each(|figure| println!("  {figure}"));
            findings.violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
            let seconds = started.elapsed().as_secs_f64();
            let count = findings.violations.len();
            println!("{count} violations, {seconds:.1} s");
            if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("VIOLATION: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn crash(options: &Options) -> Result<Findings, Problem> {
    let world = World::start(options.seed).await?;
    let launcher = Launcher::new(options, &world.peers);
    let counts = rounds::run(&world, &launcher, options).await;
    let log = fs::read_to_string(&launcher.log).unwrap_or_default();
    let counts = counts.map_err(|error| format!("{error} (log: {})", launcher.log.display()))?;
    let most_lost = match options.signal {
        options::Signal::Kill => counts.asking_at_kills.len(),
        options::Signal::Term | options::Signal::Both => options.kills * CONCURRENCY,
    };
    let mut findings = check::check(&world, &counts, most_lost, options.auth_faults).await?;
    findings.figures.insert(
        0,
        format!(
            "{} kills ({} stopped in order) over {} rounds of slots, calm end after {:.1} s",
            counts.kills,
            counts.in_order,
            counts.rounds,
            counts.calm_end.as_secs_f64(),
        ),
    );
    let panics = log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned);
    findings.violations.extend(panics);
    if counts.asking_at_kills.len() > options.kills * CONCURRENCY {
        findings.violations.push("more requests under way than personas at once".into());
    }
    if findings.violations.is_empty() {
        // A daemon in this process writes no log file.
        let _ = fs::remove_file(&launcher.log);
    } else {
        println!("log of the daemons: {}", launcher.log.display());
    }
    Ok(findings)
}
